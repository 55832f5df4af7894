"""What a workload manager's programs say when something is wrong, and what it means. Pure."""

import re
from typing import NamedTuple, Pattern


class Complaints(NamedTuple):
    """The words of one workload manager.

    `own` is what stands before its sentences and says nothing (`sbatch: error: `); `is_away`: a daemon did not answer; `is_full`: a
    rejection that means "not now" (a limit on the number of jobs, a full disk); `is_gone`: there is no such job any more.
    """

    own: Pattern[str]
    is_away: Pattern[str]
    is_full: Pattern[str]
    is_gone: Pattern[str]

    def words(self, text: str) -> str:
        """What was said, in one line."""
        lines = [self.own.sub("", line.strip(), count=1).strip() for line in text.splitlines()]
        return "; ".join(line for line in lines if line)

    def away(self, text: str) -> bool:
        """True when a complaint means that a daemon did not answer."""
        return bool(self.is_away.search(text))

    def full(self, text: str) -> bool:
        """True when a rejection means "not now"."""
        return bool(self.is_full.search(text))

    def gone(self, text: str) -> bool:
        """True when a complaint means that there is no such job any more."""
        return bool(self.is_gone.search(text))


NOTHING = re.compile(r"(?!)")
