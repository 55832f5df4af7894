"""One YAML file, read once: its data, and where each key stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from project.core.errors import InputError, Problem, UserError
from project.core.words import did_you_mean
from project.spec import overrides as overrides_module
from project.spec.marks import Mark, place

LARGEST = 8 * 1024 * 1024


@dataclass(frozen=True)
class Loaded:
    """What a file says. `folder` is the one that relative paths in it start from."""

    data: Any
    file: str
    folder: Path
    marks: Mapping[str, Mark] = field(default_factory=dict, repr=False)

    def text(self, key: str) -> str:
        """A key's value as it was written (`0123` stays that), "" when it is not there or is no text."""
        value = self.data.get(key) if isinstance(self.data, dict) else None
        mark = self.marks.get(key)
        if isinstance(value, (bool, int, float)) and mark is not None and mark.text is not None:
            return mark.text
        return value if isinstance(value, str) else ""

    def problem(self, key: str, message: str, hint: str = "") -> Problem:
        """A Problem of `key` with its place in the file."""
        return place(Problem(key, message, None, hint), self.marks, self.file)

    def error(self, key: str, message: str, hint: str = "") -> InputError:
        """An InputError about `key` with its place in the file, to raise."""
        return InputError([self.problem(key, message, hint)])

    @contextmanager
    def blame(self, key: str, start: str = "") -> Iterator[None]:
        """A UserError inside whose message starts with `start` (default: the key and a colon) gets the place of `key`."""
        start = start or f"{key}: "
        try:
            yield
        except InputError:
            raise
        except UserError as error:
            if not error.message.startswith(start):
                raise
            placed = self.error(key, error.message.removeprefix(f"{key}: "), error.hint)
            placed.condition = error.condition
            raise placed from error

    def placed(self, problems: Iterable[Problem]) -> list[Problem]:
        """Problems with their places in the file, in its order."""
        return sorted(
            (place(problem, self.marks, self.file) for problem in problems),
            key=lambda problem: (problem.line, problem.column),
        )


def load(path: str | Path, overrides: Iterable[str] = ()) -> Loaded:
    """The data of a YAML file, with `key.path=value` overrides applied; no meaning is looked at.

    Raises UserError when it cannot be read and InputError when it is no YAML.
    """
    return parse(text(path), path, overrides)


def parse(whole: str, path: str | Path, overrides: Iterable[str] = ()) -> Loaded:
    """As `load`; `whole` is the text of the file `path`."""
    # PyYAML takes 30 ms to import; a command that reads no file need not pay for it.
    from project.spec import yamltext

    data, marks = yamltext.parse(whole, str(path))
    for override in overrides:
        data = overrides_module.apply(data, marks, override)
    return Loaded(data, str(path), Path(path).absolute().parent, marks)


def text(path: str | Path) -> str:
    """The text of a file, at most LARGEST bytes of UTF-8. Raises UserError when it cannot be read, InputError when it is no text."""
    path = Path(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(LARGEST + 1)
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.", _near_files(path)) from None
    except IsADirectoryError:
        raise UserError(f"{path} is a directory, not a file.", "Name the YAML file in it.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"{path} cannot be read: {reason}.") from None
    if len(raw) > LARGEST:
        raise UserError(f"{path} is larger than {LARGEST // 1024 // 1024} MiB.", "Is it the right file?")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        problem = Problem("", "is not UTF-8 text.", None, "Save it as UTF-8.", str(path), line, column)
        raise InputError([problem]) from None


def _near_files(path: Path) -> str:
    try:
        names = sorted(item.name for item in path.parent.iterdir() if item.is_file())
    except OSError:
        return ""
    return did_you_mean(path.name, names)
