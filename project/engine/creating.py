"""A job that is recorded and not submitted (psik's `run --no-submit`), and its later start."""

import uuid as uuid_module
from typing import Any

from project.core import states
from project.engine import credentials, resuming, rhythm
from project.engine.context import Context
from project.engine.submission import Request, Submission

Json = dict[str, Any]
CREATED = "it was created without being submitted"


def create(context: Context, request: Request) -> Json:
    """Record a job: everything that a submission looks at here is looked at, no cluster is asked. Its document.

    Raises UserError, ApiError.
    """
    submission = Submission(context, request, str(uuid_module.uuid4()))
    _, wanted = submission.look()
    login = credentials.from_input(context, submission.data, submission.folder)
    submission.collect()
    submission.record(wanted, login)
    plan = rhythm.by_hand(CREATED, f"the user: `start {submission.uuid}`", None)
    submission.journal.add("note", message="created, not submitted", set={"plan": plan})
    submission.journal.flush()
    return submission.document()


def is_created(document: Json) -> bool:
    """True for a job that waits for its `start`."""
    return document["state"] == states.PENDING and (document.get("plan") or {}).get("cause") == CREATED


def start(context: Context, document: Json) -> Json:
    """Submit a job that was created; its document. Two calls at once submit it once. Raises UserError, ClusterError, ApiError."""
    return resuming.resume(context, str(document["job_uuid"]))
