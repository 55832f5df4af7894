"""Acting on one job or on every job that a selector matches: shared by cancel, hold, release, rm."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from project.commands.base import Answer, Document, Session
from project.core.errors import ClusterError, UserError
from project.core.states import CANCELLED
from project.render import jobs
from project.render.text import clean, plural


class Deed(NamedTuple):
    """What happened to one job: the same fields as the engine's Outcome."""

    job_uuid: str
    changed: bool
    reason: str
    document: Document


Act = Callable[[Any, Sequence[Document]], Sequence[Any]]


def on_selected(session: Session, verb: str, doing: str, done: str, act: Act) -> Answer:
    """Do `act` to the named jobs. `verb`, `doing`, `done`: "cancel", "cancelling", "cancelled"."""
    documents, by_selector = session.selected()
    if not documents:
        return report([], done)
    session.sure(f"{verb.capitalize()} {plural(len(documents), 'job')}?", bulk=by_selector)
    with session.ui.step(f"{doing.capitalize()} {plural(len(documents), 'job')}"):
        outcomes = act(session.context, documents)
    return report(outcomes, done)


def report(outcomes: Sequence[Any], done: str) -> Answer:
    """How many matched, which changed, which did not and why. One job that did not change is an error."""
    changed = [outcome for outcome in outcomes if outcome.changed]
    skipped = [outcome for outcome in outcomes if not outcome.changed]
    lines = [f"{plural(len(outcomes), 'job')} matched, {len(changed)} {done}, {len(skipped)} skipped."]
    lines += [f"  {jobs.title(_document(outcome))}: {_reason(outcome)}" for outcome in skipped]
    if len(outcomes) == 1:
        only = outcomes[0]
        title = f"Job {jobs.title(_document(only))}"
        lines = [f"{title} {done}." if only.changed else f"{title} was not {done}: {_reason(only)}."]
        if only.changed and "stays" in only.reason:
            lines = [f"{title}: {_reason(only)}."]
    data = {
        "matched": len(outcomes),
        "changed": [outcome.job_uuid for outcome in changed],
        "skipped": [{"job_uuid": outcome.job_uuid, "reason": outcome.reason} for outcome in skipped],
        "jobs": [dict(_document(outcome)) for outcome in outcomes],
    }
    return Answer(
        data=data, aside="\n".join(lines), ids=[outcome.job_uuid for outcome in changed], exit_code=_code(outcomes)
    )


def _reason(outcome: Any) -> str:
    reason = clean(outcome.reason).rstrip(".")
    return f"it {reason}" if reason.startswith("is ") else reason


def _document(outcome: Any) -> Document:
    return dict(outcome.document or {"job_uuid": outcome.job_uuid})


def _code(outcomes: Sequence[Any]) -> int:
    """3 when a cluster did not do it; 2 when the one named job could not be changed; else 0."""
    codes = [getattr(outcome, "exit_code", 0) for outcome in outcomes if not outcome.changed]
    if ClusterError.exit_code in codes:
        return ClusterError.exit_code
    only = len(outcomes) == 1 and bool(codes)
    return UserError.exit_code if only and _document(outcomes[0]).get("state") != CANCELLED else 0
