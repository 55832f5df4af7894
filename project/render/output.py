"""The only place that prints: answers to stdout, what people read meanwhile to stderr, errors as one paragraph."""

import argparse
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from project.core.errors import InputError, JobferryError
from project.render.text import QUOTED, Palette, clean, clean_block, quoted, width, wrap


def program() -> str:
    """How this program was called, for commands that a user can copy."""
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    return "jobferry" if name == "jobferry" else "python -m project"


# Verbs as the engine names them in what it says: it does not know how the program was called.
_VERB = re.compile("`(?=(?:resubmit|start|history|why|logs|status|watch|cancel|release|retrieve|doctor)(?: [^`]*)?`)")


def in_full(text: str) -> str:
    """The text with every command in it as it can be copied."""
    return _VERB.sub(f"`{program()} ", text)


@dataclass(frozen=True)
class Answer:
    """What a verb found or did.

    :param data: the document for `--json`.
    :param text: the answer for people, on stdout.
    :param aside: what accompanies the answer: on stdout of a terminal, else on stderr.
    :param ids: what `-q` prints.
    :param last: the last line of stdout (not with `-q` and `--json`).
    :param stream: text that arrives piece by piece and is printed as it does (not with `--json`).
    """

    data: Any
    text: str = ""
    aside: str = ""
    ids: Sequence[str] = ()
    last: str = ""
    exit_code: int = 0
    stream: "Iterable[bytes] | None" = None


class Output:
    """Standard output and error with what the user wants of them."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False, verbose: int = 0, colour: bool = True) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.verbose = verbose
        self._colour = colour and not os.environ.get("NO_COLOR")
        self.current = ""  # the job that an interrupted submission was about
        self.watching: Sequence[str] = ()
        for stream in (sys.stdout, sys.stderr):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure:
                # A terminal that cannot show a character gets its number, never an exception.
                reconfigure(errors="backslashreplace")

    @classmethod
    def from_words(cls, words: Sequence[str]) -> "Output":
        """Before the options are parsed: enough to show an error of the parsing as the user wants it."""
        return cls(as_json="--json" in words, verbose=2 if "-vv" in words else 0, colour="--no-color" not in words)

    def adopt(self, args: argparse.Namespace) -> None:
        """Take the parsed options."""
        self.as_json, self.quiet, self.verbose = args.json, args.quiet, args.verbose
        self._colour = not args.no_color and not os.environ.get("NO_COLOR")

    @property
    def terminal(self) -> bool:
        """True when stdout is a terminal."""
        return sys.stdout.isatty()

    @property
    def columns(self) -> int:
        """The width to write for."""
        return max(40, shutil.get_terminal_size((80, 24)).columns)

    def palette(self, stream: "TextIO | None" = None) -> Palette:
        """Colours for a stream (default: stdout)."""
        target = stream or sys.stdout
        return Palette(enabled=self._colour and target.isatty() and os.environ.get("TERM") != "dumb")

    @property
    def colour(self) -> bool:
        """True unless the user wants none."""
        return self._colour

    def line(self, text: str) -> None:
        """One line on stdout."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def aside(self, text: str) -> None:
        """People's text: stdout of a terminal, else stderr; nothing with `-q`, never stdout with `--json`."""
        if self.quiet or not text:
            return
        target = sys.stdout if self.terminal and not self.as_json else sys.stderr
        if target.isatty():
            text = "\n".join(piece for line in text.split("\n") for piece in _hanging(line, self.columns))
        target.write(text.rstrip("\n") + "\n")
        target.flush()

    def warn(self, text: str) -> None:
        """A warning on stderr."""
        label = self.palette(sys.stderr).paint("yellow", "warning:")
        self._paragraph(label, "warning:", clean_block(in_full(text)))

    def help(self, text: str) -> None:
        """The help that was asked for."""
        sys.stdout.write(text)

    def answer(self, answer: Any) -> int:
        """Print an answer as the user wants it and return the exit code."""
        assert isinstance(answer, Answer)
        if self.as_json:
            self.line(json.dumps(answer.data, indent=2, ensure_ascii=False, default=str))
        elif self.quiet and not answer.stream:
            for name in answer.ids:
                self.line(clean(name))
        else:
            self.aside(answer.aside)
            if answer.text:
                self.line(answer.text.rstrip("\n"))
            for piece in answer.stream or ():
                self.raw(piece)
            if answer.last:
                self.line(answer.last)
        return answer.exit_code

    def raw(self, piece: bytes) -> None:
        """Bytes as they are when stdout is a pipe or a file (the caller makes them harmless for a terminal)."""
        sys.stdout.flush()
        buffer = getattr(sys.stdout, "buffer", None)
        if buffer is None:
            sys.stdout.write(piece.decode("utf-8", "replace"))
        else:
            buffer.write(piece)
        sys.stdout.flush()

    def error(self, error: JobferryError) -> int:
        """One paragraph on stderr: what, where, what to do. With `--json` also an object on stdout."""
        if self.verbose >= 2:
            import traceback

            sys.stderr.write("".join(traceback.format_exception(error)))
        label = self.palette(sys.stderr).paint("red", "error:")
        self._paragraph(label, "error:", clean_block(in_full(str(error))))
        if self.as_json:
            self.line(json.dumps(_error_document(error), indent=2, ensure_ascii=False, default=str))
        return error.exit_code

    def _paragraph(self, label: str, plain: str, text: str) -> None:
        lines = text.split("\n")
        if sys.stderr.isatty():
            room = self.columns
            first = wrap(f"{plain} {lines[0]}", room)
            rest = [piece for line in lines[1:] for piece in _hanging(line, room)]
            lines = [first[0].removeprefix(plain).lstrip(), *first[1:], *rest]
        try:
            sys.stderr.write(f"{label} " + "\n".join(lines) + "\n")
            sys.stderr.flush()
        except BrokenPipeError:
            self.abandon()

    def resume_hint(self) -> str:
        """After Ctrl-C: how to go on."""
        if self.current:
            return f"The submission can be continued: `{program()} resubmit --resume {self.current[:8]}`."
        if self.watching:
            names = " ".join(name[:8] for name in list(self.watching)[:3])
            if len(self.watching) == 1:
                return f"The job goes on. Follow it again with `{program()} watch {names}`."
            return f"The jobs go on. Follow them again with `{program()} watch {names}`."
        return "Nothing was left half done."

    def abandon(self) -> None:
        """Stdout's reader is gone: make the interpreter's own flush at exit harmless."""
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())


def _hanging(line: str, columns: int) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()))
    if width(line) <= columns:
        return [line]
    if line.startswith(QUOTED):
        return quoted(line.removeprefix(QUOTED), columns)
    first, *rest = wrap(line.strip(), max(40, columns - len(indent) - 2))
    return [indent + first, *(indent + "  " + piece for piece in rest)]


def _error_document(error: JobferryError) -> dict[str, Any]:
    document: dict[str, Any] = {"error": error.message, "hint": error.hint, "exit_code": error.exit_code}
    if isinstance(error, InputError):
        document["problems"] = [problem._asdict() for problem in error.problems]
    return document
