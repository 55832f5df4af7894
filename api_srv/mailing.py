"""Where services and store meet `api_srv.notify`: who writes the mails, who sends them."""

import hashlib
import time
from typing import TYPE_CHECKING, Any

from api_srv.services import reports
from api_srv.services.context import Services
from api_srv.services.ports import Notifier
from api_srv.store.base import Document, Event, Row

if TYPE_CHECKING:
    from api_srv.notify.outbox import Worker


class _WhenNeeded:
    """The writer of mails, imported for the first job that has an address: most commands never need it."""

    def __init__(self, domain: str, link: str) -> None:
        self._domain = domain
        self._link = link
        self._writer: Any = None

    def __call__(self, before: Document, after: Document, event: Event) -> list[Row]:
        if not (after.get("user_input") or {}).get("user_mail"):
            return []
        if self._writer is None:
            from api_srv.notify import messages

            self._writer = messages.Notifier(self._domain or messages.DOMAIN, self._link)
        rows: list[Row] = self._writer(before, after, event)
        return rows


def notifier(mail_from: str, public_url: str = "") -> Notifier:
    """What writes the mails; they link to the job's page when the server's address is known."""
    domain = mail_from.rpartition("@")[2].strip(" >")
    return _WhenNeeded(domain, public_url + "/jobs/{uuid}" if public_url else "")


def worker(services: Services, smtp_url: str, mail_from: str, *, timeout: float = 60.0, rounds: int = 100) -> "Worker":
    """A worker that empties the outbox. Raises UserError for an address that is none."""
    import socket

    from api_srv.notify.outbox import Limits, Worker
    from api_srv.notify.smtp import Mailer

    mailer = Mailer(smtp_url, mail_from or f"jobferry@{socket.gethostname()}", timeout)

    def undeliverable(row: Row) -> None:
        mark = hashlib.sha256(str(row["id"]).encode("utf-8")).hexdigest()[:32]
        text = f"The mail to {row['to']} ({row['subject']}) is undeliverable: {row['error']}"
        reports.note(services, str(row["job_uuid"]), mark, text)

    return Worker(services.store, mailer, undeliverable, limits=Limits(round=rounds))


def deliver_due(services: Services, smtp_url: str, mail_from: str, seconds: float) -> int:
    """Send what waits for at most about `seconds`; how many rows were settled or put off."""
    deadline = time.monotonic() + seconds
    done = 0
    one = worker(services, smtp_url, mail_from, timeout=max(1.0, seconds), rounds=5)
    while time.monotonic() < deadline:
        count = one.run_once()
        if not count:
            break
        done += count
    one.stop()
    return done
