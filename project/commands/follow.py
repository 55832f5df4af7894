"""Follow jobs until they have ended: shared by `watch` and `submit --wait`."""

import time
from collections.abc import Callable, Iterable, Sequence

from project.commands.base import Document, Session, program
from project.core.errors import ApiError, ClusterError, JobEnded, JobferryError
from project.core.states import BLOCKED, FINAL, FINISHED, PENDING, STAGING_INPUTS
from project.render import jobs
from project.render.text import QUOTED, clean

QUICK = 1.0
SLOW = 10.0
# After this many seconds without an answer, following is given up (the job goes on).
PATIENCE = 600.0
# After this many seconds without news a job that is being sent may be one whose submission was cut off.
STUCK = 20.0


def to_the_end(
    session: Session, documents: Sequence[Document], changed: "Callable[[Document], None] | None" = None
) -> list[Document]:
    """Wait until every job is in a final state; each change is told as it is seen.

    Raises:
        JobferryError: the API or the cluster did not answer for ten minutes.
    """
    session.output.watching = [document["job_uuid"] for document in documents if document["state"] not in FINAL]
    present = {document["job_uuid"]: document for document in documents}
    tell = changed or (lambda document: session.ui.say(change(document)))
    interval = QUICK
    deadline = time.monotonic() + PATIENCE
    warned: set[str] = set()
    while any(document["state"] not in FINAL for document in present.values()):
        live = [document for document in present.values() if document["state"] not in FINAL]
        try:
            newer = _newer(session, live)
            deadline = time.monotonic() + PATIENCE
        except (ApiError, ClusterError) as error:
            if not error.transient or time.monotonic() > deadline:
                raise
            newer = []
        moved = False
        for document in newer:
            before = present[document["job_uuid"]]
            present[document["job_uuid"]] = document
            if before["state"] != document["state"]:
                tell(document)
                moved = True
        _warn_of_stuck(session, present.values(), warned)
        interval = QUICK if moved else min(SLOW, interval * 1.1)
        if any(document["state"] not in FINAL for document in present.values()):
            time.sleep(interval)
    session.output.watching = ()
    return [present[document["job_uuid"]] for document in documents]


def stuck(document: Document, quiet: float) -> str:
    """What to do about a submission that nobody goes on with, as far as can be seen; "" for any other job.

    :param quiet: seconds since the last news of it.
    """
    if jobs.waits_for_start(document):
        return f"Job {jobs.title(document)} was not submitted yet: `{program()} start {jobs.short(document)}`."
    resume = f"`{program()} resubmit --resume {jobs.short(document)}`"
    if document["state"] == BLOCKED and not (document.get("plan") or {}).get("next"):
        return f"Job {jobs.title(document)} does not go on by itself: {resume}."
    if document["state"] in (PENDING, STAGING_INPUTS) and quiet > STUCK:
        return f"Job {jobs.title(document)} is not sent yet. If its submission was cut off, go on with {resume}."
    return ""


def _warn_of_stuck(session: Session, documents: Iterable[Document], warned: set[str]) -> None:
    from project.engine import sync

    for document in documents:
        told = stuck(document, sync.age(str(document.get("updated") or "")))
        if told and document["job_uuid"] not in warned:
            warned.add(document["job_uuid"])
            session.ui.warn(told)


def _newer(session: Session, live: Sequence[Document]) -> list[Document]:
    return session.fresh([session.api.job(document["job_uuid"]) for document in live])


def change(document: Document) -> str:
    """One line for a change of state."""
    told = f"Job {jobs.title(document)} is {document['state']}"
    reason = jobs.brief(document)
    message = clean(document.get("message") or "")
    if reason:
        told += f" ({clean(reason)})"
    return f"{told}: {message}" if message and message != reason else f"{told}."


def exit_code(documents: Sequence[Document]) -> int:
    """0 when every job finished well, else 5."""
    return 0 if all(document["state"] == FINISHED for document in documents) else JobEnded.exit_code


def epilogue(session: Session, document: Document) -> str:
    """What to do after the end of a job."""
    prog = program()
    job = jobs.short(document)
    if document["state"] == FINISHED:
        wanted = (document.get("user_input") or {}).get("output")
        return f"Fetch the output: `{prog} retrieve {job}`." if wanted else f"See what it printed: `{prog} logs {job}`."
    lines = last_lines(session, document)
    shown = ["Last lines of stderr:", *(QUOTED + clean(line) for line in lines)] if lines else []
    return "\n".join([*shown, f"What went wrong: `{prog} why {job}`."])


def printed_before(session: Session, document: Document, count: int = 10) -> list[str]:
    """The last lines of the command or module that failed before the job was submitted; none when there is none."""
    if document.get("native_id"):
        return []
    for event in reversed(session.api.events(document["job_uuid"])):
        data = event.get("data") or {}
        if event.get("kind") in ("command", "module") and data.get("exit_status"):
            return str(data.get("output") or data.get("stderr") or "").rstrip("\n").split("\n")[-count:]
    return []


def last_lines(session: Session, document: Document, count: int = 10) -> list[str]:
    """The last lines of a job's stderr; none when it has none, or when they cannot be had now."""
    if not document.get("native_id"):
        return []
    from project.engine import logs

    index = next(iter(jobs.failed_elements(document)), None)
    try:
        raw = b"".join(logs.read(session.context, document, stream="stderr", lines=count, index=index))
    except JobferryError as error:
        if session.output.verbose:
            session.output.warn(f"stderr could not be read: {error}")
        return []
    return raw.decode("utf-8", "replace").rstrip("\n").split("\n")[-count:] if raw.strip() else []
