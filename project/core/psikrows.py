"""Rows of status.csv as psik has them: `timestamp,jobndx,state,info` (psik/statfile.py, models.py). Pure.

psik 3 reads any text in the last column, psik 1.2 whole numbers only.
"""

import re
import time
from typing import Any

from project.core import states
from project.core.errors import UserError

WORDS = tuple(dict.fromkeys(states.PSIK_WORDS.values()))
LONGEST = 1000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def row(jobndx: int, state: str, info: str) -> str:
    """A row of status.csv, without its line end."""
    return "{:.3f},{},{},{}".format(time.time(), jobndx, state, info or 0)


def check(jobndx: Any, state: str, info: str) -> int:
    """The number in `jobndx`. Raises UserError for anything that has no place in a row."""
    number = int(jobndx) if re.match(r"\d{1,9}\Z", str(jobndx)) else -1
    if number < 0:
        raise UserError("{!r} is no jobndx.".format(jobndx), "It is the number of a run, from 1; 0 means all of them.")
    if state not in WORDS:
        raise UserError("{!r} is none of psik's states.".format(state), "They are {}.".format(", ".join(WORDS)))
    if _CONTROL.search(info) or len(info) > LONGEST:
        raise UserError("The info of a state is one line of at most {} characters.".format(LONGEST))
    return number
