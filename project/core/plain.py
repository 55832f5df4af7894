"""Is a value one that every store, every JSON parser and every file system here can hold?"""

import math
from typing import Any, Iterator

from project.core.errors import Problem
from project.core.schema import Path, key_text

# BSON has no larger integers; deeper documents are refused by MongoDB (100) and by recursive parsers.
_LARGEST = 2**63 - 1
_DEEPEST = 60


def problems(value: Any, path: Path = ()) -> Iterator[Problem]:
    """What in a value is no plain JSON: keys that are no text, broken Unicode, NaN, numbers beyond 64 bits, too deep nesting."""
    if len(path) > _DEEPEST:
        yield Problem(
            key_text(path[:3]), "is nested too deeply.", None, "At most {} levels are allowed.".format(_DEEPEST)
        )
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or "\x00" in key or not _unicode(key):
                yield Problem(key_text(path), "has a key that is no plain text.", None)
            else:
                yield from problems(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from problems(item, (*path, number))
    else:
        message = _scalar(value)
        if message:
            yield Problem(key_text(path), message, None)


def _scalar(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, str):
        return "" if _unicode(value) else "has a character that is no Unicode text."
    if isinstance(value, int):
        return "" if abs(value) <= _LARGEST else "is a number of more than 64 bits; quote it."
    if isinstance(value, float):
        return "" if math.isfinite(value) else "is not a finite number."
    return "is no plain value."


def _unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
