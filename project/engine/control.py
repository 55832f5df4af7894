"""Acting on jobs: cancel, hold, release, remove. Every verb says of every job whether it changed, and why not."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from project.core import history, states
from project.core.errors import ClusterError, UserError
from project.engine import credentials, ending, remembered, sync, unfinished
from project.engine.context import Context

Json = dict[str, Any]
_REFUSED = UserError.exit_code
# States in which a job that its cluster does not know was certainly never given to it.
_BEFORE = frozenset((states.PENDING, states.AWAITING_PARENTS, states.STAGING_INPUTS, states.BLOCKED))

# Seconds to wait for somebody who tries to send the job at this moment.
_PATIENCE = 5.0


class Outcome(NamedTuple):
    """What became of one job. `changed` is False when nothing was to be done or it could not be done.

    `exit_code`: 3 when the cluster's side failed, else 2 for a job that was not changed.
    """

    job_uuid: str
    changed: bool
    reason: str
    document: Json
    exit_code: int = 0


def cancel(context: Context, documents: Sequence[Json], force: bool = False) -> list[Outcome]:  # noqa: ARG001  # all verbs alike
    """Cancel. A job is "cancelled" only when its workload manager says so. Raises ApiError."""
    live, outcomes = _live(documents)
    for document in live:
        # The wish is recorded first: whoever next speaks with the cluster passes it on.
        context.api.cancel(document["job_uuid"])
    early = [outcome for document in live if (outcome := _unsent(context, document)) is not None]
    done = {outcome.job_uuid for outcome in early}
    outcomes += early + _there(context, [each for each in live if each["job_uuid"] not in done], "cancel")
    return _ordered(documents, outcomes)


def _unsent(context: Context, document: Json) -> Outcome | None:
    """Cancel a job that waits for its first cluster: that needs nobody else. None for any other one."""
    uuid = document["job_uuid"]
    if document["state"] != states.BLOCKED:
        return None
    try:
        mark = unfinished.take(context.home, uuid, _PATIENCE)
    except unfinished.Held:
        # It is being sent just now; who does that has the wish with the next answer.
        return None
    try:
        # From here on a sender on any machine has the wish before it sends.
        document = context.api.job(uuid)
        if not ending.never_sent(document, context.api.events(uuid)):
            return None
        outcome = _never_arrived(context, document, "cancel")
        unfinished.forget(context.home, uuid)
        return outcome
    finally:
        mark.keep()


def hold(context: Context, documents: Sequence[Json], force: bool = False) -> list[Outcome]:  # noqa: ARG001  # all verbs alike
    """Hold jobs that wait. Raises ApiError."""
    live, outcomes = _live(documents)
    return _ordered(documents, outcomes + _there(context, live, "hold"))


def release(context: Context, documents: Sequence[Json], force: bool = False) -> list[Outcome]:  # noqa: ARG001  # all verbs alike
    """Let held jobs go on. Raises ApiError."""
    live, outcomes = _live(documents)
    return _ordered(documents, outcomes + _there(context, live, "release"))


def remove(context: Context, documents: Sequence[Json], force: bool = False) -> list[Outcome]:
    """Remove jobs: their folders on the clusters, then their records. Live ones only with `force`. Raises ApiError."""
    if force:
        alive = [document for document in documents if document["state"] not in states.FINAL]
        if alive:
            cancel(context, alive)
    outcomes = []
    wanted = []
    for document in documents:
        if document["state"] in states.FINAL or force:
            wanted.append(document)
        else:
            reason = f"is {document['state'].lower()}; cancel it first, or use --force"
            outcomes.append(Outcome(document["job_uuid"], False, reason, document, _REFUSED))
    for outcome in _there(context, wanted, "remove", force=force):
        if force and not outcome.changed and context.api.job(outcome.job_uuid)["state"] in states.FINAL:
            # The cluster may be gone for good; a job that may still run there is not forgotten.
            reason = f"forgotten; its folder on the cluster stays ({outcome.reason})"
            outcome = outcome._replace(changed=True, reason=reason)
        if outcome.changed:
            context.api.delete(outcome.job_uuid)
            remembered.forget(context.home, outcome.job_uuid)
            unfinished.forget(context.home, outcome.job_uuid)
        outcomes.append(outcome)
    return _ordered(documents, outcomes)


def _live(documents: Sequence[Json]) -> tuple[list[Json], list[Outcome]]:
    live = [document for document in documents if document["state"] not in states.FINAL]
    ended = [
        Outcome(document["job_uuid"], False, f"is already {document['state'].lower()}", document, _REFUSED)
        for document in documents
        if document["state"] in states.FINAL
    ]
    return live, ended


def _ordered(documents: Sequence[Json], outcomes: list[Outcome]) -> list[Outcome]:
    found = {outcome.job_uuid: outcome for outcome in outcomes}
    return [found[document["job_uuid"]] for document in documents]


def _there(context: Context, documents: Sequence[Json], verb: str, **fields: Any) -> list[Outcome]:
    """Do `verb` on the clusters of `documents`."""
    done: dict[str, Outcome] = {}
    for cluster, group in sync.by_cluster(context, documents):
        try:
            for outcome in _on(context, cluster, group, verb, fields):
                done[outcome.job_uuid] = outcome
        except ClusterError as error:
            for document in group:
                done.setdefault(document["job_uuid"], _away(document, verb, error.message))
        except UserError as error:
            # A key that cannot be used for one cluster keeps nothing from being done on the others.
            if len(group) == len(documents):
                raise
            for document in group:
                done.setdefault(document["job_uuid"], _away(document, verb, error.message))
    for document in documents:
        done.setdefault(document["job_uuid"], _away(document, verb, "its cluster does not answer"))
    return [done[document["job_uuid"]] for document in documents]


def _away(document: Json, verb: str, why: str) -> Outcome:
    wish = "; the wish is recorded and carried out when the cluster answers" if verb == "cancel" else ""
    return Outcome(document["job_uuid"], False, why.rstrip(".") + wish, document, ClusterError.exit_code)


def _on(context: Context, cluster: Json, group: list[Json], verb: str, fields: Json) -> list[Outcome]:
    link = context.open(cluster, credentials.resolve(context, cluster, group[0]))
    workdir = str(cluster.get("workdir") or "")
    uuids = [document["job_uuid"] for document in group]
    answer = link.request(verb, workdir=workdir, uuids=uuids, **fields).get("jobs") or {}
    if verb != "remove":
        sync.collect(context, link, cluster, group)
    outcomes = []
    for document in group:
        said = answer.get(document["job_uuid"]) or {}
        outcomes.append(_outcome(context, document, verb, said))
    return outcomes


def _outcome(context: Context, document: Json, verb: str, said: Json) -> Outcome:
    uuid = document["job_uuid"]
    message = str(said.get("message") or "")
    if verb == "remove":
        ok = bool(said.get("ok"))
        return Outcome(uuid, ok, message or "removed", document, 0 if ok else _REFUSED)
    if said.get("state") is None:
        return _never_arrived(context, document, verb)
    fresh = context.api.job(uuid)
    ok = bool(said.get("ok"))
    if verb == "cancel" and ok and fresh["state"] not in states.FINAL:
        return Outcome(uuid, True, message or "asked to end; its workload manager has not confirmed it yet", fresh)
    late = verb == "hold" and fresh["state"] == states.RUNNING
    code = _REFUSED if late else ClusterError.exit_code
    return Outcome(uuid, ok, message or fresh["state"].lower(), fresh, 0 if ok else code)


def _never_arrived(context: Context, document: Json, verb: str) -> Outcome:
    uuid = document["job_uuid"]
    if verb != "cancel" or document["state"] not in _BEFORE:
        return Outcome(uuid, False, "its cluster does not know it", document, _REFUSED)
    seq = sync.last_seq(context, uuid, "client") + 1
    message = "cancelled before it reached its cluster"
    event = history.make("client", seq, "state", state=states.CANCELLED, condition="cancelled_by_user", message=message)
    context.api.report(uuid, [event])
    return Outcome(uuid, True, message, context.api.job(uuid))
