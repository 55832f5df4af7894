"""Record that a job has reached a state (psik's verb).

BASE is a job's folder or its UUID, NDX the number of the run (0: all of them),
STATE one of psik's words: new, queued, active, completed, failed, canceled;
INFO is one line. It becomes a note in the job's history and a row of its
status.csv, and the cluster is asked at once. The job's state stays what its
workload manager says: a step that is over is no job that is over. In a folder
of psik's own on this machine the row is written, and no callback is sent.
"""

import argparse
import re
from pathlib import Path

from project.commands.base import Answer, Document, Session, program
from project.core.errors import UserError
from project.render.text import clean

EXAMPLES = """\
examples:
  {prog} reached 1f2e3d 1 active
  {prog} reached "$base" "$jobndx" completed 0
"""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


def arguments(parser: argparse.ArgumentParser) -> None:
    """BASE NDX STATE [INFO]."""
    parser.add_argument("base", metavar="BASE", help="the job's folder, or its UUID")
    parser.add_argument("jobndx", metavar="NDX", help="the number of the run; 0 means all of them")
    parser.add_argument("state", metavar="STATE", help="new, queued, active, completed, failed or canceled")
    parser.add_argument("info", metavar="INFO", nargs="?", default="", help="a native id, an exit code, or one line")


def run(session: Session) -> Answer:
    """Record it."""
    from project.engine import reaching

    args = session.args
    document = _job(session, args.base)
    if document is None:
        reaching.in_psiks_tree(Path(args.base), args.jobndx, args.state, args.info)
        data = {"base": str(Path(args.base).absolute()), "jobndx": int(args.jobndx), "state": args.state}
        return Answer(data=data, aside=f"{clean(args.base)}: {args.state}, run {args.jobndx}.", ids=[args.base])
    found = reaching.reached(session.context, document, args.jobndx, args.state, args.info)
    uuid = str(found["job_uuid"])
    aside = f"Job {uuid}: run {args.jobndx} has reached {args.state}; the job is {found['state']}."
    return Answer(data=found, aside=aside, ids=[uuid])


def _job(session: Session, base: str) -> Document | None:
    """The job that BASE names; None for a folder of psik's own. Raises UserError."""
    from project.engine import reaching

    name = Path(base).name
    if _UUID.match(name):
        return session.document(name)
    if "/" not in base and not Path(base).is_dir():
        return session.document(base)
    if reaching.is_psiks(Path(base)):
        return None
    raise UserError(
        f"{base} is no folder of a job.", f"Give the job's UUID; `{program()} status UUID` shows its folder."
    )
