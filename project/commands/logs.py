"""Show what a job printed: its stdout, or its stderr."""

import argparse
from collections.abc import Iterable, Iterator

from project.commands.base import Answer, Document, Session
from project.core.errors import UserError
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
    if args.follow:
        session.output.watching = [document["job_uuid"]]
    stream = "stderr" if args.stderr else "stdout"
    pieces = logs.read(
        session.context, document, stream=stream, index=args.index, run=args.run, follow=args.follow, lines=args.lines
    )
    data = {"job_uuid": document["job_uuid"], "stream": stream, "index": args.index, "run": args.run}
    if session.output.as_json:
        text = b"".join(pieces).decode("utf-8", "replace")
        return Answer(data={**data, "text": text}, ids=[document["job_uuid"]])
    return Answer(data=data, stream=shown(session, document, pieces, stream))


def shown(session: Session, document: Document, pieces: Iterable[bytes], stream: str) -> Iterator[bytes]:
    """The pieces as they are for a pipe; as harmless lines for a terminal."""
    nothing = True
    for piece in pieces if not session.output.terminal else harmless(pieces, colour=session.output.colour):
        nothing = False
        yield piece
    if nothing:
        session.output.aside(f"Job {jobs.title(document)} is {document['state']} and has nothing on {stream}.")


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


LONGEST_LINE = 64 * 1024
