"""Show one job: its state and why, its cluster, its native id, its folder."""

import argparse

from project.commands.base import Answer, Session
from project.render import jobs

EXAMPLES = """\
examples:
  {prog} status 1f2e3d
  {prog} status 1f2e3d --json
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `status`."""
    parser.add_argument("job", metavar="UUID", help="the job, by 6 or more characters of its UUID")


def run(session: Session) -> Answer:
    """Show the document, with what happened meanwhile."""
    document = session.fresh_document(session.args.job)
    return Answer(data=document, text=jobs.page(document, session.output), ids=[document["job_uuid"]])
