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
    process, url = start_wire(folder)
    try:
        yield url
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def start_wire(folder: Path) -> "tuple[subprocess.Popen[bytes], str]":
    """A server over what is in `folder`, the caller's to end, and its URL."""
    for _ in range(3):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        argv = [sys.executable, "-m", "secantus", "--host", "127.0.0.1", "--port", str(port), "--sync-on-commit"]
        argv += ["--storage-path", str(folder / "db"), "--log-level", "WARNING", "--cache-size", "128M"]
        with open(folder / "log", "ab") as log:
            process = subprocess.Popen(argv, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        if _answers(port, process):
            return process, f"mongodb://127.0.0.1:{port}/?directConnection=true"
        # Somebody else may have taken the port meanwhile: once more with another.
        process.kill()
        process.wait()
    raise RuntimeError(f"the wire server does not answer: {(folder / 'log').read_text()[-2000:]}")


def _answers(port: int, process: "subprocess.Popen[bytes]") -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return process.poll() is None
        time.sleep(0.05)
    return False


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
