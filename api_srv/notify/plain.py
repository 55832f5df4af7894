"""Text from anywhere made safe to show: no control characters, no secrets. Pure."""

import re
from collections.abc import Mapping
from typing import Any

SECRET_KEYS = ("passphrase", "private_key", "cb_secret", "password", "token")

# Beside line breaks: what a terminal or a mail client could obey (escapes, direction marks), and lone surrogates.
_CONTROL = re.compile(
    r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_BREAKS = re.compile(r"\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_HIDDEN = "[hidden]"
_CREDENTIALS = (
    # The scheme is bounded: without that, a long word without `://` would be looked through again from each of its letters.
    (re.compile(r"([a-z][a-z0-9+.-]{0,31}://[^\s/:@]*):[^\s/@]+@", re.IGNORECASE), rf"\1:{_HIDDEN}@"),
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\1 {_HIDDEN}"),
    (
        re.compile(r"\b(passphrase|password|passwd|secret|token|api[_-]?key)(['\"]?\s*[=:]\s*)\S+", re.IGNORECASE),
        rf"\1\2{_HIDDEN}",
    ),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), _HIDDEN),
)


def clean(value: str) -> str:
    """The text with `\\n` as its only line break and without control characters."""
    return _CONTROL.sub("", _BREAKS.sub("\n", value))


def one_line(value: str, most: int) -> str:
    """The text on one line of at most `most` characters."""
    line = " ".join(clean(value).split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def redact(value: str, user_input: Mapping[str, Any]) -> str:
    """The text without what looks like a secret, or is one of the input's."""
    for key in SECRET_KEYS:
        secret = user_input.get(key)
        if isinstance(secret, str) and len(secret) >= 4:
            value = value.replace(secret, _HIDDEN)
    for pattern, replacement in _CREDENTIALS:
        value = pattern.sub(replacement, value)
    return value
