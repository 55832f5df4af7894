"""How jobs end, in words: the batch script's facts, one element's end, a whole array's, the job_status. Pure."""

import re
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from project.core import states
from project.core.schedulers import base
from project.core.schedulers.base import Element

# Above this many elements job_status has only these fields, and one entry for a row of many waiting elements.
MANY = 1000
_FEW_FIELDS = ("JobID", "State", "ExitCode")
# They change all the time while a job lives.
_MOVING = ("Elapsed", "CPUTime", "ExitCode")
_NAME = re.compile(r"(started|ended|stopped)\.([0-9]+)(?:\.([0-9]+))?\Z")
_NUMBER = re.compile(r"[0-9]{1,9}\Z")
_CANCELLED = ("cancelled_by_user", "cancelled_by_scheduler")
_LISTED = 5
# The highest number of a signal (signal(7)).
_SIGNALS = 64

_SAID = {
    "timeout": "reached its time limit",
    "out_of_memory": "ran out of memory",
    "node_failure": "lost its node",
    "preempted": "was preempted",
    "deadline": "missed its deadline",
    "cancelled_by_user": "was cancelled by its owner",
    "cancelled_by_scheduler": "was cancelled by the workload manager or an administrator",
    "lost": "is not known to the workload manager any more, and left no exit code",
}


class Fact(NamedTuple):
    """What the batch script of one element wrote in its last run (`core.script` documents the files).

    `condition` is why something else ended it: `facts/stopped.N` with the line `condition timeout`, of the workload manager's own
    helper (`schedulers.at_shell`), where the manager itself tells nothing; "" = nothing did.
    `told` is the exit code that the manager was told in its place, None = the same.
    """

    run: int
    ended: bool = False
    exit_code: Optional[int] = None
    command: int = 0
    signal: str = ""
    started_at: str = ""
    ended_at: str = ""
    node: str = ""
    condition: str = ""
    told: Optional[int] = None


def read_facts(texts: Mapping[str, str]) -> Dict[Optional[int], Fact]:
    """The facts by element (None for a job that is no array) from the files of `facts/`: name → text. Other files are ignored."""
    found = {}  # type: Dict[Optional[int], Fact]
    for name, text in texts.items():
        match = _NAME.match(name)
        if not match:
            continue
        index = int(match.group(3)) if match.group(3) else None
        run = int(match.group(2))
        fact = found.get(index)
        if fact is not None and fact.run > run:
            continue
        if fact is None or fact.run < run:
            fact = Fact(run)
        found[index] = _with(fact, match.group(1), text)
    return found


def _with(fact: Fact, kind: str, text: str) -> Fact:
    pairs = dict(line.partition(" ")[::2] for line in text.splitlines())
    if kind == "started":
        return fact._replace(started_at=pairs.get("time", ""), node=pairs.get("node", ""))
    if kind == "stopped":
        condition = pairs.get("condition", "")
        return fact._replace(condition=condition if condition in _SAID else "")
    code, command, told = (pairs.get(key, "") for key in ("exit_code", "command", "told"))
    if not _NUMBER.match(code):
        # Torn or foreign: as if it were not there.
        return fact
    return fact._replace(
        ended=True,
        exit_code=int(code),
        command=int(command) if _NUMBER.match(command) else 0,
        signal=pairs.get("signal", ""),
        told=int(told) if _NUMBER.match(told) else None,
        ended_at=pairs.get("time", ""),
    )


def from_fact(fact: Fact) -> Element:
    """The end of an element of which only the batch script tells."""
    if fact.condition:
        return Element("", None, "UNKNOWN", base.DONE, fact.condition)
    condition = "ok" if fact.exit_code == 0 else "exit_code"
    return Element("", None, "UNKNOWN", base.DONE, condition, fact.exit_code)


def completed(element: Element, fact: Optional[Fact]) -> Element:
    """An ended element with the batch script's exit code where the scheduler tells none."""
    if element.condition == "ok":
        return element._replace(exit_code=0)
    code = element.exit_code
    if code is None and fact is not None and fact.ended and element.condition == "exit_code":
        code = fact.exit_code
    if fact is not None and fact.ended and code is not None:
        told = fact.exit_code if fact.told is None else fact.told
        # sacct shows an exit code from 128 on without those 128 (src/sacct/print.c, PRINT_EXITCODE).
        if told == code or (element.condition == "exit_code" and told == code + 128):
            code = fact.exit_code
    if code == 0 and element.condition != "exit_code":
        # sacct says 0:0 for a job that reached its time limit: no exit code at all.
        code = None
    return element._replace(exit_code=code)


def held_message(reason: str, word: str) -> str:
    """Why a job is held."""
    if "admin" in reason.lower():
        return "held by an administrator ({})".format(reason)
    if "user" in reason.lower():
        return "held by its owner ({})".format(reason)
    return "held ({})".format(reason or word)


def total(
    document: Mapping[str, Any], ended: Mapping[Optional[int], Element], facts: Mapping[Optional[int], Fact]
) -> Tuple[str, str, Optional[int], str]:
    """State, condition, exit code and message of a job all of whose elements ended.

    One element that failed fails the job; the first one that did gives condition and exit code. When the only ones that did
    not succeed were cancelled, the job is CANCELLED.
    """
    bad = {index: element for index, element in ended.items() if element.condition != "ok"}
    if not bad:
        return states.FINISHED, "ok", 0, ""
    failed = [index for index in bad if bad[index].condition not in _CANCELLED]
    index = failed[0] if failed else next(iter(bad))
    first = bad[index]
    state = states.FAILED if failed else states.CANCELLED
    if None in ended:
        return state, first.condition, first.exit_code, "the job " + _said(document, first, facts.get(None))
    shown = failed or list(bad)
    verb = "failed" if failed else "cancelled"
    listed = ["{} {}".format(one, _said(document, bad[one], facts.get(one))) for one in shown[:_LISTED]]
    more = ", and {} more".format(len(shown) - _LISTED) if len(shown) > _LISTED else ""
    message = "{} of {} elements {}: element {}{}".format(len(shown), len(ended), verb, ", ".join(listed), more)
    if failed and len(bad) > len(failed):
        message += "; {} cancelled".format(len(bad) - len(failed))
    return state, first.condition, first.exit_code, message


def _said(document: Mapping[str, Any], element: Element, fact: Optional[Fact]) -> str:
    if element.condition != "exit_code":
        return _SAID.get(element.condition, "ended: {}".format(element.word))
    code = element.exit_code
    if code is None:
        text = "failed"
    elif 128 < code <= 128 + _SIGNALS:
        text = "ended with exit code {} (signal {})".format(code, code - 128)
    else:
        text = "ended with exit code {}".format(code)
    line = _line(document, fact)
    if line:
        text += " in {}".format(line)
    if fact is None:
        text += "; its batch script did not start"
        text += " ({})".format(element.reason) if element.reason else ""
    return text


def _line(document: Mapping[str, Any], fact: Optional[Fact]) -> str:
    """The execution line that was the last one run, shortened."""
    if fact is None or not fact.ended or not fact.command:
        return ""
    execution = (document.get("user_input") or {}).get("execution")
    lines = [execution] if isinstance(execution, str) else list(execution or ())
    if not 0 < fact.command <= len(lines):
        return ""
    text = " ".join(str(lines[fact.command - 1]).split())
    return "`{}`".format(text if len(text) <= 60 else text[:57] + "...")


def disagreements(
    document: Mapping[str, Any], ended: Mapping[Optional[int], Element], facts: Mapping[Optional[int], Fact]
) -> List[str]:
    """Where the batch script and the scheduler tell different ends of the same run. The scheduler's word is the one taken."""
    manager = str((document.get("destination_cluster") or {}).get("workload_manager") or "the workload manager")
    found = []
    for index, element in ended.items():
        fact = facts.get(index)
        if fact is None or not fact.ended or fact.signal or element.condition in ("node_failure", "preempted"):
            continue
        if element.exit_code == fact.exit_code or (element.condition == "out_of_memory" and fact.exit_code):
            continue
        if element.condition not in ("ok", "exit_code") and fact.exit_code:
            continue
        who = "the batch script" if index is None else "the batch script of element {}".format(index)
        code = "" if element.exit_code is None else " (exit code {})".format(element.exit_code)
        text = "{} ended with exit code {}, but {} says {}{}"
        found.append(text.format(who, fact.exit_code, manager, element.word, code))
    if len(found) > _LISTED:
        found[_LISTED:] = ["and so for {} more elements".format(len(found) - _LISTED)]
    return found


def job_status(
    elements: Mapping[Optional[int], Element], where: Optional[Callable[[int], Tuple[str, int]]]
) -> Dict[str, List[str]]:
    """MASI-TFE's job_status: field → one value an element, in the order of the elements.

    :param where: of an array, where an index is: the native id, and the index there.
    """
    rows = []  # type: List[Dict[str, str]]
    seen = set()
    many = len(elements) > MANY
    for index, element in sorted(elements.items(), key=lambda item: -1 if item[0] is None else item[0]):
        if many and element.span:
            if (element.native_id, element.span) in seen:
                continue
            seen.add((element.native_id, element.span))
        own = where is not None and index is not None and not (many and element.span)
        rows.append(_status_row(where(index) if own else None, element, many))  # type: ignore[misc,arg-type]
    names = []  # type: List[str]
    for row in rows:
        names += [name for name in row if name not in names]
    return {name: [row.get(name, "") for row in rows] for name in names}


def _status_row(place: Optional[Tuple[str, int]], element: Element, many: bool) -> Dict[str, str]:
    row = {"JobID": element.fields.get("JobID", element.native_id), "State": element.word or "UNKNOWN"}
    names: Sequence[str] = _FEW_FIELDS if many else tuple(element.fields)
    for name in names:
        if name in element.fields and name not in row and (element.state == base.DONE or name not in _MOVING):
            row[name] = element.fields[name]
    if element.reason and element.state in (base.WAITING, base.HELD):
        row["Reason"] = element.reason
    if place is not None and (element.index is None or row["JobID"] == element.native_id):
        native_id, index = place
        # PBS writes an element of `123[]` as `123[4]`.
        array = native_id.endswith("[]")
        row["JobID"] = "{}[{}]".format(native_id[:-2], index) if array else "{}_{}".format(native_id, index)
    if element.state == base.DONE and "ExitCode" not in row and element.exit_code is not None:
        row["ExitCode"] = "{}:0".format(element.exit_code)
    return row
