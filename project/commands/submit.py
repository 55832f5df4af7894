"""Submit the job that FILE describes, and print its submission ID."""

import argparse
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from project.commands import follow
from project.commands.base import Answer, Document, Session, program, tags
from project.core.errors import InputError, UserError
from project.core.states import FAILED, FINAL, FINISHED
from project.render import jobs
from project.render.text import clean

if TYPE_CHECKING:
    from project.engine.submission import Request
    from project.spec.loader import Loaded

EXAMPLES = """\
examples:
  {prog} submit input.yml
  {prog} submit input.yml -m modules.yml --wait
  {prog} submit input.yml --set resources.duration=2h
  {prog} submit input.yml --cluster lemaitre3
  {prog} submit input.yml --tag project=demo --json
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `submit`."""
    parser.add_argument("file", metavar="FILE", help="the input file (YAML)")
    parser.add_argument("-m", "--module", "--modules", metavar="MODULES", dest="module", help="a modules file (YAML)")
    choices(parser)


def choices(parser: argparse.ArgumentParser, *, plan: bool = False) -> None:
    """The options that `submit`, `-u` and `plan` share."""
    parser.add_argument("--cluster", metavar="NAME", help="submit to this cluster instead of `destination_cluster`")
    parser.add_argument(
        "--set", action="append", metavar="KEY=VALUE", dest="overrides", help="change a key of the input (repeatable)"
    )
    parser.add_argument(
        "--fallback",
        choices=("auto", "ask", "never"),
        help="when the cluster does not answer: take the best peer, ask, or give up (default: ask on a terminal, else auto)",
    )
    parser.add_argument("--tag", action="append", metavar="K=V", help="a tag for the job (repeatable)")
    parser.add_argument("--accept-new-host-key", action="store_true", help="trust a host key that is not known yet")
    if not plan:
        parser.add_argument(
            "--wait", action="store_true", help="wait until the job has ended; exit code 5 if it failed"
        )


def request(session: Session) -> "Request":
    """The request that the options make. Raises InputError with every problem of the files."""
    from project import spec
    from project.engine.submission import Request

    args = session.args
    overrides = list(args.overrides or ())
    if args.cluster:
        overrides.append(f"destination_cluster={args.cluster}")
    loaded = _loaded(args.file, overrides)
    if args.cluster and "destination_cluster" in loaded.marks:
        mark = replace(loaded.marks["destination_cluster"], source="--cluster")
        loaded = replace(loaded, marks={**loaded.marks, "destination_cluster": mark})
    return Request(
        loaded=loaded,
        modules=spec.load_modules(args.module) if args.module else None,
        fallback=args.fallback,
        tags=tags(args.tag),
        modules_file=os.path.abspath(args.module) if args.module else "",
    )


def _loaded(file: str, overrides: "list[str]") -> "Loaded":
    from project import spec

    try:
        return spec.load_input(file, overrides)
    except InputError as error:
        from project.spec import specfile

        found = specfile.foreign(file)
        wrong = {problem.key for problem in error.problems}
        if found is not None and wrong & found.own_fields():
            # What jobferry's own input would want there helps nobody.
            hint = f"`{program()} run {file}` takes it as it is."
            raise UserError(f"{file} is a specification of {found.kind}, no input file.", hint) from error
        if found is not None and not error.hint:
            error.hint = f"If it is a specification of {found.kind}: `{program()} run {file}` takes it as it is."
        raise


def run(session: Session) -> Answer:
    """Submit; with `--wait` follow the job to its end."""
    from project.engine import submission

    wanted = request(session)
    return submitted(session, carried_out(session, lambda: submission.submit(session.context, wanted)))


def carried_out(session: Session, work: Callable[[], Document]) -> Document:
    """The work's document. After Ctrl-C the job's state decides what there is to say about going on."""
    try:
        document = work()
    except KeyboardInterrupt:
        uuid = session.output.current
        state = session.api.job(uuid)["state"] if uuid else ""
        if state in FINAL:
            session.output.current = ""
        raise
    session.output.current = ""
    return document


def submitted(session: Session, document: Document) -> Answer:
    """The answer to a submission that went through."""
    uuid = str(document["job_uuid"])
    code = 0
    aside = summary(document)
    if session.args.wait:
        session.output.watching = [uuid]
        session.output.aside(aside)
        with session.ui.step(f"Waiting for job {jobs.title(document)}"):
            document = follow.to_the_end(session, [document])[0]
        code = follow.exit_code([document])
        aside = follow.epilogue(session, document)
    elif document.get("state") == FAILED:
        code = follow.exit_code([document])
    return Answer(data=document, aside=aside, ids=[uuid], last=f"Your submission ID = {uuid}", exit_code=code)


def summary(document: Document) -> str:
    """One line: where the job went."""
    cluster = clean(document.get("cluster") or "?")
    native = clean(document.get("native_id") or "")
    told = f"Job {jobs.title(document)} is {document.get('state')} on {cluster}"
    if native and document.get("state") != FINISHED:
        told += f" (native id {native})"
    return told + "."
