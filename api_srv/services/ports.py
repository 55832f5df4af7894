"""What the services ask of others: who writes mails and callbacks, who seals a callback's secret."""

from typing import Protocol

from api_srv.store.base import Document, Event, Row
from project.core.errors import UserError


class Notifier(Protocol):
    """Makes the outbox rows that one event is worth; none when nobody is to be told. Pure.

    `before` and `after` are the job's document before and after the event. An event that must be told whatever it is has
    `"mail": true` in its `data` (MASI-TFE's `PUT /jobs/<uuid>/state`: the native words are in `data["states"]`).
    """

    def __call__(self, before: Document, after: Document, event: Event) -> list[Row]: ...


class Callbacks(Protocol):
    """What taking a callback needs. Secrets are in no error."""

    def refusal(self, url: str) -> str:
        """Why no callback may go to this address, as far as its text says; empty when it says nothing."""
        ...

    def seal(self, job_uuid: str, url: str, secret: str, headers: dict[str, str]) -> str:
        """Secret and headers sealed for this job and address. Raises UserError, OSError."""
        ...

    def unseal(self, sealed: str, job_uuid: str, url: str) -> tuple[str, dict[str, str]]:
        """Secret and headers again. Raises UserError."""
        ...


class NoCallbacks:
    """Callbacks without a secret alone."""

    def refusal(self, url: str) -> str:
        del url
        return ""

    def seal(self, job_uuid: str, url: str, secret: str, headers: dict[str, str]) -> str:
        del job_uuid, url, secret, headers
        raise UserError("It has no key for callbacks.")

    def unseal(self, sealed: str, job_uuid: str, url: str) -> tuple[str, dict[str, str]]:
        del sealed, job_uuid, url
        raise UserError("It has no key for callbacks.")


def nobody(before: Document, after: Document, event: Event) -> list[Row]:
    """Tells nobody."""
    del event, before, after
    return []
