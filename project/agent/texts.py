"""Text that becomes a path, and back, whatever the locale: Python 3.6 under LANG=C takes file names for ASCII."""

import os
import posixpath
import re

from project.core.errors import UserError

_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})(?=/|\Z)")


def to_path(text: str) -> str:
    """`text` (UTF-8 by nature) as os functions want it."""
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def from_path(path: str) -> str:
    """A path as text for people and JSON; bytes that are no UTF-8 survive as surrogates."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def expand(workdir: str, default: str) -> str:
    """A workdir as clients give it, absolute: `~` in front is this user's home, `$NAME` a variable of this login.

    Raises UserError for a variable that is not set here; "" is `default`.
    """
    home = os.path.expanduser("~")
    path = to_path(workdir) or default
    if path == "~" or path.startswith("~/"):
        path = home + path[1:]
    match = _VARIABLE.match(path)
    if match:
        name = match.group(1) or match.group(2)
        value = home if name == "HOME" else os.environ.get(name, "")
        if not os.path.isabs(value):
            raise UserError(
                "workdir {}: the variable {} is not set here.".format(workdir, name),
                "A login without terminal reads other files than one with; write the path out.",
            )
        path = value + path[match.end() :]
    return os.path.normpath(os.path.join(home, path))


def inside(path: bytes) -> bool:
    """True when a relative path stays inside the folder it is relative to."""
    if not path or path.startswith(b"/") or b"\0" in path:
        return False
    return not posixpath.normpath(path).startswith(b"../") and posixpath.normpath(path) != b".."


def tail(raw: bytes, limit: int = 65536) -> str:
    """The last `limit` bytes as text."""
    return raw[-limit:].decode("utf-8", "replace")
