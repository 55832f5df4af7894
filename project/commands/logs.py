"""Show what a job printed: its stdout, or its stderr."""

import argparse
from collections.abc import Iterable, Iterator

from project.commands.base import Answer, Document, Session, program
from project.core.errors import UserError
from project.core.states import (
    BLOCKED,
    FAILED,
    FINAL,
    PAUSED,
    PENDING,
    PREPROCESSING,
    QUEUED,
    STAGING_INPUTS,
    SUBMITTING,
)
from project.render import jobs
from project.render.text import clean_stream

EXAMPLES = """\
examples:
  {prog} logs 1f2e3d
  {prog} logs 1f2e3d -f
  {prog} logs 1f2e3d --stderr -n 20
  {prog} logs 1f2e3d --index 7            element 7 of an array
  {prog} logs 1f2e3d --run 1              the first of two runs
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `logs`."""
    parser.add_argument("job", metavar="UUID", help="the job, by 6 or more characters of its UUID")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the job has ended")
    parser.add_argument("--stderr", action="store_true", help="stderr instead of stdout")
    parser.add_argument("--index", type=int, metavar="N", help="the element N of an array")
    parser.add_argument("--run", type=int, metavar="N", help="the run N of a job that ran more than once")
    parser.add_argument("-n", "--lines", type=int, metavar="LINES", help="only the last LINES lines")


def run(session: Session) -> Answer:
    """Stream what there is; a terminal gets it without control sequences."""
    from project.engine import logs

    args = session.args
    for name in ("index", "run", "lines"):
        value = getattr(args, name)
        if value is not None and value < (1 if name == "run" else 0):
            raise UserError(f"--{name} {value} makes no sense.", "Give a positive number.")
    document = session.fresh_document(args.job)
    stream = "stderr" if args.stderr else "stdout"
    if jobs.waits_for_start(document):
        message = f"Job {jobs.title(document)} printed nothing yet: it was recorded and not submitted."
        raise UserError(message, f"Submit it with `{program()} start {jobs.short(document)}`.")
    known = dict(jobs.array(document))
    if args.index is not None and args.index not in known:
        message = f"Job {jobs.title(document)} has no element {args.index}."
        raise UserError(message, _which(known) if known else "It is not an array; leave `--index` out.")
    runs = document.get("run") or 0
    if args.run is not None and runs and args.run > runs:
        message = f"Job {jobs.title(document)} has no run {args.run}."
        raise UserError(message, f"It ran {runs} times." if runs > 1 else "It ran once.")
    if known and args.index is None:
        return elements(session, document, stream, known)
    if args.follow:
        session.output.watching = [document["job_uuid"]]
        if document["state"] in WAITING:
            session.output.aside(f"Job {jobs.title(document)} is {document['state']}: waiting for it to start.")
    pieces = logs.read(
        session.context, document, stream=stream, index=args.index, run=args.run, follow=args.follow, lines=args.lines
    )
    data = {"job_uuid": document["job_uuid"], "stream": stream, "index": args.index, "run": args.run}
    if session.output.as_json:
        return Answer(data={**data, "text": _text(pieces)}, ids=[document["job_uuid"]])
    return Answer(data=data, stream=shown(session, document, pieces, stream))


def elements(session: Session, document: Document, stream: str, known: dict[int, str]) -> Answer:
    """An array without `--index`: what the failed elements printed, and which elements there are."""
    from project.engine import logs

    if session.args.follow:
        raise UserError(f"Job {jobs.title(document)} is an array.", f"Follow one element. {_which(known)}")
    bad = jobs.failed_elements(document)[:MOST_FAILED]
    lines = session.args.lines or TAIL
    printed = {
        index: _text(
            logs.read(session.context, document, stream=stream, index=index, run=session.args.run, lines=lines)
        )
        for index in bad
    }
    counted = jobs.elements(document) or f"{len(known)} elements"
    parts = [f"Job {jobs.title(document)} is an array: {counted}. {_which(known)}"]
    colour = session.output.colour and session.output.terminal
    for index, text in printed.items():
        parts += ["", f"element {index} ({known[index]}), {stream}:", clean_stream(text, colour=colour).rstrip("\n")]
    data = {
        "job_uuid": document["job_uuid"],
        "stream": stream,
        "elements": [{"index": index, "state": state, "text": printed.get(index)} for index, state in known.items()],
    }
    return Answer(data=data, text="\n".join(parts), ids=[str(index) for index in known])


def _which(known: dict[int, str]) -> str:
    return f"`--index N` shows one: {min(known)} to {max(known)}."


def _text(pieces: Iterable[bytes]) -> str:
    return b"".join(pieces).decode("utf-8", "replace")


def shown(session: Session, document: Document, pieces: Iterable[bytes], stream: str) -> Iterator[bytes]:
    """The pieces as they are for a pipe; as harmless lines for a terminal."""
    nothing = True
    for piece in pieces if not session.output.terminal else harmless(pieces, colour=session.output.colour):
        nothing = False
        yield piece
    if nothing:
        session.output.aside(silence(session.api.job(document["job_uuid"]), stream, session.args.index))


def silence(document: Document, stream: str, index: int | None = None) -> str:
    """Why there is nothing to show."""
    told = f"Job {jobs.title(document)} is {document['state']}"
    if document["state"] in FINAL and not document.get("native_id"):
        return (
            f"{told}: it was never submitted and printed nothing. `{program()} why {jobs.short(document)}` says more."
        )
    if document["state"] in WAITING:
        return f"{told}: it has not started and has printed nothing yet."
    other = "" if stream == "stderr" else f" stderr: `{program()} logs {jobs.short(document)} --stderr`."
    if index is not None:
        return f"{told}; element {index} has nothing on {stream}."
    return f"{told} and has nothing on {stream}.{other if document['state'] == FAILED else ''}"


def harmless(pieces: Iterable[bytes], *, colour: bool) -> Iterator[bytes]:
    """Whole lines without control sequences (a sequence may be cut in two by a piece's end, so a rest waits)."""
    rest = b""
    for piece in pieces:
        whole, newline, rest = (rest + piece).rpartition(b"\n")
        if newline or len(rest) > LONGEST_LINE:
            if not newline:
                whole, rest = rest, b""
            yield clean_stream((whole + newline).decode("utf-8", "replace"), colour=colour).encode("utf-8", "replace")
    if rest:
        yield clean_stream(rest.decode("utf-8", "replace"), colour=colour).encode("utf-8", "replace") + b"\n"


WAITING = (PENDING, STAGING_INPUTS, PREPROCESSING, SUBMITTING, QUEUED, BLOCKED, PAUSED)
LONGEST_LINE = 64 * 1024
MOST_FAILED = 5
TAIL = 20
