"""The port to the person: steps, progress, questions. The terminal implements it; `SilentUi` is for programs and tests."""

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol


class Ui(Protocol):
    """What the engine says and asks. `interactive` is False when nobody can answer."""

    @property
    def interactive(self) -> bool:
        """True when somebody can answer."""

    def step(self, text: str) -> AbstractContextManager[None]:
        """A step that is shown while it runs."""

    def progress(self, done: int, total: int) -> None:
        """Bytes moved so far in the present step, of `total` (0: unknown)."""

    def say(self, text: str) -> None:
        """A line of information."""

    def warn(self, text: str) -> None:
        """A line that should not be overlooked."""

    def choose(self, question: str, options: Sequence[str]) -> str | None:
        """One of `options`, or None for none of them."""

    def confirm(self, question: str) -> bool:
        """Yes or no."""

    def secret(self, prompt: str) -> str:
        """A text typed without echo."""


class SilentUi:
    """Nobody is there. Keeps what was said, for tests."""

    interactive = False

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[None]:
        self.lines.append(text)
        yield

    def progress(self, done: int, total: int) -> None:
        """Nobody looks."""

    def say(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def choose(self, question: str, options: Sequence[str]) -> str | None:
        self.lines.append(f"{question} {', '.join(options)}")
        return None

    def confirm(self, question: str) -> bool:
        self.lines.append(question)
        return False

    def secret(self, prompt: str) -> str:
        self.lines.append(prompt)
        return ""


class ToldOnce:
    """Another user interface that gives the same warning once only, for what is asked again and again."""

    def __init__(self, ui: Ui, told: set[str]) -> None:
        self.interactive = ui.interactive
        self.step = ui.step
        self.progress = ui.progress
        self.say = ui.say
        self.choose = ui.choose
        self.confirm = ui.confirm
        self.secret = ui.secret
        self._warn = ui.warn
        self._told = told

    def warn(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._warn(text)


class Unattended:
    """Another user interface with nobody to ask (`--no-input`)."""

    interactive = False

    def __init__(self, ui: Ui) -> None:
        self.step = ui.step
        self.progress = ui.progress
        self.say = ui.say
        self.warn = ui.warn

    def choose(self, question: str, options: Sequence[str]) -> str | None:  # noqa: ARG002  # the port's signature
        return None

    def confirm(self, question: str) -> bool:  # noqa: ARG002  # the port's signature
        return False

    def secret(self, prompt: str) -> str:  # noqa: ARG002  # the port's signature
        return ""
