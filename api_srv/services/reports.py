"""Events arrive: each is applied once, in one compare-and-set with the history and the mails."""

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from api_srv.problems import RefusedError, not_found, unacceptable
from api_srv.services import callbacks, checks, clusters
from api_srv.services.context import Account, Services
from api_srv.store.base import Change, Decide, Document, Event, JobRecord, Row, TooLargeError
from project.core import history, states

MAX_EVENTS = 5000
# A cluster must not be able to turn a job into somebody else's, or its mails to another address.
PROTECTED_INPUT = ("user_mail", "username", "notify", "destination_cluster")
_PROTECTED_FIELDS = ("cluster", "destination_cluster")


def report(services: Services, account: Account, record: JobRecord, body: Document) -> Document:
    """`POST /jobs/<uuid>/events`: {"events": […], "status"?: the cluster's load} → {"applied", "cancel", "state"}."""
    events = _checked(body.get("events"), account)
    status = body.get("status")
    if status is not None and not isinstance(status, dict):
        raise unacceptable("status", "it must be an object")
    applied = 0

    def decide(present: JobRecord, known: AbstractSet[str]) -> Change | None:
        nonlocal applied
        fresh = _fresh(events, known)
        if account.job:
            fresh = [_permitted(present.document, event) for event in fresh]
        applied = len(fresh)
        return folded(services, present.document, fresh) if fresh else None

    after = change(services, record, [event["id"] for event in events], decide)
    if status:
        clusters.heard_from_job(services, after.document, status)
    document = after.document
    cancel = bool(document.get("cancel_requested")) and document["state"] not in states.FINAL
    return {"applied": applied, "cancel": cancel, "state": document["state"]}


def change(services: Services, record: JobRecord, ids: Sequence[str], decide: Decide) -> JobRecord:
    """`JobStore.change`, with its refusals as the API's."""
    uuid = str(record.document["job_uuid"])
    try:
        after = services.store.change(uuid, ids, decide)
    except TooLargeError as error:
        raise RefusedError(413, str(error)) from None
    if after is None:
        raise not_found(f"job {uuid}")
    return after


def folded(services: Services, document: Document, events: Sequence[Event]) -> Change:
    """The change that these new events make."""
    stored: list[Event] = []
    mails: list[Row] = []
    received = history.now()
    for event in events:
        before = document
        document, applied = history.fold(document, event)
        document = callbacks.told(document, event, applied)
        stored.append({**event, "applied": applied, "received": received})
        mails += services.notifier(before, document, event)
    return Change(document, stored, mails)


def own_event(record: JobRecord, kind: str, **fields: Any) -> Event:
    """An event of the server's own on this job."""
    return history.make("server", record.server_seq + 1, kind, **fields)


def native_states(services: Services, record: JobRecord, body: Document) -> Document:
    """MASI-TFE's `PUT /jobs/<uuid>/state`: the owner gets a mail; our state follows where it may."""
    given = body.get("state")
    words = [given] if isinstance(given, str) else given
    if (
        not isinstance(words, list)
        or not words
        or not all(isinstance(one, str) and 0 < len(one) <= 200 for one in words)
    ):
        raise unacceptable("state", "it must be a text or a list of texts")

    def decide(present: JobRecord, known: AbstractSet[str]) -> Change:
        del known
        state = neutral(words)
        if state is not None and not states.may_follow(present.document["state"], state):
            state = None
        data = {"states": words, "mail": True}
        condition = _condition(words, state, bool(present.document.get("cancel_requested")))
        event = own_event(present, "state", state=state, condition=condition, message=tally(words), data=data)
        return folded(services, present.document, [event])

    change(services, record, (), decide)
    return {"success": True}


def notify(services: Services, record: JobRecord, body: Document) -> Document:
    """MASI-TFE's `PUT /jobs/<uuid>/notify`: an error, mailed to the owner with its text."""
    message = body.get("message")
    if not isinstance(message, str) or not message.strip():
        raise unacceptable("message", "it must be a text")

    def decide(present: JobRecord, known: AbstractSet[str]) -> Change:
        del known
        event = own_event(present, "error", message=message, data={"mail": True})
        return folded(services, present.document, [event])

    change(services, record, (), decide)
    return {"success": True}


def note(services: Services, uuid: str, mark: str, message: str) -> None:
    """Add a note to a job's history, once for the same `mark`; a job that is gone needs none."""

    def decide(present: JobRecord, known: AbstractSet[str]) -> Change | None:
        if mark in known:
            return None
        return folded(services, present.document, [{**own_event(present, "note", message=message), "id": mark}])

    services.store.change(uuid, [mark], decide)


_NEUTRAL = {
    states.QUEUED: "PENDING CONFIGURING REQUEUED REQUEUE_HOLD RESV_DEL_HOLD SPECIAL_EXIT",
    states.RUNNING: "RUNNING COMPLETING STAGE_OUT SUSPENDED STOPPED SIGNALING RESIZING",
    states.FINISHED: "COMPLETED",
    states.CANCELLED: "CANCELLED REVOKED",
    states.FAILED: "FAILED TIMEOUT OUT_OF_MEMORY NODE_FAIL BOOT_FAIL DEADLINE PREEMPTED",
}
_NATIVE = {word: state for state, words in _NEUTRAL.items() for word in words.split()}


_CONDITIONS = {
    "TIMEOUT": "timeout",
    "OUT_OF_MEMORY": "out_of_memory",
    "NODE_FAIL": "node_failure",
    "BOOT_FAIL": "node_failure",
    "DEADLINE": "deadline",
    "PREEMPTED": "preempted",
    "FAILED": "exit_code",
}


def _condition(words: Sequence[str], state: str | None, wished: bool) -> str | None:
    if state == states.FINISHED:
        return "ok"
    if state == states.CANCELLED:
        return "cancelled_by_user" if wished else "cancelled_by_scheduler"
    if state == states.FAILED:
        return next((_CONDITIONS[_word(word)] for word in words if _word(word) in _CONDITIONS), None)
    return None


def _word(native: str) -> str:
    # sacct writes `CANCELLED by 1000` and, in a narrow column, `OUT_OF_ME+`.
    word, plus, _ = re.split(r" ", native.strip(), maxsplit=1)[0].upper().partition("+")
    return next((one for one in _NATIVE if one.startswith(word)), word) if plus and len(word) > 4 else word


def neutral(words: Sequence[str]) -> str | None:
    """Our state for Slurm's words of all elements; None when one of them is unknown."""
    found: set[str] = set()
    for word in words:
        state = _NATIVE.get(_word(word))
        if state is None:
            return None
        found.add(state)
    if states.RUNNING in found or (states.QUEUED in found and len(found) > 1):
        return states.RUNNING
    return next(one for one in (states.QUEUED, states.FAILED, states.CANCELLED, states.FINISHED) if one in found)


def tally(words: Sequence[str]) -> str:
    """`3 COMPLETED, 1 FAILED`; a single word alone."""
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    if len(words) == 1:
        return words[0]
    return ", ".join(f"{count} {word}" for word, count in counts.items())[:500]


def _checked(events: Any, account: Account) -> list[Event]:
    if not isinstance(events, list):
        raise unacceptable("events", "it must be a list")
    if len(events) > MAX_EVENTS:
        raise RefusedError(413, f"{len(events)} events at once; at most {MAX_EVENTS} are taken.", "events")
    for place, event in enumerate(events):
        problem = history.valid(event)
        if problem:
            raise unacceptable(f"events[{place}]", problem)
        if account.job and event["source"] == "server":
            raise unacceptable(f"events[{place}].source", "only the server makes these")
        fields = event.get("set")
        if fields:
            _check_fields(fields, f"events[{place}].set.")
    return events


def _check_fields(fields: Document, prefix: str) -> None:
    from project.core import schema

    candidate = {key: value for key, value in fields.items() if key in history.SETTABLE}
    checks.refuse(schema.problems({"user_input": {}, **candidate}, schema.load("job")), prefix)


def _fresh(events: Sequence[Event], known: AbstractSet[str]) -> list[Event]:
    fresh: dict[str, Event] = {}
    for event in events:
        if event["id"] not in known and event["id"] not in fresh:
            fresh[event["id"]] = event
    for event in fresh.values():
        fields = event.get("set")
        if fields and "user_input" in fields:
            event["set"] = {**fields, "user_input": checks.without_secrets(fields["user_input"])}
    return list(fresh.values())


def _permitted(document: Document, event: Event) -> Event:
    """The event as a job's token may report it. Raises RefusedError 403 when it names another cluster."""
    fields = event.get("set")
    if not fields:
        return event
    for key in _PROTECTED_FIELDS:
        if key in fields and fields[key] != document.get(key):
            raise RefusedError(403, f"A job's token may not change {key}.", f"set.{key}")
    if "user_input" in fields:
        return {**event, "set": {**fields, "user_input": protected_input(document, fields["user_input"])}}
    return event


def protected_input(document: Document, user_input: Document) -> Document:
    """The new input with the old values of what a cluster may not change."""
    old = document.get("user_input") or {}
    kept = {key: value for key, value in user_input.items() if key not in PROTECTED_INPUT}
    kept.update((key, old[key]) for key in PROTECTED_INPUT if key in old)
    return kept
