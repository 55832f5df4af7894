"""What the outbox needs of a store. Each `JobStore` has these methods.

A row is a dictionary::

    {"id": text, "order": whole number, growing in the order of insertion,
     "job_uuid": …, "owner": account name, "kind": "mail" | "webhook", "topic": "state" | "error" | "webhook",
     "to": address, "subject": …, "summary": one line, "text": …, "html": …,
     "message_id": "<…@…>", "references": "",
     "event_id": …, "created": ISO time, "attempts": 0, "next": 0.0, "lease_until": 0.0, "lease_by": "",
     "state": "waiting" | "sent" | "undeliverable", "error": "", "settled": ISO time or ""}

Rows of the kind `webhook` have the topic `webhook` and further fields (`notify.webhook`). Each kind has a queue of its own: mails and
callbacks of one job do not wait for each other.

`next` and `lease_until` are seconds since the epoch. `messages.Notifier` makes one; the store adds only `order` (unique,
growing) when it writes the row in the transaction of its event. Its `id` is made of the job's and the event's: recording it twice
is recording it once.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Row = dict[str, Any]

MAIL = "mail"
WEBHOOK = "webhook"

WAITING = "waiting"
SENT = "sent"
UNDELIVERABLE = "undeliverable"


class OutboxStore(Protocol):
    """The store as the outbox sees it."""

    def outbox_heads(self, now: float, limit: int, kind: str = "mail", after: int = 0) -> list[Row]:
        """Of each job its first waiting row of this kind (lowest order), where that is due (`next` ≤ now) and not leased (`lease_until` ≤ now).

        Lowest order first, at most `limit`, only those with an order above `after`. A job whose first waiting row is not due gives nothing: mails of one job go in order.
        """
        ...

    def outbox_rows(
        self,
        *,
        job_uuid: str = "",
        owner: str = "",
        to: str = "",
        topic: str = "",
        state: str = "",
        kind: str = "",
        newest: bool = False,
        limit: int = 1000,
    ) -> list[Row]:
        """Rows whose fields equal those that are given, lowest order first (`newest`: highest first), at most `limit`."""
        ...

    def outbox_lease(self, ids: Sequence[str], holder: str, now: float, until: float) -> list[str]:
        """Lease each of these waiting rows that is not leased by another (`lease_until` ≤ now or `lease_by` = holder).

        Compare-and-set, row by row; returns the ids that are now the holder's. Calling it again renews.
        """
        ...

    def outbox_settle(self, ids: Sequence[str], holder: str, fields: Mapping[str, Any]) -> int:
        """Set `fields` on these rows and end their lease, only where `holder` still has it; returns how many were set."""
        ...

    def outbox_release(self, holder: str) -> int:
        """Give back every lease of the holder (at a graceful stop); returns how many."""
        ...
