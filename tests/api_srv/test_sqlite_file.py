"""The embedded database's file: private, migrated with a copy kept, never of a newer version."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from api_srv.store import sqlite_file
from api_srv.store.base import StoreError
from api_srv.store.sqlite import SqliteStore
from api_srv.store.sqlite_file import MIGRATIONS, Database
from project.core import history

UUID = "503d3f77-a21b-4e52-86c4-eec0f0cd9c16"


def test_the_files_are_the_users_own(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        store = SqliteStore.in_home(str(tmp_path / "a" / "home"))
        store.put_cluster("", {"name": "c"})
    finally:
        os.umask(old)
    for path in (tmp_path / "a" / "home").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE((tmp_path / "a" / "home").stat().st_mode) == 0o700
    store.close()


def test_an_older_file_is_migrated_and_kept(tmp_path: Path) -> None:
    store = SqliteStore.in_home(str(tmp_path))
    store.create(history.new_document(UUID, {}), "")
    store.close()

    def second(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE jobs ADD COLUMN second TEXT DEFAULT 'x'")

    path = str(tmp_path / "jobferry.db")
    database = Database(path, (*MIGRATIONS, second))
    assert database.rows("SELECT second FROM jobs") == [("x",)]
    database.close()
    (copy,) = tmp_path.glob("jobferry.db.v1-*")
    kept = sqlite3.connect(copy)
    assert kept.execute("SELECT uuid FROM jobs").fetchall() == [(UUID,)]
    kept.close()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    Database(path, (*MIGRATIONS, second)).close()
    assert len(list(tmp_path.glob("jobferry.db.v1-*"))) == 1
    with pytest.raises(StoreError, match="version 2"):
        SqliteStore.in_home(str(tmp_path))


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    store = SqliteStore.in_home(str(tmp_path))
    store.create(history.new_document(UUID, {}), "")
    store.close()

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM jobs")
        connection.execute("no SQL")

    with pytest.raises(StoreError):
        Database(str(tmp_path / "jobferry.db"), (*MIGRATIONS, broken))
    store = SqliteStore.in_home(str(tmp_path))
    assert store.job(UUID) is not None
    store.close()


def test_many_make_the_file_at_once(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def make() -> None:
        try:
            store = SqliteStore.in_home(str(tmp_path / "home"))
            store.put_cluster("", {"name": "c"})
            store.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []


def test_what_is_no_database_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "jobferry.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises(StoreError, match=r"jobferry\.db"):
        SqliteStore.in_home(str(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        SqliteStore.in_home(str(tmp_path / "file" / "home"))


def test_connections_of_ended_threads_are_closed(tmp_path: Path) -> None:
    store = SqliteStore.in_home(str(tmp_path))
    for _ in range(10):
        thread = threading.Thread(target=store.ping)
        thread.start()
        thread.join()
    assert len(store.database._open) <= 3
    store.close()


def test_a_full_disk_is_said_so(tmp_path: Path) -> None:
    store = SqliteStore.in_home(str(tmp_path))
    pages = store.database.rows("PRAGMA page_count")[0][0]
    store.database.rows(f"PRAGMA max_page_count={pages + 2}")
    with pytest.raises(StoreError, match="full"):
        for number in range(100):
            store.put_cluster("", {"name": f"c{number}", "profile": "x" * 4000})
    assert store.clusters(("",)) is not None
    store.close()
    assert sqlite_file.BUSY_SECONDS == 30.0


def test_a_commit_that_fails_leaves_no_open_transaction(tmp_path: Path) -> None:
    def tables(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE parents (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE TABLE children (parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED)")

    database = Database(str(tmp_path / "x.db"), (tables,))
    database.connection().execute("PRAGMA foreign_keys=ON")
    for _ in range(2):
        with pytest.raises(StoreError, match="FOREIGN KEY"), database.write() as connection:
            connection.execute("INSERT INTO children VALUES (7)")
    with database.write() as connection:
        connection.execute("INSERT INTO parents VALUES (7)")
    assert database.rows("SELECT COUNT(*) FROM children") == [(0,)]
    database.close()


def test_a_full_database_is_said_and_works_again(tmp_path: Path) -> None:
    store = SqliteStore.in_home(str(tmp_path))
    connection = store.database.connection()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages + 5}")
    with pytest.raises(StoreError, match="full"):
        store.put_cluster("", {"name": "c", "profile": "x" * 1_000_000})
    connection.execute("PRAGMA max_page_count=1000000")
    store.put_cluster("", {"name": "c"})
    assert [one.document for one in store.clusters([""])] == [{"name": "c"}]
    store.close()


CLOSED_WHILE_USED = """
import sys, threading
from api_srv.store.base import StoreError
from api_srv.store.sqlite_file import Database

for number in range(30):
    database = Database(sys.argv[1])
    begun = threading.Event()

    def use(database=database, begun=begun):
        try:
            while True:
                with database.write() as connection:
                    connection.execute("INSERT OR REPLACE INTO secrets VALUES ('a', x'00')")
                    begun.set()
                database.rows("SELECT * FROM secrets, secrets, jobs")
        except StoreError:
            # It is closed: a message, not a crash.
            pass

    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    assert begun.wait(30)
    database.close()
    thread.join(30)
    assert not thread.is_alive()
print("done", flush=True)
"""


def test_a_database_that_is_closed_under_a_busy_thread_does_not_crash(tmp_path: Path) -> None:
    """A client that fails closes its database while its journal still writes; SQLite ended the process then."""
    code = [sys.executable, "-c", CLOSED_WHILE_USED, str(tmp_path / "x.sqlite")]
    done = subprocess.run(code, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["done"]), done.stderr[-2000:]
