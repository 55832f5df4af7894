"""What every store must do, on each of them."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from api_srv.notify.messages import Notifier
from api_srv.store.base import Change, DuplicateError, JobRecord, JobStore, Query, TooLargeError
from helpers import callback_rows
from project.core import history

MOMENTS = [f"2026-11-21T10:00:00.{number:03d}Z" for number in range(1000)]


def document(place: int = 0, **fields: Any) -> dict[str, Any]:
    made = history.new_document(str(uuid.uuid4()), {"destination_cluster": "c", "job": "j", "execution": ["true"]})
    made.update(owner="ann", created=MOMENTS[place])
    made.update(fields)
    return made


def added(store: JobStore, place: int = 0, **fields: Any) -> dict[str, Any]:
    made = document(place, **fields)
    store.create(made, "hash")
    return made


def event(seq: int = 1, **fields: Any) -> dict[str, Any]:
    return history.make("agent", seq, fields.pop("kind", "note"), **fields)


def append(store: JobStore, uuid: str, *events: dict[str, Any], mails: Any = ()) -> JobRecord | None:
    def decide(record: JobRecord, known: Any) -> Change | None:
        fresh = [one for one in events if one["id"] not in known]
        if not fresh:
            return None
        changed = record.document
        for one in fresh:
            changed, _ = history.fold(changed, one)
        return Change(changed, fresh, mails)

    return store.change(uuid, [one["id"] for one in events], decide)


def row(job_uuid: str, name: str, **fields: Any) -> dict[str, Any]:
    user_input = {"user_mail": "ann@example.org"}
    before = {"job_uuid": job_uuid, "owner": "ann", "user_input": user_input, "state": "QUEUED"}
    rows = Notifier()(before, before, event(kind="error", message=name))
    assert len(rows) == 1
    return {**rows[0], "id": name, **fields}


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [one["id"] for one in rows]


# Jobs


def test_a_job_is_kept_as_it_was_given(store: JobStore) -> None:
    hostile = {
        "a.b": 1,
        "$where": {"$gt": ""},
        "%": "%2E",
        "": "empty",
        "nul\0": "v\0",
        "é 漢 😀": ["x", None, True, 1.5, -(2**63), 2**63 - 1],
        "'; DROP TABLE jobs; --": {},
        "_id": "mine",
    }
    made = document(user_input={"destination_cluster": "c", "kwargs": hostile}, tags={"a": "b"})
    store.create(made, "hash", [event()])
    record = store.job(made["job_uuid"])
    assert record is not None
    assert record.document == made
    assert (record.version, record.last_n, record.server_seq, record.token_hashes) == (1, 1, 0, ("hash",))
    assert store.jobs(Query())[0] == made


def test_an_unknown_job_is_none(store: JobStore) -> None:
    assert store.job(str(uuid.uuid4())) is None
    assert store.events(str(uuid.uuid4())) == []
    assert store.change(str(uuid.uuid4()), [], lambda record, known: None) is None
    assert store.delete(str(uuid.uuid4())) is False


def test_the_same_uuid_twice_is_refused_and_changes_nothing(store: JobStore) -> None:
    made = added(store, name="first")
    with pytest.raises(DuplicateError):
        store.create({**made, "name": "second"}, "other", [event()], [row(made["job_uuid"], "m")])
    record = store.job(made["job_uuid"])
    assert record is not None
    assert record.document["name"] == "first"
    assert store.events(made["job_uuid"]) == []
    assert store.outbox_rows() == []


def test_prefixes(store: JobStore) -> None:
    one = added(store, job_uuid="aaaaaaaa-0000-4000-8000-000000000001")
    two = added(store, job_uuid="aaaaaaaa-0000-4000-8000-000000000002", owner="bob")
    added(store, job_uuid="aaaaaaab-0000-4000-8000-000000000003")
    assert store.find("aaaaaaaa") == [one["job_uuid"], two["job_uuid"]]
    assert store.find("aaaaaaaa", "bob") == [two["job_uuid"]]
    assert store.find("aaaaaa", None, 2) == [one["job_uuid"], two["job_uuid"]]
    assert store.find("ff") == []


def test_lists_are_newest_first_and_go_page_by_page(store: JobStore) -> None:
    made = [added(store, place // 2) for place in range(9)]
    expected = sorted(made, key=lambda one: (one["created"], one["job_uuid"]), reverse=True)
    seen: list[Any] = []
    before = None
    while True:
        page = store.jobs(Query(limit=2, before=before))
        seen += page
        if len(page) < 2:
            break
        before = (page[-1]["created"], page[-1]["job_uuid"])
    assert seen == expected


def test_filters(store: JobStore) -> None:
    one = added(store, 1, state="QUEUED", cluster="x", tags={"project": "alpha", "n": "1"})
    two = added(store, 2, state="RUNNING", cluster="y", name="two", tags={"project": "beta"})
    three = added(store, 3, state="QUEUED", cluster="x", owner="bob", tags=None)

    def found(**fields: Any) -> list[str]:
        return [job["job_uuid"] for job in store.jobs(Query(**fields))]

    ids = [job["job_uuid"] for job in (three, two, one)]
    assert found() == ids
    assert found(owner="ann") == ids[1:]
    assert found(states=frozenset(("QUEUED",))) == [ids[0], ids[2]]
    assert found(states=frozenset(("QUEUED", "RUNNING")), owner="ann") == ids[1:]
    assert found(cluster="x", owner="bob") == [ids[0]]
    assert found(name="two") == [ids[1]]
    assert found(labels=("project",)) == ids[1:]
    assert found(labels=("project=alpha", "n")) == [ids[2]]
    assert found(without=("project=alpha",)) == ids[:2]
    assert found(labels=("project",), without=("n",)) == [ids[1]]
    assert store.counts() == {"QUEUED": 2, "RUNNING": 1}


def test_a_change_moves_the_job_in_every_list(store: JobStore) -> None:
    made = added(store, tags={"a": "1"})
    append(store, made["job_uuid"], event(kind="state", state="QUEUED"))

    def decide(record: JobRecord, known: Any) -> Change:
        return Change({**record.document, "name": "new", "tags": {"b": "2"}, "cluster": "z"}, token_hash="second")

    after = store.change(made["job_uuid"], [], decide)
    assert after is not None
    assert after == store.job(made["job_uuid"])
    assert after.version == 3
    assert after.token_hashes == ("hash", "second")
    for wanted in ({"labels": ("b=2",)}, {"name": "new"}, {"cluster": "z"}, {"states": frozenset(("QUEUED",))}):
        assert len(store.jobs(Query(**wanted))) == 1
    for gone in ({"labels": ("a=1",)}, {"labels": ("a",)}, {"states": frozenset(("PENDING",))}):
        assert store.jobs(Query(**gone)) == []


def test_events_are_numbered_and_known_by_id(store: JobStore) -> None:
    made = added(store)
    events = [event(seq, message=f"m{seq}", data={"a.b": {"$c": seq}, "_id": 1}) for seq in range(1, 6)]
    append(store, made["job_uuid"], *events[:3])
    append(store, made["job_uuid"], *events)
    append(store, made["job_uuid"], *events)
    kept = store.events(made["job_uuid"])
    assert [one["n"] for one in kept] == [1, 2, 3, 4, 5]
    assert [{key: value for key, value in one.items() if key != "n"} for one in kept] == events
    assert [one["n"] for one in store.events(made["job_uuid"], after=3)] == [4, 5]
    assert [one["n"] for one in store.events(made["job_uuid"], after=1, limit=2)] == [2, 3]


def test_an_event_may_have_any_keys(store: JobStore) -> None:
    made = added(store)
    strange = {**event(), "_id": "x", "job": "y", "n": 77, "key": "z", "event": {"$set": 1}}
    append(store, made["job_uuid"], strange)
    assert store.events(made["job_uuid"]) == [{**strange, "n": 1}]


def test_events_of_the_server_are_counted(store: JobStore) -> None:
    made = added(store)
    after = append(store, made["job_uuid"], event(), history.make("server", 1, "note"))
    assert after is not None
    assert (after.server_seq, after.last_n) == (1, 2)


def test_many_ids_at_once(store: JobStore) -> None:
    made = added(store)
    events = [event(seq) for seq in range(1, 603)]
    append(store, made["job_uuid"], *events)
    after = append(store, made["job_uuid"], *events, event(603))
    assert after is not None
    assert after.last_n == 603


def test_a_decision_that_fails_writes_nothing(store: JobStore) -> None:
    made = added(store)

    def decide(record: JobRecord, known: Any) -> Change:
        raise KeyError("no")

    with pytest.raises(KeyError):
        store.change(made["job_uuid"], [], decide)
    assert append(store, made["job_uuid"], event()) is not None


def test_too_large_is_refused_and_nothing_is_written(store: JobStore) -> None:
    made = added(store)
    big = "x" * (9 * 1024 * 1024)

    def decide(record: JobRecord, known: Any) -> Change:
        return Change({**record.document, "message": big}, [event()], [row(made["job_uuid"], "m")])

    with pytest.raises(TooLargeError):
        store.change(made["job_uuid"], [], decide)
    with pytest.raises(TooLargeError):
        store.create(document(message=big), "")
    record = store.job(made["job_uuid"])
    assert record is not None
    assert record.version == 1
    assert store.events(made["job_uuid"]) == store.outbox_rows() == []
    assert len(store.jobs(Query())) == 1


def test_a_deleted_job_is_gone_and_its_uuid_is_free(store: JobStore) -> None:
    made = added(store, tags={"a": "b"})
    append(store, made["job_uuid"], event(), event(2), mails=[row(made["job_uuid"], "m")])
    assert store.delete(made["job_uuid"]) is True
    assert store.job(made["job_uuid"]) is None
    assert store.events(made["job_uuid"]) == []
    assert store.jobs(Query(labels=("a",))) == []
    assert names(store.outbox_rows(state="waiting")) == ["m"]
    store.create(made, "again")
    append(store, made["job_uuid"], event(message="new"))
    assert [one["message"] for one in store.events(made["job_uuid"])] == ["new"]


# Outbox


def test_the_first_waiting_mail_of_each_job_is_its_head(store: JobStore) -> None:
    one, two = added(store)["job_uuid"], added(store)["job_uuid"]
    append(store, one, event(), mails=[row(one, "a1"), row(one, "a2")])
    append(store, two, event(), mails=[row(two, "b1", next=50.0)])
    append(store, one, event(2), mails=[row(one, "a3")])
    assert names(store.outbox_heads(10.0, 10)) == ["a1"]
    assert names(store.outbox_heads(60.0, 10)) == ["a1", "b1"]
    assert names(store.outbox_heads(60.0, 1)) == ["a1"]
    behind = store.outbox_heads(60.0, 1)[0]["order"]
    assert names(store.outbox_heads(60.0, 10, after=behind)) == ["b1"]
    assert names(store.outbox_heads(10.0, 10, after=behind)) == []
    assert store.outbox_lease(["a1"], "w", 10.0, 20.0) == ["a1"]
    assert names(store.outbox_heads(15.0, 10)) == []
    assert names(store.outbox_heads(20.0, 10)) == ["a1"]
    assert store.outbox_settle(["a1"], "w", {"state": "sent", "settled": "2026"}) == 1
    assert names(store.outbox_heads(10.0, 10)) == ["a2"]
    orders = [one["order"] for one in store.outbox_rows()]
    assert orders == sorted(set(orders))


def test_a_mail_recorded_twice_is_one_mail(store: JobStore) -> None:
    made = added(store)["job_uuid"]
    append(store, made, event(), mails=[row(made, "a")])
    append(store, made, event(2), mails=[row(made, "a"), row(made, "b")])
    assert names(store.outbox_rows()) == ["a", "b"]


def test_rows_by_their_fields(store: JobStore) -> None:
    one, two = added(store)["job_uuid"], added(store)["job_uuid"]
    kept = row(one, "a", text="Grüße\nx", html="<p>\u2028</p>")
    append(store, one, event(), mails=[kept, row(one, "b", to="other@example.org", topic="state")])
    append(store, two, event(), mails=[row(two, "c", owner="bob")])
    assert {key: value for key, value in store.outbox_rows()[0].items() if key != "order"} == kept
    assert names(store.outbox_rows(job_uuid=one)) == ["a", "b"]
    assert names(store.outbox_rows(job_uuid=one, newest=True)) == ["b", "a"]
    assert names(store.outbox_rows(owner="bob")) == ["c"]
    assert names(store.outbox_rows(to="other@example.org")) == ["b"]
    assert names(store.outbox_rows(topic="state")) == ["b"]
    assert names(store.outbox_rows(limit=2)) == ["a", "b"]
    assert names(store.outbox_rows(state="sent")) == []
    assert store.outbox_counts() == {"waiting": 3}


def test_a_lease_is_one_workers(store: JobStore) -> None:
    made = added(store)["job_uuid"]
    append(store, made, event(), mails=[row(made, name) for name in "abc"])
    assert store.outbox_lease(["a", "b", "none"], "one", 10.0, 20.0) == ["a", "b"]
    assert store.outbox_lease(["b", "c"], "two", 11.0, 21.0) == ["c"]
    assert store.outbox_lease(["a"], "one", 15.0, 30.0) == ["a"]
    assert store.outbox_settle(["a", "c"], "two", {"attempts": 1}) == 1
    # b's lease has run out: another may take it, then the first no longer can settle it.
    assert store.outbox_lease(["a", "b"], "two", 25.0, 40.0) == ["b"]
    assert store.outbox_settle(["b"], "one", {"state": "sent"}) == 0
    assert store.outbox_release("two") == 1
    assert store.outbox_release("two") == 0
    assert {one["id"]: one["attempts"] for one in store.outbox_rows()} == {"a": 0, "b": 0, "c": 1}
    assert names(store.outbox_rows(state="waiting")) == ["a", "b", "c"]


def test_a_settled_row_is_not_leased_again(store: JobStore) -> None:
    made = added(store)["job_uuid"]
    append(store, made, event(), mails=[row(made, "a")])
    store.outbox_lease(["a"], "w", 0.0, 9.0)
    assert store.outbox_settle(["a"], "w", {"state": "undeliverable", "error": "no", "settled": "2026-01-01"}) == 1
    assert store.outbox_lease(["a"], "w", 0.0, 9.0) == []
    assert store.outbox_rows()[0]["error"] == "no"
    assert store.outbox_counts() == {"undeliverable": 1}


def test_only_old_sent_rows_are_pruned(store: JobStore) -> None:
    made = added(store)["job_uuid"]
    append(store, made, event(), mails=[row(made, name) for name in "abc"])
    store.outbox_lease(["a", "b"], "w", 0.0, 9.0)
    store.outbox_settle(["a"], "w", {"state": "sent", "settled": "2026-01-01T00:00:00Z"})
    store.outbox_settle(["b"], "w", {"state": "sent", "settled": "2026-03-01T00:00:00Z"})
    assert store.outbox_prune("2026-02-01T00:00:00Z") == 1
    assert names(store.outbox_rows()) == ["b", "c"]


def called(job_uuid: str, name: str, **fields: Any) -> dict[str, Any]:
    return {**callback_rows.row(1, job_uuid), "id": name, **fields}


def test_each_kind_has_a_queue_of_its_own(store: JobStore) -> None:
    made = added(store)["job_uuid"]
    append(store, made, event(), mails=[row(made, "m1"), called(made, "c1"), row(made, "m2"), called(made, "c2")])
    assert names(store.outbox_heads(10.0, 10)) == ["m1"]
    assert names(store.outbox_heads(10.0, 10, "webhook")) == ["c1"]
    store.outbox_lease(["c1"], "w", 10.0, 20.0)
    store.outbox_settle(["c1"], "w", {"state": "sent", "settled": "2026", "log": [{"status": 200, "error": "é"}]})
    assert names(store.outbox_heads(10.0, 10, "webhook")) == ["c2"]
    assert names(store.outbox_heads(10.0, 10, "mail")) == ["m1"]
    assert names(store.outbox_rows(kind="mail")) == ["m1", "m2"]
    assert names(store.outbox_rows(kind="webhook", state="waiting")) == ["c2"]
    assert store.outbox_rows(kind="webhook")[0]["log"] == [{"status": 200, "error": "é"}]
    assert store.outbox_counts("webhook") == {"sent": 1, "waiting": 1}
    assert store.outbox_counts("mail") == {"waiting": 2}
    assert store.outbox_counts() == {"sent": 1, "waiting": 3}


def test_a_settled_row_can_wait_again_once(store: JobStore) -> None:
    made = added(store)["job_uuid"]
    append(store, made, event(), mails=[called(made, "a"), called(made, "b")])
    assert store.outbox_again("a", {"next": 0.0}) is False
    assert store.outbox_again("none", {}) is False
    for name in "ab":
        store.outbox_lease([name], "w", 0.0, 9.0)
        store.outbox_settle([name], "w", {"state": "undeliverable", "error": "no", "settled": "2026", "attempts": 9})
    assert names(store.outbox_heads(10.0, 10, "webhook")) == []
    assert store.outbox_again("b", {"next": 0.0, "attempts": 0, "error": ""}) is True
    assert store.outbox_again("b", {}) is False
    (head,) = store.outbox_heads(10.0, 10, "webhook")
    assert (head["id"], head["attempts"], head["error"], head["lease_by"]) == ("b", 0, "", "")
    assert store.outbox_lease(["b"], "v", 10.0, 20.0) == ["b"]


# Clusters and accounts


def test_clusters_by_owner(store: JobStore) -> None:
    store.put_cluster("", {"name": "b", "hostname": "h1"})
    store.put_cluster("ann", {"name": "a", "hostname": "h2"})
    store.put_cluster("bob", {"name": "b", "hostname": "h3"})
    found = [(one.owner, one.document["name"]) for one in store.clusters(("", "ann"))]
    assert found == [("ann", "a"), ("", "b")]
    assert store.put_status("", "b", {"idle": 3, "a.b": {"$x": 1}}, "2026") is True
    store.put_cluster("", {"name": "b", "hostname": "new"})
    (one,) = store.clusters(("",))
    assert (one.document, one.status, one.heard) == (
        {"name": "b", "hostname": "new"},
        {"idle": 3, "a.b": {"$x": 1}},
        "2026",
    )
    assert store.put_status("", "none", {}, "") is False
    assert store.delete_cluster("", "b") is True
    assert store.delete_cluster("", "b") is False
    assert store.clusters(("",)) == []
    assert len(store.clusters(("bob",))) == 1


def test_accounts(store: JobStore) -> None:
    ann = {"name": "ann", "admin": True, "password_hash": "h", "tokens": [], "created": "2026"}
    assert store.put_account(ann, new=False) is False
    assert store.put_account(ann, new=True) is True
    assert store.put_account({**ann, "admin": False}, new=True) is False
    assert store.account("ann") == ann
    assert store.put_account({**ann, "tokens": ["t"]}, new=False) is True
    store.put_account({**ann, "name": "abe"}, new=True)
    assert [one["name"] for one in store.accounts()] == ["abe", "ann"]
    assert store.accounts()[1]["tokens"] == ["t"]
    assert store.put_account({**ann, "tokens": ["u"]}, new=False, before=ann) is False
    assert store.put_account({**ann, "tokens": ["t", "u"]}, new=False, before={**ann, "tokens": ["t"]}) is True
    assert store.accounts()[1]["tokens"] == ["t", "u"]
    assert store.delete_account("ann") is True
    assert store.delete_account("ann") is False
    assert store.account("ann") is None


def test_a_secret_is_made_once(open_store: Callable[[], JobStore]) -> None:
    first = open_store().secret("session")
    assert len(first) == 32
    assert open_store().secret("session") == first
    assert open_store().secret("other") != first


# The whole


def test_everything_can_be_carried_to_another_database(open_store: Callable[[], JobStore], tmp_path: Any) -> None:
    from api_srv.store.sqlite import SqliteStore

    here = open_store()
    made = added(here, tags={"a": "b"})
    append(here, made["job_uuid"], event(kind="state", state="QUEUED"), mails=[row(made["job_uuid"], "m")])
    here.outbox_lease(["m"], "w", 0.0, 9e9)
    here.put_cluster("", {"name": "c"})
    here.put_status("", "c", {"idle": 1}, "2026")
    here.put_account({"name": "ann", "admin": True, "password_hash": "h", "tokens": [], "created": "2026"}, new=True)
    records = list(here.dump())
    there = SqliteStore(str(tmp_path / "other" / "there.db"))
    counts = {"job": 1, "mail": 1, "cluster": 1, "account": 1}
    assert there.load(records) == counts
    assert there.job(made["job_uuid"]) == here.job(made["job_uuid"])
    assert there.events(made["job_uuid"]) == here.events(made["job_uuid"])
    assert there.clusters(("",)) == here.clusters(("",))
    assert there.accounts() == here.accounts()
    # Nobody works on a mail that was just put back.
    assert names(there.outbox_heads(1.0, 9)) == ["m"]
    for one in there.jobs(Query()):
        here.delete(one["job_uuid"])
    assert here.load(there.dump()) == {"job": 1, "cluster": 1}
    assert here.job(made["job_uuid"]) == there.job(made["job_uuid"])
    assert here.events(made["job_uuid"]) == there.events(made["job_uuid"])
    there.close()


def test_what_is_newer_stays(store: JobStore) -> None:
    made = added(store)
    records = list(store.dump())
    append(store, made["job_uuid"], event(kind="state", state="QUEUED"))
    assert store.load(records) == {}
    assert store.counts() == {"QUEUED": 1}
    newer = [{**one, "version": 99} if one["kind"] == "job" else one for one in records]
    assert store.load(newer) == {"job": 1}
    assert store.counts() == {"PENDING": 1}
    assert store.events(made["job_uuid"]) == []
    append(store, made["job_uuid"], event(message="x"))
    assert [one["n"] for one in store.events(made["job_uuid"])] == [1]


def test_it_answers(store: JobStore) -> None:
    store.ping()
