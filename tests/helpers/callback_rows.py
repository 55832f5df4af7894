"""Rows of the outbox as a callback has them."""

from typing import Any

from api_srv.notify import webhook
from api_srv.notify.port import Row
from project.core import history

UUID = "0a1b2c3d-0000-4000-8000-0123456789ab"


def document(
    job_uuid: str = UUID, url: str = "http://127.0.0.1:1/hook", sealed: str = "", **fields: Any
) -> dict[str, Any]:
    """A job with a callback."""
    made = history.new_document(job_uuid, {"destination_cluster": "c", "job": "j", "execution": ["true"]})
    return {**made, "owner": "ann", "webhook": {"url": url, "sealed": sealed, "told": ""}, **fields}


def row(
    number: int = 1, job_uuid: str = UUID, url: str = "http://127.0.0.1:1/hook", sealed: str = "", **fields: Any
) -> Row:
    """The row of a job that is QUEUED."""
    before = document(job_uuid, url, sealed)
    after = {
        **before,
        "state": "QUEUED",
        "native_id": str(number),
        "webhook": {**before["webhook"], "told": "1 queued"},
    }
    (made,) = webhook.rows(before, after, history.make("agent", number, "state", state="QUEUED"))
    return {**made, **fields}
