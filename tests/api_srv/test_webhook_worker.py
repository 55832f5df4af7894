"""The worker of callbacks: once, in order, again after failures, nobody held up, one sender at a time."""

import threading
import time
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from api_srv.notify import outbox
from api_srv.notify.webhook_send import Outcome
from api_srv.notify.webhook_worker import Limits, Worker
from helpers import stores
from helpers.callback_rows import row
from helpers.memory_outbox import MemoryOutbox
from project.core import history

START = 1_800_000_000.0
DAY = 86_400.0
FAILED = Outcome(500, "the receiver answered 500")


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Receivers:
    """Takes rows; `answers` come first, one per attempt."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.answers: list[Outcome] = []
        self.always = Outcome(200)
        self.closed: dict[str, threading.Event] = {}
        self.lock = threading.Lock()

    def send(self, row: dict[str, Any]) -> Outcome:
        gate = self.closed.get(row["to"])
        if gate is not None:
            assert gate.wait(60)
        with self.lock:
            self.got.append(row)
            return self.answers.pop(0) if self.answers else self.always

    @property
    def ids(self) -> list[str]:
        return [one["id"] for one in self.got]


@pytest.fixture
def parts():
    return MemoryOutbox(), Receivers(), Clock(), []


def worker(parts: Any, **limits: Any) -> Worker:
    store, receivers, clock, given_up = parts
    chosen = Limits(**{"jitter": 0.0, **limits})
    return Worker(store, receivers, given_up.append, limits=chosen, clock=clock)


def drain(one: Worker) -> None:
    one.drain(60)


def added(store: MemoryOutbox, *rows: dict[str, Any]) -> None:
    store.add(*[{**one, "created": outbox.stamp(START)} for one in rows])


def until(check: Any) -> None:
    deadline = time.monotonic() + 30
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_jobs_callbacks_go_once_and_in_order(parts):
    store, receivers, _, _ = parts
    rows = [row(number, f"{number % 2:032x}") for number in range(8)]
    added(store, *rows)
    drain(worker(parts))
    for job in range(2):
        mine = [one["id"] for one in receivers.got if one["job_uuid"] == f"{job:032x}"]
        assert mine == [one["id"] for one in rows if one["job_uuid"] == f"{job:032x}"]
    assert {one["state"] for one in store.rows} == {"sent"}
    assert all(one["attempts"] == len(one["log"]) == 1 and one["settled"] for one in store.rows)


def test_a_failure_is_tried_again_and_later_ones_of_the_job_wait(parts):
    store, receivers, clock, _ = parts
    added(store, row(1), row(2), row(3, "f" * 32))
    receivers.answers = [FAILED]
    one = worker(parts, threads=1)
    drain(one)
    first, second, other = store.rows
    assert (first["state"], first["attempts"], first["error"]) == ("waiting", 1, "the receiver answered 500")
    assert first["next"] == START + 5
    assert (second["state"], other["state"]) == ("waiting", "sent")
    clock.now += 4
    drain(one)
    assert len(receivers.got) == 2
    clock.now += 1
    receivers.answers = [FAILED._replace(retry_after=120.0)]
    drain(one)
    assert store.rows[0]["next"] == clock.now + 120
    clock.now += 121
    drain(one)
    assert receivers.ids[-2:] == [first["id"], second["id"]]
    assert [entry["status"] for entry in store.rows[0]["log"]] == [500, 500, 200]


def test_pauses_grow_to_an_hour_and_are_spread(parts):
    one = worker(parts)
    assert [one._pause(count) for count in (1, 2, 3, 4, 500)] == [5, 15, 45, 135, 3600]
    spread = {worker(parts, jitter=0.2)._pause(1) for _ in range(50)}
    assert len(spread) > 10 and all(4 <= pause <= 6 for pause in spread)


def test_it_is_given_up_after_three_days_and_the_next_goes(parts):
    store, receivers, clock, given_up = parts
    added(store, row(1), row(2))
    receivers.always = FAILED
    one = worker(parts, log=3)
    while store.rows[0]["state"] == "waiting" and clock.now < START + 4 * DAY:
        drain(one)
        clock.now += 1800
    assert store.rows[0]["state"] == "undeliverable"
    assert START + 3 * DAY < clock.now < START + 3 * DAY + 7200
    assert [one["id"] for one in given_up] == [store.rows[0]["id"]]
    assert len(store.rows[0]["log"]) == 3 and store.rows[0]["attempts"] > 40
    receivers.always = Outcome(200)
    clock.now += 60
    drain(one)
    assert store.rows[1]["state"] == "sent"


def test_a_refused_address_is_undeliverable_at_once(parts):
    store, receivers, _, given_up = parts
    added(store, row(1))
    receivers.answers = [Outcome(error="the address is refused: it is 127.0.0.1", final=True)]
    drain(worker(parts))
    assert store.rows[0]["state"] == "undeliverable" and len(given_up) == 1


def test_a_receiver_that_is_away_rests_and_others_do_not_wait(parts):
    store, receivers, clock, _ = parts
    added(store, *[row(number, f"{number:032x}", "http://away.example/") for number in range(20)])
    receivers.always = Outcome(error="no answer", away=True)
    one = worker(parts, threads=4, per_host=1)
    drain(one)
    assert len(receivers.got) == 1
    clock.now += 1.5
    drain(one)
    assert len(receivers.got) == 2
    receivers.always = Outcome(200)
    added(store, row(99, "e" * 32, "http://there.example/"))
    drain(one)
    assert receivers.got[-1]["to"] == "http://there.example/"
    clock.now += 61
    drain(one)
    assert {entry["state"] for entry in store.rows} == {"sent"}


def test_receivers_that_hang_hold_up_nobody_else(parts):
    store, receivers, _, _ = parts
    gate = threading.Event()
    hanging = [f"http://hang{number}.example/" for number in range(3)]
    receivers.closed = dict.fromkeys(hanging, gate)
    slow = [row(number, f"a{number:031x}", hanging[number % 3]) for number in range(60)]
    quick = [row(number, f"b{number % 5:031x}", "http://quick.example/") for number in range(40)]
    added(store, *slow, *quick)
    one = Worker(store, receivers, limits=Limits(poll=0.02))
    one.start()
    try:
        until(lambda: len([entry for entry in store.rows if entry["state"] == "sent"]) == 40)
        assert {entry["to"] for entry in receivers.got} == {"http://quick.example/"}
        leased = [entry for entry in store.rows if entry["lease_by"]]
        assert len(leased) == 6
    finally:
        gate.set()
        one.stop(30)
    assert all(entry["lease_by"] == "" for entry in store.rows)


def test_an_account_with_many_receivers_that_hang_holds_up_no_other(parts):
    store, receivers, _, _ = parts
    gate = threading.Event()
    hanging = [f"http://hang{number}.example/" for number in range(40)]
    receivers.closed = dict.fromkeys(hanging, gate)
    added(store, *[row(number, f"a{number:031x}", url, owner="eve") for number, url in enumerate(hanging)])
    added(store, row(1, "b" * 32, "http://quick.example/"))
    one = Worker(store, receivers, limits=Limits(poll=0.02))
    one.start()
    try:
        until(lambda: receivers.got)
        assert len([entry for entry in store.rows if entry["lease_by"] and entry["owner"] == "eve"]) == 8
    finally:
        gate.set()
        one.stop(30)
    assert receivers.got[0]["to"] == "http://quick.example/"


def test_more_jobs_than_a_round_whose_receiver_is_away_hold_up_nobody_else(parts):
    store, receivers, clock, _ = parts
    added(store, *[row(number, f"a{number:031x}", "http://away.example/", owner="eve") for number in range(50)])
    added(store, row(1, "b" * 32, "http://there.example/"), row(2, "b" * 32, "http://there.example/"))

    class Half:
        def send(self, one: dict[str, Any]) -> Outcome:
            outcome = receivers.send(one)
            return Outcome(error="no answer", away=True) if "away" in one["to"] else outcome

    one = Worker(store, Half(), limits=Limits(jitter=0.0, round=10), clock=clock)
    # As the commands do, which have no server.
    drain(one)
    assert [entry["to"] for entry in receivers.got][-2:] == ["http://there.example/"] * 2
    # As a server does: a round at a time.
    added(store, row(3, "c" * 32, "http://there.example/"))
    for _ in range(8):
        for each in one.begin():
            each.result(30)
    assert receivers.got[-1]["job_uuid"] == "c" * 32


def test_a_slow_receiver_does_not_lose_the_lease(parts):
    store, receivers, _, _ = parts
    gate = threading.Event()
    receivers.closed = {"http://slow.example/": gate}
    added(store, row(1, url="http://slow.example/"))
    limits = Limits(lease=6.0, poll=0.02)
    first, second = (Worker(store, receivers, limits=limits) for _ in range(2))
    first.start()
    until(lambda: store.rows[0]["lease_by"])
    until_then = store.rows[0]["lease_until"]
    second.start()
    until(lambda: store.rows[0]["lease_until"] > until_then + 1)
    gate.set()
    until(lambda: store.rows[0]["state"] == "sent")
    first.stop(20)
    second.stop(20)
    assert len(receivers.got) == 1


@pytest.mark.parametrize("kind", ["sqlite", "mongomock"])
def test_several_servers_on_one_store_send_each_once_and_in_order(kind, tmp_path):
    with stores.opener(kind, tmp_path, str) as opener:
        opened = [opener() for _ in range(3)]
        rows = [row(number, f"{number % 6:032x}") for number in range(36)]
        for job in range(6):
            made = history.new_document(f"{job:032x}", {"job": "x"})
            opened[0].create(made, "", (), [one for one in rows if one["job_uuid"] == f"{job:032x}"])
        receivers = Receivers()
        workers = [Worker(store, receivers, limits=Limits(poll=0.02)) for store in opened]
        for one in workers:
            one.start()
        until(lambda: opened[0].outbox_counts() == {"sent": 36})
        for one in workers:
            one.stop(30)
        for store in opened:
            store.close()
    assert sorted(receivers.ids) == sorted(one["id"] for one in rows)
    for job in range(6):
        mine = [
            one for one in receivers.ids if one in {entry["id"] for entry in rows if entry["job_uuid"] == f"{job:032x}"}
        ]
        assert mine == [entry["id"] for entry in rows if entry["job_uuid"] == f"{job:032x}"]


def test_a_store_that_is_away_is_survived(parts, caplog):
    store, receivers, _, _ = parts
    added(store, row(1))
    settle, failing = store.outbox_settle, [True]

    def broken(*words: Any) -> Any:
        if failing:
            failing.clear()
            raise OSError("the database is away")
        return settle(*words)

    store.outbox_settle = broken  # type: ignore[method-assign]
    one = Worker(store, receivers, limits=Limits(poll=0.02, lease=0.2))
    one.start()
    until(lambda: store.rows[0]["state"] == "sent")
    one.stop(20)
    # Sent, not marked, sent again: the delivery id is the same.
    assert len(receivers.got) == 2 and len(set(receivers.ids)) == 1
    assert "tried again" in caplog.text


class Interleavings(RuleBasedStateMachine):
    """Two servers, moody receivers, crashes before and after sending, time that passes: nothing lost, nothing out of order."""

    mood = "fine"

    def __init__(self) -> None:
        super().__init__()
        self.store, self.clock, self.number = MemoryOutbox(), Clock(), 0
        self.delivered: list[tuple[str, int]] = []
        self.crashes = 0
        self.workers = [self.fresh(), self.fresh()]

    def fresh(self) -> Worker:
        machine = self

        class Moody:
            def send(self, row: dict[str, Any]) -> Outcome:
                mood, machine.mood = machine.mood, "fine"
                if mood == "crash before":
                    raise Crash
                if mood == "broken":
                    return FAILED
                if mood == "away":
                    return Outcome(error="no answer", away=True)
                machine.delivered.append((row["job_uuid"], row["number"]))
                if mood == "crash after":
                    raise Crash
                return Outcome(200)

        return Worker(self.store, Moody(), limits=Limits(least_attempts=10_000), clock=self.clock)

    @rule(job=st.sampled_from(["a", "b"]))
    def write(self, job: str) -> None:
        self.number += 1
        url = f"http://{job}.example/"
        self.store.add({**row(self.number, job, url), "created": outbox.stamp(self.clock.now), "number": self.number})

    @rule(which=st.integers(0, 1), mood=st.sampled_from(["fine", "broken", "away", "crash before", "crash after"]))
    def work(self, which: int, mood: str) -> None:
        self.mood = mood
        before = len(self.delivered)
        waiting = self.store.outbox_heads(self.clock.now, 10, "webhook")
        self.workers[which].drain(60)
        if mood.startswith("crash") and waiting and (mood == "crash before" or len(self.delivered) > before):
            # That process died: its leases stay until they run out, another takes its place.
            self.crashes += 1
            self.workers[which] = self.fresh()

    @rule(seconds=st.sampled_from([1.0, 40.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def in_order(self) -> None:
        for job in ("a", "b"):
            numbers = [number for one, number in self.delivered if one == job]
            assert numbers == sorted(numbers)

    @invariant()
    def what_is_sent_was_delivered(self) -> None:
        sent = {(one["job_uuid"], one["number"]) for one in self.store.rows if one["state"] == "sent"}
        assert sent <= set(self.delivered)
        assert len(self.delivered) - len(set(self.delivered)) <= self.crashes

    def teardown(self) -> None:
        self.mood = "fine"
        for _ in range(200):
            self.clock.now += 4000
            self.workers[0].drain(60)
        assert {one["state"] for one in self.store.rows} <= {"sent"}
        assert {number for _, number in self.delivered} == {one["number"] for one in self.store.rows}
        for one in self.workers:
            one.stop(20)


class Crash(Exception):
    """The process died just then."""


Interleavings.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None, derandomize=True)
TestInterleavings = Interleavings.TestCase
