"""What Slurm's programs print, understood: rows become `Element`s. Pure.

Rows are asked for with the unit separator after every field, the last one too: a field may hold spaces, commas, bars or line
breaks (a working directory may), and a row ends after its last separator, not at the end of a line.
"""

import re
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from project.core.errors import ClusterError
from project.core.schedulers import base, complaints
from project.core.schedulers.base import SEPARATOR, Element

# squeue(1), --format. Free text stands last.
_QUEUE = (
    ("JobID", "%i"),
    ("State", "%T"),
    ("NCPUS", "%C"),
    ("NNodes", "%D"),
    ("Elapsed", "%M"),
    ("Timelimit", "%l"),
    ("Partition", "%P"),
    ("NodeList", "%N"),
    ("JobName", "%j"),
    ("Reason", "%r"),
    ("WorkDir", "%Z"),
)
QUEUE_FORMAT = "".join(code + SEPARATOR for _, code in _QUEUE)
FIND_FORMAT = "%i" + SEPARATOR
FIND_FIELDS = ("JobID",)

# MASI-TFE's job_status fields, then what the verdict needs.
STATUS_FIELDS = (
    "JobID",
    "State",
    "ExitCode",
    "Elapsed",
    "CPUTime",
    "NCPUS",
    "NNodes",
    "NodeList",
    "ReqTRES",
    "AllocTRES",
    "WorkDir",
)
HISTORY_FIELDS = STATUS_FIELDS + ("UID", "Reason", "MaxRSS", "JobName%300")
_HISTORY = tuple(field.partition("%")[0] for field in HISTORY_FIELDS)

# sinfo(1), --Format: a size is needed against cutting off at 20 characters.
_NODES = ("NodeList:128", "StateLong:32", "CPUsState:40", "Memory:24", "AllocMem:24", "Partition:128")
NODES_FORMAT = ",".join(_NODES)
_NODE_WIDTHS = tuple(int(field.partition(":")[2]) for field in _NODES)

# squeue(1), JOB STATE CODES. Anything else is UNKNOWN.
_LIVE = {
    "PENDING": base.WAITING,
    "REQUEUED": base.WAITING,
    "REQUEUE_FED": base.WAITING,
    "CONFIGURING": base.WAITING,
    "POWER_UP_NODE": base.WAITING,
    "REQUEUE_HOLD": base.HELD,
    "RESV_DEL_HOLD": base.HELD,
    "SPECIAL_EXIT": base.HELD,
    "SUSPENDED": base.HELD,
    "RUNNING": base.RUNNING,
    "COMPLETING": base.RUNNING,
    "RESIZING": base.RUNNING,
    "SIGNALING": base.RUNNING,
    "STAGE_OUT": base.RUNNING,
    "STOPPED": base.RUNNING,
}
_ENDED = {
    "COMPLETED": "ok",
    "FAILED": "exit_code",
    "TIMEOUT": "timeout",
    "OUT_OF_MEMORY": "out_of_memory",
    "NODE_FAIL": "node_failure",
    "BOOT_FAIL": "node_failure",
    "LAUNCH_FAILED": "node_failure",
    "RECONFIG_FAIL": "node_failure",
    "PREEMPTED": "preempted",
    "DEADLINE": "deadline",
    "CANCELLED": "cancelled_by_scheduler",
    "REVOKED": "cancelled_by_scheduler",
}
STATES = {word: (state, "") for word, state in _LIVE.items()}
STATES.update((word, (base.DONE, condition)) for word, condition in _ENDED.items())
# 123, 123_4, 123_[5-9,12%2], 123+1 (a component of a heterogeneous job), each with .STEP in sacct.
_JOB_ID = re.compile(r"(\d+)(?:\+\d+)?(?:_(\d+|\[[^\]]*\]))?(?:\.(\S+))?\Z")
_HELD_REASONS = re.compile(r"JobHeld(User|Admin)|launch failed requeued held|job requeued in held state", re.IGNORECASE)
_CANCELLED_BY = re.compile(r"CANCELLED by (\d+)\Z")

_AWAY = re.compile(
    r"unable to contact|socket timed out|connection (refused|reset|timed out)|communication connection|"
    r"connect failure|slurm_receive_msg|zero bytes were transmitted|unexpected message|try again|temporarily|"
    r"slurm_persist_conn_open|problem talking to the database|slurmdbd|backup controller|protocol authentication|"
    r"invalid authentication|munge|controller not responding|resource temporarily unavailable|no route to host",
    re.IGNORECASE,
)
_FULL = re.compile(
    r"submit ?limit|submitjob|MaxSubmit|job submit limit|queue is full|too many jobs|MaxJobCount|"
    r"disk quota|no space left",
    re.IGNORECASE,
)
_GONE = re.compile(
    r"invalid job id|already completing or completed|already finished|job has already|no longer pending execution",
    re.IGNORECASE,
)


def answered(program: str, out: str, rc: int, err: str) -> None:
    """Raise ClusterError(transient) unless the program answered: an empty answer that is none must not be believed."""
    complaint = rc != 0 or (not out.strip() and "error" in err.lower()) or "slurm_load_jobs error" in out + err
    if complaint:
        raise ClusterError(
            "{} gave no answer: {}".format(program, words(err or out) or "exit code {}".format(rc)), transient=True
        )


# What was said in one line; does it mean: a daemon is away, not now, no such job.
_SAID = complaints.Complaints(re.compile(r"^(?:\w+: )?(?:error|fatal): "), _AWAY, _FULL, _GONE)
words, away, full, gone = _SAID.words, _SAID.away, _SAID.full, _SAID.gone


class _Id(NamedTuple):
    job: str
    task: Optional[int]
    span: str
    step: str


def _job_id(text: str) -> Optional[_Id]:
    match = _JOB_ID.match(text.strip())
    if not match:
        return None
    job, task, step = match.groups()
    if task and task.startswith("["):
        return _Id(job, None, task[1:-1], step or "")
    return _Id(job, int(task) if task else None, "", step or "")


def rows(text: str, count: int) -> Iterator[List[str]]:
    """Rows of `count` fields, each ended by a separator."""
    # Cut off one by one, not split at once, and equal fields are one object: an array has 10,000 rows, the watcher 30 MB.
    start = 0
    seen = {}  # type: Dict[str, str]
    while True:
        row = []  # type: List[str]
        while len(row) < count:
            end = text.find(SEPARATOR, start)
            if end < 0:
                return
            field = text[start:end]
            # The first field is a job's id: what stands in lines before it is the line break after the last row, or a
            # site's greeting. It is its row's own.
            row.append(seen.setdefault(field, field) if row else field.rpartition("\n")[2])
            start = end + 1
        yield row


def queue_elements(out: str) -> List[Element]:
    """The rows of `squeue --format=QUEUE_FORMAT`."""
    names = [name for name, _ in _QUEUE]
    elements = []
    for row in rows(out, len(names)):
        fields = dict(zip(names, (value.strip("\n") for value in row)))
        job = _job_id(fields["JobID"])
        if job is None:
            continue
        reason = "" if fields["Reason"] == "None" else fields["Reason"]
        state, condition = _meaning(fields["State"], reason, "")
        elements.append(
            Element(
                job.job, job.task, fields["State"], state, condition, 0 if condition == "ok" else None, reason,
                _shown(fields), span=job.span, name=fields["JobName"],
            )
        )  # fmt: skip
    return elements


def history_elements(out: str) -> List[Element]:
    """The rows of `sacct --format=HISTORY_FIELDS`; what only a step's row tells is folded into its job."""
    found = {}  # type: Dict[Tuple[str, Optional[int], str], Element]
    starved = set()
    for row in rows(out, len(_HISTORY)):
        fields = dict(zip(_HISTORY, row))
        job = _job_id(fields["JobID"])
        if job is None:
            continue
        key = (job.job, job.task, job.span)
        if job.step:
            if _starved(fields):
                starved.add(key)
            continue
        element = _history_element(job, fields)
        found[key] = _graver(found[key], element) if key in found else element
    for key in starved & set(found):
        if found[key].condition == "exit_code":
            found[key] = found[key]._replace(condition="out_of_memory")
    return list(found.values())


def _starved(fields: Dict[str, str]) -> bool:
    """True when a step ran out of memory.

    With cgroups Slurm says so. With `JobAcctGatherParams=OverMemoryKill` (slurm.conf(5)) it only kills the step: then a death
    by signal 9 with more memory in use than the step was given is one.
    """
    if fields["State"].startswith("OUT_OF_MEMORY"):
        return True
    given = re.search(r"(?:^|,)mem=([0-9.]+[KMGTP]?)", fields["AllocTRES"])
    return fields["ExitCode"] == "0:9" and given is not None and _size(fields["MaxRSS"]) > _size(given.group(1)) > 0


def _size(text: str) -> float:
    """Bytes of Slurm's `2625M` (units of 1024; none = bytes), 0 for anything else."""
    match = re.match(r"([0-9.]+)([KMGTP]?)\Z", text.strip())
    return float(match.group(1)) * 1024 ** " KMGTP".index(match.group(2) or " ") if match else 0.0


def _history_element(job: _Id, fields: Dict[str, str]) -> Element:
    reason = "" if fields["Reason"] == "None" else fields["Reason"]
    state, condition = _meaning(fields["State"], reason, fields["UID"])
    return Element(
        job.job, job.task, fields["State"], state, condition, _exit_code(fields["ExitCode"], condition), reason,
        _shown(fields), span=job.span, name=fields["JobName"],
    )  # fmt: skip


def _graver(one: Element, other: Element) -> Element:
    """Of two rows for the same element (components of a heterogeneous job) the one that decides."""

    def weight(element: Element) -> int:
        if element.state != base.DONE:
            return 2
        return 0 if element.condition == "ok" else 1

    return other if weight(other) > weight(one) else one


def _meaning(word: str, reason: str, uid: str) -> Tuple[str, str]:
    """State and condition of a native state. `uid` is the job owner's, "" when the answer does not tell."""
    first = word.split()[0].rstrip("+") if word.strip() else ""
    # A row for many elements has the reasons of all of them, with commas between.
    if first == "PENDING" and reason and all(_HELD_REASONS.match(part.strip()) for part in reason.split(",")):
        return base.HELD, ""
    by = _CANCELLED_BY.match(word.strip())
    if by and uid and by.group(1) == uid:
        return base.DONE, "cancelled_by_user"
    return STATES.get(first, (base.UNKNOWN, ""))


def _exit_code(text: str, condition: str) -> Optional[int]:
    """`3:0` is exit code 3; `0:9` is a death by signal 9, which a shell calls 137."""
    match = re.match(r"(\d+):(\d+)\Z", text.strip())
    if not match or not condition:
        return None
    code, number = int(match.group(1)), int(match.group(2))
    return code or (128 + number if number else 0)


def _shown(fields: Dict[str, str]) -> Dict[str, str]:
    """The fields that stand in a job's job_status, those that are known."""
    return {name: fields[name] for name in STATUS_FIELDS if fields.get(name)}


def found_ids(out: str) -> List[str]:
    """The jobs in rows of one field, the job's id; each once."""
    ids = []  # type: List[str]
    for row in rows(out, 1):
        job = _job_id(row[0])
        if job is not None and job.job not in ids:
            ids.append(job.job)
    return ids


_NODE_KEYS = ("nodes", "idle_nodes", "down_nodes", "cpus", "idle_cpus", "memory", "idle_memory")
_MIB = 1024 * 1024


def node_facts(out: str) -> Dict[str, Any]:
    """Counts of nodes, CPUs and memory from `sinfo --Node --Format=NODES_FORMAT`; a node may be in many partitions."""
    seen = {}  # type: Dict[str, Dict[str, int]]
    partitions = {}  # type: Dict[str, Dict[str, int]]
    for line in out.splitlines():
        fields = _cut(line, _NODE_WIDTHS)
        node = _node(fields)
        if node is None:
            continue
        seen[fields[0]] = node
        partition = partitions.setdefault(fields[5].rstrip("*"), dict.fromkeys(_NODE_KEYS, 0))
        for key in _NODE_KEYS:
            partition[key] += node[key]
    total = {key: sum(node[key] for node in seen.values()) for key in _NODE_KEYS}  # type: Dict[str, Any]
    return dict(total, partitions=partitions) if seen else {}


def _cut(line: str, widths: Sequence[int]) -> List[str]:
    fields, start = [], 0
    for width in widths:
        fields.append(line[start : start + width].strip())
        start += width
    return fields


def _node(fields: Sequence[str]) -> Optional[Dict[str, int]]:
    counts = re.match(r"(\d+)/(\d+)/(\d+)/(\d+)\Z", fields[2])  # allocated/idle/other/total
    if not counts or not fields[3].isdigit():
        return None
    state = fields[1].lower()
    usable = re.match(r"(idle|mixed|allocated|completing)[^*]*\Z", state) is not None and "drain" not in state
    memory = int(fields[3]) * _MIB
    used = int(fields[4]) * _MIB if fields[4].isdigit() else 0
    return {
        "nodes": 1,
        "idle_nodes": int(re.match(r"idle\Z", state) is not None),
        "down_nodes": int(not usable),
        "cpus": int(counts.group(4)),
        "idle_cpus": int(counts.group(2)) if usable else 0,
        "memory": memory,
        "idle_memory": max(0, memory - used) if usable else 0,
    }


def job_counts(out: str) -> Dict[str, int]:
    """Running and waiting jobs from `squeue --format=%T %i`; an element of an array counts as one."""
    counts = {"jobs_running": 0, "jobs_waiting": 0}
    for line in out.splitlines():
        word, _, text = line.strip().partition(" ")
        job = _job_id(text)
        if job is None or word not in ("RUNNING", "PENDING"):
            continue
        try:
            number = base.span_count(job.span) if job.span else 1
        except ValueError:
            number = 1
        counts["jobs_running" if word == "RUNNING" else "jobs_waiting"] += number
    return counts
