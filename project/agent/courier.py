"""Delivers events to the API: in order, at least once, in batches; and brings back the wish to cancel.

A thread of the watcher, so that a slow API does not keep it from the scheduler. What the API has accepted is written to
`state/sent.json`; an API that is away is tried with growing pauses, for as long as it takes: the events are on disk.
"""

import os
import threading
import time
from typing import Any, Callable, Dict, List, Optional

from project.agent.folder import Folder
from project.agent.names import last_lines
from project.core import files, history
from project.core.errors import ApiError
from project.core.history import Event

ASK_EVERY = 60.0
# What the API says to an event that it will never take.
REFUSED = (400, 409, 413, 422)
FIRST, LONGEST = 1.0, 600.0
# A job that the API says it does not know (or whose token it refuses) is given up after so many seconds.
REFUSED_FOR = 24 * 3600.0


class Mailbag:
    """One job's deliveries."""

    def __init__(self, folder: Folder, url: str, token: str) -> None:
        from project.core.api_client import ApiClient, http_call

        self.folder = folder
        self.url = url
        self._api = ApiClient(http_call(url, token=token))
        self._sent = _sent(folder)
        self.asked = 0.0
        self.refused_since: Optional[float] = None
        self.retry_at = 0.0
        self._torn: Any = None

    @property
    def pending(self) -> bool:
        """True when there are events that the API has not accepted."""
        try:
            found = os.stat(self.folder.paths.events)
        except OSError:
            return False
        # A last line that was cut off is no event; the next writer takes it away.
        return found.st_size > int(self._sent["offset"]) and (found.st_size, found.st_mtime_ns) != self._torn

    def deliver(self) -> bool:
        """Deliver one batch, or ask; True when the API wishes the job cancelled. Raises ApiError, OSError."""
        before = os.stat(self.folder.paths.events)
        events, offset = self.folder.events_from(int(self._sent["offset"]), history.BATCH_BYTES, history.BATCH_COUNT)
        answer = self._report(events)
        self.asked = time.monotonic()
        self.refused_since = None
        if events:
            self._sent.update(offset=offset, seq=events[-1]["seq"])
            files.write_json(self.folder.paths.sent, self._sent)
        elif before.st_size > offset:
            self._torn = (before.st_size, before.st_mtime_ns)
        return bool(answer.get("cancel"))

    def _report(self, events: List[Event]) -> Dict[str, Any]:
        try:
            return self._api.report(self.folder.uuid, events)
        except ApiError as error:
            if error.status not in REFUSED or not events:
                raise
            if len(events) > 1:
                answer: Dict[str, Any] = {}
                for event in events:
                    answer = self._report([event])
                return answer
            return self._smaller(events[0], error)

    def _smaller(self, event: Event, error: ApiError) -> Dict[str, Any]:
        """An event that the API will never take as it is: without what makes it large, or not at all (it stays here)."""
        slim = {key: value for key, value in event.items() if key not in ("data", "set")}
        if slim != event:
            try:
                return self._api.report(self.folder.uuid, [slim])
            except ApiError as again:
                if again.status not in REFUSED:
                    raise
        self._sent.setdefault("refused", []).append({"seq": event["seq"], "why": error.message[:200]})
        return {}


def _sent(folder: Folder) -> Dict[str, Any]:
    try:
        value = files.read_json(folder.paths.sent)
    except ValueError:
        value = None
    # Without it everything is delivered again, which is harmless.
    return value if isinstance(value, dict) and isinstance(value.get("offset"), int) else {"seq": 0, "offset": 0}


class Courier:
    """The thread. `put` and `drop` jobs; `wake` it when there is news; `cancel_wished` is told the UUIDs to cancel."""

    def __init__(self, on_cancel: Callable[[Folder], None], log: Callable[[str], None]) -> None:
        self._bags: Dict[str, Mailbag] = {}
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._on_cancel = on_cancel
        self._log = log
        self._pauses: Dict[str, float] = {}
        self._retry_at: Dict[str, float] = {}
        self._living: Dict[str, bool] = {}
        self._thread: Optional[threading.Thread] = None

    def put(self, folder: Folder, report: Dict[str, Any], living: bool) -> None:
        """Take care of a job's events; does nothing when its token is not there."""
        with self._lock:
            self._living[folder.uuid] = living
            if folder.uuid in self._bags:
                return
            token = (files.read_text(folder.paths.token) or "").strip()
            if not token:
                return
            try:
                self._bags[folder.uuid] = Mailbag(folder, str(report["url"]), token)
            except ApiError as error:
                # An address that is none: the events stay here until they are fetched.
                self._log("{}: {}".format(folder.uuid, error.message))
                return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
            self._thread.start()

    def drop(self, uuid: str) -> None:
        with self._lock:
            self._bags.pop(uuid, None)
            self._living.pop(uuid, None)

    def wake(self) -> None:
        self._bell.set()

    def done(self, uuid: str) -> bool:
        """True when nothing of the job waits to be delivered, or nothing ever will be."""
        with self._lock:
            bag = self._bags.get(uuid)
        if bag is None or not bag.pending:
            return True
        return bag.refused_since is not None and time.monotonic() - bag.refused_since > REFUSED_FOR

    def _run(self) -> None:
        while True:
            self._bell.wait(1.0)
            self._bell.clear()
            with self._lock:
                bags = list(self._bags.values())
            for bag in bags:
                self._serve(bag)

    def _serve(self, bag: Mailbag) -> None:
        try:
            while self._due(bag):
                cancel = bag.deliver()
                self._pauses.pop(bag.url, None)
                if cancel:
                    self._on_cancel(bag.folder)
        except ApiError as error:
            self._failed(bag, error)
        except Exception as error:
            # Its folder cannot be read or written now (what is not marked as sent is sent again), or a bug of ours: one
            # job must not end the deliveries of the others.
            bag.retry_at = time.monotonic() + 5.0
            self._log("{}: {!r} {}".format(bag.folder.uuid, error, last_lines()))

    def _due(self, bag: Mailbag) -> bool:
        now = time.monotonic()
        if now < max(bag.retry_at, self._retry_at.get(bag.url, 0.0)):
            return False
        if bag.pending:
            return True
        return self._living.get(bag.folder.uuid, False) and now - bag.asked >= ASK_EVERY

    def _failed(self, bag: Mailbag, error: ApiError) -> None:
        now = time.monotonic()
        self._log("{}: {}".format(bag.folder.uuid, error.message))
        with self._lock:
            # The next one to try is another: it may be this very job that the API cannot bear.
            if self._bags.pop(bag.folder.uuid, None) is not None:
                self._bags[bag.folder.uuid] = bag
        if error.transient or error.status == 0:
            pause = min(LONGEST, 2 * self._pauses.get(bag.url, FIRST / 2))
            self._pauses[bag.url] = pause
            self._retry_at[bag.url] = now + pause
            return
        bag.refused_since = bag.refused_since or now
        bag.retry_at = now + min(LONGEST, max(FIRST, now - bag.refused_since))
