"""Submit jobs that `run --no-submit` recorded, or run ended jobs once more (as
psik's `start`).

The next run of a job that ended is a new job, for a final state never changes:
it has its own UUID and its own folder of logs. It runs the same input on the
same cluster in the same work folder, its number (`jobndx`, JOBFERRY_RUN,
log/stdout.N, the rows of status.csv) goes on, and the histories of both name
the other. `resubmit` makes a job with a work folder of its own instead.
"""

import argparse

from project.commands import submit
from project.commands.base import Answer, Document, Session, program
from project.core.errors import UserError
from project.core.states import FINAL
from project.render.text import clean

EXAMPLES = """\
examples:
  {prog} run jobspec.json --no-submit
  {prog} start 1f2e3d      submit it
  {prog} start 1f2e3d      run it again, once it has ended
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """UUID… and the options of a submission."""
    parser.add_argument("jobs", nargs="+", metavar="UUID", help="a job, by 6 or more characters of its UUID")
    parser.add_argument("--accept-new-host-key", action="store_true", help="trust a host key that is not known yet")
    parser.add_argument("--wait", action="store_true", help="wait until the job has ended; exit code 5 if it failed")


def run(session: Session) -> Answer:
    """Start one job after the other."""
    documents = [session.fresh_document(name) for name in session.args.jobs]
    documents = list({document["job_uuid"]: document for document in documents}.values())
    for document in documents:
        _startable(document)
    made = [_start(session, document) for document in documents]
    if len(made) == 1:
        return submit.submitted(session, made[0])
    return Answer(
        data={"jobs": made},
        aside="\n".join(submit.summary(document) for document in made),
        ids=[str(document["job_uuid"]) for document in made],
        last="\n".join(f"Your submission ID = {document['job_uuid']}" for document in made),
    )


def _startable(document: Document) -> None:
    from project.engine import creating

    if document["state"] in FINAL or creating.is_created(document):
        return
    uuid = document["job_uuid"]
    raise UserError(
        f"Job {uuid} is {document['state']}: it can be started again when it has ended.",
        f"A submission that was cut off goes on with `{program()} resubmit --resume {uuid[:8]}`.",
    )


def _start(session: Session, document: Document) -> Document:
    from project.engine import creating

    if creating.is_created(document):
        session.output.current = str(document["job_uuid"])
        return submit.carried_out(session, lambda: creating.start(session.context, document))
    made = submit.carried_out(session, lambda: creating.run_again(session.context, document))
    session.output.aside(f"It is run {made['run']} of job {clean(document['job_uuid'])}.")
    return made
