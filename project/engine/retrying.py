"""One round of tries: each cluster is probed once for all the submissions that wait for it."""

import contextlib
import time
from collections.abc import Sequence
from typing import Any

from project.core import states
from project.core.errors import ApiError, JobferryError
from project.engine import ending, inventory, probing, resuming, rhythm, sync, unfinished
from project.engine.context import Context
from project.engine.journal import Journal

Json = dict[str, Any]


def attempt(context: Context, marks: Sequence[unfinished.Waiting]) -> None:
    """Try what is due, and whatever waits for the same clusters. Raises ApiError: then everything stays as it is."""
    now = time.time()
    known = {str(cluster["name"]): cluster for cluster in inventory.clusters(context.api)}
    names = dict.fromkeys(name for mark in marks if mark.next <= now for name in mark.clusters)
    probes = probing.probe([known[name] for name in names if name in known])
    for mark in marks:
        if any(name in probes and probes[name].reachable for name in mark.clusters):
            _go_on(context, mark.uuid)
        elif mark.next <= now:
            why = "; ".join(f"{name}: {_reason(probes.get(name))}" for name in mark.clusters)
            with contextlib.suppress(unfinished.Held):
                _postpone(context, mark, known.get(mark.clusters[0], {}) if mark.clusters else {}, why)


def _reason(probe: probing.Probe | None) -> str:
    return "is not in the inventory any more" if probe is None else probe.reason


def _go_on(context: Context, uuid: str) -> None:
    try:
        resuming.resume(context, uuid, patience=0, unattended=True)
    except unfinished.Held:
        # Somebody else is at it.
        return
    except ApiError as error:
        if error.status != 404:
            raise
        unfinished.forget(context.home, uuid)
    except JobferryError as error:
        if not error.transient:
            _give_back(context, uuid, error)


def _give_back(context: Context, uuid: str, error: JobferryError) -> None:
    """Trying again without the person would bring the same: a login that is refused, a file that is gone."""
    with contextlib.suppress(unfinished.Held):
        mark = unfinished.take(context.home, uuid, 0)
        try:
            document = context.api.job(uuid)
            if document["state"] == states.BLOCKED:
                plan = rhythm.by_hand("it needs you", f"`resubmit --resume {uuid}`", document.get("plan"))
                _tell(context, uuid, "note", message=str(error), set={"plan": plan})
            mark.rests()
        finally:
            mark.keep()


def _postpone(context: Context, waiting: unfinished.Waiting, cluster: Json, why: str) -> None:
    """Nobody answered: the plan goes on, or that was the last try."""
    mark = unfinished.take(context.home, waiting.uuid, 0)
    over = False
    try:
        document = _document(context, waiting.uuid)
        # Another state: its cluster has told that it has the job, or somebody ended it. (PENDING: the API was away when the
        # job became blocked.)
        over = document.get("state") not in {states.BLOCKED, states.PENDING}
        if over:
            return
        if document.get("cancel_requested") and ending.never_sent(document, context.api.events(waiting.uuid)):
            message = "cancelled before it reached its cluster"
            _tell(
                context, waiting.uuid, "state", state=states.CANCELLED, condition="cancelled_by_user", message=message
            )
            over = True
            return
        before = document.get("plan") or {}
        cause = str(before.get("cause") or "no cluster took it")
        plan = rhythm.plan(cause, why, rhythm.of(cluster, "unreachable"), before, time.time())
        if plan is None and not ending.never_sent(document, context.api.events(waiting.uuid)):
            _tell(context, waiting.uuid, "note", **ending.in_doubt(waiting.uuid, why, before))
            mark.rests()
            return
        if plan is None:
            _tell(context, waiting.uuid, "state", **ending.gave_up(why))
            over = True
            return
        message = f"try {plan['tries']}: {why}"
        if document["state"] == states.BLOCKED:
            _tell(context, waiting.uuid, "note", message=message, set={"plan": plan})
        else:
            fields = {"state": states.BLOCKED, "condition": "unreachable", "message": message}
            _tell(context, waiting.uuid, "state", set={"plan": plan}, **fields)
        mark.waits(rhythm.seconds(plan["next"]), waiting.clusters)
    finally:
        if over:
            mark.clear()
        else:
            mark.keep()


def _document(context: Context, uuid: str) -> Json:
    try:
        return context.api.job(uuid)
    except ApiError as error:
        if error.status != 404:
            raise
        return {}


def _tell(context: Context, uuid: str, kind: str, **fields: Any) -> None:
    journal = Journal(context.api, uuid, sync.last_seq(context, uuid, "client"))
    journal.add(kind, **fields)
    journal.flush()
