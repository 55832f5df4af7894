"""Ask the jobs' clusters what happened, and show each job's state and history
(as psik's `poll`).
"""

import argparse
from typing import Any

from project.commands.base import Answer, Session
from project.core.states import PENDING
from project.render import jobs

EXAMPLES = """\
examples:
  {prog} poll 1f2e3d
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """UUID…"""
    parser.add_argument("jobs", nargs="+", metavar="UUID", help="a job, by 6 or more characters of its UUID")


def run(session: Session) -> Answer:
    """Ask the clusters, also those that tell by themselves."""
    from project.engine import sync

    documents = [session.document(name) for name in session.args.jobs]
    documents = list({document["job_uuid"]: document for document in documents}.values())
    fresh = sync.refresh(session.context, documents, force=True)
    found = [{**document, "events": events(session, document)} for document in fresh]
    pages = [
        jobs.page(document, session.output) + "\n\n" + jobs.story(document["events"], session.output)
        for document in found
    ]
    data: dict[str, Any] = found[0] if len(found) == 1 else {"jobs": found}
    return Answer(data=data, text="\n\n".join(pages), ids=[str(document["job_uuid"]) for document in found])


def events(session: Session, document: dict[str, Any]) -> list[dict[str, Any]]:
    """A job's events in the order of their times; the record itself comes first, though the API's clock may be behind."""
    return sorted(session.api.events(document["job_uuid"]), key=_order)


def _order(event: dict[str, Any]) -> tuple[bool, str, int]:
    return event.get("state") != PENDING, str(event.get("time", "")), int(event.get("n") or 0)
