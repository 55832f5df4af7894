"""Show everything that happened to a job: states, commands, modules, the choice of the cluster."""

import argparse
from typing import Any

from project.commands.base import Answer, Session
from project.core.states import PENDING
from project.render import jobs

EXAMPLES = """\
examples:
  {prog} history 1f2e3d
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `history`."""
    parser.add_argument("job", metavar="UUID", help="the job, by 6 or more characters of its UUID")


def run(session: Session) -> Answer:
    """Show the events in the order of their times."""
    document = session.fresh_document(session.args.job)
    events = sorted(session.api.events(document["job_uuid"]), key=_order)
    return Answer(
        data={"job_uuid": document["job_uuid"], "events": events},
        text=jobs.story(events, session.output),
        ids=[document["job_uuid"]],
    )


def _order(event: dict[str, Any]) -> tuple[bool, str, int]:
    """By time; the record itself comes first, though the API's clock may be behind."""
    return event.get("state") != PENDING, str(event.get("time", "")), int(event.get("n") or 0)
