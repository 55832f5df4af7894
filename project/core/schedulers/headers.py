"""Values in the header lines of a batch script, as qsub and bsub read them. Pure."""

import re
from typing import TYPE_CHECKING, List

from project.core.errors import Problem, UserError

if TYPE_CHECKING:
    from project.core.jobspec import JobSpec

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


def stray(spec: "JobSpec", prefix: str, program: str) -> List[Problem]:
    """Lines of a job that would be read as header lines by a program that reads those of the whole script.

    A text of several lines stands in the script as it is, in quotes.
    """
    texts = [("execution[{}]".format(number), line) for number, line in enumerate(spec.execution)]
    texts += [("env." + name, value) for name, value in spec.env.items()]
    start = re.compile("^" + re.escape(prefix), re.MULTILINE)
    message = "has a line that begins with {}, which {} would read as its options.".format(prefix, program)
    return [Problem(key, message, None, "Put a space before it.") for key, text in texts if start.search(text)]
