"""Races and deaths where they can really happen: threads and processes on one database, `kill -9` in the middle."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from api_srv.notify.messages import Notifier
from api_srv.services import reports
from api_srv.services.context import Account, Services
from api_srv.store.base import JobStore
from api_srv.store.mongo import open_mongo
from helpers import stores
from project.core import history

UUID = "503d3f77-a21b-4e52-86c4-eec0f0cd9c16"
THREADS = 16
PROCESSES = 4
ANN = Account("ann")
HERE = Path(__file__).resolve().parents[2]

# A process of its own: reports events that are the same in every process, and some of its own; says what was acknowledged.
WORKER = """
import json, sys, time
from api_srv.services import reports
from api_srv.services.context import Account, Services
from api_srv.store.base import StoreError
from api_srv.notify.messages import Notifier
from project.core import history

kind, place, uuid, number, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
if kind == "sqlite":
    from api_srv.store.sqlite import SqliteStore
    store = SqliteStore.in_home(place)
else:
    from api_srv.store.mongo import open_mongo
    store = open_mongo(*place.split(" "))
services = Services(store, Notifier())
record = store.job(uuid)
print("ready", flush=True)
sys.stdin.readline()
seq = 0
while seq < count:
    seq += 1
    own = history.make("agent", seq, "error", message="own")
    own["id"] = "own-%d-%d" % (number, seq)
    same = history.make("agent", seq, "note", message="same")
    same["id"] = "same-%d" % seq
    applied = reports.report(services, Account("ann"), record, {"events": [own, same]})["applied"]
    print(json.dumps([own["id"], applied]), flush=True)
"""


@pytest.fixture(params=stores.shared_kinds())
def shared(
    request: pytest.FixtureRequest, tmp_path: Path, wire_url: Callable[[], str]
) -> Iterator[tuple[str, str, Callable[[], JobStore]]]:
    with stores.opener(request.param, tmp_path, wire_url) as opener:
        opened: list[JobStore] = []

        def tracked() -> JobStore:
            opened.append(opener())
            return opened[-1]

        if request.param == "sqlite":
            yield "sqlite", str(tmp_path / "home"), tracked
        else:
            name = tracked().connection._name
            url = stores.REAL_URL if request.param == "mongod" else wire_url()
            yield "mongo", f"{url} {name}", tracked
        for store in opened:
            store.close()


def new_job(store: JobStore) -> None:
    user_input = {"destination_cluster": "c", "job": "j", "execution": ["true"], "user_mail": "ann@example.org"}
    store.create(history.new_document(UUID, user_input, owner="ann"), "")


def worker(kind: str, place: str, number: int, count: int) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-c", WORKER, kind, place, UUID, str(number), str(count)]
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, cwd=HERE, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def started(process: "subprocess.Popen[str]") -> "subprocess.Popen[str]":
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == "ready\n", process.stderr.read() if process.stderr else ""
    return process


def go(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def check_history(store: JobStore) -> list[dict[str, Any]]:
    events = store.events(UUID)
    assert [event["n"] for event in events] == list(range(1, len(events) + 1))
    ids = [event["id"] for event in events]
    assert len(set(ids)) == len(ids)
    record = store.job(UUID)
    assert record is not None
    assert record.last_n == len(events)
    # One mail an error, in the order of the errors.
    mailed = [row["event_id"] for row in store.outbox_rows(limit=100000)]
    assert mailed == [event["id"] for event in events if event["kind"] == "error"]
    return events


def run_threads(calls: list[Callable[[], None]]) -> None:
    failures: list[BaseException] = []
    barrier = threading.Barrier(len(calls))

    def guarded(call: Callable[[], None]) -> None:
        try:
            barrier.wait(60)
            call()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert not any(thread.is_alive() for thread in threads)
    assert failures == []


def test_threads_report_the_same_events_and_their_own(shared: Any) -> None:
    store = shared[2]()
    new_job(store)
    services = Services(store, Notifier())
    record = store.job(UUID)
    same = [history.make("agent", seq, "note") for seq in range(1, 4)]
    applied: list[int] = []

    def call(number: int) -> None:
        own = [history.make("agent", seq, "error", message=f"{number}.{seq}") for seq in range(1, 3)]
        for one, other in zip(own, same, strict=False):
            applied.append(reports.report(services, ANN, record, {"events": [one, other]})["applied"])

    run_threads([lambda number=number: call(number) for number in range(THREADS)])
    events = check_history(store)
    assert len(events) == THREADS * 2 + 2
    assert sum(applied) == len(events)


def test_threads_change_the_state_and_one_wins(shared: Any) -> None:
    store = shared[2]()
    new_job(store)
    services = Services(store, Notifier())
    record = store.job(UUID)
    words = ["FAILED", "CANCELLED"] * (THREADS // 2)

    def call(word: str) -> None:
        reports.report(services, ANN, record, {"events": [history.make("agent", 1, "state", state=word)]})

    run_threads([lambda word=word: call(word) for word in words])
    events = store.events(UUID)
    assert len(events) == THREADS
    # The first is applied and so is every repetition of it, which changes nothing; never the other.
    winner = events[0]["state"]
    assert {event["state"] for event in events if event["applied"]} == {winner}
    assert store.counts() == {winner: 1}
    assert len(store.outbox_rows()) == 1


def test_threads_lease_every_mail_once(shared: Any) -> None:
    store = shared[2]()
    new_job(store)
    services = Services(store, Notifier())
    errors = [history.make("agent", seq, "error", message="x") for seq in range(1, 41)]
    reports.report(services, ANN, store.job(UUID), {"events": errors})
    ids = [row["id"] for row in store.outbox_rows()]
    taken: list[str] = []

    def call(number: int) -> None:
        for one in ids:
            taken.extend(store.outbox_lease([one], f"w{number}", 1.0, 2.0))

    run_threads([lambda number=number: call(number) for number in range(8)])
    assert sorted(taken) == sorted(ids)


def test_processes_report_at_once(shared: Any) -> None:
    kind, place, open_store = shared
    store = open_store()
    new_job(store)
    count = 5
    workers = [worker(kind, place, number, count) for number in range(PROCESSES)]
    applied = 0
    try:
        for one in workers:
            started(one)
        for one in workers:
            go(one)
        for one in workers:
            out, err = one.communicate(timeout=240)
            assert one.returncode == 0, err
            applied += sum(json.loads(line)[1] for line in out.splitlines())
    finally:
        end(workers)
    events = check_history(store)
    assert applied == len(events) == PROCESSES * count + count


def test_what_was_acknowledged_survives_a_kill(shared: Any) -> None:
    kind, place, open_store = shared
    store = open_store()
    new_job(store)
    workers = [worker(kind, place, number, 10**6) for number in range(2)]
    acknowledged: list[str] = []
    try:
        for one in workers:
            started(one)
        for one in workers:
            go(one)
        for one in workers:
            assert one.stdout is not None
            for _ in range(6):
                acknowledged.append(json.loads(one.stdout.readline())[0])
            one.send_signal(signal.SIGKILL)
            # Not communicate: it would miss what readline has read ahead.
            rest = one.stdout.read().splitlines()
            one.wait(60)
            # The last line may be torn; what it says was then not acknowledged.
            acknowledged += [json.loads(line)[0] for line in rest if line.endswith("]")]
    finally:
        end(workers)
    # Another process goes on: what a dead one left half moved is moved by whoever comes next.
    store.close()
    store = open_store()
    store.outbox_heads(time.time(), 10)
    events = check_history(store)
    assert set(acknowledged) <= {event["id"] for event in events}
    event = history.make("agent", 1, "error", message="after")
    assert reports.report(Services(store, Notifier()), ANN, store.job(UUID), {"events": [event]})["applied"] == 1
    check_history(store)


@pytest.mark.parametrize("kind", [kind for kind in stores.kinds() if kind == "wire"])
def test_what_was_acknowledged_survives_a_kill_of_the_database(kind: str, tmp_path: Path) -> None:
    process, url = stores.start_wire(tmp_path)
    acknowledged: list[str] = []
    place = f"{url}&serverSelectionTimeoutMS=500 db"
    try:
        store = open_mongo(*place.split())
        new_job(store)
        store.close()
        writer = worker("mongo", place, 0, 10**6)
        try:
            go(started(writer))
            assert writer.stdout is not None
            for _ in range(20):
                acknowledged.append(json.loads(writer.stdout.readline())[0])
            process.kill()
            process.wait()
            rest = writer.communicate(timeout=240)[0].splitlines()
            acknowledged += [json.loads(line)[0] for line in rest if line.endswith("]")]
            # The write that was under way failed, and was said to have failed.
            assert writer.returncode == 1
        finally:
            end([writer])
        process, url = stores.start_wire(tmp_path)
        store = open_mongo(url, "db")
        store.outbox_heads(time.time(), 10)
        assert set(acknowledged) <= {event["id"] for event in check_history(store)}
        store.close()
    finally:
        process.kill()
        process.wait()


def end(workers: "list[subprocess.Popen[str]]") -> None:
    for one in workers:
        if one.poll() is None:
            one.kill()
        one.wait()
        for stream in (one.stdin, one.stdout, one.stderr):
            if stream is not None:
                stream.close()


def test_a_forked_child_has_a_connection_of_its_own(shared: Any) -> None:
    store = shared[2]()
    new_job(store)
    code = """
import os, sys
sys.argv = ["x"] + sys.argv[1:]
kind, place, uuid = sys.argv[1:4]
if kind == "sqlite":
    from api_srv.store.sqlite import SqliteStore
    store = SqliteStore.in_home(place)
else:
    from api_srv.store.mongo import open_mongo
    store = open_mongo(*place.split(" "))
assert store.job(uuid)
pid = os.fork()
if not pid:
    store.put_cluster("", {"name": "child"})
    os._exit(0 if store.job(uuid) else 1)
assert os.waitpid(pid, 0)[1] == 0
store.put_cluster("", {"name": "parent"})
print(sorted(one.document["name"] for one in store.clusters(("",))))
"""
    argv = [sys.executable, "-W", "ignore", "-c", code, shared[0], shared[1], UUID]
    done = subprocess.run(argv, cwd=HERE, capture_output=True, text=True, timeout=240)
    assert done.stdout.strip() == "['child', 'parent']", done.stderr
