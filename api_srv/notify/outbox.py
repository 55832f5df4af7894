"""The worker that empties the outbox: takes rows under a lease, sends them, tries again, gives up after three days.

Any number of servers may run one on the same store. A row is sent by who leases it; a lease that runs out (its server died) lets
another take over under the same Message-ID. Of each job only the first waiting row can be taken, so that a job's mails keep
their order. What fails for every mail (server away) makes the worker itself rest.
"""

import datetime
import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from api_srv.notify import messages
from api_srv.notify.messages import Mail
from api_srv.notify.port import MAIL, SENT, UNDELIVERABLE, WAITING, OutboxStore, Row
from api_srv.notify.smtp import LaterError, RefusedMailError

log = logging.getLogger(__name__)


class Sender(Protocol):
    """What takes the mails: `smtp.Mailer`, or another channel."""

    def send(self, mail: Mail) -> None:
        """Raises smtp.RefusedMailError or smtp.LaterError."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Limits:
    """Times in seconds.

    More than `flood` errors of a job within `window` go as digests, each gathered for `gather` (a later one for `window`);
    so does what waits for one recipient when it is more than `backlog` rows. `round` heads are looked at in one go.
    A mail server that is away is asked again after `longest_rest` at most, a single mail after `longest_pause`.
    """

    lease: float = 30.0
    poll: float = 1.0
    give_up: float = 3 * 86_400.0
    least_attempts: int = 5
    first_pause: float = 5.0
    longest_pause: float = 3_600.0
    longest_rest: float = 60.0
    flood: int = 5
    gather: float = 20.0
    window: float = 600.0
    backlog: int = 200
    round: int = 100
    digest: int = 20_000


def pause(attempts: int, limits: Limits) -> float:
    """Seconds until the next try after `attempts` failed ones: 5, 15, 45, … up to an hour."""
    return float(min(limits.longest_pause, limits.first_pause * 3 ** min(max(attempts - 1, 0), 20)))


class Worker:
    """Empties the outbox of `store` through `sender`, in a thread of its own between `start` and `stop`.

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
        holder: str = "",
    ) -> None:
        self._store = store
        self._sender = sender
        self._on_undeliverable = on_undeliverable or (lambda _row: None)
        self._limits = limits or Limits()
        self._clock = clock
        self.holder = holder or uuid.uuid4().hex
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._bell = threading.Event()
        self._held: list[str] = []
        self._held_lock = threading.Lock()
        self._failures = 0
        self._rest_until = 0.0
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin; returns at once."""
        for target, name in ((self._run, "outbox"), (self._renew, "outbox-lease")):
            thread = threading.Thread(target=target, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def wake(self) -> None:
        """Look now: a row was written."""
        self._bell.set()

    def stop(self, timeout: float = 10.0) -> None:
        """Finish the mail in hand, give the leases back, end the threads; waits for `timeout` seconds at most."""
        self._stopping.set()
        self._bell.set()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if not self._threads:
            self._finish()

    def run_once(self) -> int:
        """Send what is due now; returns how many rows were settled or put off."""
        if self._clock() < self._rest_until:
            return 0
        heads = self._store.outbox_heads(self._clock(), self._limits.round)
        crowds = self._crowds(heads)
        done: set[str] = set()
        try:
            for head in heads:
                if self._stopping.is_set():
                    break
                if head["id"] not in done:
                    crowd = crowds.get(str(head["to"]))
                    done.update(self._deliver(crowd) if crowd else self._job(head))
        except LaterError as error:
            # The same for the others of this round: they count the attempt too, without one connection each.
            self._rest()
            left = self._lease([head for head in heads if head["id"] not in done])
            done.update(self._fail(left, str(error), self._limits.longest_rest))
        return len(done)

    # -- what goes as one mail --------------------------------------------------------------------------------------

    def _crowds(self, heads: Sequence[Row]) -> dict[str, list[Row]]:
        """Recipients for whom very much waits from several jobs, each with all of it."""
        limits = self._limits
        jobs: dict[str, set[str]] = {}
        for head in heads:
            jobs.setdefault(str(head["to"]), set()).add(str(head["job_uuid"]))
        found: dict[str, list[Row]] = {}
        for to, mine in jobs.items():
            if (
                len(mine) > 1
                and len(self._store.outbox_rows(to=to, state=WAITING, kind=MAIL, limit=limits.backlog + 1))
                > limits.backlog
            ):
                queue = self._store.outbox_rows(to=to, state=WAITING, kind=MAIL, limit=limits.digest)
                found[to] = [row for row in queue if row["job_uuid"] in mine]
        return found

    def _job(self, head: Row) -> list[str]:
        """Send the first mail of one job, or its flood of errors; returns the ids that are settled or put off."""
        limits = self._limits
        if head["topic"] != "error":
            return self._deliver([head])
        queue = self._store.outbox_rows(job_uuid=head["job_uuid"], state=WAITING, kind=MAIL, limit=limits.flood + 1)
        errors = _leading(queue)
        recent = self._recent(head)
        if len(errors) + recent <= limits.flood:
            return self._deliver([head])
        queue = self._store.outbox_rows(job_uuid=head["job_uuid"], state=WAITING, kind=MAIL, limit=limits.digest)
        errors = _leading(queue)
        # A change of state behind the errors ends the gathering: it must not be told late.
        if len(errors) == len(queue) < limits.digest:
            gather = limits.window if recent > limits.flood else limits.gather
            due = epoch(str(head["created"]), self._clock()) + gather
            if due > self._clock():
                return self._settle(self._lease([head]), {"next": due})
        return self._deliver(errors)

    def _recent(self, head: Row) -> int:
        """How many error mails of this job went within the window, counted up to one more than the limit."""
        most = self._limits.flood + 1
        since = stamp(self._clock() - self._limits.window)
        sent = self._store.outbox_rows(job_uuid=head["job_uuid"], topic="error", state=SENT, newest=True, limit=most)
        return sum(1 for row in sent if str(row["settled"]) > since)

    # -- delivery ---------------------------------------------------------------------------------------------------

    def _deliver(self, queue: Sequence[Row]) -> list[str]:
        """Lease the rows, send them as one mail, settle them. Raises LaterError when no other mail would go either."""
        taken = self._lease(queue)
        if not taken:
            return []
        try:
            self._sender.send(self._mail(taken))
        except RefusedMailError as error:
            return self._give_up(taken, str(error))
        except LaterError as error:
            if error.everyone:
                self._settle(taken, {})
                raise
            return self._fail(taken, str(error))
        self._failures = 0
        if len(taken) > 1:
            log.info("One digest stands for %d mails to %s.", len(taken), taken[0]["to"])
        attempts = int(taken[0]["attempts"]) + 1
        return self._settle(taken, {"state": SENT, "settled": stamp(self._clock()), "error": "", "attempts": attempts})

    def _lease(self, queue: Sequence[Row]) -> list[Row]:
        """The rows that are ours now: of each job an unbroken beginning, lest a later mail goes before an earlier one."""
        if not queue:
            return []
        now = self._clock()
        ids = [str(row["id"]) for row in queue]
        ours = set(self._store.outbox_lease(ids, self.holder, now, now + self._limits.lease))
        broken: set[str] = set()
        taken: list[Row] = []
        for row in queue:
            if row["id"] not in ours or row["job_uuid"] in broken:
                broken.add(str(row["job_uuid"]))
            else:
                taken.append(row)
        kept = [str(row["id"]) for row in taken]
        unused = sorted(ours.difference(kept))
        if unused:
            self._store.outbox_settle(unused, self.holder, {})
        with self._held_lock:
            self._held = kept
        return taken

    def _mail(self, taken: Sequence[Row]) -> Mail:
        """The row's mail, or the digest of many; it answers the job's first mail, so that a reader shows one thread."""
        row = taken[0]
        first = self._store.outbox_rows(job_uuid=row["job_uuid"], kind=MAIL, limit=1)
        thread = str(first[0]["message_id"]) if first and first[0]["id"] != row["id"] else ""
        if len(taken) > 1:
            return replace(messages.digest(taken), references=thread)
        return Mail(row["to"], row["subject"], row["text"], row["html"], row["message_id"], thread)

    def _fail(self, taken: Sequence[Row], error: str, most: float = math.inf) -> list[str]:
        """Put the rows off by their attempts, `most` seconds at most; give up those that are old and were tried often enough."""
        limits, now = self._limits, self._clock()
        done: list[str] = []
        later: dict[int, list[Row]] = {}
        for row in taken:
            attempts = int(row["attempts"]) + 1
            age = now - epoch(str(row["created"]), now)
            if age > limits.give_up and attempts >= limits.least_attempts:
                done += self._give_up([row], error)
            else:
                later.setdefault(attempts, []).append(row)
        for attempts, some in later.items():
            done += self._settle(
                some, {"attempts": attempts, "next": now + min(most, pause(attempts, limits)), "error": error}
            )
        return done

    def _give_up(self, taken: Sequence[Row], error: str) -> list[str]:
        for row in taken:
            log.warning("The mail %s to %s is undeliverable: %s", row["message_id"], row["to"], error)
        # One note in the history of each job, however many mails a digest stood for.
        for row in {row["job_uuid"]: row for row in reversed(taken)}.values():
            self._on_undeliverable({**row, "error": error})
        attempts = int(taken[0]["attempts"]) + 1
        fields = {"state": UNDELIVERABLE, "error": error, "settled": stamp(self._clock()), "attempts": attempts}
        return self._settle(taken, fields)

    def _settle(self, taken: Sequence[Row], fields: Mapping[str, Any]) -> list[str]:
        ids = [str(row["id"]) for row in taken]
        # First taken off the list of what is renewed: a row that is put off must not be leased again.
        with self._held_lock:
            self._held = [one for one in self._held if one not in set(ids)]
        settled = self._store.outbox_settle(ids, self.holder, fields) if ids else 0
        if settled < len(ids):
            log.warning(
                "The lease of %d mails ran out while they were sent; they may arrive twice.", len(ids) - settled
            )
        return ids

    # -- threads ----------------------------------------------------------------------------------------------------

    def _rest(self) -> None:
        limits = self._limits
        self._failures += 1
        self._rest_until = self._clock() + min(limits.longest_rest, limits.poll * 2 ** min(self._failures - 1, 20))

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._bell.clear()
            done = 0
            try:
                done = self.run_once()
            except Exception:
                # The store is away, or a bug: said, and tried again. The thread must outlive both.
                log.exception("The outbox could not be worked on; it is tried again.")
            if not done:
                self._bell.wait(self._limits.poll)
        self._finish()

    def _finish(self) -> None:
        self._sender.close()
        try:
            self._store.outbox_release(self.holder)
        except Exception:
            log.exception("The leases of the outbox could not be given back; they run out by themselves.")
        self._ended.set()

    def _renew(self) -> None:
        """Keep the leases of what is being sent, however slow the mail server is."""
        while not self._ended.wait(self._limits.lease / 3):
            with self._held_lock:
                now = self._clock()
                try:
                    if self._held:
                        self._store.outbox_lease(self._held, self.holder, now, now + self._limits.lease)
                except Exception:
                    log.exception("The leases of the outbox could not be renewed.")


def _leading(queue: Sequence[Row]) -> list[Row]:
    """The error rows at the beginning of a job's queue that go to the same recipient."""
    run: list[Row] = []
    for row in queue:
        if row["topic"] != "error" or row["to"] != queue[0]["to"]:
            break
        run.append(row)
    return run


def stamp(moment: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC with milliseconds, as events have it."""
    text = datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def epoch(text: str, default: float) -> float:
    """Seconds since the epoch of an ISO 8601 time; `default` for what is none and for a time after it."""
    try:
        moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return default
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return min(moment.timestamp(), default)
