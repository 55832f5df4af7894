"""Random interleavings of reports, cancels and mail workers against a model, on both stores."""

import shutil
import tempfile
import uuid
from typing import Any

import mongomock
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from api_srv.notify.messages import Notifier
from api_srv.services import jobs, reports
from api_srv.services.context import Account, Services
from api_srv.store.base import JobStore
from api_srv.store.mongo import MongoStore
from api_srv.store.sqlite import SqliteStore
from project.core import history, states

INPUT = {"destination_cluster": "c", "job": "j", "execution": ["true"], "user_mail": "ann@example.org"}
ANN = Account("ann")
WORKERS = ("one", "two")


class Server(RuleBasedStateMachine):
    """Two jobs, events that come late, twice and in any order, and two mail workers whose leases run out."""

    def open_store(self) -> JobStore:
        raise AssertionError("a subclass opens a store")

    @initialize()
    def start(self) -> None:
        self.store = self.open_store()
        self.services = Services(self.store, Notifier())
        self.now = 0.0
        self.sent: list[str] = []
        self.leases: dict[str, tuple[str, float]] = {}
        self.uuids = [str(uuid.uuid4()) for _ in range(2)]
        self.made: dict[str, list[dict[str, Any]]] = {one: [] for one in self.uuids}
        self.known: dict[str, list[str]] = {one: [] for one in self.uuids}
        self.final: dict[str, str] = {}
        for one in self.uuids:
            jobs.create(self.services, ANN, one, {"user_input": dict(INPUT)})

    @rule(job=st.integers(0, 1), word=st.sampled_from(states.STATES), kind=st.sampled_from(["state", "error", "note"]))
    def happen(self, job: int, word: str, kind: str) -> None:
        made = self.made[self.uuids[job]]
        state = word if kind == "state" else None
        made.append(history.make("agent", len(made) + 1, kind, state=state, message="m"))

    @rule(job=st.integers(0, 1), picks=st.lists(st.integers(0, 30), max_size=6))
    def deliver(self, job: int, picks: list[int]) -> None:
        name = self.uuids[job]
        made = self.made[name]
        events = [made[pick % len(made)] for pick in picks] if made else []
        answer = reports.report(self.services, ANN, self.record(name), {"events": events})
        fresh = [one for one in dict.fromkeys(event["id"] for event in events) if one not in self.known[name]]
        assert answer["applied"] == len(fresh)
        self.known[name] += fresh

    @rule(job=st.integers(0, 1))
    def cancel(self, job: int) -> None:
        name = self.uuids[job]
        before = self.record(name).document
        after = jobs.cancel(self.services, ANN, self.record(name))
        ended = before["state"] in states.FINAL
        assert after["cancel_requested"] is (bool(before["cancel_requested"]) or not ended)

    @rule(worker=st.sampled_from(WORKERS), crash=st.booleans())
    def work(self, worker: str, crash: bool) -> None:
        heads = self.store.outbox_heads(self.now, 10)
        assert len({head["job_uuid"] for head in heads}) == len(heads)
        taken = self.store.outbox_lease([head["id"] for head in heads], worker, self.now, self.now + 10)
        for one in taken:
            held = self.leases.get(one)
            assert held is None or held[0] == worker or held[1] <= self.now
            self.leases[one] = (worker, self.now + 10)
        if not crash:
            settled = {"state": "sent", "settled": f"{self.now:09.1f}"}
            assert self.store.outbox_settle(taken, worker, settled) == len(taken)
            self.sent += taken

    @rule(seconds=st.floats(0.5, 20))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(worker=st.sampled_from(WORKERS))
    def stop(self, worker: str) -> None:
        self.store.outbox_release(worker)
        self.leases = {one: held for one, held in self.leases.items() if held[0] != worker}

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        assert len(set(self.sent)) == len(self.sent)
        waiting = {row["id"] for row in self.store.outbox_rows(state="waiting")}
        assert waiting | set(self.sent) == {row["id"] for row in self.store.outbox_rows()}
        for name in self.uuids:
            events = self.store.events(name)
            assert [event["n"] for event in events] == list(range(1, len(events) + 1))
            assert [event["id"] for event in events if event["source"] == "agent"] == self.known[name]
            state = self.record(name).document["state"]
            assert self.final.setdefault(name, state) == state if state in states.FINAL else name not in self.final
            # What is stored is what folding the history again gives.
            again: dict[str, Any] = {"state": "PENDING"}
            for event in events:
                again, applied = history.fold(again, event)
                assert applied == event["applied"]
            assert again["state"] == state

    def record(self, name: str) -> Any:
        return self.store.job(name)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()


class OnSqlite(Server):
    def open_store(self) -> JobStore:
        self.home = tempfile.mkdtemp()
        return SqliteStore.in_home(self.home)

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.home, ignore_errors=True)


class OnMongo(Server):
    def open_store(self) -> JobStore:
        client = mongomock.MongoClient()
        return MongoStore(lambda: client, "db")


RUN = settings(
    max_examples=15,
    stateful_step_count=25,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestOnSqlite = OnSqlite.TestCase
TestOnSqlite.settings = RUN
TestOnMongo = OnMongo.TestCase
TestOnMongo.settings = RUN
