"""Callbacks as rows of the outbox: which change is told, and in which words. Pure.

A job with a callback has a field `webhook` in its stored document, which no call of the API shows::

    {"url": …, "sealed": the secret and the headers, sealed, or "", "told": "RUN WORD" of the last message,
     "jobid"?: that of the first run, where this job is a later one}

A message is written when that `told` changes: each of psik's words but `new`, once in a row for a run (SUBMITTING is still `new`, so nothing is
sent; POSTPROCESSING is still `active`). A requeued job is told `queued` again. What the verb `reached` records is told too, in the words it was
given, and changes nothing of `told`: `jobferry_state` beside it is the job's true state. The body is fixed then; every attempt sends the same bytes
under the same delivery id.
"""

import hashlib
import json

from api_srv.notify.port import WAITING, WEBHOOK, Row
from project.core import callbacks
from project.core.history import Document, Event, now

CONTENT_TYPE = "application/json"


def rows(before: Document, after: Document, event: Event) -> list[Row]:
    """The row for `event`, which made `after` of `before`; none when nobody is to be told."""
    webhook = after.get("webhook") or {}
    reached = callbacks.reached(event)
    if not webhook.get("url") or (not reached and webhook.get("told") == (before.get("webhook") or {}).get("told")):
        return []
    job_uuid, event_id = str(after.get("job_uuid") or ""), str(event.get("id") or "")
    body = {**callbacks.body(after, str(event.get("time") or now())), **reached}
    return [
        {
            "id": delivery_id(job_uuid, event_id),
            "job_uuid": job_uuid,
            "owner": str(after.get("owner") or ""),
            "kind": WEBHOOK,
            "topic": WEBHOOK,
            "to": webhook["url"],
            "subject": body["state"],
            "text": json.dumps(body),
            "sealed": webhook.get("sealed") or "",
            "log": [],
            "event_id": event_id,
            "created": now(),
            "since": "",
            "attempts": 0,
            "next": 0.0,
            "lease_until": 0.0,
            "lease_by": "",
            "state": WAITING,
            "error": "",
            "settled": "",
        }
    ]


def delivery_id(job_uuid: str, event_id: str) -> str:
    """The same for every attempt and every server: 32 hexadecimal digits."""
    return hashlib.sha256(f"{job_uuid}.{event_id}".encode("utf-8", "replace")).hexdigest()[:32]
