"""The outbox: sent once, in order, again after failures, never lost, floods collapsed; also under random interleavings."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from api_srv.notify import outbox
from api_srv.notify.messages import Mail
from api_srv.notify.outbox import Limits, Worker
from api_srv.notify.smtp import LaterError, RefusedMailError
from api_srv.store.base import JobStore
from helpers import stores
from helpers.memory_outbox import MemoryOutbox
from project.core import history

START = 1_800_000_000.0
DAY = 86_400.0


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Post:
    """Takes mails; `answers` are raised first, one per mail."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.answers: list[Exception | None] = []
        self.always: Exception | None = None
        self.tries = 0

    def send(self, mail: Mail) -> None:
        self.tries += 1
        answer = self.answers.pop(0) if self.answers else self.always
        if answer:
            raise answer
        self.mails.append(mail)

    def close(self) -> None:
        pass

    @property
    def ids(self) -> list[str]:
        return [mail.message_id for mail in self.mails]


def row(
    number: int, job: str = "j1", topic: str = "state", created: float = START, to: str = "ann@x.org"
) -> dict[str, Any]:
    return {
        "id": f"{job}.{number}",
        "job_uuid": job,
        "owner": "ann",
        "kind": "mail",
        "topic": topic,
        "to": to,
        "subject": f"[jobferry] {job}: {number}",
        "summary": f"summary {number}",
        "text": "text",
        "html": "<p>",
        "message_id": f"<{job}.{number}@x>",
        "references": "",
        "event_id": str(number),
        "created": outbox.stamp(created),
        "attempts": 0,
        "next": 0.0,
        "lease_until": 0.0,
        "lease_by": "",
        "state": "waiting",
        "error": "",
        "settled": "",
    }


class InStore:
    """A real store, used as `MemoryOutbox` is: every `add` writes the row with a job of its own."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._jobs = 0

    def add(self, *rows: dict[str, Any]) -> None:
        self._jobs += 1
        self._store.create(history.new_document(f"{self._jobs:032x}", {"job": "x"}), "", (), rows)

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self._store.outbox_rows(limit=100_000)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.fixture(params=["memory", "sqlite", "mongomock"])
def parts(request, tmp_path) -> Iterator[tuple[Any, Post, Clock, list[Any]]]:
    rest: tuple[Post, Clock, list[Any]] = (Post(), Clock(), [])
    if request.param == "memory":
        yield MemoryOutbox(), *rest
        return
    with stores.opener(request.param, tmp_path, str) as opener:
        store = opener()
        yield InStore(store), *rest
        store.close()


def worker(parts: Any, **limits: Any) -> Worker:
    store, post, clock, given_up = parts
    return Worker(store, post, given_up.append, limits=Limits(**limits), clock=clock)


def drain(one: Worker) -> None:
    while one.run_once():
        pass


def test_mails_of_a_job_go_once_and_in_order_and_answer_the_first(parts):
    store, post, _, _ = parts
    for number in (3, 1, 2):
        store.add(row(number))
    store.add(row(9, "j2"))
    drain(worker(parts))
    assert [one for one in post.ids if "j1" in one] == ["<j1.3@x>", "<j1.1@x>", "<j1.2@x>"]
    assert post.ids.count("<j2.9@x>") == 1
    assert [mail.references for mail in post.mails if "j1" in mail.message_id] == ["", "<j1.3@x>", "<j1.3@x>"]
    assert {one["state"] for one in store.rows} == {"sent"}
    assert all(one["settled"] and one["attempts"] == 1 for one in store.rows)


def test_a_failure_is_tried_again_and_later_mails_wait_for_it(parts):
    store, post, clock, _ = parts
    store.add(row(1))
    store.add(row(2))
    post.answers = [LaterError("451 try later"), LaterError("451 try later")]
    one = worker(parts)
    drain(one)
    assert (post.ids, store.rows[0]["attempts"], store.rows[0]["error"]) == ([], 1, "451 try later")
    clock.now += 4
    assert one.run_once() == 0
    clock.now += 2
    drain(one)
    clock.now += 14
    assert one.run_once() == 0
    clock.now += 2
    drain(one)
    assert post.ids == ["<j1.1@x>", "<j1.2@x>"]


def test_pauses_grow_to_an_hour():
    limits = Limits()
    assert [outbox.pause(n, limits) for n in (1, 2, 3, 4)] == [5, 15, 45, 135]
    assert outbox.pause(500, limits) == 3600


def test_a_refused_mail_is_undeliverable_at_once_and_the_next_goes(parts):
    store, post, _, given_up = parts
    store.add(row(1))
    store.add(row(2))
    post.answers = [RefusedMailError("550 no such user")]
    drain(worker(parts))
    assert store.rows[0]["state"] == "undeliverable" and "550" in store.rows[0]["error"]
    assert [(one["id"], one["error"]) for one in given_up] == [("j1.1", "550 no such user")]
    assert post.ids == ["<j1.2@x>"]


def test_after_three_days_of_tries_it_is_undeliverable(parts):
    store, post, clock, given_up = parts
    store.add(row(1))
    post.always = LaterError("away", everyone=True)
    one = worker(parts)
    while store.rows[0]["state"] == "waiting" and clock.now < START + 4 * DAY:
        one.run_once()
        clock.now += 1800
    assert store.rows[0]["state"] == "undeliverable"
    assert START + 3 * DAY < clock.now < START + 3 * DAY + 2 * 3600
    assert len(given_up) == 1


def test_a_mail_that_waited_long_unseen_still_gets_its_tries(parts):
    store, post, clock, _ = parts
    store.add(row(1, created=START - 30 * DAY))
    post.answers = [LaterError("451")]
    one = worker(parts)
    drain(one)
    clock.now += 6
    drain(one)
    assert post.ids == ["<j1.1@x>"]


def test_a_server_that_is_away_is_asked_once_for_all(parts):
    store, post, clock, _ = parts
    store.add(*[row(number, f"j{number}") for number in range(50)])
    post.always = LaterError("connection refused", everyone=True)
    one = worker(parts)
    drain(one)
    assert post.tries == 1
    assert all(one["attempts"] == 1 and one["error"] for one in store.rows)
    for _ in range(20):
        clock.now += 600
        drain(one)
    assert post.tries == 21
    post.always = None
    # However long it was away, the mails go within a minute of its return.
    clock.now += 61
    drain(one)
    assert len(post.ids) == 50


def test_a_flood_of_errors_is_one_digest_and_the_end_comes_after_it(parts):
    store, post, clock, _ = parts
    store.add(*[row(number, topic="error") for number in range(300)])
    one = worker(parts)
    drain(one)
    assert post.mails == []
    store.add(row(300))
    clock.now += 21
    drain(one)
    assert [mail.subject for mail in post.mails] == ["[jobferry] j1: 300 errors", "[jobferry] j1: 300"]
    assert {one["state"] for one in store.rows} == {"sent"}
    store.add(*[row(number, topic="error", created=clock.now) for number in range(301, 310)])
    clock.now += 60
    drain(one)
    assert len(post.mails) == 2
    clock.now += 600
    drain(one)
    assert post.mails[-1].subject == "[jobferry] j1: 9 errors"


def test_a_change_of_state_behind_a_flood_is_not_kept_waiting(parts):
    store, post, _, _ = parts
    for number in range(20):
        store.add(row(number, topic="error"))
    store.add(row(20))
    drain(worker(parts))
    assert [mail.message_id for mail in post.mails] == ["<j1.0@x>", "<j1.20@x>"]


def test_a_few_errors_go_one_by_one(parts):
    store, post, _, _ = parts
    for number in range(5):
        store.add(row(number, topic="error"))
    drain(worker(parts))
    assert len(post.mails) == 5


def test_very_much_for_one_recipient_is_one_digest_and_others_are_untouched(parts):
    store, post, _, _ = parts
    store.add(*[row(number, f"j{number}") for number in range(300)])
    store.add(row(1, "other", to="bob@x.org"))
    drain(worker(parts, round=1000))
    assert sorted(mail.subject for mail in post.mails) == ["[jobferry] 300 jobs: 300 messages", "[jobferry] other: 1"]


def test_a_row_leased_by_another_server_is_left_alone_until_its_lease_ends(parts):
    store, post, clock, _ = parts
    store.add(row(1))
    store.outbox_lease(["j1.1"], "dead", clock.now, clock.now + 30)
    one = worker(parts)
    assert one.run_once() == 0
    clock.now += 31
    drain(one)
    assert post.ids == ["<j1.1@x>"]


def test_a_slow_server_does_not_lose_the_lease():
    store, post = MemoryOutbox(), Post()
    store.add(row(1))
    going, gone = threading.Event(), threading.Event()

    class Slow(Post):
        def send(self, mail: Mail) -> None:
            going.set()
            assert gone.wait(60)
            super().send(mail)

    slow = Slow()
    limits = Limits(lease=9.0, poll=0.05)
    first = Worker(store, slow, limits=limits)
    second = Worker(store, post, limits=limits)
    first.start()
    assert going.wait(20)
    second.start()
    until = store.rows[0]["lease_until"]
    deadline = time.monotonic() + 30
    while store.rows[0]["lease_until"] == until and time.monotonic() < deadline:
        time.sleep(0.02)
    assert store.rows[0]["lease_until"] > until + 1
    gone.set()
    first.stop(20)
    second.stop(20)
    assert len(slow.mails) == 1 and post.mails == []
    assert store.rows[0]["state"] == "sent"


def test_several_servers_on_one_store_send_each_mail_once_and_in_order(tmp_path):
    with stores.opener("sqlite", tmp_path, str) as opener:
        opened = [opener() for _ in range(3)]
        rows = [row(number, f"j{number % 12}", created=time.time()) for number in range(72)]
        InStore(opened[0]).add(*rows)
        sent: list[Mail] = []

        class Shared(Post):
            def send(self, mail: Mail) -> None:
                sent.append(mail)

        workers = [Worker(store, Shared(), limits=Limits(poll=0.05)) for store in opened]
        for one in workers:
            one.start()
        deadline = time.monotonic() + 60
        while opened[0].outbox_counts() != {"sent": 72} and time.monotonic() < deadline:
            time.sleep(0.05)
        for one in workers:
            one.stop(30)
        for store in opened:
            store.close()
    ids = [mail.message_id for mail in sent]
    assert sorted(ids) == sorted(one["message_id"] for one in rows)
    for number in range(12):
        mine = [int(one.split(".")[1].split("@")[0]) for one in ids if one.startswith(f"<j{number}.")]
        assert mine == sorted(mine)


def test_stopping_gives_leases_back_and_an_error_of_the_store_is_survived(caplog):
    store, post = MemoryOutbox(), Post()
    failing = [True]
    heads = store.outbox_heads

    def broken(now: float, limit: int) -> Any:
        if failing:
            failing.clear()
            raise OSError("the database is away")
        return heads(now, limit)

    store.outbox_heads = broken  # type: ignore[method-assign]
    store.add(row(1))
    one = Worker(store, post, limits=Limits(poll=0.05))
    one.start()
    deadline = time.monotonic() + 20
    while not post.mails and time.monotonic() < deadline:
        time.sleep(0.02)
    store.add(row(2, "j2"))
    store.outbox_lease(["j2.2"], one.holder, time.time() + 100, time.time() + 1000)
    one.stop(20)
    assert len(post.mails) >= 1
    assert all(row["lease_by"] == "" for row in store.rows)
    assert "tried again" in caplog.text


class Interleavings(RuleBasedStateMachine):
    """Two servers, a moody mail server, crashes after sending, time that passes: nothing lost, nothing out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.store, self.clock, self.number = MemoryOutbox(), Clock(), 0
        self.delivered: list[str] = []
        self.crashes = 0
        self.workers = [self.fresh(), self.fresh()]

    def fresh(self) -> Worker:
        machine = self

        class Moody(Post):
            def send(self, mail: Mail) -> None:
                mood, machine.mood = machine.mood, "fine"
                if mood == "crash before":
                    raise KeyboardInterrupt
                if mood == "later":
                    raise LaterError("451")
                if mood == "away":
                    raise LaterError("refused", everyone=True)
                machine.delivered.append(mail.message_id)
                if mood == "crash after":
                    raise KeyboardInterrupt

        limits = Limits(least_attempts=10_000, flood=10_000, backlog=10_000)
        return Worker(self.store, Moody(), limits=limits, clock=self.clock)

    mood = "fine"

    @rule(job=st.sampled_from(["a", "b"]))
    def write(self, job: str) -> None:
        self.number += 1
        self.store.add(row(self.number, job, created=self.clock.now))

    @rule(which=st.integers(0, 1), mood=st.sampled_from(["fine", "later", "away", "crash before", "crash after"]))
    def work(self, which: int, mood: str) -> None:
        self.mood = mood
        try:
            self.workers[which].run_once()
        except KeyboardInterrupt:
            # The process died: its leases stay until they run out, another process takes its place.
            self.crashes += 1
            self.workers[which] = self.fresh()

    @rule(seconds=st.sampled_from([1.0, 40.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def in_order(self) -> None:
        for job in ("a", "b"):
            numbers = [int(one.split(".")[1].split("@")[0]) for one in self.delivered if one.startswith(f"<{job}.")]
            assert numbers == sorted(numbers)

    @invariant()
    def what_is_sent_was_delivered(self) -> None:
        assert all(one["message_id"] in self.delivered for one in self.store.rows if one["state"] == "sent")
        assert len(self.delivered) - len(set(self.delivered)) <= self.crashes

    def teardown(self) -> None:
        for _ in range(200):
            self.clock.now += 4000
            self.mood = "fine"
            self.workers[0].run_once()
        assert {one["state"] for one in self.store.rows} <= {"sent"}
        assert set(self.delivered) == {one["message_id"] for one in self.store.rows}


Interleavings.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None, derandomize=True)
TestInterleavings = Interleavings.TestCase
