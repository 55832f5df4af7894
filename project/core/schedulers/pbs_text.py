"""What the programs of PBS print, understood: rows become `Element`s. Pure. PBS Pro, OpenPBS and Torque.

`qstat -f` prints one block a job: `Job Id: 123.server`, then `    name = value` lines. A value is cut at column 79, in the
middle of a word too, and goes on after a tab (src/cmds/qstat.c, prt_attr); where pages show it, after eight spaces.
"""

import re
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from project.core.errors import ClusterError
from project.core.schedulers import base, complaints
from project.core.schedulers.base import Element

# The variable in a job's Variable_List that bears the batch job's whole name; Job_Name may be cut to 15 characters.
NAME_VARIABLE = "JOBFERRY_BATCH_NAME"

# qstat(1B), "Job State".
LIVE = {
    "B": (base.RUNNING, ""),
    "E": (base.RUNNING, ""),
    "H": (base.HELD, ""),
    "M": (base.UNKNOWN, ""),
    "Q": (base.WAITING, ""),
    "R": (base.RUNNING, ""),
    "S": (base.HELD, ""),
    "T": (base.WAITING, ""),
    "U": (base.HELD, ""),
    "W": (base.WAITING, ""),
}
_OVER = ("F", "X", "C")
# Exit_status below zero. PBS Pro: src/include/job.h, JOB_EXEC_…; what is not here could not be started (exit_code, none).
_PRO_ENDS = {
    -14: "node_failure",
    -20: "node_failure",
    -24: "cancelled_by_scheduler",
    -25: "cancelled_by_scheduler",
    -26: "out_of_memory",
    -27: "out_of_memory",
    -28: "timeout",
    -29: "timeout",
}
# Torque: src/include/pbs_job.h. The same numbers have other meanings.
_TORQUE_ENDS = {
    -4: "node_failure",
    -5: "node_failure",
    -6: "node_failure",
    -10: "out_of_memory",
    -11: "timeout",
    -12: "timeout",
}
# PBS Pro: src/include/job.h, JOB_SUBSTATE_…
_TERMINATED = "91"
_DEPENDS = "22"
_SIGNAL = 256
# What a job says that was told to end: the batch script answers SIGTERM with 143; else the shell dies of it (256 + 15).
_TOLD = (256 + 15, 256 + 9, 128 + 15, 128 + 9)

_ID = re.compile(r"(\d+)(?:\[(\d*)\])?(?:\.[A-Za-z0-9._-]+)?\Z")
_ATTRIBUTE = re.compile(r" {4}([A-Za-z_][A-Za-z0-9_.:-]*) = ?(.*)\Z")
_NAMED = re.compile(NAME_VARIABLE + r"=([A-Za-z0-9._-]+)")
_EXCEEDED = re.compile(r"exceeded (?:resource |limit )?(\w+)|(\w+) [0-9:.]+\w* exceeded limit")
_RESOURCES = {"walltime": "timeout", "cput": "timeout", "mem": "out_of_memory", "vmem": "out_of_memory"}

_AWAY = re.compile(
    r"cannot connect to server|couldn't connect|could not connect|connection (refused|reset|timed out)|communication failure|"
    r"no route to host|pbs_iff|trqauthd|munge|batch protocol error|premature end|end of file|expired credential|"
    r"invalid credential|server shutting down|no free connections|connection table full|time[d ]? ?out|"
    r"can not establish connection|socket|internal error|errno=|temporarily|try again|server_name",
    re.IGNORECASE,
)
_FULL = re.compile(
    r"maximum number of jobs|would exceed|exceeds? (?:the )?(?:user|queue|server)'?s? ?(?:job )?limit|"
    r"resource temporarily unavailable|queue is not enabled|license unavailable|no space left|disk quota",
    re.IGNORECASE,
)
_GONE = re.compile(
    r"unknown job ?id|unknown array id|job has finished|job not found|invalid for state of job|invalid state for|"
    r"already in exit state|delete already in progress|request invalid for finished",
    re.IGNORECASE,
)
# What a question may be answered with although its exit status is not 0: it says something of some jobs only.
_ABOUT_JOBS = re.compile(r"unknown job ?id|unknown array id|job has finished|job not found", re.IGNORECASE)
_NO_HISTORY = re.compile(r"not configured to maintain job history", re.IGNORECASE)


class Block(NamedTuple):
    """One object of a `-f` answer: its id and its attributes, values whole again."""

    native_id: str
    attributes: Dict[str, str]


# What was said in one line; does it mean: a daemon is away, not now, no such job.
_SAID = complaints.Complaints(re.compile(r"^q\w+: "), _AWAY, _FULL, _GONE)
words, away, full, gone = _SAID.words, _SAID.away, _SAID.full, _SAID.gone


def answered(program: str, out: str, rc: int, err: str) -> None:
    """Raise ClusterError(transient) unless the program answered.

    A question about many jobs of which one is gone is answered for the others, with the exit status 153 (15001, unknown)
    or 35 (15139, finished): what it printed counts. Whatever else goes wrong makes it no answer.
    """
    complaints = [line for line in err.splitlines() if line.strip()]
    others = [line for line in complaints if not _ABOUT_JOBS.search(line) and not _NO_HISTORY.search(line)]
    if rc == 0 and (out.strip() or not others):
        return
    if rc > 0 and complaints and not others:
        return
    said = words(err or out) or "nothing"
    raise ClusterError("{} gave no answer (exit status {}): {}".format(program, rc, said[:500]), transient=True)


def blocks(out: str, head: str = r"Job Id:\s*(\S+)") -> Iterator[Block]:
    """The objects in an answer of `qstat -f`; whatever stands before the first one (a greeting) is left out."""
    start = re.compile(head + r"\s*\Z")
    current = None  # type: Optional[Block]
    last = ""
    for raw in out.splitlines():
        line = raw.rstrip("\r\n")
        begins = start.match(line)
        if begins:
            if current is not None:
                yield current
            current, last = Block(begins.group(1), {}), ""
        elif current is not None and line.strip():
            attribute = _ATTRIBUTE.match(line)
            if attribute:
                last = attribute.group(1)
                current.attributes[last] = attribute.group(2)
            elif last and line[0] in " \t":
                # A space after the tab is the value's own.
                current.attributes[last] += line[1:] if line[0] == "\t" else line.lstrip(" ")
    if current is not None:
        yield current


class _Id(NamedTuple):
    native_id: str
    index: Optional[int]  # type: ignore[assignment]  # hides tuple.index, which nobody needs here


def job_id(text: str) -> Optional[_Id]:
    """`123.server`, `123[].server` (an array) or `123[4].server`, without the server; None for anything else."""
    match = _ID.match(text.strip())
    if not match:
        return None
    number, index = match.groups()
    if index is None:
        return _Id(number, None)
    return _Id(number + "[]", int(index) if index else None)


def elements(out: str, torque: bool) -> List[Element]:
    """The jobs and elements in an answer of `qstat -f -t`. The row of an array as a whole is left out."""
    found = []
    for block in blocks(out):
        job = job_id(block.native_id)
        if job is None or "job_state" not in block.attributes:
            continue
        if job.native_id.endswith("[]") and job.index is None:
            continue
        element = _element(job, block.attributes, torque)
        if element is not None:
            found.append(element)
    return found


def _element(job: _Id, values: Mapping[str, str], torque: bool) -> Optional[Element]:
    letter = values["job_state"]
    if letter in _OVER:
        ending = _ending(values, torque)
        if ending is None:
            return None
        condition, code = ending
        state = base.DONE
    else:
        state, condition = LIVE.get(letter, (base.UNKNOWN, ""))
        code = None
        if letter == "H" and (values.get("substate") == _DEPENDS or re.match(r"[al]+\Z", values.get("Hold_Types", ""))):
            # It waits for other jobs, or (Torque) for the rest of its array (a), or its turn under the throttle (l): nobody holds it.
            state = base.WAITING
    return Element(
        job.native_id, job.index, letter, state, condition, code, _reason(state, values), _fields(job, letter, values),
        restarts=max(0, _whole(values.get("run_count")) - 1), name=name_of(values),
    )  # fmt: skip


def _ending(values: Mapping[str, str], torque: bool) -> Optional[Tuple[str, Optional[int]]]:
    """Condition and exit code of a job that is over; None when the row tells nothing of how it ended."""
    comment = values.get("comment", "")
    if comment.startswith("Subjob "):
        # The server has forgotten the element and shows its array's attributes (src/server/stat_job.c, status_subjob).
        known = {"Subjob finished": ("ok", 0), "Subjob failed": ("exit_code", None)}
        return known.get(comment, ("cancelled_by_scheduler", None))
    exceeded = _EXCEEDED.search(comment) or _EXCEEDED.search(values.get("sched_hint", ""))
    resource = (exceeded.group(1) or exceeded.group(2)) if exceeded else ""
    text = values.get("Exit_status", values.get("exit_status", ""))
    if not re.match(r"-?\d+\Z", text):
        if values.get("substate") == _TERMINATED or (torque and "start_time" not in values):
            return "cancelled_by_scheduler", None
        return ("exit_code", None) if values.get("substate") == "93" else None
    status = int(text)
    if status < 0:
        return (_TORQUE_ENDS if torque else _PRO_ENDS).get(status, "exit_code"), None
    if status == 0:
        return "ok", 0
    code = 128 + status - _SIGNAL if status > _SIGNAL else status
    if resource in _RESOURCES:
        return _RESOURCES[resource], code
    if status in _TOLD and _seconds(values.get("resources_used.walltime")) >= _seconds(
        values.get("Resource_List.walltime"), 1e18
    ):
        return "timeout", code
    if values.get("substate") == _TERMINATED or status == _SIGNAL + 15 or (torque and status == _TOLD[2]):
        return "cancelled_by_scheduler", code
    return "exit_code", code


# Native state → what it means. The letter of an end says only that it is over: `_ending` tells how, from the row's other values.
_OK = (base.DONE, "ok")
PRO_STATES = dict(LIVE, F=_OK, X=_OK)
TORQUE_STATES = {letter: LIVE[letter] for letter in "EHQRSTW"}
TORQUE_STATES["C"] = _OK
STATES = dict(PRO_STATES, C=_OK)


def _reason(state: str, values: Mapping[str, str]) -> str:
    if state == base.HELD:
        # qhold(1B): u = user, o = operator, s = system, p = bad password.
        holds = values.get("Hold_Types", "")
        if "o" in holds.replace("none", "") or "s" in holds:
            return "by an administrator: Hold_Types = {}".format(holds)
        return "by the user: Hold_Types = u" if "u" in holds else ""
    return re.sub(r"\ANot Running: ", "", values.get("comment", "")) if state == base.WAITING else ""


def _fields(job: _Id, word: str, values: Mapping[str, str]) -> Dict[str, str]:
    number = job.native_id[:-2] + "[{}]".format(job.index) if job.index is not None else job.native_id
    shown = {
        "JobID": number,
        "State": word,
        "ExitCode": values.get("Exit_status", values.get("exit_status", "")),
        "Elapsed": values.get("resources_used.walltime", ""),
        "CPUTime": values.get("resources_used.cput", ""),
        "NCPUS": values.get("Resource_List.ncpus", ""),
        "NNodes": values.get("Resource_List.nodect", ""),
        "NodeList": values.get("exec_host", ""),
        "ReqTRES": values.get("Resource_List.select", values.get("Resource_List.nodes", "")),
        "Partition": values.get("queue", ""),
    }
    return {key: value for key, value in shown.items() if value}


def name_of(values: Mapping[str, str]) -> str:
    """The batch job's whole name, if the job bears it."""
    named = _NAMED.search(values.get("Variable_List", ""))
    return named.group(1) if named else values.get("Job_Name", "")


def found_ids(out: str, name: str) -> List[str]:
    """The jobs in a `qstat -f` answer that bear this name; each once, an array as a whole."""
    ids = []  # type: List[str]
    for block in blocks(out):
        job = job_id(block.native_id)
        if job is not None and name and name_of(block.attributes) == name and job.native_id not in ids:
            ids.append(job.native_id)
    return ids


def _whole(text: Optional[str]) -> int:
    return int(text) if text and text.isdigit() and len(text) < 10 else 0


def _seconds(text: Optional[str], default: float = 0.0) -> float:
    """Seconds of `HH:MM:SS`, or of a number of seconds."""
    if not text or not re.match(r"\d+(:\d+){0,3}\Z", text):
        return default
    total = 0
    for part in text.split(":"):
        total = total * 60 + int(part)
    return float(total)


_SIZES = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}


def size(text: str) -> Optional[int]:
    """Bytes of `16330232kb`; None for anything else."""
    match = re.match(r"(\d{1,18})([kmgtp]?)b?\Z", text.strip().lower())
    return int(match.group(1)) * _SIZES[match.group(2) or "b"] if match else None


def node_facts(out: str) -> Dict[str, Any]:
    """Counts of nodes, CPUs and memory from `pbsnodes -a`: a name at the start of a line, `     name = value` below it."""
    total = dict.fromkeys(("nodes", "idle_nodes", "down_nodes", "cpus", "idle_cpus", "memory", "idle_memory"), 0)
    current = {}  # type: Dict[str, str]
    named = False
    for line in [*out.splitlines(), "end"]:
        value = re.match(r"\s+([A-Za-z_.]+) = (.*)\Z", line.rstrip())
        if value:
            current[value.group(1)] = value.group(2).strip()
        elif re.match(r"\S+\s*\Z", line):
            if named and "state" in current:
                _add(total, current)
            current, named = {}, True
    return dict(total) if total["nodes"] else {}


def _add(total: Dict[str, int], node: Mapping[str, str]) -> None:
    states = re.split(r"[,\s]+", node["state"].lower())
    down = any(re.match(r"down|offline|unknown|state-unknown|stale|unresolvable|provisioning", one) for one in states)
    status = dict(part.partition("=")[::2] for part in node.get("status", "").split(","))
    cpus = _whole(node.get("resources_available.ncpus") or node.get("np") or node.get("pcpus"))
    memory = size(node.get("resources_available.mem") or status.get("physmem", "")) or 0
    busy, used = _whole(node.get("resources_assigned.ncpus")), size(node.get("resources_assigned.mem", "")) or 0
    if "np" in node:
        # Torque: `jobs = 0/12.server,1-3/13.server`; availmem counts swap space too.
        busy = sum(_slots(job) for job in node.get("jobs", "").split(",") if "/" in job)
        used = max(0, memory - (size(status.get("availmem", "")) or memory))
    total["nodes"] += 1
    total["down_nodes"] += int(down)
    total["idle_nodes"] += int(not down and not busy and "free" in states)
    total["cpus"] += cpus
    total["memory"] += memory
    if not down:
        total["idle_cpus"] += max(0, cpus - busy)
        total["idle_memory"] += max(0, memory - used)


def _slots(job: str) -> int:
    first, _, last = job.strip().partition("/")[0].partition("-")
    return _whole(last) - _whole(first) + 1 if last else 1


def server_facts(out: str) -> Dict[str, int]:
    """Running and waiting jobs from `qstat -B -f`: `state_count = Transit:0 Queued:3 Held:0 … Begun:0`."""
    for block in blocks(out, r"Server:\s*(\S+)"):
        counts = {
            key: _whole(value) for key, value in re.findall(r"(\w+):(\d+)", block.attributes.get("state_count", ""))
        }
        if counts:
            return {
                "jobs_running": counts.get("Running", 0) + counts.get("Exiting", 0),
                "jobs_waiting": counts.get("Queued", 0) + counts.get("Waiting", 0) + counts.get("Held", 0),
            }
    return {}


def array_limit(out: str) -> Optional[int]:
    """The largest array from `qstat -B -f`, None when the server has no limit of its own."""
    for block in blocks(out, r"Server:\s*(\S+)"):
        text = block.attributes.get("max_array_size") or block.attributes.get("max_job_array_size")
        if text and _whole(text):
            return _whole(text)
    return None
