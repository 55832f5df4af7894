"""What the programs of LSF print, understood: rows become `Element`s. Pure. IBM Spectrum LSF 10.1 (10.1.0.9 or later).

`bjobs -o "… delimiter='|'"` prints one line a job or element. `bhist -l` prints a block of sentences a job, which are cut at
column 80, in the middle of a word too, and go on 21 columns further right: they are read with all white space taken out.
"""

import re
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from project.core.errors import ClusterError
from project.core.schedulers import base, complaints
from project.core.schedulers.base import Element

# bjobs(1), -o. The last one is free text and may hold the delimiter.
FIELDS = (
    "jobid",
    "jobindex",
    "stat",
    "exit_code",
    "exit_reason",
    "job_name",
    "queue",
    "slots",
    "exec_host",
    "run_time",
    "cpu_used",
    "pend_reason",
)
DELIMITER = "|"
FORMAT = "{} delimiter='{}'".format(" ".join(FIELDS), DELIMITER)
FIND_FORMAT = "jobid job_name delimiter='{}'".format(DELIMITER)

# bjobs(1), "Job status". UNKWN: the host does not answer, nobody knows; ZOMBI: killed meanwhile.
STATES = {
    "PEND": (base.WAITING, ""),
    "PROV": (base.WAITING, ""),
    "WAIT": (base.WAITING, ""),
    "PSUSP": (base.HELD, ""),
    "USUSP": (base.HELD, ""),
    "SSUSP": (base.HELD, ""),
    "RUN": (base.RUNNING, ""),
    "DONE": (base.DONE, "ok"),
    "EXIT": (base.DONE, "exit_code"),
    "UNKWN": (base.UNKNOWN, ""),
    "ZOMBI": (base.UNKNOWN, ""),
}
# "Termination reasons displayed by bacct, bhist, and bjobs"; one that is not here leaves the exit code to speak.
REASONS = {
    "TERM_ADMIN": "cancelled_by_scheduler",
    "TERM_BUCKET_KILL": "cancelled_by_scheduler",
    "TERM_CPULIMIT": "timeout",
    "TERM_DEADLINE": "deadline",
    "TERM_FORCE_ADMIN": "cancelled_by_scheduler",
    "TERM_FORCE_OWNER": "cancelled_by_user",
    "TERM_KUBE": "node_failure",
    "TERM_LOAD": "cancelled_by_scheduler",
    "TERM_MC_RECALL": "cancelled_by_scheduler",
    "TERM_MEMLIMIT": "out_of_memory",
    "TERM_ORPHAN_SYSTEM": "cancelled_by_scheduler",
    "TERM_OTHER": "cancelled_by_scheduler",
    "TERM_OWNER": "cancelled_by_user",
    "TERM_PREEMPT": "preempted",
    "TERM_PROCESSLIMIT": "cancelled_by_scheduler",
    "TERM_REMOVE_HUNG_JOB": "node_failure",
    "TERM_REQUEUE_ADMIN": "cancelled_by_scheduler",
    "TERM_REQUEUE_OWNER": "cancelled_by_user",
    "TERM_RMS": "node_failure",
    "TERM_RUNLIMIT": "timeout",
    "TERM_SWAP": "out_of_memory",
    "TERM_THREADLIMIT": "cancelled_by_scheduler",
    "TERM_WINDOW": "cancelled_by_scheduler",
    "TERM_ZOMBIE": "node_failure",
}

_AWAY = re.compile(
    r"LSF is down|not responding|is processing your request|library call|time ?out|cannot connect|connection|"
    r"non-LSF host|system call failed|authentication|daemon|try again|temporarily|cannot open your job file|"
    r"query limit exceeded|unable to (reach|contact)|master|lsf\.conf",
    re.IGNORECASE,
)
_FULL = re.compile(
    r"threshold reached|limit (has been )?reached|reached (the|its|his|your)?.*limit|too many|MAX_PEND|MAX_JOB_NUM|"
    r"queue is (closed|inactive)|has been closed|cannot accept|no space left|disk quota",
    re.IGNORECASE,
)
_GONE = re.compile(
    r"already finished|no matching job found|is not found|has already been|illegal job id", re.IGNORECASE
)
# Not an error: there is nothing to tell.
_NOTHING = re.compile(r"no (unfinished |matching |pending |running )?job found|is not found", re.IGNORECASE)
_ACTED = re.compile(
    r"is being (terminated|killed|stopped|resumed|signaled|removed)|operation is in progress", re.IGNORECASE
)
_WAITS = re.compile(r"Please wait|retrying", re.IGNORECASE)
_BLOCK = re.compile(r"Job ?<(\d+)(?:\[(\d+)\])?>")


# What was said in one line; does it mean: a daemon is away, not now, no such job.
_SAID = complaints.Complaints(complaints.NOTHING, _AWAY, _FULL, _GONE)
words, away, full, gone = _SAID.words, _SAID.away, _SAID.full, _SAID.gone


def acted(text: str) -> bool:
    """True when a program says that it did what it was asked."""
    return bool(_ACTED.search(text))


def answered(program: str, out: str, rc: int, err: str) -> None:
    """Raise ClusterError(transient) unless the program answered.

    "No job found" and "Job <5> is not found" are answers, whatever the exit status (lsf.conf(5),
    LSB_BJOBS_CONSISTENT_EXIT_CODE); what it says while it waits for mbatchd is none.
    """
    complaints = [line for line in err.splitlines() if line.strip()]
    nothing = [line for line in complaints + out.splitlines() if _NOTHING.search(line)]
    others = [line for line in complaints if not _NOTHING.search(line) and not _WAITS.search(line)]
    if rc == 0 and not (others and not out.strip() and away(err)):
        return
    if rc > 0 and nothing and not others:
        return
    said = words(err or out) or "nothing"
    raise ClusterError("{} gave no answer (exit status {}): {}".format(program, rc, said[:500]), transient=True)


def rows(out: str, count: int) -> Iterator[List[str]]:
    """The fields of each line that has so many; `-` is nothing."""
    for line in out.splitlines():
        parts = [part.strip() for part in line.strip().split(DELIMITER, count - 1)]
        if len(parts) == count and parts[0].isdigit():
            yield ["" if part == "-" else part for part in parts]


def queue_elements(out: str) -> List[Element]:
    """The rows of `bjobs -o FORMAT`."""
    found = []
    for row in rows(out, len(FIELDS)):
        fields = dict(zip(FIELDS, row))
        if not fields["stat"]:
            continue
        index = int(fields["jobindex"]) if fields["jobindex"].isdigit() and fields["jobindex"] != "0" else None
        found.append(_element(row[0], index, fields["stat"], fields))
    return found


def _element(native_id: str, index: Optional[int], word: str, fields: Mapping[str, str]) -> Element:
    state, condition = STATES.get(word, (base.UNKNOWN, ""))
    code = _number(fields.get("exit_code", ""))
    reason = fields.get("exit_reason", "")
    if condition == "ok":
        code = 0
    elif condition:
        term = re.search(r"TERM_[A-Z_]+", reason)
        condition = REASONS.get(term.group(0), condition) if term else condition
    else:
        code = None
        reason = fields.get("pend_reason", "")
    if word == "PSUSP":
        # bjobs(1) does not tell which of the two it was.
        reason = reason or "by the user or an LSF administrator"
    shown = {
        "JobID": native_id if index is None else "{}[{}]".format(native_id, index),
        "State": word,
        "ExitCode": fields.get("exit_code", ""),
        "Elapsed": fields.get("run_time", ""),
        "CPUTime": fields.get("cpu_used", ""),
        "NCPUS": fields.get("slots", ""),
        "NodeList": fields.get("exec_host", ""),
        "Partition": fields.get("queue", ""),
    }
    return Element(
        native_id, index, word, state, condition, code, reason, {key: value for key, value in shown.items() if value},
        name=re.sub(r"\[.*\Z", "", fields.get("job_name", "")),
    )  # fmt: skip


def _number(text: str) -> Optional[int]:
    return int(text) if text.isdigit() and len(text) < 10 else None


def found_ids(out: str, name: str) -> List[str]:
    """The jobs of that name in `bjobs -o FIND_FORMAT` or in `bhist -l`; each once."""
    pairs = [(row[0], re.sub(r"\[.*\Z", "", row[1])) for row in rows(out, 2)]
    pairs += [(native_id, _named(text)) for native_id, _, text in blocks(out)]
    ids = []  # type: List[str]
    for native_id, found in pairs:
        if name and found == name and native_id not in ids:
            ids.append(native_id)
    return ids


def blocks(out: str) -> Iterator[Tuple[str, Optional[int], str]]:
    """Id, index and text without white space of each job in `bhist -l`."""
    current = None  # type: Optional[Tuple[str, Optional[int]]]
    lines = []  # type: List[str]
    for line in out.splitlines():
        begins = _BLOCK.match(line.strip())
        if begins and "|" not in line:
            if current is not None:
                yield current[0], current[1], "".join(lines)
            current = (begins.group(1), int(begins.group(2)) if begins.group(2) else None)
            lines = []
        lines.append(re.sub(r"\s", "", line))
    if current is not None:
        yield current[0], current[1], "".join(lines)


def _named(text: str) -> str:
    match = re.search(r"JobName<([^>\[]*)", text)
    return match.group(1) if match else ""


def history_elements(out: str) -> List[Element]:
    """The jobs and elements in `bhist -l`, those that have ended; the last end counts, for a job may run again."""
    found = []
    for native_id, index, text in blocks(out):
        ends = list(
            re.finditer(r"Donesuccessfully|Completed<(done|exit)>|Exited(withexitcode(\d+)|bysignal(\d+)|;|\.)", text)
        )
        if not ends:
            continue
        after = text[ends[-1].end() :]
        if re.search(r"Dispatched(to|\d)|Starting\(Pid|Pending:.*requeue", after):
            continue
        codes = [end for end in ends if end.group(3) or end.group(4)]
        done = ends[-1].group(0).startswith("Done") or ends[-1].group(1) == "done"
        term = re.search(r"TERM_[A-Z_]+", text[ends[0].start() :])
        fields = {"exit_reason": term.group(0) if term else "", "job_name": _named(text)}
        if codes and not done:
            last = codes[-1]
            fields["exit_code"] = last.group(3) or str(128 + int(last.group(4)))
        found.append(_element(native_id, index, "DONE" if done else "EXIT", fields))
    return found


def _table(out: str, first: str) -> Iterator[Dict[str, str]]:
    """The rows of a table whose header begins with `first`."""
    names = []  # type: List[str]
    for line in out.splitlines():
        parts = line.split()
        if parts and parts[0] == first:
            names = parts
        elif names and len(parts) >= len(names) - 1:
            yield dict(zip(names, parts))


_SIZES = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}


def _size(text: str) -> int:
    match = re.match(r"([0-9.]+)([KMGTP])\Z", text)
    return int(float(match.group(1)) * _SIZES[match.group(2)]) if match else 0


def host_facts(out: str) -> Dict[str, int]:
    """Counts of hosts and slots from `bhosts -w`."""
    total = dict.fromkeys(("nodes", "idle_nodes", "down_nodes", "cpus", "idle_cpus"), 0)
    for row in _table(out, "HOST_NAME"):
        status, slots, busy = (
            row.get("STATUS", ""),
            _number(row.get("MAX", "")) or 0,
            _number(row.get("NJOBS", "")) or 0,
        )
        if not re.match(r"ok|closed|un", status):
            continue
        # closed_Full and closed_Excl are at work; closed_Adm, unavail and unreach take nothing.
        down = re.match(r"un|closed_Adm|closed_LIM|closed\Z", status) is not None
        total["nodes"] += 1
        total["down_nodes"] += int(down)
        total["idle_nodes"] += int(status == "ok" and not busy)
        total["cpus"] += slots
        total["idle_cpus"] += max(0, slots - busy) if status == "ok" else 0
    return total if total["nodes"] else {}


def queue_facts(out: str) -> Dict[str, int]:
    """What waits and runs from `bqueues -w`; LSF counts slots there, not jobs."""
    found = [row for row in _table(out, "QUEUE_NAME") if row.get("PEND", "").isdigit() and row.get("RUN", "").isdigit()]
    if not found:
        return {}
    return {
        "jobs_running": sum(int(row["RUN"]) for row in found),
        "jobs_waiting": sum(int(row["PEND"]) for row in found),
    }


def memory_facts(out: str) -> Dict[str, Any]:
    """All memory from `lshosts -w`."""
    memory = sum(_size(row.get("maxmem", "")) for row in _table(out, "HOST_NAME"))
    return {"memory": memory} if memory else {}


def array_limit(out: str) -> Optional[int]:
    """`MAX_JOB_ARRAY_SIZE = 1000` in `bparams -a`."""
    match = re.search(r"MAX_JOB_ARRAY_SIZE\s*=\s*(\d+)", out)
    return int(match.group(1)) if match else None
