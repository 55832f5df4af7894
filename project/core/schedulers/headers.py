"""Values in the header lines of a batch script, as qsub and bsub read them. Pure."""

import re

from project.core.errors import UserError

_SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./^~-]+\Z")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def quoted(value: str) -> str:
    """One value: in quotes of either kind nothing means anything. Raises UserError for one that cannot stand there."""
    if CONTROL.search(value):
        raise UserError("{!r} cannot stand in a batch script: it holds a control character.".format(value))
    if not value or _SAFE.match(value):
        return value
    for mark in ('"', "'"):
        if mark not in value:
            return mark + value + mark
    raise UserError("{!r} cannot stand in a directive: it holds both kinds of quotes.".format(value))
