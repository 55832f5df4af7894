"""Callbacks from the event to the receiver: which changes are told, in which order, and who may see and repeat what."""

import gzip
import hashlib
import json
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api_srv import mailing
from api_srv.embedded import EmbeddedApi
from api_srv.problems import RefusedError
from api_srv.services import backup, deliveries, jobs, reports
from api_srv.services.context import Account, Services
from api_srv.store.sqlite import SqliteStore
from helpers.receiver import Handler, Receiver, receiving
from project.core import history, states
from project.core.api_client import ApiClient

ANN, BOB, ROOT = Account("ann"), Account("bob"), Account("root", admin=True)
INPUT = {"destination_cluster": "c", "job": "j", "execution": ["true"]}
SECRET = "sehr geheim"


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    store = SqliteStore.in_home(str(tmp_path))
    callbacks = mailing.Callbacks(str(tmp_path), allow_private=True)
    yield Services(store, mailing.notifier(""), callbacks=callbacks)
    store.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def made(services: Services, url: str, account: Account = ANN, **fields: Any) -> str:
    document = history.new_document(str(uuid.uuid4()), dict(INPUT), callback=url, cb_secret=SECRET)
    jobs.create(services, account, document["job_uuid"], {**document, **fields})
    return str(document["job_uuid"])


def tell(services: Services, name: str, *words: str, **fields: Any) -> None:
    record = jobs.found(services, ROOT, name)
    reports.report(
        services, ROOT, record, {"events": [history.make("agent", 1, "state", state=one, **fields) for one in words]}
    )


def send(services: Services) -> None:
    mailing.call_back(services, services.callbacks, 30.0)  # type: ignore[arg-type]  # it is the real one


def told(receiver: Receiver) -> list[tuple[int, str]]:
    return [(one.json["jobndx"], one.json["state"]) for one in receiver.got]


def log(services: Services, name: str, account: Account = ANN) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = deliveries.listing(services, jobs.found(services, account, name))["deliveries"]
    return found


def test_the_way_of_a_job_in_psiks_words(services, receiver):
    name = made(services, receiver.url())
    for word in (states.STAGING_INPUTS, states.PREPROCESSING, states.SUBMITTING):
        tell(services, name, word)
    tell(services, name, states.QUEUED, set={"native_id": "4711", "run": 1})
    tell(services, name, states.RUNNING, states.POSTPROCESSING, states.ARCHIVING)
    tell(services, name, states.FINISHED, condition="ok", exit_code=0)
    send(services)
    assert told(receiver) == [(1, "queued"), (1, "active"), (1, "completed")]
    assert [one.json["info"] for one in receiver.got] == ["4711", "4711", "0"]
    assert [one.json["jobferry_state"] for one in receiver.got] == ["QUEUED", "RUNNING", "FINISHED"]
    assert len({one.json["jobid"] for one in receiver.got}) == 1
    assert len({one.headers["x-jobferry-delivery"] for one in receiver.got}) == 3
    assert all(one.signed_with(SECRET) for one in receiver.got)
    assert [one["delivery"] for one in log(services, name)] == ["sent"] * 3
    assert log(services, name)[0]["attempts"][0]["status"] == 204


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["QUEUED", "BLOCKED", "QUEUED", "RUNNING", "BLOCKED", "RUNNING", "FINISHED"], ["queued", "active", "completed"]),
        (["QUEUED", "PAUSED", "QUEUED", "CANCELLED"], ["queued", "canceled"]),
        (["QUEUED", "RUNNING", "QUEUED", "RUNNING", "FAILED"], ["queued", "active", "queued", "active", "failed"]),
        (["PREPROCESSING", "FAILED"], ["failed"]),
        (["SUBMITTING", "FINISHED", "RUNNING", "FAILED"], ["completed"]),
        (["CANCELLED"], ["canceled"]),
    ],
)  # fmt: skip
def test_each_word_is_told_when_it_changes_and_the_end_always(services, receiver, words, expected):
    name = made(services, receiver.url())
    for word in words:
        tell(services, name, word)
        tell(services, name, word)
    send(services)
    assert [word for _, word in told(receiver)] == expected


def test_another_run_is_told_again(services, receiver):
    name = made(services, receiver.url())
    tell(services, name, states.RUNNING, set={"run": 1})
    tell(services, name, states.RUNNING, set={"run": 2})
    send(services)
    assert told(receiver) == [(1, "active"), (2, "active")]


def test_what_the_verb_reached_records_is_told_too(services, receiver):
    """psik's `reached` sends a callback; the job's own state stays what it is, and its own change is told as ever."""
    name = made(services, receiver.url())
    tell(services, name, states.QUEUED)
    record = jobs.found(services, ROOT, name)
    notes = [
        {"reached": "active", "jobndx": 1, "info": "step 2"},
        {"reached": "new", "jobndx": 1, "info": ""},
        {"reached": "nonsense", "jobndx": 1, "info": ""},
        {"reached": "active", "jobndx": "1", "info": ""},
    ]
    events = [history.make("agent", 2 + number, "note", data=data) for number, data in enumerate(notes)]
    reports.report(services, ROOT, record, {"events": events})
    reports.report(services, ROOT, record, {"events": events})
    tell(services, name, states.RUNNING)
    send(services)
    assert [(one.json["state"], one.json["info"], one.json["jobferry_state"]) for one in receiver.got] == [
        ("queued", "0", "QUEUED"),
        ("active", "step 2", "QUEUED"),
        ("active", "0", "RUNNING"),
    ]


def test_reporting_twice_is_telling_once(services, receiver):
    name = made(services, receiver.url())
    event = history.make("agent", 1, "state", state="QUEUED")
    for _ in range(3):
        reports.report(services, ROOT, jobs.found(services, ROOT, name), {"events": [dict(event), dict(event)]})
    send(services)
    assert told(receiver) == [(1, "queued")]


def test_a_job_without_a_callback_tells_nobody_and_needs_no_key(services, tmp_path):
    document = history.new_document(str(uuid.uuid4()), dict(INPUT))
    jobs.create(services, ANN, document["job_uuid"], document)
    tell(services, document["job_uuid"], states.QUEUED)
    assert services.store.outbox_rows() == []
    assert not (tmp_path / "callback.key").exists()


def test_nothing_secret_is_in_the_database_or_a_backup(services, receiver, tmp_path):
    name = made(services, receiver.url(), cb_headers={"authorization": "Bearer kennwort"})
    tell(services, name, states.QUEUED)
    send(services)
    backup.save(services.store, str(tmp_path / "saved"))
    assert receiver.got[0].headers["authorization"] == "Bearer kennwort"
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    files.append(gzip.decompress((tmp_path / "saved").read_bytes()))
    for raw in files:
        assert SECRET.encode() not in raw and b"kennwort" not in raw
    assert SECRET not in json.dumps(log(services, name)) and "kennwort" not in json.dumps(log(services, name))


def test_a_failure_is_retried_in_order_and_an_undeliverable_one_can_be_sent_again(services, receiver):
    receiver.answer = lambda handler: handler.say(500, b"broken")
    name = made(services, receiver.url())
    tell(services, name, states.QUEUED, states.RUNNING, states.FINISHED)
    send(services)
    first, second, third = log(services, name)
    assert (first["delivery"], first["tries"], second["tries"]) == ("waiting", 1, 0)
    assert first["attempts"][0]["answer"] == "broken" and first["next"] > first["time"]
    with pytest.raises(RefusedError) as caught:
        deliveries.replay(services, ANN, jobs.found(services, ANN, name), first["id"])
    assert caught.value.status == 409
    # Given up, as after three days.
    services.store.outbox_lease([first["id"]], "test", 9e9, 9e9)
    services.store.outbox_settle([first["id"]], "test", {"state": "undeliverable"})
    receiver.answer = lambda handler: handler.say(200)
    send(services)
    assert [one["delivery"] for one in log(services, name)] == ["undeliverable", "sent", "sent"]
    deliveries.replay(services, ANN, jobs.found(services, ANN, name), first["id"])
    send(services)
    assert [one["delivery"] for one in log(services, name)] == ["sent"] * 3
    assert receiver.got[-1].body == receiver.got[0].body
    assert receiver.got[-1].headers["x-jobferry-delivery"] == first["id"]
    # What was delivered can be sent again too.
    deliveries.replay(services, ANN, jobs.found(services, ANN, name), third["id"])
    send(services)
    assert receiver.got[-1].json["state"] == "completed"
    notes = [event["message"] for event in services.store.events(name) if event["kind"] == "note"]
    assert notes == [f"ann asked to send the callback “{word}” again." for word in ("queued", "completed")]


def test_a_refused_address_is_noted_in_the_history_without_its_path(services, tmp_path):
    with receiving() as receiver:
        name = made(services, receiver.url("/token-in-the-path"))
        tell(services, name, states.QUEUED)
        strict = mailing.Callbacks(str(tmp_path))
        mailing.call_back(services, strict, 10.0)
        mailing.call_back(services, strict, 10.0)
        assert receiver.got == []
    (note,) = [event["message"] for event in services.store.events(name) if event["kind"] == "note"]
    assert "undeliverable" in note and "loopback" in note and "token-in-the-path" not in note


def test_only_the_owner_and_administrators_see_and_repeat(services, receiver):
    name = made(services, receiver.url())
    tell(services, name, states.QUEUED)
    assert len(log(services, name, ROOT)) == 1
    with pytest.raises(RefusedError) as caught:
        jobs.found(services, BOB, name)
    assert caught.value.status == 404
    from api_srv import endpoints

    cluster = Account("ann", job=name)
    for method, path in (("GET", f"/jobs/{name}/deliveries"), ("POST", f"/jobs/{name}/deliveries/x/replay")):
        endpoint, params = endpoints.match(method, path)
        with pytest.raises(RefusedError) as caught:
            endpoints.call(endpoint, services, cluster, params, {}, {})
        assert caught.value.status == 403
    endpoint, params = endpoints.match("GET", f"/jobs/{name}")
    shown = endpoints.call(endpoint, services, cluster, params, {}, {}).body["result"][name]
    assert "callback" not in shown and "webhook" not in shown
    mine = endpoints.call(endpoint, services, ANN, params, {}, {}).body["result"][name]
    assert mine["callback"] == receiver.url() and "webhook" not in mine


def test_who_makes_a_job_of_a_forgotten_uuid_sees_and_repeats_nothing_of_its_former_owner(services, receiver):
    name = made(services, receiver.url())
    tell(services, name, states.QUEUED)
    send(services)
    (former,) = log(services, name)
    jobs.delete(services, jobs.found(services, ANN, name), {"force": "1"})
    jobs.create(services, BOB, name, {"user_input": dict(INPUT)})
    assert log(services, name, BOB) == []
    with pytest.raises(RefusedError) as caught:
        deliveries.replay(services, BOB, jobs.found(services, BOB, name), former["id"])
    assert caught.value.status == 404


def test_a_cluster_cannot_send_it_elsewhere(services, receiver):
    name = made(services, receiver.url())
    cluster = Account("ann", job=name)
    hostile = {**INPUT, "callback": "http://evil.example/", "cb_secret": "x"}
    event = history.make(
        "agent", 1, "state", state="QUEUED", set={"user_input": hostile, "webhook": {}, "callback": ""}
    )
    reports.report(services, cluster, jobs.found(services, cluster, name), {"events": [event]})
    send(services)
    assert told(receiver) == [(1, "queued")] and receiver.got[0].signed_with(SECRET)
    assert "evil" not in json.dumps(jobs.found(services, ROOT, name).document)


def test_a_resubmitted_job_is_signed_with_the_same_secret_and_only_for_its_owner(services, receiver):
    first = made(services, receiver.url())
    plain = history.new_document(str(uuid.uuid4()), dict(INPUT), callback_of=first)
    jobs.create(services, ANN, plain["job_uuid"], plain)
    tell(services, plain["job_uuid"], states.QUEUED)
    send(services)
    assert receiver.got[0].signed_with(SECRET) and receiver.got[0].json["job_uuid"] == plain["job_uuid"]
    later = history.new_document(str(uuid.uuid4()), dict(INPUT), callback_of=first, run=2)
    jobs.create(services, ANN, later["job_uuid"], later)
    last = history.new_document(str(uuid.uuid4()), dict(INPUT), callback_of=later["job_uuid"], run=3)
    jobs.create(services, ANN, last["job_uuid"], last)
    for name in (first, later["job_uuid"], last["job_uuid"]):
        tell(services, name, states.RUNNING)
        send(services)
    assert len({one.json["jobid"] for one in receiver.got[1:]}) == 1
    assert told(receiver)[1:] == [(1, "active"), (2, "active"), (3, "active")]
    stolen = history.new_document(str(uuid.uuid4()), dict(INPUT), callback_of=first)
    jobs.create(services, BOB, stolen["job_uuid"], stolen)
    assert "webhook" not in jobs.found(services, BOB, stolen["job_uuid"]).document


def test_hundreds_of_jobs_at_one_slow_receiver_do_not_hold_up_a_mail_or_another(services):
    gate = threading.Event()

    def wait(handler: Handler) -> None:
        gate.wait(60)
        handler.say(200)

    with receiving(wait) as slow, receiving() as quick:
        for _ in range(40):
            tell(services, made(services, slow.url()), states.QUEUED)
        name = made(services, quick.url(host="localhost"))
        tell(services, name, states.QUEUED, states.RUNNING, states.FINISHED)
        worker = mailing.callback_worker(services, services.callbacks)
        worker.start()
        quick.wait(3)
        assert len(slow.wait(2)) == 2
        gate.set()
        slow.wait(40)
        worker.stop(30)
    assert services.store.outbox_counts("webhook") == {"sent": 43}


def test_the_embedded_api_sends_at_the_end_of_a_call(tmp_path):
    environment = {"USER": "ann", "JOBFERRY_ALLOW_PRIVATE_WEBHOOKS": "1"}
    with receiving() as receiver:
        embedded = EmbeddedApi(tmp_path, environment)
        api = ApiClient(embedded.call)
        document = history.new_document(str(uuid.uuid4()), dict(INPUT), callback=receiver.url(), cb_secret=SECRET)
        api.create(document)
        assert embedded.deliver_due(5) == 0
        api.report(document["job_uuid"], [history.make("agent", 1, "state", state="QUEUED")])
        assert embedded.deliver_due(5) == 1
        assert embedded.deliver_due(5) == 0
        embedded.close()
        # Nothing was asked of it in this call, so nothing is opened.
        assert embedded.deliver_due(5) == 0
        assert receiver.got[0].signed_with(SECRET)


def test_a_hanging_receiver_holds_a_call_up_for_seconds_only(tmp_path):
    environment = {"USER": "ann", "JOBFERRY_ALLOW_PRIVATE_WEBHOOKS": "1"}
    with receiving(lambda handler: handler.server.open.wait(60)) as receiver:
        embedded = EmbeddedApi(tmp_path, environment)
        api = ApiClient(embedded.call)
        document = history.new_document(str(uuid.uuid4()), dict(INPUT), callback=receiver.url())
        api.create(document)
        api.report(document["job_uuid"], [history.make("agent", 1, "state", state="QUEUED")])
        assert embedded.deliver_due(2) == 1
        (delivery,) = api.deliveries(document["job_uuid"])
        assert "in time" in delivery["attempts"][0]["error"]
        embedded.close()


def test_a_slow_receiver_gets_more_time_with_every_attempt(tmp_path):
    """Without a server too it is told in the end, not asked for three days in vain."""
    environment = {"USER": "ann", "JOBFERRY_ALLOW_PRIVATE_WEBHOOKS": "1"}

    def slow(handler: Any) -> None:
        handler.server.open.wait(1.4)
        handler.say(200)

    with receiving(slow) as receiver:
        embedded = EmbeddedApi(tmp_path, environment)
        api = ApiClient(embedded.call)
        document = history.new_document(str(uuid.uuid4()), dict(INPUT), callback=receiver.url())
        api.create(document)
        api.report(document["job_uuid"], [history.make("agent", 1, "state", state="QUEUED")])
        for _ in range(4):
            embedded.deliver_due(2)
            (delivery,) = api.deliveries(document["job_uuid"])
            if delivery["delivery"] == "sent":
                break
            store = embedded.services().store
            store.outbox_lease([delivery["id"]], "test", 0.0, 1.0)
            store.outbox_settle([delivery["id"]], "test", {"next": 0.0})
        assert [one["status"] for one in delivery["attempts"]][-1] == 200 and 1 < len(delivery["attempts"]) < 4
        embedded.close()


def test_the_delivery_id_is_of_the_event():
    from api_srv.notify import webhook

    expected = hashlib.sha256(b"a.b").hexdigest()[:32]
    assert webhook.delivery_id("a", "b") == expected
