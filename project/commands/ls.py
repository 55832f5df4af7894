"""List jobs, newest first."""

import argparse

from project.commands.base import Answer, Session, job_filters, program, selection_arguments
from project.core.errors import UserError
from project.render import jobs

EXAMPLES = """\
examples:
  {prog} ls
  {prog} ls --state RUNNING --state QUEUED
  {prog} ls -l project=demo --limit 5 --json
"""
DEFAULT_LIMIT = 50


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ls`."""
    selection_arguments(parser, act=False)
    # A list of many jobs is no place for a passphrase or a host key: what cannot be reached without is a warning.
    parser.set_defaults(asks_nothing=True)
    parser.add_argument(
        "--limit", type=int, default=DEFAULT_LIMIT, metavar="N", help="at most N jobs (default: 50; 0: all)"
    )


def run(session: Session) -> Answer:
    """Ask the API, and the clusters of jobs that live."""
    if session.args.limit < 0:
        raise UserError(f"--limit {session.args.limit} is negative.", "0 means every job.")
    from project.engine.lookup import expanded

    filters = job_filters(session.args)
    documents = session.fresh(session.all_jobs(filters, session.args.limit))
    states = filters.get("state")
    if states:
        # A job may have left the state meanwhile.
        documents = [document for document in documents if document["state"] in expanded(states)]
    aside = "" if documents else _nothing(filters)
    return Answer(
        data={"jobs": documents},
        text=jobs.listing(documents, session.output),
        aside=aside,
        ids=[document["job_uuid"] for document in documents],
    )


def _nothing(filters: "dict[str, str]") -> str:
    if filters:
        return "No job matches."
    return f"There is no job yet. Write a first input file: `{program()} init`."
