"""The MongoDB database: connection, errors, keys that MongoDB takes, schema version and migrations.

Writes are acknowledged by a majority and its journals. No transactions: they need a replica set. `mongo.py` says how
document, events and mails are written together all the same.
"""

import contextlib
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pymongo
from pymongo import errors

from api_srv.store.base import SCHEMA_VERSION, StoreError, TooLargeError

SELECTION_SECONDS = 5
MIGRATION_SECONDS = 600.0
# A server that says a document is too large: BSONObjectTooLarge, and two older codes.
_TOO_LARGE = (10334, 17419, 17420)

Client = Any
Database = Any
Migration = Callable[[Database], None]

_ESCAPED = re.compile(r"[%.\0]|\A\$")
_ESCAPES = re.compile("%([0-9A-F]{2})")


def pack(value: Any) -> Any:
    """A JSON value with keys that every MongoDB takes: `%`, `.`, NUL, a leading `$` and the empty key are escaped."""
    if isinstance(value, dict):
        return {_packed(key): pack(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [pack(one) for one in value]
    return value


def unpack(value: Any) -> Any:
    """The inverse of `pack`."""
    if isinstance(value, dict):
        return {_unpacked(key): unpack(one) for key, one in value.items()}
    if isinstance(value, list):
        return [unpack(one) for one in value]
    return value


def _packed(key: str) -> str:
    return _ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", key) or "%"


def _unpacked(key: str) -> str:
    return "" if key == "%" else _ESCAPES.sub(lambda found: chr(int(found[1], 16)), key)


def connect(url: str) -> Client:
    """A client of the server at `url`. Raises StoreError for an address that is none (without showing it)."""
    waiting: dict[str, Any] = {}
    if "serverselectiontimeoutms" not in url.lower():
        waiting["serverSelectionTimeoutMS"] = SELECTION_SECONDS * 1000
    try:
        return pymongo.MongoClient(url, w="majority", journal=True, appname="jobferry", **waiting)
    except (errors.PyMongoError, ValueError) as error:
        # The error's text may hold the password.
        raise StoreError(f"JOBFERRY_MONGO_URL is not usable ({type(error).__name__}).") from None


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """pymongo's errors as StoreError and TooLargeError."""
    try:
        yield
    except errors.DocumentTooLarge as error:
        raise TooLargeError("The job is larger than MongoDB's 16 MiB.") from error
    except errors.OperationFailure as error:
        if error.code in _TOO_LARGE:
            raise TooLargeError("The job is larger than MongoDB's 16 MiB.") from error
        raise StoreError(f"MongoDB refused: {error}.") from error
    except errors.PyMongoError as error:
        raise StoreError(f"MongoDB cannot be used: {error}.") from error


class Connection:
    """The database in this process; a forked child gets a client of its own."""

    def __init__(self, make_client: Callable[[], Client], name: str) -> None:
        self._make_client = make_client
        self._name = name
        self._clients: dict[int, Client] = {}

    @property
    def database(self) -> Database:
        """The database of this process."""
        pid = os.getpid()
        if pid not in self._clients:
            # The parent's client stays referenced: closing it here would close the parent's sockets.
            self._clients[pid] = self._make_client()
        return self._clients[pid][self._name]

    def close(self) -> None:
        """Close this process's client."""
        client = self._clients.pop(os.getpid(), None)
        if client is not None:
            client.close()


def insert_new(collection: Any, documents: Sequence[dict[str, Any]]) -> int:
    """Insert those that are not there yet (by `_id`); how many."""
    if not documents:
        return 0
    try:
        return len(collection.insert_many(documents, ordered=False).inserted_ids)
    except errors.BulkWriteError as error:
        if any(one["code"] != 11000 for one in error.details["writeErrors"]):
            raise
        return int(error.details["nInserted"])


def prepare(database: Database, migrations: Sequence[Migration] = ()) -> None:
    """Make the indexes; bring an older database to the present version, its collections copied first.

    `migrations[n]` takes version n + 1 to n + 2. Raises StoreError for a newer database.
    """
    wanted = SCHEMA_VERSION + len(migrations)
    meta = database.meta
    insert_new(meta, [{"_id": "schema", "version": wanted}])
    insert_new(meta, [{"_id": "outbox_order", "value": 0}])
    deadline = time.monotonic() + MIGRATION_SECONDS
    while True:
        found = int(meta.find_one({"_id": "schema"})["version"])
        if found > wanted:
            raise StoreError(f"The MongoDB database is of version {found}, this program knows version {wanted}.")
        if found == wanted:
            break
        if _claimed(meta, found):
            _migrate(database, found, migrations[found - 1])
        elif time.monotonic() > deadline:
            raise StoreError("Another server migrates the MongoDB database and does not end.")
        else:
            time.sleep(0.2)
    _index(database)


def _claimed(meta: Any, version: int) -> bool:
    """True when this process, and no other, migrates from `version`; the claim of a dead one runs out."""
    now = time.time()
    free = [{"migrating_until": None}, {"migrating_until": {"$lt": now}}]
    change = {"$set": {"migrating_until": now + MIGRATION_SECONDS, "by": uuid.uuid4().hex}}
    return bool(meta.update_one({"_id": "schema", "version": version, "$or": free}, change).matched_count)


def _migrate(database: Database, version: int, migration: Migration) -> None:
    for name in database.list_collection_names():
        if not name.startswith(("meta", "old_")):
            insert_new(database[f"old_v{version}_{name}"], list(database[name].find()))
    migration(database)
    done = {"$set": {"version": version + 1, "migrating_until": None}}
    database.meta.update_one({"_id": "schema", "version": version}, done)


def _index(database: Database) -> None:
    newest = [("created", -1), ("_id", -1)]
    for keys in (newest, [("owner", 1), *newest], [("state", 1), *newest], [("labels", 1)]):
        database.jobs.create_index(keys)
    database.jobs.create_index([("pending_since", 1)], sparse=True)
    database.events.create_index([("job", 1), ("n", 1)])
    database.events.create_index([("job", 1), ("id", 1)])
    database.outbox.create_index([("state", 1), ("job_uuid", 1), ("order", 1)])
    database.outbox.create_index([("order", 1)])
    database.outbox.create_index([("job_uuid", 1), ("order", 1)])
    database.outbox.create_index([("to", 1), ("state", 1), ("order", 1)])
    database.clusters.create_index([("owner", 1), ("name", 1)], unique=True)
