"""How a submission ends when it does not go through: for good, or blocked with a plan to go on."""

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from project.core import states
from project.core.errors import ApiError, ClusterError, JobferryError, UserError
from project.engine import credentials, inventory, placement, rhythm
from project.engine.ui import SilentUi
from project.transports import ssh_keys

if TYPE_CHECKING:
    from project.engine.submission import Submission

Json = dict[str, Any]


class Cancelled(UserError):
    """The wish to cancel came before the submission."""

    def __init__(self) -> None:
        super().__init__("The job was cancelled before it was submitted.", condition="cancelled_by_user")


def failed(submission: "Submission", error: JobferryError) -> None:
    """Record how it ended: for good, or so that it goes on."""
    blocked = error.transient and isinstance(error, ClusterError)
    submission.over = not isinstance(error, ApiError) and not blocked
    if isinstance(error, ApiError) or submission.taken or submission.journal.refused:
        # Nothing to record it with, or the agent's own account is there.
        return
    journal = submission.journal
    if isinstance(error, Cancelled):
        journal.add("state", state=states.CANCELLED, condition="cancelled_by_user", message=error.message)
    elif blocked:
        _block(submission, error)
    else:
        # The agent's own account, if there is one, came first: a final state never changes.
        journal.add("state", state=states.FAILED, condition=error.condition, message=error.message)
    problem = journal.settle()
    if problem is not None:
        submission.ui.warn(problem.message)


def no_way_here(submission: "Submission", error: OSError) -> UserError:
    """This machine's disk or memory gave out: what was not sent is over, and the next call begins anew."""
    what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if submission.sent:
        return UserError(f"The submission stopped here ({what}).", f"Go on with `resubmit --resume {submission.uuid}`.")
    problem = UserError(f"The submission stopped here ({what}); nothing was sent.", "Mend that and submit again.")
    failed(submission, problem)
    return problem


def stopped(submission: "Submission") -> None:
    """Ctrl-C: before anything was sent the job is over, afterwards it can be resumed."""
    if submission.sent:
        if not submission.taken:
            message = "interrupted while it was sent"
            plan = rhythm.by_hand(message, f"the user: `resubmit --resume {submission.uuid}`", submission.plan)
            submission.journal.add("state", state=states.BLOCKED, message=message, set={"plan": plan})
    else:
        submission.over = True
        submission.journal.add("state", state=states.CANCELLED, condition="cancelled_by_user", message="interrupted")
    submission.journal.settle()


def _block(submission: "Submission", error: JobferryError) -> None:
    cluster = submission.cluster if submission.sent else submission.wanted
    cause = "the connection was lost" if submission.sent else "no cluster took it"
    by_hand = f"Go on with `resubmit --resume {submission.uuid}`."
    fields: Json = {"state": states.BLOCKED, "condition": "unreachable", "message": error.message}
    hindrance = _needs_a_person(submission, cluster)
    if hindrance:
        fields["set"] = {"plan": rhythm.by_hand(cause, f"the user: {hindrance}", submission.plan)}
        if submission.mark is not None:
            submission.mark.rests()
        hint = f"{hindrance} {by_hand}"
    else:
        now = time.time()
        plan = rhythm.plan(cause, error.message, rhythm.of(cluster, error.condition), submission.plan, now)
        if plan is None and submission.sent and error.condition == "unreachable":
            submission.journal.add("note", **in_doubt(submission.uuid, error.message, submission.plan))
            if submission.mark is not None:
                submission.mark.rests()
            return
        if plan is None:
            submission.over = True
            submission.journal.add("state", **gave_up(error.message))
            return
        fields["set"] = {"plan": plan}
        if submission.mark is not None:
            submission.mark.waits(rhythm.seconds(plan["next"]), _candidates(submission, cluster))
        pause = max(0, round(rhythm.seconds(plan["next"]) - now))
        hint = f"It goes on by itself while this machine runs; next try in {pause} s. At once: `resubmit --resume {submission.uuid}`."
    submission.journal.add("state", **fields)
    error.hint = f"{error.hint} {hint}".strip()


def gave_up(reason: str) -> Json:
    """The fields of the event after the last try."""
    message = f"Given up after the last try: {reason}"
    return {"state": states.FAILED, "condition": "unreachable", "message": message}


def in_doubt(uuid: str, reason: str, before: Json | None) -> Json:
    """The fields of the event after the last try when the cluster may have the job: it may run there, so it has not failed."""
    message = f"No more tries: {reason}"
    plan = rhythm.by_hand("it may be on its cluster", f"the user: `resubmit --resume {uuid}`", before)
    return {"message": message, "set": {"plan": plan}}


def never_sent(document: Json, events: list[Json]) -> bool:
    """True when it is certain that no cluster can have the job: the last choice of a cluster chose none.

    Who chooses one has that acknowledged before anything is sent.
    """
    if document.get("state") != states.BLOCKED:
        return False
    choices = [event for event in events if event.get("kind") == "cluster" and event.get("source") == "client"]
    return bool(choices) and not (choices[-1].get("data") or {}).get("chosen")


def _candidates(submission: "Submission", cluster: Json) -> list[str]:
    """Whose answer lets it go on. A peer only as long as no cluster can have the job, and without asking."""
    if submission.sent or submission.policy != placement.AUTO:
        return [str(cluster["name"] if submission.sent else submission.wanted["name"])]
    return submission.candidates or [str(cluster["name"])]


def _needs_a_person(submission: "Submission", cluster: Json) -> str:
    """Why nobody but the person can log in there; "" when that needs nobody."""
    if inventory.is_here(cluster):
        return ""
    later = dataclasses.replace(submission.context, username="", private_key="")
    login = credentials.resolve(later, cluster, {"job_uuid": submission.uuid})
    if not login.private_key:
        return ""
    try:
        ssh_keys.load(login.private_key, login.passphrase, SilentUi())
    except UserError as error:
        return error.message
    return ""
