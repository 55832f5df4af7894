"""What a job runs, and the environment it sees: pieces of the batch script, and the text of `scripts/run`. Pure."""

import os
import re
from typing import TYPE_CHECKING, Any, List, Mapping, Tuple

from project.core import launchers
from project.core.errors import UserError
from project.core.lines import Line, ours
from project.core.process import quote

if TYPE_CHECKING:
    from project.core.jobspec import JobSpec
    from project.core.paths import JobPaths
    from project.core.schedulers.base import Scheduler

SHELL = "/bin/sh"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_LINE = r"""
jobferry_command={number}
{run}
jobferry_code=$?
[ "$jobferry_code" -eq 0 ] && [ "$jobferry_stop" -eq 0 ] || exit "$jobferry_code"
"""
# {missing} is a condition that is true when the program is not there.
_THERE = r"""
if {missing}; then
  echo {message}" $(uname -n)." >&2
  exit 127
fi
"""
# What stays when the environment is not inherited. HOME, USER, LOGNAME, SHELL: POSIX, "Other Environment Variables", and login(1).
# The workload managers' own: sbatch(1), qsub(1B), qsub(1), bsub(1), flux-environment(7), condor_submit(1); the GPUs' ones are set by
# them to what the job may use.
_KEPT = (
    "HOME|USER|LOGNAME|SHELL|TMPDIR|PWD|jobferry_*|JOBFERRY_*|SLURM_*|SLURMD_*|PBS_*|NCPUS|SGE_*|JOB_ID|JOB_NAME|TASK_ID|RESTARTED|PE"
    "|PE_HOSTFILE|NHOSTS|NSLOTS|NQUEUES|QUEUE|LSB_*|LSF_*|LS_*|FLUX_*|_CONDOR_*|CUDA_VISIBLE_DEVICES|ROCR_VISIBLE_DEVICES"
    "|HIP_VISIBLE_DEVICES|ZE_AFFINITY_MASK|GPU_DEVICE_ORDINAL"
)
_EMPTIED = r"""
for jobferry_variable in $(export -p | sed -n -e 's/^export \([A-Za-z_][A-Za-z0-9_]*\).*/\1/p' \
  -e 's/^declare -[A-Za-z]*x[A-Za-z]* \([A-Za-z_][A-Za-z0-9_]*\).*/\1/p'); do
  case $jobferry_variable in
    {kept}) ;;
    *) command unset "$jobferry_variable" 2>/dev/null || : ;;
  esac
done
PATH=/usr/local/bin:$(command -p getconf PATH 2>/dev/null || echo /usr/bin:/bin)
export PATH
# Functions that bash takes from the environment.
for jobferry_variable in $(env | sed -n 's/^BASH_FUNC_\([A-Za-z_][A-Za-z0-9_]*\)%%=.*/\1/p'); do
  unset -f "$jobferry_variable"
done
"""


def run_text(script: str) -> str:
    """The text of `scripts/run`: the input's `script`, with a first line that says what runs it.

    A first line that ends as on Windows is no interpreter's name; it is repaired, with every other line when all of them
    end so, and alone when they do not.
    """
    # The mark that some editors put first (U+FEFF): with it the kernel sees no `#!`.
    script = script.lstrip("\ufeff")
    first, newline, rest = script.partition("\n")
    if newline and first.endswith("\r"):
        every = rest.count("\n") == rest.count("\r\n")
        script = script.replace("\r\n", "\n") if every else first.rstrip("\r") + newline + rest
    elif first.endswith("\r"):
        script = first.rstrip("\r") + "\n"
    return script if interpreter(script)[0] else "#!{}\n{}".format(SHELL, script)


def interpreter(script: str) -> Tuple[str, str]:
    """The program that the first line names, and the one argument that it gets (execve(2), "Interpreter scripts"); "" = none."""
    first = script.partition("\n")[0].rstrip("\r")
    words = first[2:].strip(" \t").split(None, 1) if first.startswith("#!") else []
    return (words + ["", ""])[0], (words + ["", ""])[1].strip(" \t")


def execution(spec: "JobSpec", paths: "JobPaths") -> List[Line]:
    """The lines that run the job: `execution` one after the other, or `scripts/run`. The first failure ends it."""
    if not spec.script:
        found: List[Line] = []
        for number, line in enumerate(spec.execution):
            text = _LINE.format(number=number + 1, run="eval " + quote(line)).strip("\n")
            found.append(Line("\n" + text, "execution[{}]".format(number)))
        return found
    run = quote(paths.run)
    return [
        Line("\n" + _there(run_text(spec.script)) + _LINE.format(number=1, run=run).strip("\n"), "script"),
    ]


def _there(text: str) -> str:
    """A check that the interpreter is there: a shell's own words for it blame the script."""
    program, argument = interpreter(text)
    name = argument.split()[0] if argument else ""
    if os.path.basename(program) == "env" and name and not name.startswith("-") and "=" not in name:
        missing, wanted = "! command -v {} > /dev/null 2>&1".format(quote(name)), name
    else:
        missing, wanted = "[ ! -x {} ]".format(quote(program)), program
    message = "jobferry: the script's first line asks for {}, which is not on".format(wanted)
    return _THERE.format(missing=missing, message=quote(message)).lstrip("\n")


def emptied() -> List[Line]:
    """Takes the inherited environment away but for what stays (`inherit_environment: false`)."""
    return [Line(line.text, "inherit_environment") for line in ours(_EMPTIED.format(kept=_KEPT))]


def exports(env: Mapping[str, str], key: str = "env") -> List[Line]:
    """The variables of `env`. Raises UserError for a name that is none."""
    for name in env:
        if not _VARIABLE.match(name):
            raise UserError("{}: {!r} is no name of a variable.".format(key, name))
    return [Line("export {}={}".format(name, quote(value)), "{}.{}".format(key, name)) for name, value in env.items()]


def psik_variables(spec: "JobSpec", cluster: Mapping[str, Any], scheduler: "Scheduler") -> List[Line]:
    """psik's own variables (its README, "Environment during job execution"); the user's `env` may set them otherwise."""
    found = launchers.words(spec, cluster, scheduler) or launchers.ONE_COPY
    known = launchers.nodes(spec.resources)
    return [
        Line("jobferry_nodes=" + scheduler.nodes_expression),
        Line(
            "case $jobferry_nodes in '' | 0 | *[!0-9]*) jobferry_nodes={} ;; esac".format(
                "" if known is None else known
            )
        ),
        Line("mpirun=$(printf '\\001%s' {})".format(launchers.text(found)), launchers.origin(spec, cluster)),
        Line('export mpirun="${mpirun#?}" nodes="$jobferry_nodes" base="$jobferry_folder"'),
        Line('export jobndx="$jobferry_run" jobid="$jobferry_native"'),
    ]


def own_variables(
    spec: "JobSpec", cluster: Mapping[str, Any], scheduler: "Scheduler", uuid: str, work: str, elements: int
) -> List[Line]:
    """JOBFERRY_…: all that the job knows of itself; empty is what is not known. Nobody else sets them.

    :param elements: how many elements the job has, 0 for one that is no array.
    """
    ranks = launchers.ranks(spec.resources)
    launcher = Line(
        "export JOBFERRY_LAUNCHER={}".format(quote(launchers.text(launchers.words(spec, cluster, scheduler)))),
        launchers.origin(spec, cluster),
    )
    values = {
        "JOBFERRY_JOB": quote(uuid),
        "JOBFERRY_JOB_NAME": quote(spec.name),
        "JOBFERRY_RUN": '"$jobferry_run"',
        "JOBFERRY_INDEX": '"$jobferry_index"',
        "JOBFERRY_ARRAY_SIZE": str(elements or ""),
        "JOBFERRY_NATIVE_ID": '"$jobferry_native"',
        "JOBFERRY_CLUSTER": quote(str(cluster.get("name") or "")),
        "JOBFERRY_WORKLOAD_MANAGER": quote(scheduler.name),
        "JOBFERRY_JOB_DIRECTORY": '"$jobferry_folder"',
        "JOBFERRY_WORK": quote(work),
        "JOBFERRY_NODES": '"$jobferry_nodes"',
        "JOBFERRY_RANKS": str(ranks or ""),
        "JOBFERRY_THREADS_PER_RANK": str(spec.resources.threads_per_rank or ""),
    }
    return [Line("export {}={}".format(name, value)) for name, value in values.items()] + [launcher]
