"""`JobStore` in one SQLite file: the embedded default, also for a small server."""

import json
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

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
    encoded,
    labels,
    numbered,
    server_events,
)
from api_srv.store.sqlite_file import Database, translated
from api_srv.store.sqlite_outbox import SqliteOutbox, insert_rows

_RECORD = "document, version, last_n, server_seq, token_hashes"
_CHUNK = 500


class SqliteStore(SqliteOutbox):
    """See `store.base.JobStore`."""

    def __init__(self, path: str) -> None:
        self.database = Database(path)

    @classmethod
    def in_home(cls, home: str) -> "SqliteStore":
        """The store in `JOBFERRY_HOME/jobferry.db`; made when it is missing. Raises StoreError."""
        return cls(os.path.join(home, "jobferry.db"))

    # Jobs

    def create(
        self, document: Document, token_hash: str, events: Sequence[Event] = (), mails: Sequence[Row] = ()
    ) -> None:
        record = JobRecord(document, 1, len(events), server_events(events), (token_hash,) if token_hash else ())
        with self.database.write() as connection:
            if _read(connection, str(document["job_uuid"])) is not None:
                raise DuplicateError(str(document["job_uuid"]))
            _insert(connection, record)
            _append(connection, str(document["job_uuid"]), numbered(events, 0))
            insert_rows(connection, mails)

    def job(self, uuid: str) -> JobRecord | None:
        with translated(self.database.path), self.database.using() as connection:
            return _read(connection, uuid)

    def find(self, prefix: str, owner: str | None = None, limit: int = 3) -> list[str]:
        # "~" sorts after every character of a UUID.
        where, values = "uuid >= ? AND uuid < ?", [prefix, prefix + "~"]
        if owner is not None:
            where += " AND owner = ?"
            values.append(owner)
        found = self.database.rows(f"SELECT uuid FROM jobs WHERE {where} ORDER BY uuid LIMIT ?", (*values, limit))
        return [one[0] for one in found]

    def jobs(self, query: Query) -> list[Document]:
        where, values = _conditions(query)
        sql = f"SELECT document FROM jobs WHERE {where} ORDER BY created DESC, uuid DESC LIMIT ?"
        return [json.loads(one[0]) for one in self.database.rows(sql, (*values, query.limit))]

    def change(self, uuid: str, ids: Sequence[str], decide: Decide) -> JobRecord | None:
        with self.database.write() as connection:
            record = _read(connection, uuid)
            if record is None:
                return None
            change = decide(record, _known(connection, uuid, ids))
            if change is None:
                return record
            after = _after(record, change)
            _write(connection, after, record)
            _append(connection, uuid, numbered(change.events, record.last_n))
            insert_rows(connection, change.mails)
        return after

    def events(self, uuid: str, after: int = 0, limit: int = 0) -> list[Event]:
        sql = "SELECT event FROM events WHERE uuid = ? AND n > ? ORDER BY n LIMIT ?"
        return [json.loads(one[0]) for one in self.database.rows(sql, (uuid, after, limit or -1))]

    def delete(self, uuid: str) -> bool:
        with self.database.write() as connection:
            return _remove(connection, uuid)

    def counts(self) -> dict[str, int]:
        return dict(self.database.rows("SELECT state, COUNT(*) FROM jobs GROUP BY state"))

    # Clusters

    def clusters(self, owners: Sequence[str]) -> list[ClusterRecord]:
        marks = ", ".join("?" * len(owners))
        sql = f"SELECT owner, document, status, heard FROM clusters WHERE owner IN ({marks}) ORDER BY name, owner"
        found = self.database.rows(sql, tuple(owners))
        return [ClusterRecord(one[0], json.loads(one[1]), json.loads(one[2]), one[3]) for one in found]

    def put_cluster(self, owner: str, document: Document) -> None:
        with self.database.write() as connection:
            connection.execute(
                "INSERT INTO clusters VALUES (?, ?, ?, '{}', '') ON CONFLICT DO UPDATE SET document = excluded.document",
                (owner, document["name"], encoded(document)),
            )

    def put_status(self, owner: str, name: str, status: Document, heard: str) -> bool:
        with self.database.write() as connection:
            sql = "UPDATE clusters SET status = ?, heard = ? WHERE owner = ? AND name = ?"
            return connection.execute(sql, (encoded(status), heard, owner, name)).rowcount > 0

    def delete_cluster(self, owner: str, name: str) -> bool:
        with self.database.write() as connection:
            return connection.execute("DELETE FROM clusters WHERE owner = ? AND name = ?", (owner, name)).rowcount > 0

    # Accounts

    def account(self, name: str) -> Document | None:
        found = self.database.rows("SELECT document FROM accounts WHERE name = ?", (name,))
        return json.loads(found[0][0]) if found else None

    def accounts(self) -> list[Document]:
        return [json.loads(one[0]) for one in self.database.rows("SELECT document FROM accounts ORDER BY name")]

    def put_account(self, account: Document, new: bool, before: Document | None = None) -> bool:
        values = (json.dumps(account), account["name"])
        sql = "UPDATE accounts SET document = ? WHERE name = ?"
        if new:
            sql = "INSERT OR IGNORE INTO accounts (document, name) VALUES (?, ?)"
        with self.database.write() as connection:
            if before is not None:
                found = connection.execute(
                    "SELECT document FROM accounts WHERE name = ?", (account["name"],)
                ).fetchone()
                now = json.loads(found[0]) if found else {}
                if any(now.get(key) != before[key] for key in ("password_hash", "tokens")):
                    return False
            return connection.execute(sql, values).rowcount > 0

    def delete_account(self, name: str) -> bool:
        with self.database.write() as connection:
            return connection.execute("DELETE FROM accounts WHERE name = ?", (name,)).rowcount > 0

    # The whole

    def secret(self, name: str) -> bytes:
        with self.database.write() as connection:
            connection.execute("INSERT OR IGNORE INTO secrets VALUES (?, ?)", (name, secrets.token_bytes(32)))
            found = connection.execute("SELECT value FROM secrets WHERE name = ?", (name,)).fetchone()
        return bytes(found[0])

    def dump(self) -> Iterator[Document]:
        """One read transaction: everything is of the same moment."""
        connection = self.database.fresh()
        try:
            with translated(self.database.path):
                connection.execute("BEGIN")
                yield from _dumped(connection)
        finally:
            connection.close()

    def load(self, records: Iterable[Document]) -> dict[str, int]:
        counts: dict[str, int] = {}
        for record in records:
            # One transaction a record: a running server waits for milliseconds, and loading again goes on.
            with self.database.write() as connection:
                if _load(connection, record):
                    counts[record["kind"]] = counts.get(record["kind"], 0) + 1
        return counts

    def ping(self) -> None:
        self.database.rows("SELECT 1 FROM jobs LIMIT 1")

    def close(self) -> None:
        self.database.close()


def _conditions(query: Query) -> tuple[str, list[Any]]:
    parts, values = ["1"], []
    for column, value in (("owner", query.owner), ("cluster", query.cluster or None), ("name", query.name or None)):
        if value is not None:
            parts.append(f"{column} = ?")
            values.append(value)
    if query.states:
        parts.append(f"state IN ({', '.join('?' * len(query.states))})")
        values += sorted(query.states)
    for word, wanted in (("EXISTS", query.labels), ("NOT EXISTS", query.without)):
        for label in wanted:
            parts.append(f"{word} (SELECT 1 FROM labels WHERE label = ? AND labels.uuid = jobs.uuid)")
            values.append(label)
    if query.before:
        parts.append("(created, uuid) < (?, ?)")
        values += query.before
    return " AND ".join(parts), values


def _read(connection: sqlite3.Connection, uuid: str) -> JobRecord | None:
    found = connection.execute(f"SELECT {_RECORD} FROM jobs WHERE uuid = ?", (uuid,)).fetchone()
    if found is None:
        return None
    return JobRecord(json.loads(found[0]), found[1], found[2], found[3], tuple(json.loads(found[4])))


def _after(record: JobRecord, change: Change) -> JobRecord:
    hashes = record.token_hashes + ((change.token_hash,) if change.token_hash else ())
    return JobRecord(
        change.document,
        record.version + 1,
        record.last_n + len(change.events),
        record.server_seq + server_events(change.events),
        hashes,
    )


def _insert(connection: sqlite3.Connection, record: JobRecord) -> None:
    document = record.document
    connection.execute(
        "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            document["job_uuid"],
            record.version,
            record.last_n,
            record.server_seq,
            document.get("owner") or "",
            document["state"],
            document.get("cluster") or "",
            document.get("name") or "",
            document["created"],
            json.dumps(record.token_hashes),
            encoded(document),
        ),
    )
    _relabel(connection, document)


def _write(connection: sqlite3.Connection, record: JobRecord, before: JobRecord) -> None:
    document = record.document
    connection.execute(
        "UPDATE jobs SET version = ?, last_n = ?, server_seq = ?, state = ?, cluster = ?, name = ?, token_hashes = ?,"
        " document = ? WHERE uuid = ?",
        (
            record.version,
            record.last_n,
            record.server_seq,
            document["state"],
            document.get("cluster") or "",
            document.get("name") or "",
            json.dumps(record.token_hashes),
            encoded(document),
            document["job_uuid"],
        ),
    )
    if labels(document) != labels(before.document):
        _relabel(connection, document)


def _relabel(connection: sqlite3.Connection, document: Document) -> None:
    connection.execute("DELETE FROM labels WHERE uuid = ?", (document["job_uuid"],))
    connection.executemany(
        "INSERT INTO labels VALUES (?, ?)", [(label, document["job_uuid"]) for label in labels(document)]
    )


def _append(connection: sqlite3.Connection, uuid: str, events: Sequence[Event]) -> None:
    connection.executemany(
        "INSERT INTO events VALUES (?, ?, ?, ?)",
        [(uuid, event["n"], event["id"], json.dumps(event, separators=(",", ":"))) for event in events],
    )


def _known(connection: sqlite3.Connection, uuid: str, ids: Sequence[str]) -> frozenset[str]:
    found: set[str] = set()
    for start in range(0, len(ids), _CHUNK):
        part = ids[start : start + _CHUNK]
        sql = f"SELECT id FROM events WHERE uuid = ? AND id IN ({', '.join('?' * len(part))})"
        found.update(one[0] for one in connection.execute(sql, (uuid, *part)))
    return frozenset(found)


def _remove(connection: sqlite3.Connection, uuid: str) -> bool:
    connection.execute("DELETE FROM events WHERE uuid = ?", (uuid,))
    connection.execute("DELETE FROM labels WHERE uuid = ?", (uuid,))
    return connection.execute("DELETE FROM jobs WHERE uuid = ?", (uuid,)).rowcount > 0


def _dumped(connection: sqlite3.Connection) -> Iterator[Document]:
    for (document,) in connection.execute("SELECT document FROM accounts ORDER BY name"):
        yield {"kind": "account", "account": json.loads(document)}
    for owner, document, status, heard in connection.execute("SELECT owner, document, status, heard FROM clusters"):
        yield {
            "kind": "cluster",
            "owner": owner,
            "document": json.loads(document),
            "status": json.loads(status),
            "heard": heard,
        }
    for (uuid,) in connection.execute("SELECT uuid FROM jobs ORDER BY created, uuid"):
        record = _read(connection, uuid)
        if record is not None:
            events = connection.execute("SELECT event FROM events WHERE uuid = ? ORDER BY n", (uuid,))
            yield {"kind": "job", **record._asdict(), "events": [json.loads(one[0]) for one in events]}
    for (row,) in connection.execute('SELECT document FROM outbox ORDER BY "order"'):
        yield {"kind": "mail", "row": json.loads(row)}


def _load(connection: sqlite3.Connection, record: Document) -> bool:
    if record["kind"] == "account":
        sql = "INSERT OR IGNORE INTO accounts (document, name) VALUES (?, ?)"
        return connection.execute(sql, (json.dumps(record["account"]), record["account"]["name"])).rowcount > 0
    if record["kind"] == "cluster":
        values = (record["owner"], record["document"]["name"], encoded(record["document"]))
        sql = "INSERT OR REPLACE INTO clusters VALUES (?, ?, ?, ?, ?)"
        return connection.execute(sql, (*values, encoded(record["status"]), record["heard"])).rowcount > 0
    if record["kind"] == "mail":
        return insert_rows(connection, [{**record["row"], "lease_by": "", "lease_until": 0.0}]) > 0
    job = JobRecord(*(record[field] for field in JobRecord._fields))
    uuid = str(job.document["job_uuid"])
    here = _read(connection, uuid)
    if here is not None and here.version >= job.version:
        return False
    _remove(connection, uuid)
    _insert(connection, job)
    _append(connection, uuid, record["events"])
    return True
