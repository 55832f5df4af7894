"""What the client tells the API about a submission: in order, on a thread of its own, so that connecting need not wait."""

import queue
import threading
from collections.abc import Callable
from typing import Any

from project.core import history
from project.core.api_client import ApiClient
from project.core.errors import ApiError, UserError

Json = dict[str, Any]
# RFC 9110, 15.5.21.
UNPROCESSABLE = 422
# Seconds without work after which the thread ends: a program may submit any number of jobs.
LINGER = 2.0


class Journal:
    """Events of one job with the source `client`.

    `flush` waits until everything said so far is acknowledged, and raises what went wrong. `cancelled` is True once an answer
    carried the wish to cancel.
    """

    def __init__(self, api: ApiClient, uuid: str, last_seq: int = 0) -> None:
        self._api = api
        self.uuid = uuid
        self._seq = last_seq
        self._queue: queue.Queue[Callable[[], None]] = queue.Queue()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._held: list[Json] = []
        self.created: Json = {}
        # The API took no record of the job: there is none to tell anything about.
        self.refused = False
        self.cancelled = False

    def create(self, document: Json) -> None:
        """Record the intent."""

        def work() -> None:
            try:
                self.created = self._api.create(document)
            except ApiError as error:
                if error.status != UNPROCESSABLE:
                    raise
                # The server looks at what the input says too (a callback's address): the user's to correct, and nothing was sent.
                self.refused = True
                raise UserError(error.message, error.hint) from error

        self._do(work)

    def add(self, kind: str, later: bool = False, **fields: Any) -> None:
        """Record an event; `later`: it says nothing new that could be missed, and may travel with the next ones."""
        self._seq += 1
        self._held.append(history.make("client", self._seq, kind, **fields))
        if not later:
            self.relay([])

    def relay(self, events: list[Json], status: Json | None = None) -> None:
        """Pass on the agent's events, and the cluster's load."""
        events = self._held + events
        self._held = []
        if not events and not status:
            return

        def work() -> None:
            batches = list(history.batches(events)) or [[]]
            for number, batch in enumerate(batches):
                self._report(batch, status if number == len(batches) - 1 else None)

        self._do(work)

    def _report(self, events: list[Json], status: Json | None) -> None:
        answer = self._api.report(self.uuid, events, status)
        self.cancelled = self.cancelled or bool(answer.get("cancel"))

    def _do(self, work: Callable[[], None]) -> None:
        with self._lock:
            self._queue.put(work)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                work = self._queue.get(timeout=LINGER)
            except queue.Empty:
                with self._lock:
                    if self._queue.empty():
                        self._thread = None
                        return
                continue
            try:
                # After a failure the rest would only fail too, or arrive out of order.
                if self._error is None:
                    work()
            except BaseException as error:
                self._error = error
            finally:
                self._queue.task_done()

    def flush(self) -> None:
        """Wait for the acknowledgement. Raises ApiError."""
        self._queue.join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def settle(self) -> ApiError | None:
        """As `flush`, where a failure must not hide another one: it is returned."""
        try:
            self.flush()
        except ApiError as error:
            return error
        return None
