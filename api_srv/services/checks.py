"""What every call's body and parameters must be before a service looks at them."""

import json
import math
import re
import uuid as uuid_module
from collections.abc import Mapping
from typing import Any

from api_srv.problems import RefusedError, unacceptable
from project.core.errors import Problem

MAX_BODY = 8 * 1024 * 1024
MAX_DEPTH = 50
# As `jobspec.SECRETS`, which costs more to import.
SECRETS = ("private_key", "passphrase", "callback", "cb_secret", "cb_headers")
_SURROGATES = re.compile("[\ud800-\udfff]")
_MARKS = re.compile(rb"\\u[dD][89a-fA-F]")
_BIGGEST = 2**63
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")


class _NumberError(ValueError):
    """A number that no database keeps."""


def parse(raw: bytes) -> dict[str, Any]:
    """The JSON object in a body. Raises RefusedError: 413, 400 (not JSON), 422 (not an object, not storable)."""
    if len(raw) > MAX_BODY:
        raise RefusedError(413, f"The body has {len(raw)} bytes; at most {MAX_BODY} are taken.")
    try:
        value = json.loads(raw.decode("utf-8"), parse_int=_whole, parse_float=_real, parse_constant=_constant)
    except _NumberError as error:
        raise RefusedError(422, str(error)) from None
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RefusedError(400, f"The body is not JSON: {reason}.") from None
    if not isinstance(value, dict):
        raise RefusedError(422, "The body must be a JSON object.")
    if _depth(value, MAX_DEPTH) < 0:
        raise RefusedError(422, f"The body is nested more than {MAX_DEPTH} levels deep.")
    # Half a character (JSON can say that) can be neither printed nor stored; file names that are no UTF-8 have them.
    return dict(_whole_characters(value)) if _MARKS.search(raw) else value


def _whole(text: str) -> int:
    value = int(text) if len(text) <= 20 else _BIGGEST
    if not -_BIGGEST <= value < _BIGGEST:
        raise _NumberError(f"{text[:40]} is a whole number beyond 64 bits.")
    return value


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _NumberError(f"{text[:40]} is beyond what a number can be.")
    return value


def _constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _depth(value: Any, left: int) -> int:
    """Levels left below the deepest place; negative when it is too deep."""
    if left < 0 or not isinstance(value, (dict, list)):
        return left
    return min((_depth(one, left - 1) for one in (value.values() if isinstance(value, dict) else value)), default=left)


def _whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole_characters(one) for one in value]
    if isinstance(value, dict):
        return {_whole_characters(key): _whole_characters(one) for key, one in value.items()}
    return value


def is_uuid(text: str) -> bool:
    """True for a whole UUID in lower case."""
    return bool(_UUID.match(text))


def whole_uuid(text: str) -> str:
    """The UUID in its usual form. Raises RefusedError 422."""
    lowered = text.lower()
    if not is_uuid(lowered):
        raise unacceptable("job_uuid", f"{text[:60]!r} is not a UUID like {uuid_module.UUID(int=0)}")
    return lowered


def without_secrets(given: Any) -> Any:
    """An input, or a job's document, without private key, passphrase and callback, whoever sent them."""
    if not isinstance(given, dict):
        return given
    return {key: value for key, value in given.items() if key not in SECRETS}


def refuse(problems: list[Problem], prefix: str = "") -> None:
    """Raise RefusedError 422 naming the first failing key when there are problems."""
    if not problems:
        return
    listed = [{"key": prefix + problem.key, "message": problem.message} for problem in problems]
    first = problems[0]
    text = f"{listed[0]['key'] or 'body'}: {first.message}" + (f" {first.hint}" if first.hint else "")
    raise RefusedError(422, text, listed[0]["key"], listed)


def job_document(body: Mapping[str, Any], *, whole: bool) -> None:
    """Check a job's document (`whole`) or some of its fields by the schemas. Raises RefusedError 422."""
    from project.core import schema

    candidate = dict(body) if whole else {"user_input": {}, **body}
    refuse(schema.problems(candidate, schema.load("job")))
    if whole or "user_input" in body:
        from project.core import jobspec

        refuse(jobspec.problems(candidate["user_input"]), "user_input.")


def whole_number(query: Mapping[str, str], key: str, default: int, least: int, most: int) -> int:
    """A number among the query's parameters. Raises RefusedError 422."""
    text = query.get(key, "")
    if text == "":
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise unacceptable(key, f"{text[:40]!r} is not a whole number from {least} to {most}")
    return int(text)
