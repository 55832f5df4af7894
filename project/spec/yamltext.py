"""YAML text to plain data, with the place of everything, and without YAML 1.1's surprises.

Plain words are what they look like: decimal numbers without a leading zero, `true`/`false` and `null` are resolved (as in
YAML 1.2's core schema); everything else is text: `no`, `1:30`, `010`, `0x1F`, `2024-01-01`, `1_000`, `.inf`. Keys are always text.
Anchors, aliases and merge keys work. Other tags, a key twice, a second document and a document that refers to itself are errors.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from project.core.errors import InputError, Problem
from project.core.schema import Path, key_text
from project.spec.marks import Mark

MOST_VALUES = 100_000
DEEPEST = 60

_PREFIX = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})\Z")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})\.[0-9]{1,17}([eE][-+]?[0-9]{1,3})?\Z")
# The tag of plain words.
_WORD = "jobferry:word"
_KNOWN_TAGS = {_WORD, "!", *(_PREFIX + name for name in ("str", "int", "float", "bool", "null", "map", "seq", "merge"))}
_SPECIAL = {"true": True, "false": False, "null": None}


class _Loader(yaml.SafeLoader):
    """Resolves no plain word by itself; `plain` does."""

    def resolve(self, kind: Any, _value: Any, implicit: Any) -> Any:
        """The tag of a node without one: a plain word gets a tag of its own."""
        if kind is yaml.ScalarNode and implicit[0]:
            return _WORD
        return _PREFIX + {yaml.ScalarNode: "str", yaml.SequenceNode: "seq", yaml.MappingNode: "map"}[kind]


def plain(text: str) -> Any:
    """What an unquoted word stands for."""
    if _INT.match(text):
        return int(text)
    if _FLOAT.match(text):
        number = float(text)
        return number if math.isfinite(number) else text
    if text.lower() in _SPECIAL and text in {text.lower(), text.upper(), text.capitalize()}:
        return _SPECIAL[text.lower()]
    return None if text in {"", "~"} else text


def parse(text: str, source: str) -> tuple[Any, dict[str, Mark]]:
    """The data in `text` and its marks. Raises InputError with a place in `source`."""
    try:
        documents = list(yaml.compose_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        raise InputError([_syntax_problem(error, source)]) from None
    except yaml.reader.ReaderError as error:
        line, column = _line_and_column(text, error.position)
        message = f"is not YAML: the character #x{error.character:04x} is not allowed."
        raise InputError([Problem("", message, None, "", source, line, column)]) from None
    except RecursionError:
        raise InputError([Problem("", "is nested too deeply.", None, "", source)]) from None
    if len(documents) > 1:
        mark = documents[1].start_mark
        hint = "Put each into a file of its own."
        where = (source, mark.line + 1, mark.column + 1)
        raise InputError([Problem("", "holds two documents; one is allowed.", None, hint, *where)])
    if not documents:
        return None, {}
    builder = _Builder(source)
    data = builder.build(documents[0], (), documents[0])
    if builder.problems:
        raise InputError(builder.problems)
    return data, builder.marks


def _syntax_problem(error: yaml.MarkedYAMLError, source: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    what = (error.problem or error.context or "it cannot be read").replace("\n", " ")
    context = f" {error.context}" if error.context and error.problem else ""
    hint = ""
    if "\\t" in what or "'\\t'" in what:
        hint = "Indent with spaces, not tabs."
    elif "mapping values are not allowed" in what:
        hint = "Quote a value that holds ': '."
    message = f"is not YAML: {what}{context}."
    if mark is None:
        return Problem("", message, None, hint, source)
    return Problem("", message, None, hint, source, mark.line + 1, mark.column + 1)


def _line_and_column(text: str, position: int) -> tuple[int, int]:
    before = text[:position]
    return before.count("\n") + 1, position - before.rfind("\n")


class _Builder:
    """Makes data of nodes; collects marks and problems."""

    def __init__(self, source: str) -> None:
        self.marks: dict[str, Mark] = {}
        self.problems: list[Problem] = []
        self._source = source
        self._count = 0
        self._open: list[Any] = []

    def build(self, node: Any, path: Path, key_node: Any) -> Any:
        self._count += 1
        if self._count > MOST_VALUES or len(path) > DEEPEST or any(node is outer for outer in self._open):
            return self._refuse(node, path)
        word = node.tag == _WORD
        start, key_start = node.start_mark, key_node.start_mark
        self.marks[key_text(path)] = Mark(
            self._source,
            start.line + 1,
            start.column + 1,
            key_start.line + 1,
            key_start.column + 1,
            node.value if word else None,
        )
        if node.tag not in _KNOWN_TAGS:
            self._add(node, path, f"has the tag {node.tag.replace(_PREFIX, '!!')}, which is not supported.")
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path, word)
        self._open.append(node)
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.build(item, (*path, number), item) for number, item in enumerate(node.value)]
            return self._mapping(node, path)
        finally:
            self._open.pop()

    def _scalar(self, node: Any, path: Path, word: bool) -> Any:
        if word:
            return plain(node.value)
        if node.tag == _PREFIX + "str" or node.tag == "!":
            return self._text(node, path)
        value = plain(node.value)
        fits = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}
        wanted = fits.get(node.tag[len(_PREFIX) :])
        if wanted is None or not isinstance(value, wanted):  # type: ignore[arg-type]  # a class or a tuple of them
            self._add(node, path, f"is not a {node.tag.replace(_PREFIX, '!!')}.")
            return None
        return value

    def _text(self, node: Any, path: Path) -> str:
        try:
            # JSON writes a character beyond U+FFFF as two escapes; YAML's parser leaves them apart.
            return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._add(node, path, "has a character that is no Unicode text.")
            return ""

    def _mapping(self, node: Any, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: list[Any] = []
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._add(key_node, path, "has a key that is not a word.", "Quote a text that starts with { or [.")
                continue
            key = self._text(key_node, path)
            if key == "<<" and key_node.tag == _WORD:
                merged.append(value_node)
                continue
            if key in result:
                first = self.marks[key_text((*path, key))].key_line
                self._add(key_node, (*path, key), f"is given twice; the first time in line {first}.")
                continue
            result[key] = self.build(value_node, (*path, key), key_node)
        for value_node in merged:
            self._merge(result, value_node, path)
        return result

    def _merge(self, result: dict[str, Any], node: Any, path: Path) -> None:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in sources:
            if not isinstance(source, yaml.MappingNode) or any(source is outer for outer in self._open):
                self._add(node, path, "can only merge (<<) a mapping.")
                return
            for key_node, value_node in source.value:
                key = self._text(key_node, path)
                if key not in result:
                    result[key] = self.build(value_node, (*path, key), key_node)

    def _refuse(self, node: Any, path: Path) -> None:
        # The limit is reported once: what follows it is not looked at.
        if self._count <= MOST_VALUES + 1:
            self._add(node, path, "is too large, nested too deeply, or refers to itself.")

    def _add(self, node: Any, path: Path, message: str, hint: str = "") -> None:
        mark = node.start_mark
        self.problems.append(Problem(key_text(path), message, None, hint, self._source, mark.line + 1, mark.column + 1))
