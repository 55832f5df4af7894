"""What Grid Engine's programs print, understood: rows become `Element`s. Pure.

`qstat -xml` is read by its few tags alone, not as XML: a greeting may stand before it, and Grid Engine does not escape all
that it should. `qacct -j` prints one block of `name value` lines for each run of a job or task.
"""

import html
import itertools
import re
from typing import Any, Dict, List, Mapping, Optional, Tuple

from project.core import units
from project.core.errors import ClusterError
from project.core.schedulers import base, complaints
from project.core.schedulers.base import Element

# sge_status(5), "Job state". The letters stand in the order in which `job_get_state_string` of the source writes them: d, E, S, T,
# h, R, then what it would be without these. The manual writes some of them in another order.
_BASES = {"qw": base.WAITING, "q": base.WAITING, "r": base.RUNNING, "t": base.RUNNING, "s": base.HELD, "st": base.HELD}
_IN_THE_MANUAL = ("hRwq", "ts", "Rts", "S", "T", "tS", "tT", "RS", "RT", "RtS", "RtT", "dS", "dT", "dRS", "dRT")


def _job_states() -> Dict[str, str]:
    """Every combination. An error at the start keeps a job waiting until somebody clears it (`qmod -cj`): that is a hold."""
    found = dict.fromkeys(_IN_THE_MANUAL, base.HELD)
    for letters in itertools.product(("", "d"), ("", "E"), ("", "S", "T"), ("", "h"), ("", "R"), _BASES):
        _, error, suspended, held, _, rest = letters
        stopped = error or suspended or (held and _BASES[rest] == base.WAITING)
        found["".join(letters)] = base.HELD if stopped else _BASES[rest]
    # What is being deleted runs until it is gone.
    return {word: base.RUNNING if word[0] == "d" and word[-1] not in "qw" else state for word, state in found.items()}


# The word of a run that the accounting shows without trouble of Grid Engine's own; what its program made of it is the exit status.
FINISHED = "finished"
# It is over (`qstat -s z`); how, only the accounting knows. One that was deleted before it started is not in the accounting.
OVER = "z"
# sge_status(5), "failed" of qacct(1): a trouble before the job's first line.
_NEVER_RAN = (1, 3, 4, 6, 7, 8, 9, 10, 11, 26, 27, 28, 29, 31, 32, 33, 34, 35, 36, 38)
# It ran; what failed came after it.
_AFTERWARDS = (12, 13, 14, 15, 16)
# Of the host or its shepherd(8) nothing more was heard.
_VANISHED = (18, 19, 20, 21)
# It runs again: migrated, rescheduled, or it asked for that.
_AGAIN = (24, 25)
_KILLED = (17, 100)
_LIMIT = 37


def failed_word(code: int) -> str:
    """The word of a run whose accounting says `failed` with this code."""
    return "failed {}".format(code)


def _table() -> Dict[str, Tuple[str, str]]:
    table = {OVER: (base.DONE, "lost"), FINISHED: (base.DONE, "ok")}
    table.update((word, (state, "")) for word, state in _job_states().items())
    ends = (
        (_NEVER_RAN, "exit_code"),
        (_AFTERWARDS, "ok"),
        (_VANISHED, "node_failure"),
        (_AGAIN, "preempted"),
        ((30,), "exit_code"),
        (_KILLED, "cancelled_by_scheduler"),
        # 44 and 47 are Univa Grid Engine's: h_rt, h_rss. Of others the words beside the code tell (`_killed`).
        ((_LIMIT, 44), "timeout"),
        ((47,), "out_of_memory"),
    )
    for codes, condition in ends:
        table.update((failed_word(code), (base.DONE, condition)) for code in codes)
    return table


STATES = _table()

_AWAY = re.compile(
    r"commlib error|got (?:select|send|read|receive) error|unable to (?:send message to|contact|connect to|receive message from) "
    r"qmaster|failed receiving gdi|can't unpack gdi|timed out|timeout|connection (?:refused|reset)|no route to host|"
    r"qmaster (?:is )?not (?:yet )?(?:running|ready)|can't resolve host|temporarily|try again|event client",
    re.IGNORECASE,
)
_FULL = re.compile(
    r"jobs are allowed per (?:user|cluster)|job limit|too many jobs|disk quota|no space left", re.IGNORECASE
)
_GONE = re.compile(
    r"denied: job(?:-array)? \S+ does not exist|job \S+ task \S+ does not exist|no (?:such )?jobs? ", re.IGNORECASE
)
_DONE = re.compile(
    r"has registered the job|has deleted job|modified hold of job|is already in deletion|registered the job-array",
    re.IGNORECASE,
)
_UNKNOWN_JOB = re.compile(r"^error: job (?:id|name) .* not found\s*$")

_JOB = re.compile(r"<job_list\b[^>]*>(.*?)</job_list>", re.DOTALL)
_FIELD = re.compile(r"<(\w+)(?: [^>]*)?>([^<]*)</\1>")
_LAST_TAG = "</job_info>"


def words(text: str) -> str:
    """What Grid Engine said, in one line."""
    lines = [re.sub(r"^(?:error: |Unable to run job: )+", "", line.strip()) for line in text.splitlines()]
    return "; ".join(line for line in lines if line and line not in ("Exiting.", "."))


# Does it mean: the master is away, not now.
_SAID = complaints.Complaints(complaints.NOTHING, _AWAY, _FULL, _GONE)
away, full = _SAID.away, _SAID.full


def gone(text: str) -> bool:
    """True when all that was said is that there is no such job."""
    return _SAID.gone(text) and not _DONE.search(text)


def done(text: str) -> bool:
    """True when an act was done, to some element at least."""
    return bool(_DONE.search(text))


def _silent(program: str, rc: int, text: str) -> ClusterError:
    return ClusterError(
        "{} gave no answer: {}".format(program, words(text) or "exit code {}".format(rc)), transient=True
    )


# ---- qstat


def queue_rows(out: str, rc: int = 0, err: str = "") -> List[Dict[str, str]]:
    """The jobs of `qstat -xml`, tag → text. Raises ClusterError(transient) unless the answer is whole."""
    text = out.rstrip()
    if rc != 0 or not text.endswith(_LAST_TAG) or "<job_info" not in text:
        raise _silent("qstat", rc, err or ("" if "<job_info" in text else out[:500]))
    return [
        {name: html.unescape(value).strip() for name, value in _FIELD.findall(block)} for block in _JOB.findall(text)
    ]


def queue_elements(out: str, rc: int = 0, err: str = "") -> List[Element]:
    """The rows of `qstat -s prsz -xml`."""
    found = []
    for row in queue_rows(out, rc, err):
        number, word = row.get("JB_job_number", ""), row.get("state", "")
        if not number.isdigit():
            continue
        state, condition = STATES.get(word, (base.UNKNOWN, ""))
        index, span = _tasks(row.get("tasks", ""))
        found.append(
            Element(
                number, index, word, state, condition, None, _reason(number, word), _queue_fields(row),
                span=span, name=row.get("JB_name", ""),
            )
        )  # fmt: skip
    return found


def _tasks(text: str) -> Tuple[Optional[int], str]:
    """`9` is one task, `1-7:2` or `2,4-6:1` are many that wait."""
    if text.isdigit():
        return int(text), ""
    try:
        return None, text if text and base.span_count(text) else ""
    except (ValueError, ZeroDivisionError):
        return None, ""


def _reason(number: str, word: str) -> str:
    if "E" in word:
        return "an error at its start: `qstat -j {0}` tells which one, `qmod -cj {0}` lets it try again".format(number)
    return ""


def _queue_fields(row: Mapping[str, str]) -> Dict[str, str]:
    queue, _, host = row.get("queue_name", "").partition("@")
    fields = {
        "JobID": row["JB_job_number"],
        "State": row.get("state", ""),
        "NCPUS": row.get("slots", ""),
        "Partition": queue,
        "NodeList": host,
    }
    return {name: value for name, value in fields.items() if value or name == "State"}


# ---- qacct


def accounting_rows(out: str, rc: int = 0, err: str = "") -> List[Dict[str, str]]:
    """The whole blocks of `qacct -j`. Raises ClusterError(transient) when there is no answer; an unknown job is an answer."""
    complaints = [line for line in err.splitlines() if line.strip() and not _UNKNOWN_JOB.match(line.strip())]
    if (rc != 0 and (complaints or not err.strip())) or (not out.strip() and complaints):
        raise _silent("qacct", rc, "\n".join(complaints))
    found = []
    for block in re.split(r"^=+\s*$", out, flags=re.MULTILINE)[1:]:
        row = {}  # type: Dict[str, str]
        for line in block.splitlines():
            name, _, value = line.strip().partition(" ")
            row.setdefault(name, value.strip())
        # The last one may be cut off.
        if row.get("jobnumber", "").isdigit() and "failed" in row and "exit_status" in row:
            found.append(row)
    return found


def history_elements(out: str, rc: int = 0, err: str = "") -> List[Element]:
    """The rows of `qacct -j`; of several runs of a job the last one counts."""
    found = {}  # type: Dict[Tuple[str, Optional[int]], Element]
    for row in accounting_rows(out, rc, err):
        if row.get("pe_taskid", "NONE") not in ("NONE", "undefined"):
            # A process of a parallel job on another host: its master has a row of its own.
            continue
        task = row.get("taskid", "")
        element = _accounted(row, int(task) if task.isdigit() else None)
        found[(element.native_id, element.index)] = element
    return list(found.values())


def _accounted(row: Mapping[str, str], index: Optional[int]) -> Element:
    failed = _leading(row["failed"]) or 0
    word = failed_word(failed) if failed else FINISHED
    state, condition = STATES.get(word, (base.DONE, "exit_code"))
    status = _leading(row["exit_status"])
    if failed in _NEVER_RAN:
        status = None
    elif failed in (_LIMIT, *_KILLED) or "enforced" in row["failed"]:
        condition = _killed(row, failed, status)
    elif condition == "ok" and status:
        condition = "exit_code"
    reason = "" if not failed else row["failed"].partition(":")[2].strip() or word
    return Element(
        row["jobnumber"], index, word, state, condition, status, reason, _shown(row, word, status),
        name=row.get("jobname", ""),
    )  # fmt: skip


def _leading(text: str) -> Optional[int]:
    match = re.match(r"\d+", text)
    return int(match.group()) if match else None


def _killed(row: Mapping[str, str], failed: int, status: Optional[int]) -> str:
    """Why a job was killed: what `failed` says, else what it had asked for (`category`) and what it took."""
    enforced = re.search(r"enforced (.*) limit", row["failed"])
    limits = set(re.findall(r"[hs]_\w+", enforced.group(1))) if enforced else set()
    asked = _limits(row)
    if limits and not limits & {"h_rt", "s_rt", "h_cpu", "s_cpu"}:
        return "out_of_memory"
    if limits and not limits & {"h_vmem", "h_rss", "s_vmem", "s_rss"}:
        return "timeout"
    by = row.get("deleted_by", "NONE")
    if by not in ("", "NONE"):
        return "cancelled_by_user" if by.partition("@")[0] == row.get("owner") else "cancelled_by_scheduler"
    time_out = 0 < asked.get("h_rt", asked.get("s_rt", 0)) <= _number(row.get("ru_wallclock", ""))
    starved = 0 < asked.get("h_vmem", 0) < memory(row.get("maxvmem", ""))
    if starved and not time_out:
        return "out_of_memory"
    if time_out or failed == _LIMIT:
        return "timeout"
    # qdel sends SIGKILL (137) at once; of the owner's and of others' the accounting says the same.
    return "cancelled_by_scheduler" if status in (None, 0, 137) else "exit_code"


def _limits(row: Mapping[str, str]) -> Dict[str, float]:
    """The limits that the job had asked for: seconds, and bytes of all its slots. Not every site keeps `category`."""
    found = {}  # type: Dict[str, float]
    for name, value in re.findall(
        r"\b([hs]_rt|h_vmem)=([0-9.:a-zA-Z]+)", row.get("category", "") or row.get("submit_cmd", "")
    ):
        found[name] = memory(value) * (_leading(row.get("slots", "")) or 1) if name == "h_vmem" else _seconds(value)
    return found


def _seconds(text: str) -> float:
    total = 0.0
    for part in text.split(":"):
        total = total * 60 + _number(part)
    return total


def _number(text: str) -> float:
    match = re.match(r"\d+(?:\.\d+)?", text)
    return float(match.group()) if match else 0.0


def memory(text: str) -> float:
    """Bytes of Grid Engine's `526.160MB`, `23.5G`, `200M`; a small letter counts in thousands (sge_types(1)), 0 for none."""
    match = re.match(r"(\d+(?:\.\d+)?)([kKmMgGtT]?)", text)
    if not match:
        return 0.0
    power = " kmgt".index(match.group(2).lower() or " ")
    return float(match.group(1)) * (1000.0 if match.group(2).islower() else 1024.0) ** power


def _shown(row: Mapping[str, str], word: str, status: Optional[int]) -> Dict[str, str]:
    fields = {
        "JobID": row["jobnumber"],
        "State": word,
        "ExitCode": "" if status is None else "{}:0".format(status),
        "Elapsed": units.clock(int(_number(row.get("ru_wallclock", "")))),
        "CPUTime": units.clock(int(_number(row.get("cpu", "")))),
        "NCPUS": row.get("slots", ""),
        "NodeList": row.get("hostname", ""),
        "Partition": row.get("qname", ""),
        "MaxVMSize": row.get("maxvmem", ""),
    }
    return {name: value for name, value in fields.items() if value}


# ---- found by name, the site's limits and load


def found_ids(out: str, rc: int, err: str, name: str) -> List[str]:
    """The jobs of a name in the answer of qstat or qacct; every job when no name is given."""
    if "<job_info" in out:
        pairs = [(row.get("JB_job_number", ""), row.get("JB_name", "")) for row in queue_rows(out, rc, err)]
    else:
        pairs = [(row["jobnumber"], row.get("jobname", "")) for row in accounting_rows(out, rc, err)]
    return list(dict.fromkeys(number for number, title in pairs if number.isdigit() and name in ("", title)))


def most_tasks(out: str) -> Optional[int]:
    """`max_aj_tasks` of `qconf -sconf` (sge_conf(5)); None for no limit, 0 = not told."""
    match = re.search(r"^max_aj_tasks\s+(\d+)\s*$", out, re.MULTILINE)
    if not match:
        return 0
    return int(match.group(1)) or None


_HOST = re.compile(r"<host name='([^']+)'>(.*?)</host>", re.DOTALL)
_HOST_VALUE = re.compile(r"<hostvalue name='(\w+)'>([^<]*)</hostvalue>")
_QUEUE = re.compile(r"<queue name='([^']+)'>(.*?)</queue>", re.DOTALL)
_QUEUE_VALUE = re.compile(r"<queuevalue [^>]*\bname='(\w+)'>([^<]*)</queuevalue>")
# A queue in one of these states starts nothing: unknown, error, disabled (by hand or calendar), suspended, orphaned, configuration.
_SHUT = re.compile("[uEdDsSCoc]")
_NODE_KEYS = ("nodes", "idle_nodes", "down_nodes", "cpus", "idle_cpus", "memory", "idle_memory")


def host_facts(out: str) -> Dict[str, Any]:
    """Counts of hosts, slots' CPUs and memory from `qhost -q -xml`."""
    hosts = {}  # type: Dict[str, Dict[str, int]]
    partitions = {}  # type: Dict[str, Dict[str, int]]
    for name, block in _HOST.findall(out):
        if name == "global":
            continue
        values = dict(_HOST_VALUE.findall(block))
        queues = {queue: dict(_QUEUE_VALUE.findall(text)) for queue, text in _QUEUE.findall(block)}
        hosts[name] = _host(values, queues)
        for queue, slots in queues.items():
            partition = partitions.setdefault(queue, dict.fromkeys(_NODE_KEYS, 0))
            for key, value in _host(values, {queue: slots}).items():
                partition[key] += value
    total = {key: sum(host[key] for host in hosts.values()) for key in _NODE_KEYS}  # type: Dict[str, Any]
    return dict(total, partitions=partitions) if hosts else {}


def _host(values: Mapping[str, str], queues: Mapping[str, Mapping[str, str]]) -> Dict[str, int]:
    """One host; a load of `-` means that nothing is heard of it."""
    cpus = _leading(values.get("num_proc", "")) or 0
    size = int(memory(values.get("mem_total", "")))
    heard = values.get("load_avg", "-") != "-" and cpus > 0
    open_ones = [one for one in queues.values() if not _SHUT.search(one.get("state_string", ""))]
    usable = heard and bool(open_ones or not queues)
    used = sum(_leading(one.get("slots_used", "")) or 0 for one in queues.values())
    room = sum((_leading(one.get("slots", "")) or 0) - (_leading(one.get("slots_used", "")) or 0) for one in open_ones)
    return {
        "nodes": 1,
        "idle_nodes": int(usable and used == 0),
        "down_nodes": int(not usable),
        "cpus": cpus,
        "idle_cpus": max(0, min(cpus - used, room)) if usable else 0,
        "memory": size,
        "idle_memory": max(0, size - int(memory(values.get("mem_used", "")))) if usable else 0,
    }


def job_counts(out: str) -> Dict[str, int]:
    """Running and waiting jobs of everybody from `qstat -u '*' -s pr -xml`; a task of an array counts as one."""
    counts = {"jobs_running": 0, "jobs_waiting": 0}
    for element in queue_elements(out):
        number = base.span_count(element.span) if element.span else 1
        if element.state == base.RUNNING:
            counts["jobs_running"] += number
        elif element.state == base.WAITING:
            counts["jobs_waiting"] += number
    return counts
