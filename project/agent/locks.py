"""Locks that work where flock does not: some parallel file systems are mounted without it."""

import contextlib
import errno
import os
import socket
import time
import uuid
from typing import Iterator, Optional, Tuple

from project.core import files

# What flock says on a file system that cannot lock (man 2 flock; Lustre without `-o flock` says ENOSYS).
UNSUPPORTED = frozenset((errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL))
# A lock file of another host that nobody refreshed for so long (seconds) is left over.
STALE = 3600.0


@contextlib.contextmanager
def held(path: str, wait: bool = True) -> Iterator[None]:
    """Hold the lock `path`. Raises files.Busy when `wait` is False and another process holds it."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(files.locked(path, wait))
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            stack.enter_context(_held_by_file(path + ".held", wait))
        yield


@contextlib.contextmanager
def held_soon(path: str, patience: float = 0.5) -> Iterator[None]:
    """Hold the lock `path`. Raises files.Busy when it is held all through `patience` seconds: a look at it (`is_held`) is not."""
    until = time.monotonic() + patience
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(held(path, wait=False))
                break
            except files.Busy:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
        yield


def is_held(path: str) -> bool:
    """True when another process (or another descriptor of this one) holds the lock now."""
    if not os.path.exists(path):
        return False
    try:
        with held(path, wait=False):
            return False
    except files.Busy:
        return True


@contextlib.contextmanager
def inherited(path: str) -> Iterator[Tuple[int, ...]]:
    """Hold the lock `path` by descriptors that a child shall inherit: it is held until both have ended.

    Where flock does not work there are no descriptors, and no such lock.
    """
    with contextlib.ExitStack() as stack:
        try:
            handle = stack.enter_context(files.locked(path))
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            yield ()
            return
        yield (handle,)


def refresh(path: str) -> None:
    """Say that the holder of a lock file still lives (other hosts cannot see the process)."""
    with contextlib.suppress(OSError):
        os.utime(path + ".held")


@contextlib.contextmanager
def _held_by_file(path: str, wait: bool) -> Iterator[None]:
    mine = "{} {} {} {}".format(socket.gethostname(), os.getpid(), _start_of(os.getpid()), uuid.uuid4().hex)
    while not _make(path, mine):
        _remove_if_stale(path)
        if _make(path, mine):
            break
        if not wait:
            raise files.Busy(path)
        time.sleep(0.05)
    try:
        yield
    finally:
        if files.read_text(path) == mine:
            os.unlink(path)


def _make(path: str, text: str) -> bool:
    """Make the file whole and only if there is none: a link to a file written aside."""
    aside = "{}.{}".format(path, uuid.uuid4().hex)
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, text.encode("utf-8"))
    finally:
        os.close(handle)
    try:
        os.link(aside, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(aside)
    return True


def _remove_if_stale(path: str) -> None:
    text = files.read_text(path)
    if text is None or not _is_stale(path, text):
        return
    aside = "{}.{}".format(path, uuid.uuid4().hex)
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return
    if files.read_text(aside) != text:
        # Somebody else was quicker and this is their new lock: give it back.
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
    os.unlink(aside)


def _is_stale(path: str, text: str) -> bool:
    host, pid, start = (text.split() + ["", "", ""])[:3]
    if host == socket.gethostname() and pid.isdigit():
        return _start_of(int(pid)) != start
    try:
        return time.time() - os.stat(path).st_mtime > STALE
    except FileNotFoundError:
        return False


def _start_of(pid: int) -> str:
    """When the process started (field 22 of man 5 proc, /proc/pid/stat); "gone" when there is none."""
    text = _proc_stat(pid)
    if text is not None:
        return text.rpartition(")")[2].split()[19]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        pass
    return "alive"


def _proc_stat(pid: int) -> Optional[str]:
    try:
        return files.read_text("/proc/{}/stat".format(pid))
    except OSError:
        return None
