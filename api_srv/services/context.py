"""`Services`: what every service function is given; `Account`: for whom it acts."""

import time
from collections.abc import Callable
from typing import NamedTuple

from api_srv.services.ports import Callbacks, NoCallbacks, Notifier, nobody
from api_srv.store.base import JobStore


class Account(NamedTuple):
    """Who calls. `job` is set for the token of a job: it may only report on that job."""

    name: str
    admin: bool = False
    job: str = ""

    @property
    def scope(self) -> str | None:
        """The owner whose jobs are seen; None: everybody's."""
        return None if self.admin else self.name


class Services(NamedTuple):
    """The parts that service functions work with. `clock` gives seconds since the epoch."""

    store: JobStore
    notifier: Notifier = nobody
    public_url: str = ""
    clock: Callable[[], float] = time.time
    callbacks: Callbacks = NoCallbacks()
