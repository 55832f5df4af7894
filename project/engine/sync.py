"""Fetching what happened on the clusters, where no pushed report brings it, and passing on wishes to cancel."""

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

from project.core import history, states
from project.core.errors import ApiError, ClusterError, JobferryError, UserError
from project.engine import credentials, inventory, probing, remembered
from project.engine.context import Context
from project.engine.link import Link

Json = dict[str, Any]
# Seconds without news from a job whose cluster pushes its events; then it is asked all the same.
SILENCE = 60.0


def refresh(context: Context, documents: Sequence[Json], force: bool = False) -> list[Json]:
    """The same documents, in the same order, with what happened meanwhile.

    A cluster that does not answer is a warning. Raises ApiError.

    :param force: ask the clusters of final jobs, and of those that push their events, too.
    """
    wanted = [document for document in documents if force or _due(context, document)]
    fresh: dict[str, Json] = {}
    for cluster, group in by_cluster(context, wanted):
        try:
            link = context.open(cluster, credentials.resolve(context, cluster, group[0]))
            for uuid in collect(context, link, cluster, group):
                fresh[uuid] = context.api.job(uuid)
        except ClusterError as error:
            _warn(context, cluster, error.message)
        except UserError as error:
            # A key that nobody can be asked to unlock hides the news of its jobs, not the list of all.
            if context.private_key or context.asks.interactive:
                raise
            _warn(context, cluster, error.message)
    return [fresh.get(document["job_uuid"], document) for document in documents]


def by_cluster(context: Context, documents: Iterable[Json]) -> Iterable[tuple[Json, list[Json]]]:
    """The documents by their cluster, the clusters that answer only; the others are warned about."""
    groups: dict[str, tuple[Json, list[Json]]] = {}
    for document in documents:
        try:
            cluster = inventory.of_job(document, context.api)
        except ApiError:
            raise
        except JobferryError as error:
            context.ui.warn(error.message)
            continue
        key = repr((cluster["name"], cluster.get("workdir")))
        groups.setdefault(key, (cluster, []))[1].append(document)
    # Where there is only one, connecting tells as well.
    probes = probing.probe([cluster for cluster, _ in groups.values()]) if len(groups) > 1 else {}
    for cluster, group in groups.values():
        found = probes.get(str(cluster["name"]), probing.Probe(True))
        if found.reachable:
            yield cluster, group
        else:
            _warn(context, cluster, found.reason)


def _warn(context: Context, cluster: Json, reason: str) -> None:
    context.ui.warn(f"The newest state of jobs on {cluster['name']} is not known: {reason.rstrip('.')}.")


def _due(context: Context, document: Json) -> bool:
    if document.get("state") in states.FINAL:
        return False
    if document.get("cancel_requested") or not remembered.load(context.home, document["job_uuid"]).get("pushes"):
        return True
    return age(str(document.get("updated") or "")) > SILENCE


def age(stamp: str) -> float:
    """Seconds since an ISO 8601 time; very many when it is none."""
    try:
        then = datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00"))
        return (datetime.datetime.now(datetime.timezone.utc) - then).total_seconds()
    except (ValueError, TypeError):
        return float("inf")


def collect(context: Context, link: Link, cluster: Json, documents: Sequence[Json]) -> list[str]:
    """Bring new events of `documents` to the API; the UUIDs of those that had any. Raises ClusterError, ApiError."""
    workdir = str(cluster.get("workdir") or "")
    known = {document["job_uuid"]: last_seq(context, document["job_uuid"]) for document in documents}
    changed: list[str] = []
    wishes = [d["job_uuid"] for d in documents if d.get("cancel_requested") and d.get("state") not in states.FINAL]
    while True:
        answer = link.request("sync", workdir=workdir, jobs=known)
        for uuid, entry in (answer.get("jobs") or {}).items():
            events = list(entry.get("events") or [])
            if events:
                wishes += [uuid] if relay(context, uuid, events) else []
                known[uuid] = max(int(event["seq"]) for event in events)
                remembered.save(context.home, uuid, agent_seq=known[uuid])
                changed.append(uuid)
        # An answer that brings nothing will bring nothing the next time either.
        if not answer.get("more") or not any(entry.get("events") for entry in (answer.get("jobs") or {}).values()):
            break
    if wishes:
        link.request("cancel", workdir=workdir, uuids=sorted(set(wishes)))
        for uuid in set(wishes):
            entry = link.request("sync", workdir=workdir, jobs={uuid: known.get(uuid, 0)})["jobs"].get(uuid) or {}
            relay(context, uuid, list(entry.get("events") or []))
            changed.append(uuid)
    return sorted(set(changed))


def relay(context: Context, uuid: str, events: list[Json]) -> bool:
    """Report the agent's events; True when the API answers with the wish to cancel. Raises ApiError."""
    cancel = False
    for batch in history.batches(events):
        cancel = bool(context.api.report(uuid, batch).get("cancel")) or cancel
    return cancel


def last_seq(context: Context, uuid: str, source: str = "agent") -> int:
    """The number of the last event from `source` that the API has."""
    kept = remembered.load(context.home, uuid).get("agent_seq") if source == "agent" else None
    if isinstance(kept, int):
        return kept
    return max((int(e["seq"]) for e in context.api.events(uuid) if e.get("source") == source), default=0)
