"""The worker that sends callbacks. Mails have one of their own: neither waits for the other.

Rows are taken under leases as the mails' are, and of each job only the first waiting one, so that a job's callbacks keep their order
and two servers do not send the same one. A few threads send; one receiver gets at most `per_host` of them, the jobs of one account at most `per_owner`, and a receiver
that does not answer rests, so that it holds nobody else up.
"""

import logging
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from api_srv.notify.outbox import epoch, stamp
from api_srv.notify.port import SENT, UNDELIVERABLE, WAITING, WEBHOOK, OutboxStore, Row
from api_srv.notify.webhook_send import Outcome

log = logging.getLogger(__name__)
# What attempts are counted by.
HOST, OWNER = "host", "owner"


class Sender(Protocol):
    """What makes one attempt: `webhook_send.Sender`."""

    def send(self, row: Row) -> Outcome: ...


@dataclass(frozen=True)
class Limits:
    """Times in seconds. A callback is given up `give_up` after its change of state when it was tried `least_attempts` times.

    A pause is spread by `jitter` of it either way. `round` heads are looked at in one go. `log` attempts are kept.
    """

    lease: float = 30.0
    poll: float = 1.0
    threads: int = 16
    per_host: int = 2
    per_owner: int = 8
    give_up: float = 3 * 86_400.0
    least_attempts: int = 5
    first_pause: float = 5.0
    longest_pause: float = 3_600.0
    longest_rest: float = 60.0
    jitter: float = 0.2
    round: int = 1000
    log: int = 20


class Worker:
    """Sends what waits in `store` through `sender`, in threads of its own between `start` and `stop`.

    :param on_undeliverable: called with a row before it is given up, to tell the job's history; again after a crash just then.
    :param clock: seconds since the epoch.
    """

    def __init__(
        self,
        store: OutboxStore,
        sender: Sender,
        on_undeliverable: Callable[[Row], None] | None = None,
        *,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._sender = sender
        self._on_undeliverable = on_undeliverable or (lambda _row: None)
        self._limits = limits or Limits()
        self._clock = clock
        self.holder = uuid.uuid4().hex
        self._pool = ThreadPoolExecutor(self._limits.threads, thread_name_prefix="webhook")
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._bell = threading.Event()
        self._lock = threading.Lock()
        self._held: set[str] = set()
        # The order behind which the next round begins; 0: at the first.
        self._after = 0
        self._at: Counter[tuple[str, str]] = Counter()
        self._failures: dict[str, int] = {}
        self._rests: dict[str, float] = {}
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin; returns at once."""
        for target, name in ((self._run, "webhooks"), (self._renew, "webhooks-lease")):
            thread = threading.Thread(target=target, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """Finish the attempts in hand, give the leases back; waits for `timeout` seconds at most."""
        self._stopping.set()
        self._bell.set()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if not self._threads:
            self._finish()

    def drain(self, seconds: float) -> int:
        """Send what is due for at most about `seconds`, without `start`; how many attempts were made."""
        deadline = time.monotonic() + seconds
        made = 0
        while time.monotonic() < deadline:
            self._bell.clear()
            begun = self.begin()
            made += len(begun)
            if begun or self._held:
                self._bell.wait(max(0.0, deadline - time.monotonic()))
            elif not self._after:
                break
        return made

    def begin(self) -> list["Future[None]"]:
        """Begin an attempt for every callback of a round that is due and whose receiver is free.

        Where more are due than a round holds, the next round goes on behind this one: those of a receiver that rests would
        fill every round.
        """
        now = self._clock()
        begun: list[Future[None]] = []
        heads = self._store.outbox_heads(now, self._limits.round, WEBHOOK, self._after)
        last, self._after = self._after, int(heads[-1]["order"]) if len(heads) == self._limits.round else 0
        for row in heads:
            if self._stopping.is_set() or len(self._held) >= self._limits.threads:
                self._after = last
                break
            last = int(row["order"])
            host = _host(row)
            if self._rests.get(host, 0.0) > now or not self._enter(row, host):
                continue
            try:
                fresh = self._taken(row, now)
            except BaseException:
                self._leave(row, host)
                raise
            if fresh is None:
                self._leave(row, host)
            else:
                begun.append(self._pool.submit(self._work, fresh, host))
        return begun

    def _taken(self, row: Row, now: float) -> Row | None:
        """The row, leased and as it is now; None when another server was faster."""
        if not self._store.outbox_lease([row["id"]], self.holder, now, now + self._limits.lease):
            return None
        # Another server may have tried it, or let an earlier one wait again, since the heads were read.
        first = self._store.outbox_rows(job_uuid=row["job_uuid"], kind=WEBHOOK, state=WAITING, limit=1)
        if first and first[0]["id"] == row["id"] and first[0]["next"] <= now:
            return first[0]
        self._store.outbox_settle([row["id"]], self.holder, {})
        return None

    def _enter(self, row: Row, host: str) -> bool:
        limits, owner = self._limits, str(row["owner"])
        with self._lock:
            full = self._at[HOST, host] >= limits.per_host or self._at[OWNER, owner] >= limits.per_owner
            if full or row["id"] in self._held:
                return False
            self._held.add(row["id"])
            self._at.update([(HOST, host), (OWNER, owner)])
            return True

    def _leave(self, row: Row, host: str) -> None:
        with self._lock:
            self._held.discard(row["id"])
            self._at.subtract([(HOST, host), (OWNER, str(row["owner"]))])
            # Only what is above zero is kept.
            self._at = +self._at

    # -- one attempt ------------------------------------------------------------------------------------------------

    def _work(self, row: Row, host: str) -> None:
        fields: dict[str, Any] = {}
        try:
            outcome = self._sender.send(row)
            self._weigh(host, outcome)
            fields = self._fields(row, outcome)
            if fields.get("state") == UNDELIVERABLE:
                log.warning("The callback %s to %s is undeliverable: %s", row["id"], host, outcome.error)
                self._on_undeliverable({**row, "error": outcome.error})
            elif outcome.error:
                log.warning("The callback %s to %s failed: %s", row["id"], host, outcome.error)
            if not self._store.outbox_settle([row["id"]], self.holder, fields):
                log.warning("The lease of the callback %s ran out while it was sent; it may arrive twice.", row["id"])
        except Exception:
            # The store is away, or a bug: said; the lease runs out and it is tried again.
            log.exception("The callback %s could not be worked on; it is tried again.", row["id"])
        finally:
            self._leave(row, host)
            self._bell.set()

    def _weigh(self, host: str, outcome: Outcome) -> None:
        """Let a receiver rest that does not answer at all."""
        limits = self._limits
        with self._lock:
            if not outcome.away:
                self._failures.pop(host, None)
                self._rests.pop(host, None)
                return
            count = self._failures[host] = self._failures.get(host, 0) + 1
            self._rests[host] = self._clock() + min(limits.longest_rest, limits.poll * 2 ** min(count - 1, 20))
            if len(self._rests) > 10_000:
                self._rests, self._failures = {}, {}

    def _fields(self, row: Row, outcome: Outcome) -> dict[str, Any]:
        now, limits = self._clock(), self._limits
        attempts = int(row["attempts"]) + 1
        entry = {
            "time": stamp(now),
            "status": outcome.status or None,
            "ms": outcome.milliseconds,
            "error": outcome.error,
            "answer": outcome.answer,
        }
        fields = {"attempts": attempts, "error": outcome.error, "log": [*row["log"], entry][-limits.log :]}
        if not outcome.error:
            return {**fields, "state": SENT, "settled": stamp(now)}
        age = now - epoch(str(row["since"] or row["created"]), now)
        if outcome.final or (age > limits.give_up and attempts >= limits.least_attempts):
            return {**fields, "state": UNDELIVERABLE, "settled": stamp(now)}
        return {**fields, "next": now + max(outcome.retry_after, self._pause(attempts))}

    def _pause(self, attempts: int) -> float:
        """5, 15, 45, … seconds up to an hour, spread so that many failed ones do not come back at once."""
        limits = self._limits
        pause = min(limits.longest_pause, limits.first_pause * 3 ** min(attempts - 1, 20))
        return float(pause * random.uniform(1 - limits.jitter, 1 + limits.jitter))

    # -- threads ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._bell.clear()
            try:
                self.begin()
            except Exception:
                log.exception("The callbacks could not be worked on; they are tried again.")
            self._bell.wait(self._limits.poll)
        self._finish()

    def _finish(self) -> None:
        # What is in hand is bounded by the sender's own limit.
        self._pool.shutdown(wait=True)
        self._ended.set()
        try:
            self._store.outbox_release(self.holder)
        except Exception:
            log.exception("The leases of the callbacks could not be given back; they run out by themselves.")

    def _renew(self) -> None:
        """Keep the leases of what is being sent."""
        while not self._ended.wait(self._limits.lease / 3):
            with self._lock:
                held = sorted(self._held)
            now = self._clock()
            try:
                if held:
                    self._store.outbox_lease(held, self.holder, now, now + self._limits.lease)
            except Exception:
                log.exception("The leases of the callbacks could not be renewed.")


def _host(row: Row) -> str:
    """The receiver, as the log and the limits know it: no path, which may be a secret."""
    parts = urlsplit(str(row["to"]))
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
