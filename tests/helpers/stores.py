"""Every implementation of the store, each in a fresh database: what the contract suites run on."""

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from api_srv.store.base import JobStore

REAL_URL = os.environ.get("JOBFERRY_TEST_MONGO_URL", "")


def kinds() -> list[str]:
    """The stores that can be had here. Under CI the wire server must be there."""
    found = ["sqlite", "mongomock"]
    if importlib.util.find_spec("secantus") or os.environ.get("CI"):
        found.append("wire")
    return [*found, "mongod"] if REAL_URL else found


def shared_kinds() -> list[str]:
    """The stores that several processes can use at once."""
    return [kind for kind in kinds() if kind != "mongomock"]


@contextlib.contextmanager
def wire_server(folder: Path) -> Iterator[str]:
    """A wire-protocol server as a process of its own; the URL of its database server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Run from a file's path: the folder of the tests must not be on its module path.
    argv = (
        [sys.executable, "-P", "-m", "secantus"] if sys.version_info >= (3, 11) else [sys.executable, "-m", "secantus"]
    )
    argv += ["--host", "127.0.0.1", "--port", str(port), "--sync-on-commit", "--storage-path", str(folder / "db")]
    argv += ["--log-level", "WARNING", "--cache-size", "128M"]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(argv, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        _wait_for(port, process, folder / "log")
        yield f"mongodb://127.0.0.1:{port}/?directConnection=true"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"the wire server does not answer: {log.read_text()[-2000:]}")


@contextlib.contextmanager
def opener(kind: str, folder: Path, wire_url: Callable[[], str]) -> Iterator[Callable[[], JobStore]]:
    """A function that opens the same fresh database again and again."""
    if kind == "sqlite":
        from api_srv.store.sqlite import SqliteStore

        yield lambda: SqliteStore.in_home(str(folder / "home"))
        return
    from api_srv.store.mongo import MongoStore, open_mongo

    name = "t" + uuid.uuid4().hex[:12]
    if kind == "mongomock":
        import mongomock

        client = mongomock.MongoClient()
        yield lambda: MongoStore(lambda: client, name)
        return
    url = REAL_URL if kind == "mongod" else wire_url()
    try:
        yield lambda: open_mongo(url, name)
    finally:
        import pymongo

        with pymongo.MongoClient(url) as cleaner:
            cleaner.drop_database(name)
