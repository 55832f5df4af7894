"""One entry of `scheduler_options`, as far as every workload manager reads it alike. What it means, each manager says itself."""

import re
import shlex
from typing import Tuple

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

LONGEST = 4096


def text_problem(text: str) -> Tuple[str, str]:
    """What is wrong with the mere text of an entry, and a hint; two empty texts when it is fine."""
    if len(text) > LONGEST:
        return "has {} characters, at most {} are allowed.".format(len(text), LONGEST), "Give one option an entry."
    if _CONTROL.search(text):
        return "holds a line break or another control character.", "Give one option an entry."
    if not text.strip():
        return "is empty.", "Leave it out."
    try:
        shlex.split(text)
    except ValueError:
        return "has a quote that is not closed.", "Close it, or leave the quote out."
    return "", ""
