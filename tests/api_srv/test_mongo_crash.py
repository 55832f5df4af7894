"""A process that dies between any two writes to MongoDB loses nothing and doubles nothing."""

from typing import Any

import mongomock
import pytest

from api_srv.notify.messages import Notifier
from api_srv.services import reports
from api_srv.services.context import Account, Services
from api_srv.store import mongo, mongo_base
from api_srv.store.base import StoreError
from api_srv.store.mongo import MongoStore
from project.core import history

UUID = "503d3f77-a21b-4e52-86c4-eec0f0cd9c16"
INPUT = {"destination_cluster": "c", "job": "j", "execution": ["true"], "user_mail": "ann@example.org"}
ANN = Account("ann")


class Death(BaseException):
    """kill -9."""


@pytest.fixture
def client() -> Any:
    return mongomock.MongoClient()


def opened(client: Any) -> MongoStore:
    return MongoStore(lambda: client, "db")


def dying(store: MongoStore, step: int) -> MongoStore:
    """A store whose process dies before its write number `step` of those that move what is pending."""
    left = [step]
    insert = mongo.insert_new

    def insert_new(collection: Any, documents: Any) -> int:
        if not left[0]:
            raise Death
        left[0] -= 1
        return insert(collection, documents)

    mongo.insert_new = insert_new
    return store


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("then", ["report", "events", "heads", "dump", "delete"])
def test_whoever_comes_next_moves_what_was_left(
    client: Any, monkeypatch: pytest.MonkeyPatch, step: int, then: str
) -> None:
    store = opened(client)
    store.create(history.new_document(UUID, dict(INPUT), owner="ann"), "")
    events = [history.make("agent", 1, "state", state="QUEUED"), history.make("agent", 2, "error", message="x")]
    monkeypatch.setattr(mongo, "insert_new", mongo.insert_new)
    dying(store, step)
    with pytest.raises(Death):
        reports.report(Services(store, Notifier()), ANN, store.job(UUID), {"events": events})
    monkeypatch.undo()

    store = opened(client)
    services = Services(store, Notifier())
    assert store.counts() == {"QUEUED": 1}
    if then == "report":
        assert reports.report(services, ANN, store.job(UUID), {"events": events})["applied"] == 0
    elif then == "events":
        assert len(store.events(UUID)) == 2
    elif then == "heads":
        assert len(store.outbox_heads(1.0, 9)) == 1
    elif then == "dump":
        assert sorted(one["kind"] for one in store.dump()) == ["job", "mail", "mail"]
    else:
        store.delete(UUID)
    assert len(store.outbox_rows()) == 2
    if then != "delete":
        assert [event["id"] for event in store.events(UUID)] == [event["id"] for event in events]
        assert reports.report(services, ANN, store.job(UUID), {"events": events})["applied"] == 0
        assert store.events(UUID)[0]["applied"] is True
    assert client.db.jobs.count_documents({"pending_since": {"$gt": 0}}) == 0


def test_a_new_job_whose_maker_dies(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(client)
    monkeypatch.setattr(mongo, "insert_new", mongo.insert_new)
    dying(store, 0)
    with pytest.raises(Death):
        store.create(history.new_document(UUID, dict(INPUT), owner="ann"), "", [history.make("server", 1, "note")])
    monkeypatch.undo()
    assert len(opened(client).events(UUID)) == 1


def test_an_older_database_is_brought_up_and_kept(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(client)
    store.create(history.new_document(UUID, dict(INPUT), owner="ann"), "")
    done: list[int] = []

    def migration(database: Any) -> None:
        done.append(1)
        database.jobs.update_many({}, {"$set": {"new_field": 1}})

    monkeypatch.setattr(mongo, "prepare", lambda database: mongo_base.prepare(database, [migration]))
    opened(client)
    opened(client)
    assert done == [1]
    assert client.db.meta.find_one({"_id": "schema"})["version"] == 2
    assert client.db.jobs.find_one({"_id": UUID})["new_field"] == 1
    assert "new_field" not in client.db.old_v1_jobs.find_one({"_id": UUID})
    monkeypatch.undo()
    with pytest.raises(StoreError, match="version 2"):
        opened(client)


def test_a_database_that_is_away_is_said_so() -> None:
    with pytest.raises(StoreError, match="not usable") as caught:
        mongo_base.connect("mongodb://user:s3cret@:::/")
    assert "s3cret" not in str(caught.value)


def test_keys_survive() -> None:
    hostile = {"a.b": {"$x": [{"": 1}]}, "%2E": 1, "$": {"\0": 2}, "a$b": 3, "%": {"%%": 4}}
    packed = mongo_base.pack(hostile)
    assert mongo_base.unpack(packed) == hostile

    def keys(value: Any) -> Any:
        for key, one in value.items() if isinstance(value, dict) else ():
            yield key
            yield from keys(one)

    for key in keys(packed):
        assert key
        assert not set(key) & {".", "\0"}
        assert not key.startswith("$")
