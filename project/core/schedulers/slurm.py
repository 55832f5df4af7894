"""Slurm: what it is asked, and with which directives a job is submitted (sbatch(1), squeue(1), sacct(1), sinfo(1)).

What its programs print is understood in `slurm_text`.
"""

import os
import re
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple

from project.core import units
from project.core.errors import ClusterError, Problem, UserError
from project.core.resources import Resources, local_time
from project.core.schedulers import base, slurm_options, slurm_text
from project.core.script import job_name

if TYPE_CHECKING:
    from project.core.jobspec import JobSpec
    from project.core.paths import JobPaths

_SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./-]+\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# A shell's exit statuses above this are deaths by signal.
_SIGNALLED = 128
# env(1): the program was not found.
_NOT_THERE = 127
# sbatch(1), --signal: seconds before the end.
_EARLIEST = 65535
# A shell starts what runs beside it deaf to these two, for good (POSIX, 2.11): the payload would never hear them (`_RELAY`).
_UNHEARD = ("INT", "QUIT")
# sbatch(1), --nice: the adjustment range.
_NICEST = 2147483645
# The warning comes to this shell alone (B:), which hears it only between two programs; without B: it comes to what srun
# started alone. So the job runs in a second shell, and this one passes the warning on to all of its processes.
_RELAY = """
if [ -z "${{JOBFERRY_INNER-}}" ]; then
  JOBFERRY_INNER=1 /bin/sh "$0" "$@" &
  jobferry_inner=$!
  trap : HUP INT XCPU USR1 USR2
  trap 'kill -s TERM "$jobferry_inner"' TERM
  trap 'trap "" {name}; kill -s {name} 0; trap : {name}' {name}
  while :; do
    wait "$jobferry_inner"
    jobferry_code=$?
    kill -0 "$jobferry_inner" 2> /dev/null || exit "$jobferry_code"
  done
fi
unset JOBFERRY_INNER
trap : {name}"""
_ID = re.compile(r"(\d+)(?:;[^\s;]+)?\Z")


class Slurm(base.Scheduler):
    name = "slurm"
    states = slurm_text.STATES
    program = "sbatch"
    launcher = "srun"
    # sbatch(1), OUTPUT ENVIRONMENT VARIABLES; SLURM_NNODES is its older name.
    nodes_expression = "${SLURM_JOB_NUM_NODES:-${SLURM_NNODES:-}}"
    directive_prefix = "#SBATCH"
    expresses = frozenset(Resources._fields)
    array_index_variable = "SLURM_ARRAY_TASK_ID"
    # Set from the first restart on (sbatch(1), OUTPUT ENVIRONMENT VARIABLES).
    restart_variable = "SLURM_RESTART_COUNT"
    job_id_variable = "SLURM_JOB_ID"

    def directives(
        self,
        spec: "JobSpec",
        cluster: Mapping[str, Any],
        paths: "JobPaths",  # noqa: ARG002  # the port's signature; paths are arguments of sbatch
        uuid: str,
    ) -> List[str]:
        """The `#SBATCH` lines. An array of n elements is `--array=0-(n-1)`.

        The distribution is said as CECI's guide says it: `grouped` = all processes on one node, `scattered` = each on
        a node of its own, `distributed` = over exactly `nbr_of_nodes` nodes.
        The user's own options come last, as they are: of two equal options sbatch takes the last.
        """
        options = ["--job-name=" + job_name(uuid, spec.name)]
        queue = spec.resources.queue or cluster.get("partition")
        if queue:
            options.append("--partition={}".format(queue))
        options += _resource_options(spec.resources)
        lines = ["#SBATCH " + _escaped(option) for option in options]
        for option in spec.scheduler_options:
            if _CONTROL.search(option) or not option.strip().startswith("-"):
                raise UserError(
                    "scheduler_options: {!r} is no option of sbatch.".format(option), hint="Give options as --qos=long."
                )
            lines.append("#SBATCH " + option.strip())
        return lines

    def option_problem(self, text: str) -> Tuple[str, str]:
        return slurm_options.option_problem(text)

    def option_fields(self, text: str) -> List[str]:
        return slurm_options.option_fields(text)

    def value_problems(self, spec: "JobSpec") -> List[Problem]:
        """sbatch(1): a warning comes at most 65535 s before the end; GPUs for each task need a number of tasks.

        Of fewer tasks than nodes it makes fewer nodes and only warns (measured on 22.05).
        """
        resources, found = spec.resources, []
        if resources.signal is not None and resources.signal.seconds > _EARLIEST:
            message = "comes earlier than Slurm can send it: at most {} s before the end.".format(_EARLIEST)
            found.append(Problem("resources.signal", message, None, "Give a shorter time, such as USR1@5m."))
        if resources.signal is not None and resources.signal.name in _UNHEARD:
            message = "is {}, which the job's commands would not hear.".format(resources.signal.name)
            found.append(Problem("resources.signal", message, None, "Take another signal, such as USR1 or TERM."))
        if resources.ranks is not None and (resources.nodes or 0) > resources.ranks:
            message = "is {}, more than the {} ranks: Slurm would give no more nodes than ranks.".format(
                resources.nodes, resources.ranks
            )
            found.append(Problem("resources.nodes", message, resources.nodes, "Ask for at least one rank a node."))
        if resources.priority is not None and abs(resources.priority) > _NICEST:
            message = "is beyond what sbatch --nice takes: {} to {}.".format(-_NICEST, _NICEST)
            found.append(
                Problem("resources.priority", message, resources.priority, "Give a smaller number, such as -100.")
            )
        counted = resources.ranks is not None or (resources.nodes is not None and resources.ranks_per_node is not None)
        if resources.gpus_per_rank is not None and not counted and resources.distribution != "distributed":
            message = "needs a number of ranks."
            found.append(Problem("resources.gpus_per_rank", message, None, "Say how many: nbr_processes: 4."))
        return found

    def preamble(self, spec: "JobSpec") -> List[str]:
        return _RELAY.format(name=spec.resources.signal.name).splitlines() if spec.resources.signal else []

    def array_limit(self) -> List[str]:
        return ["scontrol", "show", "config"]

    def parse_array_limit(self, out: str) -> Optional[base.Limit]:
        """slurm.conf(5): the highest index is one less than MaxArraySize; `max_array_tasks` is the most elements."""
        size = re.search(r"^MaxArraySize\s*=\s*(\d+)\s*$", out, re.MULTILINE)
        tasks = re.search(r"^SchedulerParameters\s*=.*\bmax_array_tasks=(\d+)", out, re.MULTILINE)
        if not size:
            return None
        return base.Limit(int(tasks.group(1)) if tasks else None, max(0, int(size.group(1)) - 1))

    def submit(self, script: str, spec: "JobSpec", cluster: Mapping[str, Any]) -> List[str]:
        """`sbatch`; what Slurm itself has to say about the running job goes to `log/scheduler`.

        A default of the login (`SBATCH_ACCOUNT`) holds for what the job does not say, and is taken away for what it says.
        Paths are arguments, not directives: a directive cannot hold every path. In a file name pattern of Slurm `%`
        stands for itself when doubled; a backslash in it switches patterns off, and stands for itself when doubled.
        """
        folder = os.path.dirname(os.path.dirname(script))
        words = os.path.join(folder, "log", "scheduler")
        words = words.replace("\\", "\\\\") if "\\" in words else words.replace("%", "%%")
        said = spec.resources.asked() + (["queue"] if cluster.get("partition") else [])
        unset = [word for name in slurm_options.variables(said, spec.scheduler_options) for word in ("-u", name)]
        argv = ["sbatch", "--parsable", "--open-mode=append", "--output=" + words, "--error=" + words, script]
        return ["env"] + unset + argv if unset else argv

    def submitted(self, rc: int, out: str, err: str) -> str:
        ids = [match.group(1) for match in map(_ID.match, (line.strip() for line in out.splitlines())) if match]
        if rc == 0 and ids:
            return ids[-1]
        words = slurm_text.words(err or out)
        if rc == _NOT_THERE and err.startswith("env: "):
            raise ClusterError(
                "sbatch cannot be started here ({}).".format(words),
                "Is the cluster's workload_manager right, and is it on the PATH of a login without terminal?",
                condition="submission_rejected",
            )
        if rc <= 0 or rc > _SIGNALLED or ids or not words:
            # Killed, or cut off: the job may be in the queue all the same.
            text = "sbatch gave no job id (exit status {}); it said: {}".format(rc, words or "nothing")
            raise ClusterError(text, transient=True, condition="submission_rejected")
        later = slurm_text.away(err + out) or slurm_text.full(err + out)
        raise ClusterError(
            "Slurm did not take the job: {}.".format(words),
            hint="" if later else _hint(words),
            transient=later,
            condition="submission_rejected",
        )

    def queue(self, user: str) -> List[str]:
        """All states, so that for MinJobAge (300 s by default) an end is known without the accounting."""
        # SLURM_BITSTR_LEN=0: task expressions are not cut off after 64 characters (squeue(1)). The unset ones would hide jobs.
        return [
            "env", "-u", "SQUEUE_ACCOUNT", "-u", "SQUEUE_PARTITION", "-u", "SQUEUE_QOS", "-u", "SQUEUE_LICENSES",
            "SLURM_BITSTR_LEN=0", "squeue", "--noheader", "--states=all", "--user=" + user,
            "--format=" + slurm_text.QUEUE_FORMAT,
        ]  # fmt: skip

    def parse_queue(self, out: str, rc: int = 0, err: str = "") -> List[base.Element]:
        slurm_text.answered("squeue", out, rc, err)
        return slurm_text.queue_elements(out)

    def history(self, ids: Sequence[str], since: str) -> List[str]:
        """Job and step rows: that a step ran out of memory shows on the step's row only.

        The end lies ahead: an accounting clock that is fast would otherwise hide young jobs.
        """
        if not ids:
            return ["true"]
        return _sacct(slurm_text.HISTORY_FIELDS, since) + ["--jobs=" + ",".join(ids)]

    def parse_history(self, out: str, rc: int = 0, err: str = "") -> List[base.Element]:
        slurm_text.answered("sacct", out, rc, err)
        return slurm_text.history_elements(out)

    def find(self, name: str, since: str) -> List[List[str]]:
        return [
            ["squeue", "--noheader", "--states=all", "--name=" + name, "--format=" + slurm_text.FIND_FORMAT],
            _sacct(slurm_text.FIND_FIELDS, since) + ["--allocations", "--name=" + name],
        ]

    def parse_find(self, out: str, rc: int = 0, err: str = "", name: str = "") -> List[str]:  # noqa: ARG002
        slurm_text.answered("squeue or sacct", out, rc, err)
        return slurm_text.found_ids(out)

    def cancel(self, native_id: str, name: str = "") -> List[str]:
        """With the name: a controller that lost its state uses an id again, and another job of the user's may have it now."""
        return ["scancel", native_id] + (["--name=" + name] if name else [])

    def hold(self, native_id: str) -> List[str]:
        return ["scontrol", "hold", native_id]

    def release(self, native_id: str) -> List[str]:
        return ["scontrol", "release", native_id]

    def acted(self, rc: int, out: str, err: str) -> bool:
        text = err + out
        # scancel and scontrol may complain and still end with 0.
        if slurm_text.gone(text):
            return False
        if rc == 0 and "error" not in text.lower():
            return True
        raise ClusterError(
            "Slurm did not do it: {}".format(slurm_text.words(text) or "exit code {}".format(rc)),
            transient=slurm_text.away(text),
        )

    def facts(self) -> List[List[str]]:
        return [
            ["sinfo", "--noheader", "--Node", "--Format=" + slurm_text.NODES_FORMAT],
            ["env", "SLURM_BITSTR_LEN=0", "squeue", "--noheader", "--states=PENDING,RUNNING", "--format=%T %i"],
        ]

    def parse_facts(self, outs: Sequence[str]) -> Dict[str, Any]:
        status = {}  # type: Dict[str, Any]
        if outs and outs[0].strip():
            status.update(slurm_text.node_facts(outs[0]))
        if len(outs) > 1 and status:
            status.update(slurm_text.job_counts(outs[1]))
        return status


# What to change in the input, by a word in what sbatch said.
_HINTS = (
    ("partition", "Choose another partition with resources.queue; `sinfo -s` lists them."),
    ("account", "Name your account with resources.account."),
    ("qos", "Choose another quality of service with resources.qos."),
    ("time limit", "Shorten resources.duration, or choose another partition with resources.queue."),
    ("memory", "Lower resources.memory_per_thread or resources.memory_per_node."),
    ("node configuration", "Ask for less in resources, or choose another partition with resources.queue."),
    ("job array", "Write another resources.array, or set the cluster's max_array_size."),
    ("--nice", "Only operators of the cluster may raise a priority: give resources.priority a negative number."),
    ("reservation", "Correct resources.reservation; `scontrol show reservation` lists them."),
    ("feature", "Correct resources.constraint; `sinfo -o %f` lists the features."),
    ("license", "Correct resources.licenses; `scontrol show licenses` lists them."),
    ("gres", "Correct the GPUs in resources; `sinfo -o %G` lists what the nodes have."),
    ("option", "Correct scheduler_options: sbatch does not know one of them."),
)


def _hint(words: str) -> str:
    found = [hint for word, hint in _HINTS if word in words.lower()]
    return found[0] if found else "Correct resources or scheduler_options, then submit again."


def _resource_options(resources: "Resources") -> List[str]:
    options = []
    if resources.array is not None:
        options.append("--array=" + resources.array.text)
    if resources.seconds is not None:
        options.append("--time=" + units.clock(resources.seconds))
    options += _placement_options(resources)
    if resources.threads_per_rank is not None:
        options.append("--cpus-per-task={}".format(resources.threads_per_rank))
    if resources.memory_per_cpu is not None:
        options.append("--mem-per-cpu=" + _mib(resources.memory_per_cpu))
    if resources.memory_per_node is not None:
        options.append("--mem=" + _mib(resources.memory_per_node))
    return options + _gpu_options(resources) + _site_options(resources) + _running_options(resources)


def _mib(size: int) -> str:
    # Whole MiB, rounded up: 0 would mean all of the node's memory (sbatch(1), --mem-per-cpu).
    return "{}M".format(max(1, -(-size // units.MIB)))


def _gpu_options(resources: Resources) -> List[str]:
    """`--gres` is for each node and understood by every version; `--gpus-per-task` by 19.05 and later."""
    kind = resources.gpu_type + ":" if resources.gpu_type else ""
    options = []
    if resources.gpus_per_node is not None:
        options.append("--gres=gpu:{}{}".format(kind, resources.gpus_per_node))
    if resources.gpus_per_rank is not None:
        options.append("--gpus-per-task={}{}".format(kind, resources.gpus_per_rank))
    return options


def _site_options(resources: Resources) -> List[str]:
    options = [
        "--{}={}".format(name, value)
        for name, value in (
            ("account", resources.account),
            ("qos", resources.qos),
            ("reservation", resources.reservation),
            ("constraint", resources.constraint),
            ("licenses", ",".join(resources.licenses)),
        )
        if value
    ]
    return options + (["--exclusive"] if resources.exclusive else [])


def _running_options(resources: Resources) -> List[str]:
    """When it may start, how early, what it hears before its end, and whether it may run again."""
    options = []
    if resources.begin:
        options.append("--begin=" + local_time(resources.begin).strftime("%Y-%m-%dT%H:%M:%S"))
    if resources.priority is not None:
        # --priority is for operators, and Slurm drops it without a word for everybody else (measured on 22.05). --nice lowers
        # a job for everybody, and raising one is refused aloud.
        options.append("--nice={}".format(-resources.priority))
    if resources.signal is not None:
        options.append("--signal=B:{}@{}".format(*resources.signal))
    if resources.requeue is not None:
        options.append("--requeue" if resources.requeue else "--no-requeue")
    return options


def _placement_options(resources: "Resources") -> List[str]:
    processes = resources.ranks
    if resources.distribution == "distributed" and processes is None:
        # Without a number of tasks sbatch assumes one a node; said here so that SLURM_NTASKS is set as well.
        processes = resources.nodes
    options = [] if processes is None else ["--ntasks={}".format(processes)]
    if resources.ranks_per_node is not None:
        options.append("--ntasks-per-node={}".format(resources.ranks_per_node))
    if resources.distribution == "grouped":
        options.append("--nodes=1")
    elif resources.distribution == "scattered":
        options.append("--ntasks-per-node=1")
        options += [] if processes is None else ["--nodes={}".format(processes)]
    elif resources.nodes is not None:
        options.append("--nodes={}".format(resources.nodes))
    return options


def _escaped(option: str) -> str:
    """One option as sbatch reads it from a directive: quoted, a backslash keeps the next character (measured on 22.05)."""
    if _CONTROL.search(option):
        raise UserError("{!r} cannot stand in a batch script: it holds a control character.".format(option))
    if _SAFE.match(option):
        return option
    name, _, value = option.partition("=")
    return '{}="{}"'.format(name, re.sub(r'(["\\])', r"\\\1", value))


def _sacct(fields: Sequence[str], since: str) -> List[str]:
    # Else task expressions are cut off after 64 characters (sacct(1), SLURM_BITSTR_LEN).
    return [
        "env", "SLURM_BITSTR_LEN=0", "sacct", "--noheader", "--parsable", "--delimiter=" + base.SEPARATOR, "--starttime=" + since,
        "--endtime=now+2days", "--format=" + ",".join(fields),
    ]  # fmt: skip
