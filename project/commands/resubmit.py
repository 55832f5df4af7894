"""Submit the input of a job again as a new job; or, with --resume, continue a submission that was cut off."""

import argparse
from typing import TYPE_CHECKING

from project.commands import submit
from project.commands.base import Answer, Document, Session, program, selection_arguments
from project.core.errors import UserError
from project.core.states import FINISHED, LIVE

if TYPE_CHECKING:
    from project.engine.submission import Request

EXAMPLES = """\
examples:
  {prog} resubmit 1f2e3d
  {prog} resubmit --resume 1f2e3d    go on with the same job
  {prog} resubmit --state FAILED -l project=demo --yes
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `resubmit`."""
    selection_arguments(parser)
    parser.add_argument("--resume", action="store_true", help="continue a cut-off submission under its own UUID")
    parser.add_argument("--cluster", metavar="NAME", help="submit to this cluster this time")
    parser.add_argument(
        "--fallback", choices=("auto", "ask", "never"), help="when the cluster does not answer: a peer, ask, or give up"
    )
    parser.add_argument("--accept-new-host-key", action="store_true", help="trust a host key that is not known yet")
    parser.add_argument("--wait", action="store_true", help="wait until the job has ended; exit code 5 if it failed")


def run(session: Session) -> Answer:
    """Submit again, one job after the other."""
    documents, bulk = session.selected()
    if not documents:
        return Answer(data={"jobs": []}, aside="No job matches.")
    if session.args.resume and session.args.cluster:
        raise UserError("A resumed submission stays on its cluster.", "Leave `--cluster` out.")
    session.sure(f"Submit {len(documents)} jobs again?", bulk=bulk)
    step = _resumed if session.args.resume else _anew
    made = [step(session, document) for document in documents]
    if len(made) == 1:
        return submit.submitted(session, made[0])
    return Answer(
        data={"jobs": made},
        aside="\n".join(submit.summary(document) for document in made),
        ids=[document["job_uuid"] for document in made],
        last="\n".join(f"Your submission ID = {document['job_uuid']}" for document in made),
    )


def _resumed(session: Session, document: Document) -> Document:
    from project.engine import resuming

    uuid = str(document["job_uuid"])
    if document["state"] == FINISHED:
        # Going on with what is done is done: the same call may be made twice.
        session.output.aside(f"Job {uuid} is {FINISHED}: there is nothing left to do.")
        return document
    if document["state"] not in LIVE:
        message = f"Job {uuid} is {document['state']}: there is nothing to resume."
        raise UserError(message, f"`{program()} resubmit {uuid[:8]}` makes a new job of it.")
    session.output.current = uuid
    return submit.carried_out(session, lambda: resuming.resume(session.context, uuid))


def _anew(session: Session, document: Document) -> Document:
    from project.engine import submission

    wanted = again(session, document)
    return submit.carried_out(session, lambda: submission.submit(session.context, wanted))


def again(session: Session, document: Document) -> "Request":
    """A request of the same input. Raises UserError when the files cannot be found any more."""
    from project.engine import creating

    args = session.args
    return creating.request_again(session.context, document, args.cluster or "", args.fallback)
