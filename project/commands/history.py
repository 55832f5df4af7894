"""Show everything that happened to a job: states, commands, modules, the choice of the cluster."""

import argparse

from project.commands.base import Answer, Session
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
    events = sorted(
        session.api.events(document["job_uuid"]), key=lambda event: (str(event.get("time", "")), event.get("n") or 0)
    )
    return Answer(
        data={"job_uuid": document["job_uuid"], "events": events},
        text=jobs.story(events, session.output),
        ids=[document["job_uuid"]],
    )
