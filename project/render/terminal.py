"""The engine's user interface: live steps on a terminal, one line a step elsewhere. Always on stderr."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from project.core.errors import Interrupted
from project.render import text as plain
from project.render.output import Output

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

SLOW_STEP = 1.0


def make(output: Output, *, no_input: bool) -> "LineUi":
    """The interface that suits where stderr and stdin go."""
    seen = sys.stderr.isatty()
    interactive = seen and sys.stdin is not None and sys.stdin.isatty() and not no_input
    if seen and not output.quiet and output.palette(sys.stderr).enabled:
        return TerminalUi(output, interactive=interactive)
    return LineUi(output, interactive=interactive)


class LineUi:
    """One line a step, as it begins. Answers no question unless somebody sits there."""

    def __init__(self, output: Output, *, interactive: bool) -> None:
        self.output = output
        self.interactive = interactive

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Say what is being done; with -v also how long it took."""
        self._write(text)
        began = time.monotonic()
        yield
        if self.output.verbose:
            self._write(f"  {plain.seconds(time.monotonic() - began)}")

    def progress(self, done: int, total: int) -> None:
        """Bytes of a transfer: without a terminal there is nothing to show."""

    def say(self, text: str) -> None:
        """Text for people."""
        self._write(text)

    def warn(self, text: str) -> None:
        """A warning."""
        self.output.warn(text)

    def choose(self, question: str, options: Sequence[str]) -> "str | None":
        """One of the options, or None for none of them (also when nobody can answer)."""
        if not self.interactive or not options:
            return None
        lines = [self._wrapped(plain.clean_block(question))]
        lines += [f"  {number}  {plain.clean(option)}" for number, option in enumerate(options, 1)]
        self._ask_line("\n".join(lines))
        numbers = "1" if len(options) == 1 else f"1-{len(options)}"
        while True:
            answer = self._read(f"Your choice [{numbers}, only Enter = none]: ").strip()
            if not answer:
                return None
            if answer.isdecimal() and 1 <= int(answer) <= len(options):
                return options[int(answer) - 1]
            if answer in options:
                return answer
            self._ask_line(f"Please type a number from 1 to {len(options)}, or only Enter.")

    def confirm(self, question: str) -> bool:
        """Yes or no; no when nobody can answer."""
        if not self.interactive:
            return False
        while True:
            answer = self._read(self._wrapped(f"{plain.clean_block(question)} [y/N]") + " ").strip().lower()
            if answer in ("", "n", "no"):
                return False
            if answer in ("y", "yes"):
                return True
            self._ask_line("Please type y or n.")

    def secret(self, prompt: str) -> str:
        """A secret, typed without echo; empty when nobody can answer."""
        if not self.interactive:
            return ""
        import getpass

        try:
            return getpass.getpass(plain.clean(prompt).rstrip(": ") + ": ", stream=sys.stderr)
        except EOFError as error:
            raise Interrupted("Interrupted.") from error

    def ask(self, question: str, default: str = "") -> str:
        """A line of text; the default when only Enter is pressed or nobody can answer."""
        if not self.interactive:
            return default
        shown = f" [{plain.clean(default)}]" if default else ""
        return self._read(f"{plain.clean_block(question)}{shown}: ").strip() or default

    def _wrapped(self, text: str) -> str:
        return "\n".join(plain.wrap(text, self.output.columns - 1))

    def _read(self, prompt: str) -> str:
        sys.stderr.write(prompt)
        sys.stderr.flush()
        answer = sys.stdin.readline()
        if not answer:
            sys.stderr.write("\n")
            raise Interrupted("Interrupted.")
        return answer.rstrip("\n")

    def _ask_line(self, text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def _write(self, text: str) -> None:
        if self.output.quiet:
            return
        sys.stderr.write(plain.clean_block(text).rstrip() + "\n")
        sys.stderr.flush()


class TerminalUi(LineUi):
    """Each step as it runs, with its time; transfers with rate and time left."""

    def __init__(self, output: Output, *, interactive: bool) -> None:
        super().__init__(output, interactive=interactive)
        from rich.console import Console

        # Not `force_terminal`: rich asks the stream itself, and honours NO_COLOR.
        self._console: Console = Console(stderr=True, markup=False, highlight=False, emoji=False)
        self._live: Progress | None = None
        self._task: TaskID | None = None
        self._began = 0.0

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Show a step as it runs; a step inside a step is shown in its place."""
        shown = plain.clean(text)
        if self._live is not None and self._task is not None:
            self._live.update(self._task, description=shown)
            yield
            return
        self._began = time.monotonic()
        self._live = _spinner(self._console)
        self._task = self._live.add_task(shown, total=None)
        mark, style = "✗", "red"
        try:
            with self._live:
                yield
            mark, style = "✓", "green"
        finally:
            self._live = self._task = None
            self._finish(mark, style, shown, time.monotonic() - self._began)

    def _finish(self, mark: str, style: str, shown: str, elapsed: float) -> None:
        palette = self.output.palette(sys.stderr)
        took = plain.seconds(elapsed)
        room = self.output.columns - len(took) - 6
        line = plain.pad(plain.cut(shown, room), min(room, 56))
        sys.stderr.write(f"{palette.paint(style, mark)} {line}  {palette.paint('dim', took)}\n")
        sys.stderr.flush()

    def progress(self, done: int, total: int) -> None:
        """Bytes of a transfer, within a step."""
        if self._live is None or self._task is None:
            return
        if len(self._live.columns) < len(_transfer_columns()):
            self._live.columns = _transfer_columns()
        self._live.update(self._task, completed=done, total=total or None)

    def say(self, text: str) -> None:
        """Text for people, above the running step."""
        self._above("\n".join(plain.wrap(plain.clean_block(text), self.output.columns)))

    def warn(self, text: str) -> None:
        """A warning, above the running step."""
        if self._live is None:
            super().warn(text)
        else:
            self._above("\n".join(plain.wrap("warning: " + plain.clean_block(text), self.output.columns)))

    def _above(self, text: str) -> None:
        if self._live is None:
            self._write(text)
        else:
            self._live.console.print(text, soft_wrap=True)

    def _read(self, prompt: str) -> str:
        with self._still():
            return super()._read(prompt)

    def _ask_line(self, text: str) -> None:
        with self._still():
            super()._ask_line(text)

    def secret(self, prompt: str) -> str:
        """A secret, with the running step held still."""
        with self._still():
            return super().secret(prompt)

    @contextmanager
    def _still(self) -> Iterator[None]:
        """No live display while somebody types."""
        if self._live is None:
            yield
            return
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()


def _spinner(console: "Console") -> "Progress":
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


def _transfer_columns() -> Any:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    return (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
