"""Files that survive a crash: written aside and renamed, appended and synced, locked."""

import contextlib
import errno
import fcntl
import json
import os
import tempfile
from typing import Any, Iterator, Optional, Union


def write_atomic(path: str, data: Union[str, bytes], mode: int = 0o600, sync: bool = True) -> None:
    """Write `path` whole or not at all: aside in the same folder, synced, renamed over.

    Raises OSError; the old file is then as it was and nothing is left behind.
    """
    raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    folder = os.path.dirname(path) or "."
    handle, aside = tempfile.mkstemp(prefix=".", suffix=".aside", dir=folder)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            if sync:
                os.fsync(stream.fileno())
        os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise


def write_json(path: str, value: Any, mode: int = 0o600, sync: bool = True) -> None:
    """`write_atomic` of `value` as JSON."""
    write_atomic(path, json.dumps(value, sort_keys=True, indent=1) + "\n", mode, sync)


def read_json(path: str) -> Any:
    """The JSON value in `path`, None when there is no such file. Raises ValueError for broken JSON."""
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except FileNotFoundError:
        return None


def read_text(path: str) -> Optional[str]:
    """The text of `path`, None when there is no such file; undecodable bytes survive as surrogates."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def append_line(path: str, line: str, mode: int = 0o600) -> None:
    """Append one line in one write and sync it. A file that a crash left without its last newline gets it first."""
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, mode)
    try:
        end = os.lseek(handle, 0, os.SEEK_END)
        torn = end > 0 and os.pread(handle, 1, end - 1) != b"\n"
        raw = (("\n" if torn else "") + line + "\n").encode("utf-8", "surrogateescape")
        view = memoryview(raw)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)


class Busy(Exception):
    """Somebody else holds the lock."""


@contextlib.contextmanager
def locked(path: str, wait: bool = True) -> Iterator[int]:
    """Hold an exclusive flock on `path` (made if missing). Raises Busy when `wait` is False and it is held.

    The lock goes with the process (man 2 flock): a killed holder leaves nothing behind.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise Busy(path) from error
            raise
        yield handle
    finally:
        os.close(handle)
