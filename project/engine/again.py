"""The same call again: it goes on with a submission that was cut off instead of making a second job."""

import uuid as uuid_module
from typing import Any

from project.core import jobspec, states
from project.core.errors import ApiError
from project.engine import unfinished
from project.engine.context import Context
from project.engine.submission import Request, Submission

Json = dict[str, Any]


def submit(context: Context, request: Request) -> Json:
    """As `submission.submit`."""
    policy = request.policy(context.asks.interactive)
    public = jobspec.public(request.data())
    digest = unfinished.digest(public, str(request.loaded.file or ""), request.modules_file, policy + request.origin)
    cut_off = unfinished.find(context.home, digest) if request.loaded.file else ""
    if cut_off and _lives(context, cut_off):
        from project.engine import resuming

        context.ui.say(f"Going on with submission {cut_off}, which was cut off.")
        return resuming.resume(context, cut_off)
    return _anew(context, Submission(context, request, str(uuid_module.uuid4())), digest)


def _anew(context: Context, submission: Submission, digest: str) -> Json:
    mark = submission.mark = unfinished.Mark(context.home, submission.uuid, digest)
    try:
        document = submission.run()
    except BaseException:
        if submission.recorded and not submission.over:
            mark.keep()
        else:
            mark.clear()
        raise
    mark.clear()
    return document


def _lives(context: Context, uuid: str) -> bool:
    """True when there is something to go on with; else it is forgotten."""
    try:
        state = context.api.job(uuid)["state"]
    except ApiError as error:
        if error.status != 404:
            raise
        state = ""
    if not state or state in states.FINAL:
        unfinished.forget(context.home, uuid)
        return False
    return True
