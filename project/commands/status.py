"""Show a job: its state and why, its cluster, its native id, its folder. Of
several jobs, one after the other.
"""

import argparse
from typing import Any

from project.commands.base import Answer, Session
from project.render import jobs

EXAMPLES = """\
examples:
  {prog} status 1f2e3d
  {prog} status 1f2e3d --json
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `status`."""
    parser.add_argument("jobs", nargs="+", metavar="UUID", help="a job, by 6 or more characters of its UUID")


def run(session: Session) -> Answer:
    """Show the documents, with what happened meanwhile."""
    named = [session.document(name) for name in session.args.jobs]
    documents = session.fresh(list({document["job_uuid"]: document for document in named}.values()))
    data: dict[str, Any] = documents[0] if len(documents) == 1 else {"jobs": documents}
    text = "\n\n".join(jobs.page(document, session.output) for document in documents)
    return Answer(data=data, text=text, ids=[str(document["job_uuid"]) for document in documents])
