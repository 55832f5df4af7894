"""`JobStore` in MongoDB, for servers: any number of them share one database.

How document, events and mails are written together without transactions: one update of the job's MongoDB document, which
is atomic, compares its version, writes the new document and carries events and mails in `pending`. Then they are moved to
their collections (inserting twice is inserting once: their `_id` is fixed before) and `pending` is taken out. Who
dies in between loses nothing: whoever reads or changes the job next, or the outbox worker, moves them first.
"""

import random
import secrets
import time
import uuid as uuid_module
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pymongo import errors

from api_srv.store.base import (
    Change,
    ClusterRecord,
    Decide,
    Document,
    DuplicateError,
    Event,
    JobRecord,
    Query,
    Row,
    StoreError,
    encoded,
    labels,
    numbered,
    server_events,
)
from api_srv.store.mongo_base import Client, Connection, connect, insert_new, pack, prepare, translated, unpack
from api_srv.store.mongo_outbox import MongoOutbox, stored_row

CHANGE_SECONDS = 60.0
LONGEST_PAUSE = 0.25
_CHUNK = 500
_Stored = dict[str, Any]


def open_mongo(url: str, name: str) -> "MongoStore":
    """The store in the database `name` of the server at `url`. Raises StoreError."""
    return MongoStore(lambda: connect(url), name)


class MongoStore(MongoOutbox):
    """See `store.base.JobStore`.

    :param make_client: makes a client of this process.
    :param name: the database.
    """

    def __init__(self, make_client: Callable[[], Client], name: str) -> None:
        self.connection = Connection(make_client, name)
        with translated():
            prepare(self.connection.database)

    # Jobs

    def create(
        self, document: Document, token_hash: str, events: Sequence[Event] = (), mails: Sequence[Row] = ()
    ) -> None:
        record = JobRecord(document, 1, len(events), server_events(events), (token_hash,) if token_hash else ())
        with translated():
            stored = {**_fields(record), "_id": document["job_uuid"], "key": uuid_module.uuid4().hex}
            stored.update(self._pending(numbered(events, 0), mails))
            try:
                self._jobs.insert_one(stored)
            except errors.DuplicateKeyError:
                raise DuplicateError(str(document["job_uuid"])) from None
            self._settle(stored)

    def job(self, uuid: str) -> JobRecord | None:
        with translated():
            stored = self._jobs.find_one({"_id": uuid})
        return _record(stored) if stored else None

    def find(self, prefix: str, owner: str | None = None, limit: int = 3) -> list[str]:
        wanted: _Stored = {"_id": {"$gte": prefix, "$lt": prefix + "~"}}
        if owner is not None:
            wanted["owner"] = owner
        with translated():
            return [str(one["_id"]) for one in self._jobs.find(wanted, {"_id": 1}).sort("_id", 1).limit(limit)]

    def jobs(self, query: Query) -> list[Document]:
        with translated():
            newest = [("created", -1), ("_id", -1)]
            found = self._jobs.find(_filter(query), {"document": 1}).sort(newest).limit(query.limit)
            return [unpack(one["document"]) for one in found]

    def change(self, uuid: str, ids: Sequence[str], decide: Decide) -> JobRecord | None:
        deadline = time.monotonic() + CHANGE_SECONDS
        pause = 0.005
        with translated():
            while time.monotonic() < deadline:
                stored = self._jobs.find_one({"_id": uuid})
                if stored is None:
                    return None
                self._settle(stored)
                record = _record(stored)
                wanted = decide(record, self._known(stored["key"], ids))
                if wanted is None:
                    return record
                after = self._exchange(stored, record, wanted)
                if after is not None:
                    return after
                # Somebody else was first. The more contend, the longer the pauses, so that each comes to its turn.
                time.sleep(random.uniform(0.0, pause))
                pause = min(2 * pause, LONGEST_PAUSE)
        raise StoreError(f"The job {uuid} is changed by too many at once.")

    def events(self, uuid: str, after: int = 0, limit: int = 0) -> list[Event]:
        with translated():
            stored = self._jobs.find_one({"_id": uuid})
            if stored is None:
                return []
            self._settle(stored)
            return self._events_of(stored["key"], after, limit)

    def delete(self, uuid: str) -> bool:
        with translated():
            stored = self._jobs.find_one({"_id": uuid})
            if stored is None:
                return False
            # Its mails first, they are still to be sent. Events of a key that no job has are never seen again.
            self._settle(stored)
            gone = bool(self._jobs.delete_one({"_id": uuid, "key": stored["key"]}).deleted_count)
            self._events.delete_many({"job": stored["key"]})
            return gone

    def counts(self) -> dict[str, int]:
        with translated():
            counted = self._jobs.aggregate([{"$group": {"_id": "$state", "count": {"$sum": 1}}}])
            return {one["_id"]: one["count"] for one in counted}

    def recover(self) -> None:
        for stored in self._jobs.find({"pending_since": {"$gt": 0}}):
            self._settle(stored)

    # Clusters

    def clusters(self, owners: Sequence[str]) -> list[ClusterRecord]:
        with translated():
            found = self._db.clusters.find({"owner": {"$in": list(owners)}}).sort([("name", 1), ("owner", 1)])
            return [
                ClusterRecord(one["owner"], unpack(one["document"]), unpack(one["status"]), one["heard"])
                for one in found
            ]

    def put_cluster(self, owner: str, document: Document) -> None:
        name = document["name"]
        first = {"_id": f"{owner}/{name}", "owner": owner, "name": name, "status": {}, "heard": ""}
        with translated():
            # Two steps, so that two servers adding it at once cannot meet in one upsert.
            insert_new(self._db.clusters, [{**first, "document": pack(document)}])
            self._db.clusters.update_one({"_id": first["_id"]}, {"$set": {"document": pack(document)}})

    def put_status(self, owner: str, name: str, status: Document, heard: str) -> bool:
        encoded(status)
        with translated():
            change = {"$set": {"status": pack(status), "heard": heard}}
            return bool(self._db.clusters.update_one({"_id": f"{owner}/{name}"}, change).matched_count)

    def delete_cluster(self, owner: str, name: str) -> bool:
        with translated():
            return bool(self._db.clusters.delete_one({"_id": f"{owner}/{name}"}).deleted_count)

    # Accounts

    def account(self, name: str) -> Document | None:
        with translated():
            found = self._db.accounts.find_one({"_id": name})
        return _without_id(found) if found else None

    def accounts(self) -> list[Document]:
        with translated():
            return [_without_id(one) for one in self._db.accounts.find().sort("_id", 1)]

    def put_account(self, account: Document, new: bool, before: Document | None = None) -> bool:
        with translated():
            stored = {**account, "_id": account["name"]}
            if new:
                return insert_new(self._db.accounts, [stored]) > 0
            as_read = {key: before[key] for key in ("password_hash", "tokens")} if before else {}
            return bool(self._db.accounts.replace_one({**as_read, "_id": account["name"]}, stored).matched_count)

    def delete_account(self, name: str) -> bool:
        with translated():
            return bool(self._db.accounts.delete_one({"_id": name}).deleted_count)

    # The whole

    def secret(self, name: str) -> bytes:
        with translated():
            key = f"secret.{name}"
            insert_new(self._db.meta, [{"_id": key, "value": secrets.token_bytes(32)}])
            return bytes(self._db.meta.find_one({"_id": key})["value"])

    def dump(self) -> Iterator[Document]:
        """Each job is whole; jobs are read one after the other."""
        for account in self.accounts():
            yield {"kind": "account", "account": account}
        with translated():
            for one in list(self._db.clusters.find().sort("_id", 1)):
                record = ClusterRecord(one["owner"], unpack(one["document"]), unpack(one["status"]), one["heard"])
                yield {"kind": "cluster", **record._asdict()}
            for (uuid,) in [(one["_id"],) for one in self._jobs.find({}, {"_id": 1}).sort("created", 1)]:
                stored = self._jobs.find_one({"_id": uuid})
                if stored is not None:
                    self._settle(stored)
                    record_now = _record(stored)
                    events = [one for one in self._events_of(stored["key"]) if one["n"] <= record_now.last_n]
                    yield {"kind": "job", **record_now._asdict(), "events": events}
            last = 0
            while rows := list(self._db.outbox.find({"order": {"$gt": last}}).sort("order", 1).limit(_CHUNK)):
                last = rows[-1]["order"]
                for row in rows:
                    yield {"kind": "mail", "row": {"id": row["_id"], **_without_id(row)}}

    def load(self, records: Iterable[Document]) -> dict[str, int]:
        counts: dict[str, int] = {}
        with translated():
            for record in records:
                if self._load(record):
                    counts[record["kind"]] = counts.get(record["kind"], 0) + 1
        return counts

    def ping(self) -> None:
        with translated():
            self._db.command("ping")

    def close(self) -> None:
        self.connection.close()

    # Parts

    @property
    def _db(self) -> Any:
        return self.connection.database

    @property
    def _jobs(self) -> Any:
        return self.connection.database.jobs

    @property
    def _events(self) -> Any:
        return self.connection.database.events

    def _exchange(self, stored: _Stored, record: JobRecord, change: Change) -> JobRecord | None:
        """Compare-and-set; None when the job is no longer as it was read."""
        hashes = record.token_hashes + ((change.token_hash,) if change.token_hash else ())
        events = numbered(change.events, record.last_n)
        after = JobRecord(
            change.document,
            record.version + 1,
            record.last_n + len(events),
            record.server_seq + server_events(events),
            hashes,
        )
        fields = {**_fields(after), **self._pending(events, change.mails)}
        as_read = {"_id": stored["_id"], "key": stored["key"], "version": record.version, "pending": None}
        if not self._jobs.update_one(as_read, {"$set": fields}).matched_count:
            return None
        self._settle({**stored, **fields})
        return after

    def _pending(self, events: Sequence[Event], mails: Sequence[Row]) -> _Stored:
        if not events and not mails:
            return {}
        rows: list[_Stored] = []
        if mails:
            # Taken anew for every try, so that of one job's mails a later one has the higher number.
            counter = self._db.meta.find_one_and_update(
                {"_id": "outbox_order"}, {"$inc": {"value": len(mails)}}, return_document=True
            )
            first = int(counter["value"]) - len(mails) + 1
            rows = [stored_row(row, first + place) for place, row in enumerate(mails)]
        moved = [_stored_event(event) for event in events]
        return {"pending": {"events": moved, "rows": rows}, "pending_since": time.time()}

    def _settle(self, stored: _Stored) -> None:
        """Move the pending events and mails of a job, as read, to their collections."""
        pending = stored.get("pending")
        if not pending:
            return
        insert_new(self._events, _keyed(stored["key"], pending["events"]))
        insert_new(self._db.outbox, [dict(row) for row in pending["rows"]])
        as_read = {"_id": stored["_id"], "key": stored["key"], "version": stored["version"]}
        self._jobs.update_one(as_read, {"$unset": {"pending": "", "pending_since": ""}})

    def _known(self, key: str, ids: Sequence[str]) -> frozenset[str]:
        found: set[str] = set()
        for start in range(0, len(ids), _CHUNK):
            part = {"job": key, "id": {"$in": list(ids[start : start + _CHUNK])}}
            found.update(one["id"] for one in self._events.find(part, {"id": 1}))
        return frozenset(found)

    def _events_of(self, key: str, after: int = 0, limit: int = 0) -> list[Event]:
        found = self._events.find({"job": key, "n": {"$gt": after}}, {"event": 1}).sort("n", 1).limit(limit)
        return [unpack(one["event"]) for one in found]

    def _load(self, record: Document) -> bool:
        if record["kind"] == "account":
            return self.put_account(record["account"], new=True)
        if record["kind"] == "cluster":
            self.put_cluster(record["owner"], record["document"])
            return self.put_status(record["owner"], record["document"]["name"], record["status"], record["heard"])
        if record["kind"] == "mail":
            row = {**record["row"], "lease_by": "", "lease_until": 0.0}
            return insert_new(self._db.outbox, self._pending((), [row])["pending"]["rows"]) > 0
        job = JobRecord(*(record[field] for field in JobRecord._fields))
        return self._load_job(job, record["events"])

    def _load_job(self, job: JobRecord, events: Sequence[Event]) -> bool:
        uuid, key = job.document["job_uuid"], uuid_module.uuid4().hex
        here = self._jobs.find_one({"_id": uuid})
        if here is not None and here["version"] >= job.version:
            return False
        insert_new(self._events, _keyed(key, [_stored_event(one) for one in events]))
        stored = {**_fields(job), "_id": uuid, "key": key, "token_hashes": list(job.token_hashes)}
        if here is None:
            return insert_new(self._jobs, [stored]) > 0
        self._settle(here)
        replaced = self._jobs.replace_one({"_id": uuid, "version": here["version"]}, stored).matched_count
        if replaced:
            self._events.delete_many({"job": here["key"]})
        return bool(replaced)


def _fields(record: JobRecord) -> _Stored:
    document = record.document
    encoded(document)
    return {
        "version": record.version,
        "last_n": record.last_n,
        "server_seq": record.server_seq,
        "owner": document.get("owner") or "",
        "state": document["state"],
        "cluster": document.get("cluster") or "",
        "name": document.get("name") or "",
        "created": document["created"],
        "labels": labels(document),
        "token_hashes": list(record.token_hashes),
        "document": pack(document),
    }


def _record(stored: _Stored) -> JobRecord:
    version, last_n, server_seq = (int(stored[name]) for name in ("version", "last_n", "server_seq"))
    return JobRecord(unpack(stored["document"]), version, last_n, server_seq, tuple(stored["token_hashes"]))


def _stored_event(event: Event) -> _Stored:
    return {"n": event["n"], "id": event["id"], "event": pack(event)}


def _keyed(key: str, events: Sequence[_Stored]) -> list[_Stored]:
    return [{"_id": f"{key}:{one['n']}", "job": key, **one} for one in events]


def _filter(query: Query) -> _Stored:
    wanted: _Stored = {}
    for field, value in (("owner", query.owner), ("cluster", query.cluster or None), ("name", query.name or None)):
        if value is not None:
            wanted[field] = value
    if query.states:
        wanted["state"] = {"$in": sorted(query.states)}
    marks: _Stored = {}
    if query.labels:
        marks["$all"] = list(query.labels)
    if query.without:
        marks["$nin"] = list(query.without)
    if marks:
        wanted["labels"] = marks
    if query.before:
        created, uuid = query.before
        wanted["$or"] = [{"created": {"$lt": created}}, {"created": created, "_id": {"$lt": uuid}}]
    return wanted


def _without_id(found: _Stored) -> Document:
    return {key: value for key, value in found.items() if key != "_id"}
