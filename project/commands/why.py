"""Explain a job's state: what it means, why it is so, what the workload manager says, and what to do next."""

import argparse

from project.commands import follow
from project.commands.base import Answer, Session
from project.core.states import FAILED
from project.render import why

EXAMPLES = """\
examples:
  {prog} why 1f2e3d
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `why`."""
    parser.add_argument("job", metavar="UUID", help="the job, by 6 or more characters of its UUID")


def run(session: Session) -> Answer:
    """Explain, with the last lines of stderr of a job that failed."""
    document = session.fresh_document(session.args.job)
    stderr = follow.last_lines(session, document) if document["state"] == FAILED else []
    printed = follow.printed_before(session, document) if document["state"] == FAILED else []
    found = why.facts(document, stderr, printed)
    return Answer(data=found, text=why.explain(found, document, session.output), ids=[document["job_uuid"]])
