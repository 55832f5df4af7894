"""PSI/J's JobSpec, in the form that its JSONSerializer writes, as an input of jobferry. Pure.

The fields are those of psij/job_spec.py, resource_spec.py (ResourceSpecV1) and job_attributes.py; the serialised form is that
of psij/serialize.py: `__version` in `resources`, a duration as `"600.0 s"`. What PSI/J leaves to its launchers
(psij/launchers/scripts) and to its script for a batch system (pre_launch, the redirections, post_launch) becomes the job's script.

A path means the same as in PSI/J: one on the machine where the job runs, from the job's folder when it is relative.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from project.core.process import quote
from project.core.schema import shown
from project.core.words import did_you_mean
from project.spec import conversion
from project.spec.conversion import Conversion, Draft, Fields

if TYPE_CHECKING:
    from project.core.schedulers.base import Scheduler

FIELDS = (
    "name",
    "executable",
    "arguments",
    "directory",
    "inherit_environment",
    "environment",
    "stdin_path",
    "stdout_path",
    "stderr_path",
    "resources",
    "attributes",
    "pre_launch",
    "post_launch",
    "launcher",
    "stage_in",
    "stage_out",
    "cleanup",
    "cleanup_flags",
)
RESOURCES = (
    "__version",
    "version",
    "node_count",
    "process_count",
    "processes_per_node",
    "cpu_cores_per_process",
    "gpu_cores_per_process",
    "exclusive_node_use",
    "memory",
)
ATTRIBUTES = ("duration", "queue_name", "account", "project_name", "reservation_id", "custom_attributes")
# PSI/J's own name of a launcher → ours; "" = the script starts the program itself.
LAUNCHERS = {
    "single": "",
    "multiple": "",
    "mpirun": "mpirun",
    "srun": "srun",
    "aprun": "aprun",
    "jsrun": "jsrun",
}
# The first part of a custom attribute's name is an executor's; its workload manager here.
EXECUTORS = {
    "slurm": "slurm",
    "pbs": "pbs",
    "pbspro": "pbs",
    "pbs_classic": "pbs",
    "lsf": "lsf",
    "sge": "sge",
    "flux": "flux",
    "htcondor": "htcondor",
    "at": "at",
    "local": "local",
    "cobalt": "",
    "nqsv": "",
    "rp": "",
}
STAGING = ("stage_in", "stage_out", "cleanup", "cleanup_flags")
LONGEST_NAME = 100
KIB = 1024
# psij/job_attributes.py: the default of `duration`, in minutes.
DURATION = 10

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AMOUNT = re.compile(r"\s*(\d{1,12}(?:\.\d*)?)\s*([smhd])\s*\Z")
_CLOCK = re.compile(r"\s*(?:(\d{1,6}) days?, *)?(\d{1,6}):(\d{1,2})(?::(\d{1,2})(?:\.\d*)?)?\s*\Z")


def convert(data: dict[str, Any], scheduler: Scheduler | None = None) -> Conversion:
    """A JobSpec as an input; as `psik.convert`. Raises InputError with every problem; its keys are the specification's."""
    draft = Draft("PSI/J", scheduler)
    spec = Fields(draft, data, FIELDS)
    _name(draft, spec)
    draft.put("directory", spec.text("directory"), "directory")
    draft.put("inherit_environment", spec.truth("inherit_environment"), "inherit_environment")
    draft.put("env", spec.words("environment") or None, "environment")
    for name in STAGING:
        if spec.data.get(name):
            hint = "Bring files with the keys `job` and `output` of jobferry's own input."
            draft.problem(name, "cannot be taken: files are staged in another way here.", None, hint)
    _attributes(draft, Fields(draft, spec.data.get("attributes"), ATTRIBUTES, "attributes"))
    count = _resources(draft, Fields(draft, spec.data.get("resources"), RESOURCES, "resources"))
    _program(draft, spec, count)
    return draft.done()


def _name(draft: Draft, spec: Fields) -> None:
    name = spec.text("name")
    # PSI/J calls a job without a name as its executable, and writes that down.
    if name != spec.data.get("executable") or len(name) <= LONGEST_NAME:
        draft.put("name", name, "name")


def _program(draft: Draft, spec: Fields, count: int) -> None:
    executable = spec.text("executable")
    if not executable and not isinstance(spec.data.get("executable"), list | dict | int | float):
        draft.problem("executable", "is missing: it is the program to run.")
    launcher = spec.text("launcher") or "single"
    if launcher not in LAUNCHERS:
        hint = did_you_mean(launcher, LAUNCHERS) or f"It is one of {', '.join(LAUNCHERS)}."
        draft.problem("launcher", f"there is no launcher {shown(launcher)}.", None, hint)
    draft.put("launcher", LAUNCHERS.get(launcher, ""), "launcher")
    paths = {
        name: spec.text(name) for name in ("stdin_path", "stdout_path", "stderr_path", "pre_launch", "post_launch")
    }
    words = [executable, *_arguments(draft, spec)]
    draft.put("script", _text(words, launcher, count, paths), "executable")


def _arguments(draft: Draft, spec: Fields) -> list[str]:
    value = spec.data.get("arguments")
    if value is None:
        return []
    if not isinstance(value, list):
        draft.problem("arguments", f"is not a list but {shown(value)}.")
        return []
    for number, word in enumerate(value):
        if not isinstance(word, str):
            draft.problem(f"arguments[{number}]", f"is not text but {shown(word)}.")
    return [str(word) for word in value]


def _text(words: list[str], launcher: str, count: int, paths: dict[str, str]) -> str:
    """The script: pre_launch, the program by its launcher, post_launch; its exit status is the program's.

    As in PSI/J's launchers, a line of pre_launch or post_launch that fails ends the job. Of several copies it is the first
    exit status that is not 0.
    """
    command = conversion.shell_words(words)
    streams = ""
    append = ">" if launcher == "multiple" else ""
    for sign, name in ((f">{append}", "stdout_path"), (f"2>{append}", "stderr_path"), ("<", "stdin_path")):
        streams += f" {sign} {quote(paths[name])}" if paths[name] else ""
    lines = [conversion.BASH_OR_SH.rstrip("\n")]
    lines += _sourced(paths["pre_launch"])
    if launcher == "multiple":
        lines += _MULTIPLE.format(count=count, command=command, streams=streams).strip("\n").split("\n")
    else:
        lines.append(_launched(command) + streams if LAUNCHERS.get(launcher) else command + streams)
        lines.append("psij_code=$?")
    lines += _sourced(paths["post_launch"])
    return "\n".join([*lines, 'exit "$psij_code"', ""])


_MULTIPLE = """
export _PSI_J_PROCESS_COUNT={count}
psij_pids= psij_index=1 psij_code=0
while [ "$psij_index" -le {count} ]; do
  _PSI_J_PROCESS_INDEX_=$psij_index {command}{streams} &
  psij_pids="$psij_pids $!" psij_index=$(( psij_index + 1 ))
done
for psij_pid in $psij_pids; do
  wait "$psij_pid"
  psij_one=$?
  [ "$psij_code" -ne 0 ] || psij_code=$psij_one
done
"""


def _launched(command: str) -> str:
    # JOBFERRY_LAUNCHER is a command line of words that are quoted for the shell.
    return f'eval "$JOBFERRY_LAUNCHER "{quote(command)}'


def _sourced(path: str) -> list[str]:
    if not path:
        return []
    # `.` looks for a name without a slash in PATH.
    return ["set -e", ". " + quote(path if "/" in path else f"./{path}"), "set +e"]


def _resources(draft: Draft, resources: Fields) -> int:
    """Take the resources; the number of processes, as ResourceSpecV1 computes it."""
    for name in ("__version", "version"):
        if resources.data.get(name) not in {None, 1}:
            draft.problem(resources.at(name), f"is {shown(resources.data[name])}; version 1 is known.")
    nodes, total, each = (resources.whole(name) for name in ("node_count", "process_count", "processes_per_node"))
    draft.put("resources.nodes", nodes, "resources.node_count")
    draft.put("resources.ranks", total, "resources.process_count")
    draft.put("resources.ranks_per_node", each, "resources.processes_per_node")
    for name, key in (("cpu_cores_per_process", "threads_per_rank"), ("gpu_cores_per_process", "gpus_per_rank")):
        draft.put(f"resources.{key}", resources.whole(name), f"resources.{name}")
    exclusive = resources.truth("exclusive_node_use")
    draft.put("resources.exclusive", exclusive, "resources.exclusive_node_use")
    count = _computed(draft, nodes, total, each)
    memory = resources.whole("memory")
    if memory:
        share = -(-memory // (nodes or (total // each if total and each else 1)))
        draft.put("resources.memory_per_node", f"{-(-share // KIB)}K", "resources.memory")
    return count


def _computed(draft: Draft, nodes: int | None, total: int | None, each: int | None) -> int:
    """process_count = node_count * processes_per_node: what is missing of it, and that it holds."""
    place = "resources.process_count"
    if total and each and not nodes and total % each:
        draft.problem(place, f"is {total}, which is no multiple of processes_per_node ({each}).")
    elif total and nodes and not each and total % nodes:
        draft.problem(place, f"is {total}, which is no multiple of node_count ({nodes}).")
    elif total and nodes and each and total != nodes * each:
        draft.problem(place, f"is {total}, but {nodes} nodes with {each} processes each are {nodes * each}.")
    count = total or (nodes or 1) * (each or 1)
    if total or each:
        number = total // each if total and each else 1
        draft.default("nodes", number, f"{number} node{'s' if number > 1 else ''}, computed from the processes,")
    if nodes or each:
        draft.default("ranks", count, f"{count} process{'es' if count > 1 else ''} in all, computed,")
    return count


def _attributes(draft: Draft, attributes: Fields) -> None:
    account, project = attributes.text("account"), attributes.text("project_name")
    if account and project and account != project:
        draft.problem("attributes.project_name", "is another name of account, which says something else.")
    draft.put("resources.account", account or project, "attributes.account" if account else "attributes.project_name")
    draft.put("resources.queue", attributes.text("queue_name"), "attributes.queue_name")
    draft.put("resources.reservation", attributes.text("reservation_id"), "attributes.reservation_id")
    for name, value in attributes.mapping("custom_attributes").items():
        _custom(draft, str(name), value)
    if attributes.data.get("duration") is None:
        draft.default("seconds", f"{DURATION}m", f"A duration of {DURATION} minutes")
        return
    seconds = duration(attributes.data["duration"])
    if seconds is None:
        hint = "Write it as 600 s, 10m, 1h, HH:MM, HH:MM:SS, or minutes as text."
        draft.problem("attributes.duration", f"is no duration: {shown(attributes.data['duration'])}.", None, hint)
    elif seconds:
        draft.put("resources.duration", f"{seconds}s", "attributes.duration")


def duration(value: Any) -> int | None:
    """A duration in whole seconds, rounded up; None for what is none.

    A text is what JobAttributes.parse_walltime takes (`hh:mm:ss`, `hh:mm`, minutes, a number with h, m or s) and what the
    serializer writes (`600.0 s`, which PSI/J itself reads back as 0 s), or Python's own text of a timedelta. A number is
    seconds.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12:
        return -int(-value // 1)
    text = value if isinstance(value, str) else ""
    if re.fullmatch(r"\s*\d{1,12}\s*", text):
        return int(text) * 60
    match = _AMOUNT.match(text)
    if match:
        return -int(-float(match.group(1)) * _UNITS[match.group(2)] // 1)
    match = _CLOCK.match(text)
    if not match:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _custom(draft: Draft, name: str, value: Any) -> None:
    """`slurm.qos` is an option of sbatch; one of another workload manager is not for this cluster, as in PSI/J."""
    place = Fields(draft, None, (), "attributes.custom_attributes").at(name)
    executor, dot, option = name.partition(".")
    executor = executor.lower()
    if not dot or not option or executor not in EXECUTORS:
        known = did_you_mean(executor, EXECUTORS)
        hint = known or "Its name starts with the workload manager's, as slurm.qos does."
        draft.problem(place, "is for no workload manager that is known.", None, hint)
        return
    if value is not None and not isinstance(value, str | int | float):
        draft.problem(place, f"is not text but {shown(value)}.")
        return
    if draft.scheduler is not None and EXECUTORS[executor] != draft.scheduler.name:
        draft.notes.append(f"{name} is not used: the cluster's workload manager is {draft.scheduler.name}.")
        return
    dashes = "--" if EXECUTORS[executor] in {"slurm", "flux"} and len(option) > 1 else "-"
    if value is False:
        draft.problem(place, "is false, which no option can say.", None, "Leave it out.")
        return
    draft.option(conversion.option_text(dashes + option, value), place)
