"""What HTCondor's programs print, understood: ClassAds in JSON become `Element`s. Pure."""

import json
import re
from typing import Any, Dict, List, Mapping, Optional, Sequence

from project.core import units
from project.core.errors import ClusterError
from project.core.schedulers import base, complaints
from project.core.schedulers.base import Element

# The element's index, an attribute of ours (`queue jobferry_index from`).
INDEX = "JobferryIndex"
# Job ClassAd Attributes, of HTCondor's manual.
ATTRIBUTES = (
    "ClusterId", "ProcId", "JobStatus", "JobBatchName", "Owner", "ExitCode", "ExitBySignal", "ExitSignal", "RemoveReason",
    "HoldReason", "HoldReasonCode", "HoldReasonSubCode", "LastHoldReasonCode", "LastHoldReasonSubCode", "NumJobStarts", "RemoteHost", "LastRemoteHost",
    "RemoteWallClockTime", "RequestCpus", "Iwd", INDEX,
)  # fmt: skip
# JobStatus, as the manual names its numbers.
NUMBERS = {
    0: "UNEXPANDED",
    1: "IDLE",
    2: "RUNNING",
    3: "REMOVED",
    4: "COMPLETED",
    5: "HELD",
    6: "TRANSFERRING_OUTPUT",
    7: "SUSPENDED",
}
# An end's condition is what its ad tells besides; here that of one that tells nothing.
STATES = {
    "UNEXPANDED": (base.WAITING, ""),
    "IDLE": (base.WAITING, ""),
    "RUNNING": (base.RUNNING, ""),
    "REMOVED": (base.DONE, "cancelled_by_scheduler"),
    "COMPLETED": (base.DONE, "ok"),
    "HELD": (base.HELD, ""),
    "TRANSFERRING_OUTPUT": (base.RUNNING, ""),
    "SUSPENDED": (base.HELD, ""),
}
# HoldReasonCode 46, 47: allowed_job_duration, allowed_execute_duration.
_TOO_LONG = (46, 47)
_BY_USER = re.compile(r"\(by user ([^)@\s]+)(?:@[^)]*)?\)")
_PERIODIC = re.compile(r"PeriodicRemove", re.IGNORECASE)
_AWAY = re.compile(
    r"failed to (connect|fetch ads)|can't connect|can't find address|unable to (connect|locate)|"
    r"connection (refused|timed out|closed)|timed? ?out|communications? error|authentication|SECMAN|schedd (is )?not|"
    r"failed to end classad|can't send classad|collector",
    re.IGNORECASE,
)
_FULL = re.compile(r"MAX_JOBS_(SUBMITTED|PER_OWNER)|number of jobs submitted|no space left|quota", re.IGNORECASE)
_GONE = re.compile(r"there are no jobs in the queue|not found|already", re.IGNORECASE)
# The last line of an answer that did not do it; what went wrong stands before it.
_NOT_ALL = re.compile(r"couldn't find/\w+ all jobs", re.IGNORECASE)


def answer(program: str, out: str, rc: int, err: str) -> List[Mapping[str, Any]]:
    """The ads in an answer. Raises ClusterError(transient) for an answer that is none.

    An empty queue prints `[ ]`, or nothing at all (condor_q before version 8.8).
    """
    if rc != 0:
        words_ = words(err or out) or "exit code {}".format(rc)
        raise ClusterError("{} gave no answer: {}".format(program, words_), transient=True)
    begin = re.search(r"^\[", out, re.MULTILINE)
    if not begin:
        return []
    try:
        found = json.loads(out[begin.start() :])
    except (ValueError, RecursionError):
        raise ClusterError("{} gave an answer that is cut off or garbled.".format(program), transient=True) from None
    return [ad for ad in found if isinstance(ad, dict)] if isinstance(found, list) else []


# What was said in one line; does it mean: a daemon is away, not now, no such job.
_SAID = complaints.Complaints(re.compile(r"^(ERROR: *|\s*-- *)"), _AWAY, _FULL, _GONE)
words, full = _SAID.words, _SAID.full


def away(text: str) -> bool:
    """True when a complaint means that a daemon did not answer. The constraint, which has a job's name in it, is not looked at."""
    return _SAID.away(_NOT_ALL.split(text)[0])


def gone(text: str) -> bool:
    """True when a complaint means that there is no such job any more.

    When the schedd was not reached the same line comes last (src/condor_rm.V6/rm.cpp, handleConstraints).
    """
    before = _NOT_ALL.split(text)
    return not before[0].strip() if len(before) > 1 else _SAID.gone(text)


def elements(ads: Sequence[Mapping[str, Any]]) -> List[Element]:
    """The jobs of ads."""
    return [_element(ad) for ad in ads if _whole(ad.get("ClusterId")) is not None and "JobStatus" in ad]


def _element(ad: Mapping[str, Any]) -> Element:
    status = ad["JobStatus"]
    number = _whole(status)
    word = NUMBERS.get(number, str(number)) if number is not None else str(status)
    state, condition = STATES.get(word, (base.UNKNOWN, ""))
    code = _exit_code(ad)
    if word == "COMPLETED" and code:
        condition = "exit_code"
    if word == "REMOVED":
        condition = _removed(ad)
    native_id, index = str(ad["ClusterId"]), _whole(ad.get(INDEX))
    elapsed = ad.get("RemoteWallClockTime")
    shown = {
        "JobID": native_id if index is None else "{}_{}".format(native_id, index),
        "State": word,
        "NCPUS": _text(ad.get("RequestCpus")),
        "NNodes": "1",
        "NodeList": _text(ad.get("RemoteHost") or ad.get("LastRemoteHost")),
        "Elapsed": units.clock(int(elapsed)) if isinstance(elapsed, (int, float)) and 0 <= elapsed < 1e9 else "",
        "WorkDir": _text(ad.get("Iwd")),
    }
    reason = _text(ad.get("HoldReason")) if state == base.HELD else _text(ad.get("RemoveReason"))
    starts = _whole(ad.get("NumJobStarts")) or 0
    return Element(
        native_id, index, word, state, condition, code if condition in ("ok", "exit_code") else None, reason,
        {key: value for key, value in shown.items() if value}, max(0, starts - 1), name=_text(ad.get("JobBatchName")),
    )  # fmt: skip


def _removed(ad: Mapping[str, Any]) -> str:
    """Why a job was removed: `periodic_remove` is ours, `via condor_rm (by user NAME)` is somebody's."""
    reason = _text(ad.get("RemoveReason"))
    code = _whole(ad.get("HoldReasonCode")) or _whole(ad.get("LastHoldReasonCode"))
    if starved(code, _whole(ad.get("HoldReasonSubCode")) or _whole(ad.get("LastHoldReasonSubCode"))):
        return "out_of_memory"
    if code in _TOO_LONG or _PERIODIC.search(reason):
        return "timeout"
    by = _BY_USER.search(reason)
    return "cancelled_by_user" if by and by.group(1) == _text(ad.get("Owner")) else "cancelled_by_scheduler"


def starved(code: Optional[int], more: Optional[int]) -> bool:
    """True for a hold because of memory, by HoldReasonCode and HoldReasonSubCode (src/condor_utils/condor_holdcodes.h).

    34 is a resource used up: 104 the disk, 102 (or nothing, in older versions) the memory. 21 is the machine's own policy, 102 the
    subcode of its HOLD_IF_MEMORY_EXCEEDED.
    """
    return (code == 34 and more != 104) or (code == 21 and more == 102)


def _exit_code(ad: Mapping[str, Any]) -> Optional[int]:
    if ad.get("ExitBySignal") is True:
        number = _whole(ad.get("ExitSignal"))
        return None if number is None else 128 + number
    return _whole(ad.get("ExitCode"))


def load(outs: Sequence[str]) -> Dict[str, Any]:
    """The pool's load from the ads of all slots, and of all schedds."""
    try:
        slots = answer("condor_status", outs[0], 0, "") if outs else []
        schedds = answer("condor_status", outs[1], 0, "") if len(outs) > 1 else []
    except ClusterError:
        return {}
    machines = {}  # type: Dict[str, List[int]]
    for ad in slots:
        machine, cpus, memory = _text(ad.get("Machine")), _whole(ad.get("Cpus")), _whole(ad.get("Memory"))
        if machine and cpus is not None and memory is not None:
            counts = machines.setdefault(machine, [0, 0, 0, 0])
            idle = ad.get("State") == "Unclaimed"
            for at, number in enumerate((cpus, memory)):
                counts[at] += number
                counts[at + 2] += number if idle else 0
    if not machines:
        return {}
    total = [sum(counts[at] for counts in machines.values()) for at in range(4)]
    status = {
        "nodes": len(machines),
        "idle_nodes": sum(1 for counts in machines.values() if counts[0] == counts[2]),
        "cpus": total[0],
        "idle_cpus": total[2],
        "memory": total[1] * units.MIB,
        "idle_memory": total[3] * units.MIB,
    }  # type: Dict[str, Any]
    for key, name in (("jobs_running", "TotalRunningJobs"), ("jobs_waiting", "TotalIdleJobs")):
        numbers = [_whole(ad.get(name)) for ad in schedds]
        if any(number is not None for number in numbers):
            status[key] = sum(number or 0 for number in numbers)
    return status


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _whole(value: Any) -> Optional[int]:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
