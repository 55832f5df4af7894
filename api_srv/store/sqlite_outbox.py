"""The outbox in SQLite (the port: `api_srv.notify.port`)."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from api_srv.store.base import JobStore, Row
from api_srv.store.sqlite_file import Database

_ORDER = '"order"'
_CHUNK = 500
_WAITING = {"state": "waiting", "lease_by": "", "lease_until": 0.0}


class SqliteOutbox(JobStore):
    """The part of the store that keeps mails and callbacks."""

    database: Database

    def outbox_heads(self, now: float, limit: int, kind: str = "mail", after: int = 0) -> list[Row]:
        found = self.database.rows(
            f"SELECT {_ORDER}, document FROM outbox WHERE {_ORDER} IN"
            f" (SELECT MIN({_ORDER}) FROM outbox WHERE state = 'waiting' AND {_of_kind(kind)} GROUP BY job_uuid)"
            f" AND {_ORDER} > ? AND next <= ? AND lease_until <= ? ORDER BY {_ORDER} LIMIT ?",
            (after, now, now, limit),
        )
        return [_row(one) for one in found]

    def outbox_rows(
        self,
        *,
        job_uuid: str = "",
        owner: str = "",
        to: str = "",
        topic: str = "",
        state: str = "",
        kind: str = "",
        newest: bool = False,
        limit: int = 1000,
    ) -> list[Row]:
        wanted = {"job_uuid": job_uuid, "owner": owner, "recipient": to, "topic": topic, "state": state}
        given = {column: value for column, value in wanted.items() if value}
        where = " AND ".join([*(f"{column} = ?" for column in given), _of_kind(kind)])
        found = self.database.rows(
            f"SELECT {_ORDER}, document FROM outbox WHERE {where} ORDER BY {_ORDER} {'DESC' if newest else ''} LIMIT ?",
            (*given.values(), limit),
        )
        return [_row(one) for one in found]

    def outbox_lease(self, ids: Sequence[str], holder: str, now: float, until: float) -> list[str]:
        taken: list[str] = []
        with self.database.write() as connection:
            for row in _rows_of(connection, ids):
                if row["state"] == "waiting" and (row["lease_until"] <= now or row["lease_by"] == holder):
                    _update(connection, {**row, "lease_by": holder, "lease_until": until})
                    taken.append(str(row["id"]))
        return taken

    def outbox_settle(self, ids: Sequence[str], holder: str, fields: Mapping[str, Any]) -> int:
        settled = 0
        with self.database.write() as connection:
            for row in _rows_of(connection, ids):
                if row["lease_by"] == holder:
                    _update(connection, {**row, **fields, "lease_by": "", "lease_until": 0.0})
                    settled += 1
        return settled

    def outbox_release(self, holder: str) -> int:
        with self.database.write() as connection:
            ids = [one[0] for one in connection.execute("SELECT id FROM outbox WHERE lease_by = ?", (holder,))]
            for row in _rows_of(connection, ids):
                _update(connection, {**row, "lease_by": "", "lease_until": 0.0})
        return len(ids)

    def outbox_again(self, row_id: str, fields: Mapping[str, Any]) -> bool:
        with self.database.write() as connection:
            done = [row for row in _rows_of(connection, [row_id]) if row["state"] != "waiting"]
            for row in done:
                _update(connection, {**row, **fields, **_WAITING})
        return bool(done)

    def outbox_counts(self, kind: str = "") -> dict[str, int]:
        sql = f"SELECT state, COUNT(*) FROM outbox WHERE {_of_kind(kind)} GROUP BY state"
        return dict(self.database.rows(sql))

    def outbox_prune(self, before: str) -> int:
        with self.database.write() as connection:
            return connection.execute("DELETE FROM outbox WHERE state = 'sent' AND settled < ?", (before,)).rowcount


def _of_kind(kind: str) -> str:
    """The condition. The table has no column for the kind: it follows from the topic."""
    return {"": "1", "webhook": "topic = 'webhook'", "mail": "topic <> 'webhook'"}[kind]


def insert_rows(connection: sqlite3.Connection, rows: Sequence[Row]) -> int:
    """Record rows that are not there yet; how many."""
    count = 0
    for row in rows:
        values = _columns(row)
        names = ", ".join(values)
        marks = ", ".join("?" * len(values))
        sql = f"INSERT OR IGNORE INTO outbox (id, job_uuid, owner, {names}) VALUES (?, ?, ?, {marks})"
        key = (row["id"], row["job_uuid"], row.get("owner", ""))
        count += connection.execute(sql, (*key, *values.values())).rowcount
    return count


def _update(connection: sqlite3.Connection, row: Row) -> None:
    values = _columns(row)
    names = ", ".join(f"{column} = ?" for column in values)
    connection.execute(f"UPDATE outbox SET {names} WHERE id = ?", (*values.values(), row["id"]))


def _columns(row: Row) -> dict[str, Any]:
    kept = {key: value for key, value in row.items() if key != "order"}
    return {
        "recipient": row["to"],
        "topic": row.get("topic", ""),
        "state": row["state"],
        "next": row["next"],
        "lease_until": row["lease_until"],
        "lease_by": row["lease_by"],
        "settled": row.get("settled", ""),
        "document": json.dumps(kept, separators=(",", ":")),
    }


def _rows_of(connection: sqlite3.Connection, ids: Sequence[str]) -> list[Row]:
    found: list[Row] = []
    for start in range(0, len(ids), _CHUNK):
        part = ids[start : start + _CHUNK]
        marks = ", ".join("?" * len(part))
        sql = f"SELECT {_ORDER}, document FROM outbox WHERE id IN ({marks}) ORDER BY {_ORDER}"
        found += [_row(one) for one in connection.execute(sql, tuple(part))]
    return found


def _row(found: tuple[int, str]) -> Row:
    row: Row = json.loads(found[1])
    row["order"] = found[0]
    return row
