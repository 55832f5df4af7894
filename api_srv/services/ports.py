"""What the services ask of others: who writes the mails."""

from typing import Protocol

from api_srv.store.base import Document, Event, Row


class Notifier(Protocol):
    """Makes the outbox rows that one event is worth; none when nobody is to be told. Pure.

    `before` and `after` are the job's document before and after the event. An event that must be told whatever it is has
    `"mail": true` in its `data` (MASI-TFE's `PUT /jobs/<uuid>/state`: the native words are in `data["states"]`).
    """

    def __call__(self, before: Document, after: Document, event: Event) -> list[Row]: ...


def nobody(before: Document, after: Document, event: Event) -> list[Row]:
    """Tells nobody."""
    del event, before, after
    return []
