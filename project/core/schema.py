"""A validator for the part of JSON Schema (draft 2020-12) that our schemas use; standard library alone.

The schemas are files beside this module and are what the API serves. Input is checked by them on the laptop, on the
cluster and in the server; only this module is at hand everywhere. It says "valid" exactly when the reference
implementation does (a test compares them on random documents) and gives problems that people can read.

Keywords: type, enum, const, not, anyOf, properties, patternProperties, additionalProperties, required, propertyNames,
minProperties, items, minItems, maxItems, minimum, maximum, minLength, maxLength, pattern, $ref to `#/$defs/…`, and true and false
as schemas. `writeOnly` marks a secret: its value is never in a problem. Two annotations of ours, which other validators
ignore: `x-expected` says what belongs here (for the message) and `x-later` marks a key that exists by name only.
"""

import itertools
import json
import pkgutil
import re
from typing import Any, Dict, Iterator, List, Tuple, Union

from project.core.errors import Problem
from project.core.words import did_you_mean

NAMES = ("input", "modules", "cluster", "job")
# So many problems are looked for; nobody reads more, and a server must not make millions.
MOST = 100

Schema = Union[bool, Dict[str, Any]]
Path = Tuple[Union[str, int], ...]

_loaded: Dict[str, Dict[str, Any]] = {}
_WORDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}


def load(name: str) -> Dict[str, Any]:
    """The schema `name` (one of NAMES), to be read only. Raises KeyError for another name."""
    if name not in NAMES:
        raise KeyError(name)
    if name not in _loaded:
        raw = pkgutil.get_data("project.core", "schemas/{}.json".format(name))
        if raw is None:
            raise KeyError(name)
        _loaded[name] = json.loads(raw.decode("utf-8"))
    return _loaded[name]


def key_text(path: Path) -> str:
    """A place in a document for people: `resources.duration`, `execution[0]`, `env["a.b"]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += "[{}]".format(part)
        elif re.match(r"[A-Za-z0-9_-]+\Z", part):
            text += ("." if text else "") + part
        else:
            text += "[{}]".format(json.dumps(part))
    return text


def problems(value: Any, schema: Schema) -> List[Problem]:
    """Everything that is wrong with `value`, the first MOST of it; empty when it is valid."""
    root = schema if isinstance(schema, dict) else {}
    return list(itertools.islice(_check(value, schema, (), root), MOST))


def resolve(schema: Schema, root: Dict[str, Any]) -> Schema:
    """`schema` with a `$ref` to `#/$defs/…` replaced by what it names; keywords beside it win."""
    if not isinstance(schema, dict) or "$ref" not in schema:
        return schema
    target = resolve(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if not isinstance(target, dict):
        return target
    merged = dict(target)
    merged.update((key, item) for key, item in schema.items() if key != "$ref")
    return merged


def _check(value: Any, schema: Schema, path: Path, root: Dict[str, Any]) -> Iterator[Problem]:
    schema = resolve(schema, root)
    if schema is True:
        return
    if schema is False:
        yield _problem(path, "is not allowed here.", value)
        return
    assert isinstance(schema, dict)
    if schema.get("x-later"):
        yield _problem(path, "is not built yet.", None, "Leave it out; a later version of jobferry will take it.")
        return
    if schema.get("writeOnly"):
        if any(_check(value, {key: item for key, item in schema.items() if key != "writeOnly"}, path, root)):
            yield _problem(path, "has an unusable value.", None, _expected(schema))
        return
    if "type" in schema and not _is_type(value, schema["type"]):
        yield _wrong_type(path, schema, value)
        return
    found = False
    for problem in _check_value(value, schema, path, root):
        found = True
        yield problem
    if found:
        return
    if isinstance(value, str):
        yield from _check_text(value, schema, path)
    elif isinstance(value, dict):
        yield from _check_object(value, schema, path, root)
    elif isinstance(value, list):
        yield from _check_list(value, schema, path, root)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _check_number(value, schema, path)


def _check_value(value: Any, schema: Dict[str, Any], path: Path, root: Dict[str, Any]) -> Iterator[Problem]:
    if "enum" in schema and not any(_equal(value, known) for known in schema["enum"]):
        known = [str(name) for name in schema["enum"]]
        hint = did_you_mean(str(value), known) or "It is one of {}.".format(", ".join(known))
        yield _problem(path, "cannot be {}.".format(shown(value)), value, hint)
    if "const" in schema and not _equal(value, schema["const"]):
        yield _problem(path, "must be {}.".format(shown(schema["const"])), value)
    if "not" in schema and not any(_check(value, schema["not"], path, root)):
        yield _unexpected(path, schema, value)
    if "anyOf" in schema:
        branches = [list(itertools.islice(_check(value, branch, path, root), MOST)) for branch in schema["anyOf"]]
        if all(branches):
            yield from _closest(value, schema, path, branches, root)


def _closest(
    value: Any, schema: Dict[str, Any], path: Path, branches: List[List[Problem]], root: Dict[str, Any]
) -> List[Problem]:
    """The problems of the branch that the value was meant for: the one of its type, if there is just one."""
    of_type = []
    for branch, found in zip(schema["anyOf"], branches):
        branch = resolve(branch, root)
        if isinstance(branch, dict) and _is_type(value, branch.get("type", [])):
            of_type.append(found)
    return of_type[0] if len(of_type) == 1 else [_wrong_type(path, schema, value)]


def _check_text(value: str, schema: Dict[str, Any], path: Path) -> Iterator[Problem]:
    if len(value) < schema.get("minLength", 0):
        yield _problem(path, "is empty." if not value else "is too short.", value, _expected(schema))
    elif len(value) > schema.get("maxLength", len(value)):
        text = "has {} characters, at most {} are allowed.".format(len(value), schema["maxLength"])
        yield _problem(path, text, value)
    elif "pattern" in schema and not re.search(schema["pattern"], value):
        yield _unexpected(path, schema, value)


def _check_number(value: Union[int, float], schema: Dict[str, Any], path: Path) -> Iterator[Problem]:
    if "minimum" in schema and value < schema["minimum"]:
        text = "is {}; it must be at least {}.".format(shown(value), schema["minimum"])
        yield _problem(path, text, value, _expected(schema))
    if "maximum" in schema and value > schema["maximum"]:
        text = "is {}; it must be at most {}.".format(shown(value), schema["maximum"])
        yield _problem(path, text, value, _expected(schema))


def _check_list(value: List[Any], schema: Dict[str, Any], path: Path, root: Dict[str, Any]) -> Iterator[Problem]:
    if len(value) < schema.get("minItems", 0):
        yield _problem(path, "is an empty list.", value, _expected(schema))
    if len(value) > schema.get("maxItems", len(value)):
        yield _problem(path, "has {} entries, at most {} are allowed.".format(len(value), schema["maxItems"]), None)
    if "items" in schema:
        for number, item in enumerate(value):
            yield from _check(item, schema["items"], (*path, number), root)


def _check_object(value: Dict[str, Any], schema: Dict[str, Any], path: Path, root: Dict[str, Any]) -> Iterator[Problem]:
    known = schema.get("properties", {})
    for key in schema.get("required", ()):
        if key not in value:
            hint = _expected(resolve(known.get(key, {}), root))
            yield _problem((*path, key), "is missing.", None, hint)
    if len(value) < schema.get("minProperties", 0):
        yield _problem(path, "is empty.", value, _expected(schema))
    for key, item in value.items():
        yield from _check_member(key, item, schema, path, root)


def _check_member(key: Any, item: Any, schema: Dict[str, Any], path: Path, root: Dict[str, Any]) -> Iterator[Problem]:
    place = (*path, key)
    if "propertyNames" in schema and any(_check(key, schema["propertyNames"], place, root)):
        yield _problem(place, "is not a possible name.", item, _expected(resolve(schema["propertyNames"], root)))
        return
    matched = False
    if key in schema.get("properties", {}):
        matched = True
        yield from _check(item, schema["properties"][key], place, root)
    for pattern, sub in schema.get("patternProperties", {}).items():
        if re.search(pattern, key):
            matched = True
            yield from _check(item, sub, place, root)
    if not matched and "additionalProperties" in schema:
        extra = schema["additionalProperties"]
        if extra is False:
            yield _unknown(place, key, item, schema)
        else:
            yield from _check(item, extra, place, root)


def _unknown(place: Path, key: str, item: Any, schema: Dict[str, Any]) -> Problem:
    known = schema.get("properties", {})
    names = [name for name in known if not _marked(known[name], "x-later")]
    hint = did_you_mean(key, names)
    if any(_marked(known[name], "writeOnly") and "'{}'".format(name) in hint for name in names):
        item = None
    if not hint and names:
        hint = "The keys here are {}.".format(", ".join(names))
    return _problem(place, "is not a key of {}.".format(key_text(place[:-1]) or "this file"), item, hint)


def _marked(schema: Schema, annotation: str) -> bool:
    return isinstance(schema, dict) and bool(schema.get(annotation))


def _is_type(value: Any, names: Union[str, List[str]]) -> bool:
    return any(_is_one_type(value, name) for name in ([names] if isinstance(names, str) else names))


def _is_one_type(value: Any, name: str) -> bool:
    if name == "string":
        return isinstance(value, str)
    if name == "boolean":
        return isinstance(value, bool)
    if name == "null":
        return value is None
    if name == "object":
        return isinstance(value, dict)
    if name == "array":
        return isinstance(value, list)
    if isinstance(value, bool):
        return False
    # JSON Schema validation 6.1.1: a number with a zero fraction is an integer.
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return whole or (name == "number" and isinstance(value, float))


def _equal(left: Any, right: Any) -> bool:
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def shown(value: Any, most: int = 60) -> str:
    """A value as it stands in a message: JSON, cut when long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= most else text[: most - 1] + "…"


def _expected(schema: Schema) -> str:
    text = schema.get("x-expected", "") if isinstance(schema, dict) else ""
    return "{}.".format(text) if text else ""


def _wrong_type(path: Path, schema: Dict[str, Any], value: Any) -> Problem:
    names = schema.get("type") or [branch.get("type", "") for branch in schema.get("anyOf", []) if branch.get("type")]
    words = [_WORDS[name] for name in ([names] if isinstance(names, str) else names)]
    wanted = " or ".join(words) or "something else"
    return _problem(path, "must be {}, not {}.".format(wanted, shown(value)), value, _expected(schema))


def _unexpected(path: Path, schema: Dict[str, Any], value: Any) -> Problem:
    return _problem(path, "cannot be {}.".format(shown(value)), value, _expected(schema))


def _problem(path: Path, message: str, value: Any, hint: str = "") -> Problem:
    return Problem(key_text(path), message, value, hint)
