"""Fetch the declared output of a job into the current folder, or into DIR.

Every file is verified. A file that exists already is never overwritten, unless it is the same or with --force.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from project.commands.base import Answer, Session
from project.core.errors import JobEnded
from project.core.states import FAILED, FINISHED
from project.render import jobs
from project.render.text import clean, plural, size

EXAMPLES = """\
examples:
  {prog} retrieve 1f2e3d
  {prog} retrieve 1f2e3d -o results
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `retrieve`."""
    parser.add_argument("job", metavar="UUID", help="the job, by 6 or more characters of its UUID")
    choices(parser)


def choices(parser: argparse.ArgumentParser) -> None:
    """The options that `retrieve` and `-r` share."""
    parser.add_argument("-o", "--output", metavar="DIR", help="the folder to write into (default: the current one)")
    parser.add_argument("--force", action="store_true", help="overwrite files that differ")


def run(session: Session) -> Answer:
    """Fetch; exit code 5 when the job did not end well, whatever could be fetched."""
    from project.engine import retrieval

    document = session.fresh_document(session.args.job)
    target = Path(session.args.output or ".")
    failed = document.get("state") in (FAILED, "CANCELLED")
    try:
        files = retrieval.retrieve(session.context, document, target, session.args.force)
    except retrieval.Incomplete as error:
        session.output.aside("\n".join(_lines(_rows(error.retrieved))))
        if document.get("state") == FINISHED:
            raise
        still = "" if failed else "still "
        message = f"Job {jobs.title(document)} is {still}{document['state']}, and not all of its output is there."
        message = f"{message} {error.message}"
        if failed:
            raise JobEnded(message, error.hint) from error
        hint = f"Wait for its end: `watch {jobs.short(document)}`. {error.hint}"
        raise retrieval.Incomplete(message, hint, error.retrieved) from error
    rows = _rows(files)
    lines = _lines(rows)
    state = str(document.get("state"))
    data = {"job_uuid": document["job_uuid"], "state": state, "folder": str(target.absolute()), "files": rows}
    aside = f"{plural(len(rows), 'file')} of job {jobs.title(document)} in {clean(target.absolute())}."
    if failed:
        session.output.warn(f"Job {jobs.title(document)} is {state}: its output may be missing or incomplete.")
    elif state != FINISHED:
        session.output.warn(f"Job {jobs.title(document)} is still {state}: its output may be incomplete.")
    return Answer(
        data=data,
        text="\n".join(lines),
        aside=aside,
        ids=[row["path"] for row in rows],
        exit_code=JobEnded.exit_code if failed else 0,
    )


def _rows(files: Iterable[Any]) -> list[dict[str, Any]]:
    return [{"path": str(item.path), "size": item.size, "how": item.how} for item in files]


def _lines(rows: list[dict[str, Any]]) -> list[str]:
    return [f"{clean(row['path'])}  {size(float(row['size']))}  {clean(row['how'])}" for row in rows]
