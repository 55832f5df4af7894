"""Where each key of a document stands in its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from project.core.errors import Problem


@dataclass(frozen=True)
class Mark:
    """The place of one key and of its value; lines and columns count from 1, 0 = unknown.

    `text` is the value as it was written when it is a plain word (unquoted), else None. `source` is the file, or the option
    of the command line that set the value.
    """

    source: str
    line: int
    column: int
    key_line: int
    key_column: int
    text: str | None = None


Marks = Mapping[str, Mark]


def parent(key: str) -> str:
    """The key that holds `key`: `resources` of `resources.duration`, `execution` of `execution[1]`, "" at the top."""
    if key.endswith("]"):
        return key[: key.rindex("[")]
    return key.rpartition(".")[0]


def place(problem: Problem, marks: Marks, source: str) -> Problem:
    """The problem with its file, line and column: of the value, of an unknown key itself, or of what surrounds it."""
    if problem.line:
        return problem
    mark = marks.get(problem.key)
    if mark is not None:
        at_key = problem.message.startswith("is not")
        line, column = (mark.key_line, mark.key_column) if at_key else (mark.line, mark.column)
        return problem._replace(file=mark.source, line=line, column=column)
    key = problem.key
    while key and key not in marks:
        key = parent(key)
    mark = marks.get(key)
    if mark is None:
        return problem._replace(file=source)
    return problem._replace(file=mark.source, line=mark.key_line, column=mark.key_column)
