"""Where services and store meet `api_srv.notify`: who writes mails and callbacks, who seals, who sends them."""

import hashlib
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from api_srv.services import reports
from api_srv.services.context import Services
from api_srv.services.ports import Notifier
from api_srv.store.base import Document, Event, Row
from project.core.errors import UserError

if TYPE_CHECKING:
    from api_srv.notify.outbox import Worker
    from api_srv.notify.webhook_seal import Sealer
    from api_srv.notify.webhook_worker import Worker as WebhookWorker


class _WhenNeeded:
    """The writers of callbacks and mails, imported for the first job that has an address: most commands never need them."""

    def __init__(self, domain: str, link: str) -> None:
        self._domain = domain
        self._link = link
        self._writer: Any = None

    def __call__(self, before: Document, after: Document, event: Event) -> list[Row]:
        told: list[Row] = []
        if after.get("webhook"):
            from api_srv.notify import webhook

            told = webhook.rows(before, after, event)
        if not (after.get("user_input") or {}).get("user_mail"):
            return told
        if self._writer is None:
            from api_srv.notify import messages

            self._writer = messages.Notifier(self._domain or messages.DOMAIN, self._link)
        return [*told, *self._writer(before, after, event)]


def notifier(mail_from: str, public_url: str = "") -> Notifier:
    """What writes the mails; they link to the job's page when the server's address is known."""
    domain = mail_from.rpartition("@")[2].strip(" >")
    return _WhenNeeded(domain, public_url + "/jobs/{uuid}" if public_url else "")


class Callbacks:
    """`services.ports.Callbacks`: the address check and the seal.

    :param home: JOBFERRY_HOME, for the key.
    :param key: JOBFERRY_CALLBACK_KEY.
    """

    def __init__(self, home: str, key: str = "", *, allow_private: bool = False) -> None:
        self._home, self._key = home, key
        self.allow_private = allow_private
        self._made: Sealer | None = None

    def sealer(self) -> "Sealer":
        """What opens the seals."""
        if self._made is None:
            from api_srv.notify.webhook_seal import Sealer

            self._made = Sealer(self._home, self._key)
        return self._made

    def refusal(self, url: str) -> str:
        """As the port says."""
        from api_srv.notify import webhook_address

        return webhook_address.literal_problem(urlsplit(url).hostname or "", allow_private=self.allow_private)

    def seal(self, job_uuid: str, url: str, secret: str, headers: dict[str, str]) -> str:
        """As the port says."""
        return self.sealer().seal(job_uuid, url, secret, headers)

    def unseal(self, sealed: str, job_uuid: str, url: str) -> tuple[str, dict[str, str]]:
        """As the port says."""
        from api_srv.notify.webhook_seal import UnsealError

        try:
            contents = self.sealer().unseal(sealed, job_uuid, url)
        except UnsealError as error:
            raise UserError(f"{error}.") from None
        return contents.secret, contents.headers


def callback_worker(services: Services, callbacks: Callbacks, *, seconds: float = 0.0) -> "WebhookWorker":
    """A worker that sends callbacks; `seconds` bounds a first attempt (0: the usual)."""
    from api_srv.notify.webhook_send import Sender
    from api_srv.notify.webhook_worker import Worker

    sender = Sender(callbacks.sealer(), allow_private=callbacks.allow_private, first=seconds)

    def undeliverable(row: Row) -> None:
        mark = hashlib.sha256(f"{row['id']}.{row['since']}".encode()).hexdigest()[:32]
        text = f"The callback “{row['subject']}” is undeliverable: {row['error']}"
        reports.note(services, str(row["job_uuid"]), mark, text)

    return Worker(services.store, sender, undeliverable)


def call_back(services: Services, callbacks: Callbacks, seconds: float) -> int:
    """Send the callbacks that wait for at most about `seconds`; how many attempts were made."""
    if not services.store.outbox_rows(kind="webhook", state="waiting", limit=1):
        return 0
    one = callback_worker(services, callbacks, seconds=max(1.0, seconds / 2))
    made = one.drain(seconds / 2)
    one.stop()
    return made


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
