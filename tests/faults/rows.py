"""A row of the suite: one fault, injected once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SIDE, LINE, LAST = "side", "line", "last"


@dataclass(frozen=True)
class Row:
    """`run(case)` injects the fault, recovers as a user would, and answers the audit's findings.

    `lane`: SIDE rows run side by side; LINE rows one after the other beside them (they break cluster beta, or what all
    others survive); LAST ones when nothing else runs (they break what others need).
    `own_server`: it breaks the API server, so it gets one of its own.
    `stores`: where there is anything to break.
    """

    name: str
    what: str
    run: Callable[[Any], Any]
    cluster: str = "alpha"
    user: str = "jdoe"
    lane: str = SIDE
    own_server: bool = False
    stores: tuple[str, ...] = ("sqlite", "mongo")
