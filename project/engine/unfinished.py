"""Submissions that are not over on this machine: the same command goes on with one instead of making a second job.

While a submission runs, a file `submitting/<uuid>` in the home folder is there and locked; it tells which call it was. It
goes when the submission is over, well or badly. One that is there and not locked belongs to a call that died or lost its
connection; if its plan says that it goes on by itself, it also tells when, and which clusters may take the job.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from project.core import files
from project.core.errors import UserError

# Seconds to wait for a try that somebody else makes at the same moment.
PATIENCE = 60.0
_PAUSE = 0.1


class Held(UserError):
    """Somebody else on this machine goes on with the submission right now."""


class Waiting(NamedTuple):
    """A submission that goes on by itself. `next` is in seconds since the epoch."""

    uuid: str
    next: float
    clusters: tuple[str, ...]


class Mark:
    """The mark of one submission, held by this process."""

    def __init__(self, home: Path, uuid: str, digest: str = "", handle: int = -1) -> None:
        self._path = _folder(home) / uuid
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._handle = os.open(self._path, _FLAGS, 0o600) if handle < 0 else handle
        self._digest = digest
        if handle < 0:
            fcntl.flock(self._handle, fcntl.LOCK_EX)
            self._write({})

    def _write(self, more: dict[str, Any]) -> None:
        # In place: the lock is on this very file.
        raw = json.dumps({"digest": self._digest, **more}).encode("ascii")
        os.pwrite(self._handle, raw, 0)
        os.ftruncate(self._handle, len(raw))

    def waits(self, moment: float, clusters: Sequence[str]) -> None:
        """It goes on by itself at `moment`, or when one of `clusters` answers."""
        self._write({"next": moment, "clusters": list(clusters)})

    def rests(self) -> None:
        """It goes on when a person says so."""
        self._write({})

    def keep(self) -> None:
        """The call ends, the submission is not over."""
        if not os.fstat(self._handle).st_size:
            # There was no mark, and nothing was said since.
            self.clear()
            return
        os.close(self._handle)

    def clear(self) -> None:
        """The submission is over."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        os.close(self._handle)


_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


def take(home: Path, uuid: str, patience: float = PATIENCE) -> Mark:
    """Hold the mark of a submission to go on with, made if it is missing. Raises Held after `patience` seconds."""
    path = _folder(home) / os.path.basename(uuid)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    until = time.monotonic() + patience
    while True:
        handle = os.open(path, _FLAGS, 0o600)
        if _locked(handle):
            if _same(handle, path):
                return Mark(home, path.name, str(_read(path).get("digest") or ""), handle)
            # Who held it took it away: there is another one, or none.
            os.close(handle)
            continue
        os.close(handle)
        if time.monotonic() > until:
            raise Held(
                f"Another call on this machine is submitting job {uuid} right now.",
                f"Follow it with `watch {uuid[:8]}`.",
            )
        time.sleep(_PAUSE)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
            return False
        os.close(handle)
        raise
    return True


def _same(handle: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(handle)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def digest(data: dict[str, Any], file: str, modules_file: str, policy: str) -> str:
    """What makes a call the same call: its input with every option in it, its files' names. `data` holds no secret."""
    whole = json.dumps([data, os.path.abspath(file), modules_file, policy], sort_keys=True, default=str)
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()


def find(home: Path, wanted: str) -> str:
    """The UUID of a submission by the same call that was cut off, "" when there is none; the oldest first.

    One that goes on by itself counts as cut off also in the moment when it does.
    """
    for path in _marks(home):
        mark = _read(path)
        if mark.get("digest") == wanted and (mark.get("next") or not _is_held(path)):
            return path.name
    return ""


def waiting(home: Path) -> list[Waiting]:
    """The submissions that go on by themselves, the next one first."""
    found = []
    for path in _marks(home):
        mark = _read(path)
        if isinstance(mark.get("next"), int | float):
            found.append(Waiting(path.name, float(mark["next"]), tuple(map(str, mark.get("clusters") or ()))))
    return sorted(found, key=lambda mark: mark.next)


def forget(home: Path, uuid: str) -> None:
    """There is nothing to go on with."""
    with contextlib.suppress(FileNotFoundError):
        (_folder(home) / os.path.basename(uuid)).unlink()


def _marks(home: Path) -> list[Path]:
    try:
        with os.scandir(_folder(home)) as entries:
            paths = [entry.path for entry in entries if not entry.name.startswith(".")]
    except FileNotFoundError:
        return []
    found = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            found.append((os.stat(path).st_mtime, path))
    return [Path(path) for _, path in sorted(found)]


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(files.read_text(str(path)) or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _is_held(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    free = _locked(handle)
    os.close(handle)
    return not free


def _folder(home: Path) -> Path:
    return home / "submitting"
