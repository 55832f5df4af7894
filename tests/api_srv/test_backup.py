import gzip
import json
import os
from pathlib import Path
from typing import Any

import mongomock
import pytest

from api_srv.services import backup
from api_srv.store.base import JobStore
from api_srv.store.mongo import MongoStore
from api_srv.store.sqlite import SqliteStore
from project.core import history
from project.core.errors import UserError

UUID = "503d3f77-a21b-4e52-86c4-eec0f0cd9c16"


@pytest.fixture
def store(tmp_path: Path) -> Any:
    store = SqliteStore.in_home(str(tmp_path / "home"))
    store.create(history.new_document(UUID, {"é": "\0"}), "hash", [history.make("server", 1, "note")])
    yield store
    store.close()


def test_it_carries_everything_to_the_other_store(store: JobStore, tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    assert backup.save(store, path) == {"job": 1}
    there = MongoStore(mongomock.MongoClient, "db")
    assert backup.restore(there, path) == {"job": 1}
    assert there.job(UUID) == store.job(UUID)
    assert there.events(UUID) == store.events(UUID)
    assert backup.restore(there, path) == {}


def test_a_damaged_file_changes_nothing(store: JobStore, tmp_path: Path) -> None:
    path = tmp_path / "file"
    backup.save(store, str(path))
    whole = path.read_bytes()
    lines = gzip.decompress(whole).splitlines(keepends=True)
    there = SqliteStore.in_home(str(tmp_path / "there"))
    head = json.loads(lines[0])
    for raw in (
        b"",
        b"text",
        whole[:-10],
        whole[: len(whole) // 2],
        whole[:30] + b"\0\0\0\0" + whole[34:],
        gzip.compress(b"".join(lines[:-1])),
        gzip.compress(b"[]\n"),
        gzip.compress(b'{"format": "other"}\n'),
        gzip.compress(json.dumps({**head, "version": 99}).encode() + b"\n" + b"".join(lines[1:])),
        gzip.compress(lines[0] + b"{}\n" + b"".join(lines[1:])),
        gzip.compress(lines[0] + b'{"kind": "other"}\n' + b"".join(lines[1:])),
    ):
        path.write_bytes(raw)
        with pytest.raises(UserError, match="cannot be restored"):
            backup.restore(there, str(path))
        assert there.job(UUID) is None
    there.close()


def test_a_backup_that_fails_leaves_the_old_one(
    store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    backup.save(store, str(path))
    before = path.read_bytes()

    def dump() -> Any:
        yield {"kind": "job"}
        raise OSError("no")

    monkeypatch.setattr(store, "dump", dump)
    with pytest.raises(OSError, match="no"):
        backup.save(store, str(path))
    assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["file", "home"]
