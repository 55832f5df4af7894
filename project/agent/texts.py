"""Text that becomes a path, and back, whatever the locale: Python 3.6 under LANG=C takes file names for ASCII."""

import os
import posixpath


def to_path(text: str) -> str:
    """`text` (UTF-8 by nature) as os functions want it."""
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def from_path(path: str) -> str:
    """A path as text for people and JSON; bytes that are no UTF-8 survive as surrogates."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def expand(workdir: str, default: str) -> str:
    """A workdir as clients give it, absolute: `$HOME` or `~` in front are this user's home; "" is `default`."""
    home = os.path.expanduser("~")
    text = to_path(workdir) or default
    for prefix in ("$HOME", "${HOME}", "~"):
        if text == prefix or text.startswith(prefix + "/"):
            text = home + text[len(prefix) :]
    return os.path.normpath(os.path.join(home, text))


def inside(path: bytes) -> bool:
    """True when a relative path stays inside the folder it is relative to."""
    if not path or path.startswith(b"/") or b"\0" in path:
        return False
    return not posixpath.normpath(path).startswith(b"../") and posixpath.normpath(path) != b".."


def tail(raw: bytes, limit: int = 65536) -> str:
    """The last `limit` bytes as text."""
    return raw[-limit:].decode("utf-8", "replace")
