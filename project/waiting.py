"""Waiting for a job from a program: how often to look, how long to be patient."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from project.core.errors import ApiError, ClusterError, JobEnded, JobferryError
from project.records import JobRecord, WaitTimeout

# Seconds between two looks at a job: at first, and at most.
QUICK, SLOW = 0.25, 10.0
GROWTH = 1.25
# Seconds without any answer after which waiting is given up (the job goes on).
PATIENCE = 600.0


class Waiting:
    """The rhythm of waiting for one job: quick while it changes, slower and slower while it does not.

    :param timeout: seconds; None: as long as it takes.
    :param poll: seconds between two looks; None: from QUICK to SLOW.
    """

    def __init__(self, timeout: float | None, poll: float | None) -> None:
        begin = time.monotonic()
        self._seconds = timeout
        self._deadline = None if timeout is None else begin + timeout
        self._patience = begin + PATIENCE
        self._poll = poll
        self._pause = QUICK
        self._last: JobRecord | None = None
        # Warnings that were given already.
        self.told: set[str] = set()

    @property
    def job(self) -> JobRecord:
        """The job as it was last seen."""
        assert self._last is not None
        return self._last

    def look(self, see: Callable[[], JobRecord]) -> float | None:
        """Look once; the seconds to wait before the next look, None when the job has ended. Raises WaitTimeout, what `see` does."""
        try:
            return self._seen(see())
        except JobferryError as error:
            return self._missed(error)

    async def alook(self, see: Callable[[], Awaitable[JobRecord]]) -> float | None:
        """As `look`."""
        try:
            return self._seen(await see())
        except JobferryError as error:
            return self._missed(error)

    def _seen(self, job: JobRecord) -> float | None:
        now = time.monotonic()
        moved = self._last is None or self._last.state != job.state
        self._last, self._patience = job, now + PATIENCE
        if job.ended:
            return None
        self._pause = QUICK if moved else min(SLOW, self._pause * GROWTH)
        return self._rest(now)

    def _missed(self, error: JobferryError) -> float:
        now = time.monotonic()
        hopeless = isinstance(error, WaitTimeout) or not isinstance(error, ApiError | ClusterError)
        if hopeless or not error.transient or now > self._patience or self._last is None:
            raise error
        self._pause = min(SLOW, self._pause * GROWTH)
        return self._rest(now)

    def _rest(self, now: float) -> float:
        pause = self._pause if self._poll is None else self._poll
        if self._deadline is None:
            return pause
        if now >= self._deadline:
            raise WaitTimeout(self.job, self._seconds or 0.0)
        return min(pause, self._deadline - now)


def well(job: JobRecord) -> JobRecord:
    """The job, if it ended well. Raises JobEnded."""
    if job.ok:
        return job
    why = f" ({job.condition})" if job.condition else ""
    error = JobEnded(f"Job {job.uuid} is {job.state}{why}. {job.message}".rstrip())
    error.job_uuid = job.uuid
    raise error
