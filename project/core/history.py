"""Events: what happened to a job, and how that changes its document. Pure.

An event is a dict::

    {"id": 32 hex digits, "source": "client" | "agent" | "server", "seq": 1, 2, … per job and source,
     "time": "2026-11-21T10:00:00.123Z", "kind": one of KINDS,
     "state": …, "condition": …, "exit_code": …, "message": …,     (when they change)
     "set": {document field: value},                              (only SETTABLE)
     "data": {…}}                                                 (what a reader may want to know)

Applying an event twice is the caller's to prevent (by its id); applying one in the wrong order is harmless: a state
that may not follow the present one is kept in the history and changes nothing.
"""

import datetime
import json
import uuid as uuid_module
from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple

from project.core import states

Event = Dict[str, Any]
Document = Dict[str, Any]

KINDS = ("state", "note", "error", "module", "command", "cluster", "native", "input")
SOURCES = ("client", "agent", "server")

# Document fields that an event may set by its "set".
SETTABLE = frozenset(
    (
        "native_id",
        "parts",
        "job_status",
        # Of a job that lives: how many of its elements run, what it waits for.
        "message",
        "job_directory",
        "working_directory",
        "cluster",
        "destination_cluster",
        "user_input",
        "modules",
        "online_job_file",
        "tar_file",
        "run",
        "plan",
    )
)
BATCH_BYTES = 256 * 1024
BATCH_COUNT = 500


def now() -> str:
    """The time in UTC, ISO 8601 with milliseconds and Z."""
    stamp = datetime.datetime.now(datetime.timezone.utc)
    return stamp.strftime("%Y-%m-%dT%H:%M:%S.") + "{:03d}Z".format(stamp.microsecond // 1000)


def make(source: str, seq: int, kind: str, **fields: Any) -> Event:
    """A new event with an id and the time; `fields` that are None are left out."""
    event: Event = {"id": uuid_module.uuid4().hex, "source": source, "seq": seq, "time": now(), "kind": kind}
    event.update((key, value) for key, value in fields.items() if value is not None)
    return event


def new_document(job_uuid: str, user_input: Dict[str, Any], **fields: Any) -> Document:
    """A job's document as it is before anything happened. `user_input` holds no secrets (`jobspec.public`)."""
    moment = now()
    document: Document = {
        "job_uuid": job_uuid,
        "name": str(user_input.get("name") or ""),
        "owner": "",
        "state": states.PENDING,
        "condition": None,
        "exit_code": None,
        "message": "",
        "job_status": {},
        "user_input": user_input,
        "tags": dict(user_input.get("tags") or {}),
        "cluster": user_input.get("destination_cluster") or "",
        "destination_cluster": {},
        "native_id": None,
        "job_directory": None,
        "working_directory": None,
        "modules": None,
        "online_job_file": False,
        "tar_file": None,
        "run": 0,
        "plan": None,
        "cancel_requested": False,
        "created": moment,
        "updated": moment,
    }
    document.update(fields)
    return document


def fold(document: Document, event: Event) -> Tuple[Document, bool]:
    """The document after `event`, and whether its state was applied (True for an event without a state)."""
    changed = dict(document)
    state = event.get("state")
    applied = True
    if state and state != document.get("state"):
        applied = states.may_follow(str(document.get("state")), state)
    final = document.get("state") in states.FINAL
    if state and applied and not (final and state == document.get("state")):
        changed["state"] = state
        changed["condition"] = event.get("condition")
        changed["message"] = event.get("message") or ""
        if "exit_code" in event:
            changed["exit_code"] = event["exit_code"]
        if state != states.BLOCKED:
            changed["plan"] = None
    if applied:
        # What came late does not change how it ended.
        fixed = ("message",) if final else ()
        told = (event.get("set") or {}).items()
        changed.update((key, value) for key, value in told if key in SETTABLE and key not in fixed)
    changed["updated"] = event.get("time") or document.get("updated")
    return changed, applied


def size(event: Event) -> int:
    """Bytes of the event as JSON."""
    return len(json.dumps(event).encode("utf-8"))


def batches(
    events: Iterable[Event], max_bytes: int = BATCH_BYTES, max_count: int = BATCH_COUNT
) -> Iterator[List[Event]]:
    """The events in order, in lists that a request can carry; an event larger than `max_bytes` travels alone."""
    batch: List[Event] = []
    total = 0
    for event in events:
        length = size(event)
        if batch and (total + length > max_bytes or len(batch) >= max_count):
            yield batch
            batch, total = [], 0
        batch.append(event)
        total += length
    if batch:
        yield batch


def valid(event: Any) -> Optional[str]:
    """None for a well-formed event, else what is wrong with it."""
    if not isinstance(event, dict):
        return "an event is an object"
    problem = _fields_problem(event)
    if problem:
        return problem
    if event.get("state") is not None and event["state"] not in states.STATES:
        return "state is not one of {}".format(", ".join(states.STATES))
    if event.get("condition") is not None and event["condition"] not in states.CONDITIONS:
        return "condition is not one of {}".format(", ".join(states.CONDITIONS))
    return None


def _fields_problem(event: Event) -> Optional[str]:
    checks = (
        ("id", isinstance(event.get("id"), str) and 0 < len(event["id"]) <= 64, "a text of 1 to 64 characters"),
        ("source", event.get("source") in SOURCES, "one of " + ", ".join(SOURCES)),
        ("kind", event.get("kind") in KINDS, "one of " + ", ".join(KINDS)),
        ("seq", isinstance(event.get("seq"), int) and not isinstance(event.get("seq"), bool), "a whole number"),
        ("time", isinstance(event.get("time"), str) and len(event["time"]) <= 40, "an ISO 8601 time"),
        ("message", isinstance(event.get("message", ""), str), "a text"),
        ("set", isinstance(event.get("set", {}), dict), "an object"),
        ("data", isinstance(event.get("data", {}), dict), "an object"),
        ("exit_code", event.get("exit_code") is None or isinstance(event["exit_code"], int), "a whole number"),
    )
    for key, fine, expected in checks:
        if not fine:
            return "{} must be {}".format(key, expected)
    return None
