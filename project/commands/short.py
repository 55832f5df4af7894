"""Submit a job (-u) or fetch a job's output (-r): the two calls without a verb."""

import argparse

from project.commands import retrieve, submit
from project.commands.base import Answer, Session
from project.core.errors import UserError


def arguments(parser: argparse.ArgumentParser) -> None:
    """`-u FILE [-m MODULES]` or `-r UUID`, with the options of the verbs `submit` and `retrieve`."""
    parser.add_argument("-u", "--user", metavar="FILE", dest="file")
    parser.add_argument("-m", "--module", "--modules", metavar="MODULES", dest="module")
    parser.add_argument("-r", "--retrieve", metavar="UUID", dest="job")
    submit.choices(parser)
    retrieve.choices(parser)


def run(session: Session) -> Answer:
    """Do the one that the call names."""
    args = session.args
    if args.file and args.job:
        raise UserError("-u and -r are two different things.", "Give one of them.")
    if args.job:
        return retrieve.run(session)
    if args.file:
        return submit.run(session)
    raise UserError("There is no verb, no -u and no -r.", "See `--help`.")
