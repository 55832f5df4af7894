"""The log of a job's callbacks, and sending one again."""

import datetime
import json
import uuid as uuid_module
from typing import Any

from api_srv.problems import RefusedError, not_found
from api_srv.services import reports
from api_srv.services.context import Account, Services
from api_srv.store.base import Document, JobRecord, Row
from project.core import history

KIND = "webhook"
WAITING = "waiting"
MOST = 1000


def listing(services: Services, record: JobRecord) -> Document:
    """`GET /jobs/<uuid>/deliveries`: {"deliveries": [...] oldest first}; no header's value and no secret is in it."""
    return {"deliveries": [shown(row) for row in _rows(services, record)]}


def shown(row: Row) -> Document:
    """A delivery for people and programs.

    `state` is psik's word, `delivery` is waiting, sent or undeliverable; `attempts` are the last ones, each with time, status
    (null without an answer), ms, error and the beginning of the answer; `tries` counts those since it was last asked for.
    """
    body = json.loads(row["text"])
    url, query, _ = str(row["to"]).partition("?")
    waiting = row["state"] == WAITING
    return {
        "id": row["id"],
        "time": row["created"],
        "state": body["state"],
        "jobndx": body["jobndx"],
        "jobferry_state": body["jobferry_state"],
        "url": url + ("?…" if query else ""),
        "delivery": row["state"],
        "attempts": row["log"],
        "tries": row["attempts"],
        "error": row["error"],
        "next": (_iso(row["next"]) or row["created"]) if waiting else None,
        "settled": row["settled"] or None,
    }


def replay(services: Services, account: Account, record: JobRecord, delivery: str) -> Document:
    """Send one again, with the same body and id. Raises RefusedError 404, 409 (it waits already)."""
    uuid = str(record.document["job_uuid"])
    found = next((row for row in _rows(services, record) if row["id"] == delivery), None)
    if found is None:
        raise not_found(f"delivery {delivery[:60]} of job {uuid}")
    fresh: dict[str, Any] = {"next": 0.0, "attempts": 0, "since": history.now(), "error": "", "settled": ""}
    if not services.store.outbox_again(delivery, fresh):
        raise RefusedError(409, f"The delivery {delivery} waits to be sent already.")
    word = json.loads(found["text"])["state"]
    reports.note(services, uuid, uuid_module.uuid4().hex, f"{account.name} asked to send the callback “{word}” again.")
    return {"id": delivery, "delivery": WAITING}


def _rows(services: Services, record: JobRecord) -> list[Row]:
    """Those of its owner: rows outlive a job, whose UUID somebody else may take then."""
    uuid, owner = str(record.document["job_uuid"]), str(record.document["owner"])
    return services.store.outbox_rows(job_uuid=uuid, owner=owner, kind=KIND, limit=MOST)


def _iso(moment: float) -> str:
    if not moment:
        return ""
    text = datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
