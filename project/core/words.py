"""Near words: what a mistyped name was probably meant to be."""

import difflib
from typing import Iterable, List


def near(word: str, known: Iterable[str], count: int = 1) -> List[str]:
    """Up to `count` of the `known` words that look like `word`, best first."""
    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), list(by_lower), n=count, cutoff=0.6)
    return [by_lower[name] for name in found]


def did_you_mean(word: str, known: Iterable[str], count: int = 1) -> str:
    """A question such as `Did you mean 'duration'?`, empty when nothing known looks like `word`."""
    names = near(word, known, count)
    if not names:
        return ""
    return "Did you mean {}?".format(" or ".join("'{}'".format(name) for name in names))
