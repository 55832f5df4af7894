"""The SQLite file: connections, transactions, schema, migrations.

WAL, so that several processes read and write at once; a commit is synced (`synchronous=FULL`, SQLite's default). One
connection a thread, never one from before a fork (sqlite.org/howtocorrupt.html, 2.6). Every write reads inside its own
`BEGIN IMMEDIATE`.
"""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from api_srv.store.base import SCHEMA_VERSION, StoreError
from project.core.files import locked

BUSY_SECONDS = 30.0
# Seconds that `close` waits for a thread that is in the middle of something.
CLOSING_SECONDS = 5.0

_SCHEMA = """
CREATE TABLE jobs (uuid TEXT PRIMARY KEY, version INTEGER NOT NULL, last_n INTEGER NOT NULL, server_seq INTEGER NOT NULL,
  owner TEXT NOT NULL, state TEXT NOT NULL, cluster TEXT NOT NULL, name TEXT NOT NULL, created TEXT NOT NULL,
  token_hashes TEXT NOT NULL, document TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX jobs_by_age ON jobs (created, uuid);
CREATE INDEX jobs_by_owner ON jobs (owner, created, uuid);
CREATE INDEX jobs_by_state ON jobs (state, created, uuid);
CREATE TABLE labels (label TEXT NOT NULL, uuid TEXT NOT NULL, PRIMARY KEY (label, uuid)) WITHOUT ROWID;
CREATE INDEX labels_by_job ON labels (uuid);
CREATE TABLE events (uuid TEXT NOT NULL, n INTEGER NOT NULL, id TEXT NOT NULL, event TEXT NOT NULL,
  PRIMARY KEY (uuid, n)) WITHOUT ROWID;
CREATE UNIQUE INDEX events_once ON events (uuid, id);
CREATE TABLE outbox ("order" INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, job_uuid TEXT NOT NULL,
  owner TEXT NOT NULL, recipient TEXT NOT NULL, topic TEXT NOT NULL, state TEXT NOT NULL, next REAL NOT NULL,
  lease_until REAL NOT NULL, lease_by TEXT NOT NULL, settled TEXT NOT NULL, document TEXT NOT NULL);
CREATE INDEX outbox_by_job ON outbox (state, job_uuid, "order");
CREATE INDEX outbox_of_job ON outbox (job_uuid, "order");
CREATE INDEX outbox_by_recipient ON outbox (recipient, state, "order");
CREATE TABLE clusters (owner TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL, status TEXT NOT NULL,
  heard TEXT NOT NULL, PRIMARY KEY (owner, name)) WITHOUT ROWID;
CREATE TABLE accounts (name TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""

Migration = Callable[[sqlite3.Connection], None]


def statements(script: str) -> Iterator[str]:
    """The statements of a script (`executescript` would commit in the middle)."""
    yield from (part.strip() for part in script.split(";\n") if part.strip())


def _first(connection: sqlite3.Connection) -> None:
    for statement in statements(_SCHEMA):
        connection.execute(statement)


# MIGRATIONS[n] takes a file of version n to n + 1; version 0 is an empty file.
MIGRATIONS: tuple[Migration, ...] = (_first,)


class _Entry(NamedTuple):
    """A thread's connection; `guard` is held while it is used."""

    pid: int
    thread: threading.Thread
    connection: sqlite3.Connection
    guard: Any


class Database:
    """One file for any number of threads and processes."""

    def __init__(self, path: str, migrations: Sequence[Migration] = MIGRATIONS) -> None:
        self.path = path
        self._migrations = migrations
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: list[_Entry] = []
        with translated(path):
            self._prepare()

    def connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        return self._entry().connection

    def _entry(self) -> _Entry:
        entry: _Entry | None = getattr(self._local, "entry", None)
        return entry if entry is not None and entry.pid == os.getpid() else self._remember(self.fresh())

    def fresh(self) -> sqlite3.Connection:
        """A new connection, the caller's to close."""
        return sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)

    @contextlib.contextmanager
    def using(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection, which `close` in another thread does not close meanwhile."""
        entry = self._entry()
        with entry.guard:
            yield entry.connection

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock from its beginning; an exception rolls it back."""
        with translated(self.path), self.using() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # A full disk may have ended it already; left open, it would lock out everybody (sqlite.org/lang_transaction.html).
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of one query."""
        with translated(self.path), self.using() as connection:
            return connection.execute(sql, values).fetchall()

    def close(self) -> None:
        """Close this process's connections; one that a thread is using for longer than a few seconds stays open."""
        with self._lock:
            mine = [entry for entry in self._open if entry.pid == os.getpid()]
            self._open = [entry for entry in self._open if entry.pid != os.getpid()]
        for entry in mine:
            # SQLite crashes the process when a connection is closed under a thread that uses it.
            if entry.guard.acquire(timeout=CLOSING_SECONDS):
                try:
                    entry.connection.close()
                finally:
                    entry.guard.release()
        self._local = threading.local()

    def _remember(self, connection: sqlite3.Connection) -> _Entry:
        entry = _Entry(os.getpid(), threading.current_thread(), connection, threading.RLock())
        self._local.entry = entry
        with self._lock:
            kept = []
            for other in self._open:
                if other.pid == os.getpid() and not other.thread.is_alive():
                    other.connection.close()
                else:
                    # A connection from before a fork is kept: closing it here would be using it.
                    kept.append(other)
            self._open = [*kept, entry]
        return entry

    def _prepare(self) -> None:
        wanted = len(self._migrations)
        if os.path.exists(self.path) and _version(self.connection()) == wanted:
            return
        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        # Made private before SQLite can make it readable by others; -wal and -shm take its mode.
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        with locked(self.path + ".lock"):
            self._migrate(self.connection(), wanted)

    def _migrate(self, connection: sqlite3.Connection, wanted: int) -> None:
        found = _version(connection)
        if found > wanted:
            message = f"The database {self.path} is of version {found}, this program knows version {wanted}."
            raise StoreError(f"{message} Use the newer program.")
        if found == wanted:
            return
        connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if found:
            self._keep_copy(connection, found)
        connection.execute("BEGIN IMMEDIATE")
        try:
            for migration in self._migrations[found:]:
                migration(connection)
            connection.execute(f"PRAGMA user_version={wanted:d}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _keep_copy(self, connection: sqlite3.Connection, found: int) -> None:
        copy = f"{self.path}.v{found}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        os.close(os.open(copy, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        target = sqlite3.connect(copy)
        try:
            connection.backup(target)
        finally:
            target.close()


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


@contextlib.contextmanager
def translated(path: str) -> Iterator[None]:
    """SQLite's and the system's errors as StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"The database {path} cannot be used: {error}.") from error
    except OSError as error:
        raise StoreError(f"The database {path} cannot be used: {error.strerror or error}.") from error


assert len(MIGRATIONS) == SCHEMA_VERSION
