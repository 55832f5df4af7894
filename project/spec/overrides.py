"""`--set key.path=value`: one value of an input, changed on the command line.

The value is read as the file's values are: a plain word (`4`, `true`, `1:30`), or YAML in its short form when it starts with a quote,
`[` or `{`. Entries of a list are named by number: `execution.0=…`. An empty value takes the key out.
"""

from __future__ import annotations

from typing import Any

from project.core.errors import InputError, Problem, UserError
from project.core.schema import Path, key_text
from project.spec.marks import Mark


def apply(data: Any, marks: dict[str, Mark], override: str) -> Any:
    """`data` with one override applied; `marks` are changed to point at it. Raises UserError."""
    key, equals, text = override.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise UserError(
            f"--set takes key.path=value, not '{key}'." if equals else f"--set {key} has no value.",
            "For example: --set resources.duration=2h.",
        )
    source = f"--set {key.strip()}"
    value, found = _value(text, source)
    data = {} if data is None else data
    place, path = _holder(data, names, source)
    last = _index(place, names[-1], source)
    if value is None and not text:
        if isinstance(place, dict):
            place.pop(last, None)
        return data
    place[last] = value
    whole = key_text((*path, last))
    for name in [name for name in marks if name == whole or name.startswith((whole + ".", whole + "["))]:
        del marks[name]
    for name, mark in found.items():
        joined = whole + ("." if name and not name.startswith("[") else "") + name
        marks[joined] = Mark("--set", 0, 0, 0, 0, mark.text)
    return data


def _value(text: str, source: str) -> tuple[Any, dict[str, Mark]]:
    from project.spec import yamltext

    if text.startswith(("[", "{", '"', "'")):
        try:
            return yamltext.parse(text, source)
        except InputError:
            if text.startswith(("[", "{")):
                raise UserError(f"{source}: the value is not YAML.", "Quote a text that starts with [ or {.") from None
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise UserError(f"{source}: the value is not UTF-8 text.")
    return yamltext.plain(text), {"": Mark(source, 0, 0, 0, 0, text)}


def _holder(data: Any, names: list[str], source: str) -> tuple[Any, Path]:
    """What holds the last of `names`; missing mappings on the way are made."""
    place = data
    path: Path = ()
    for name in names[:-1]:
        step = _index(place, name, source)
        if isinstance(place, dict) and place.get(step) is None:
            place[step] = {}
        path = (*path, step)
        place = place[step]
    return place, path


def _index(place: Any, name: str, source: str) -> Any:
    if isinstance(place, dict):
        return name
    if isinstance(place, list):
        if name.isdecimal() and int(name) < len(place):
            return int(name)
        raise InputError(
            [Problem("", f"there is no entry {name}; the list has {len(place)}, from 0.", None, "", source)]
        )
    raise InputError([Problem("", f"there is nothing in which '{name}' could be set.", None, "", source)])
