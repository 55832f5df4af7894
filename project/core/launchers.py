"""What starts a program on all of a job's allocation: one table of launchers. Pure: words out.

A launcher that is named gets the job's numbers as its manual says them; a command line of the user's own is taken as it is.
The job finds the words in its environment: `mpirun` (psik's variable: words separated by the character 1) and JOBFERRY_LAUNCHER.
"""

import shlex
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional

from project.core.process import quote

if TYPE_CHECKING:
    from project.core.jobspec import JobSpec
    from project.core.resources import Resources
    from project.core.schedulers.base import Scheduler

# What starts one copy of a program, here: env(1) with nothing to set. psik's `mpirun` cannot be empty, for
# `os.environ['mpirun'].split('\x01') + ['program']` is a command line in every case.
ONE_COPY = ["env"]


def chosen(spec: "JobSpec", cluster: Mapping[str, Any], scheduler: "Scheduler") -> str:
    """The launcher's name or command line: the input's, else the cluster's, else the workload manager's; `none` for none."""
    return (spec.launcher or str(cluster.get("launcher") or "").strip() or scheduler.launcher) or "none"


def origin(spec: "JobSpec", cluster: Mapping[str, Any]) -> str:
    """Who chose it: `launcher` (the input), `cluster NAME: launcher`, or `jobferry` (the workload manager's own)."""
    if spec.launcher:
        return "launcher"
    return "cluster {}: launcher".format(cluster.get("name", "")) if cluster.get("launcher") else "jobferry"


def words(spec: "JobSpec", cluster: Mapping[str, Any], scheduler: "Scheduler") -> List[str]:
    """The command line that a program's own is appended to; empty for none. Raises ValueError for an unclosed quote."""
    command = chosen(spec, cluster, scheduler)
    known = LAUNCHERS.get(" ".join(command.split()))
    return known(spec.resources) if known else shlex.split(command)


def text(argv: List[str]) -> str:
    """A command line as a shell reads it."""
    return " ".join(quote(word) for word in argv)


def ranks(resources: "Resources") -> Optional[int]:
    """How many ranks there are in all, None when the job does not say."""
    if resources.ranks is not None:
        return resources.ranks
    if resources.nodes is not None and (resources.ranks_per_node or resources.distribution == "distributed"):
        return resources.nodes * (resources.ranks_per_node or 1)
    return None


def nodes(resources: "Resources") -> Optional[int]:
    """How many nodes the job asks for, None when it leaves that to the workload manager."""
    if resources.nodes is not None:
        return resources.nodes
    if resources.distribution == "grouped":
        return 1
    if resources.distribution == "scattered":
        return resources.ranks
    if resources.ranks is not None and resources.ranks_per_node:
        return -(-resources.ranks // resources.ranks_per_node)
    return None


def _options(pairs: Dict[str, Optional[int]]) -> List[str]:
    found: List[str] = []
    for option, value in pairs.items():
        if value is not None:
            found += [option + str(value)] if option.endswith("=") else [option, str(value)]
    return found


def _srun(resources: "Resources") -> List[str]:
    """srun(1): -N/--nodes, -n/--ntasks, --ntasks-per-node, -c/--cpus-per-task.

    What is not said is the allocation's. `--cpus-per-task` must be said: from Slurm 22.05 on srun does not take it from
    SLURM_CPUS_PER_TASK any more (its release notes).
    """
    return ["srun"] + _options(
        {
            "--nodes=": resources.nodes,
            "--ntasks=": ranks(resources),
            "--ntasks-per-node=": resources.ranks_per_node,
            "--cpus-per-task=": resources.threads_per_rank,
        }
    )


def _mpirun(resources: "Resources") -> List[str]:
    """mpirun(1) of Open MPI and of MPICH's Hydra: -n. Nodes and threads are said differently by each: the hosts that
    the workload manager gives decide.
    """
    return ["mpirun"] + _options({"-n": ranks(resources)})


def _mpiexec(resources: "Resources") -> List[str]:
    """MPI 4.0, 11.5 "Portable MPI Process Startup": `mpiexec -n <numprocs>` is what every implementation takes."""
    return ["mpiexec"] + _options({"-n": ranks(resources)})


def _jsrun(resources: "Resources") -> List[str]:
    """jsrun(1) of IBM's Job Step Manager: one resource set a rank. -n/--nrs resource sets, -r/--rs_per_host,
    -a/--tasks_per_rs, -c/--cpu_per_rs, -g/--gpu_per_rs.
    """
    if ranks(resources) is None:
        return ["jsrun"]
    return ["jsrun"] + _options(
        {
            "-n": ranks(resources),
            "-r": resources.ranks_per_node,
            "-a": 1,
            "-c": resources.threads_per_rank or 1,
            "-g": resources.gpus_per_rank,
        }
    )


def _aprun(resources: "Resources") -> List[str]:
    """aprun(1) of Cray's ALPS: -n width (ranks in all), -N ranks a node, -d depth (CPUs a rank)."""
    return ["aprun"] + _options(
        {"-n": ranks(resources), "-N": resources.ranks_per_node, "-d": resources.threads_per_rank}
    )


def _flux(resources: "Resources") -> List[str]:
    """flux-run(1): -N/--nodes, -n/--ntasks, -c/--cores-per-task, -g/--gpus-per-task; by default there is one task."""
    return ["flux", "run"] + _options(
        {
            "--nodes=": resources.nodes,
            "--ntasks=": ranks(resources),
            "--cores-per-task=": resources.threads_per_rank,
            "--gpus-per-task=": resources.gpus_per_rank,
        }
    )


LAUNCHERS: Dict[str, Callable[["Resources"], List[str]]] = {
    "srun": _srun,
    "mpirun": _mpirun,
    "mpiexec": _mpiexec,
    "jsrun": _jsrun,
    "aprun": _aprun,
    "flux run": _flux,
    "flux": _flux,
    "none": lambda resources: [],  # noqa: ARG005
}
