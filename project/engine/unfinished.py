"""Submissions that were cut off on this machine: the same command goes on with one instead of making a second job.

While a submission runs, a file `submitting/<uuid>` in the home folder is there and locked; its content tells which call it was.
It goes when the submission is over, well or badly. One that is there and not locked belongs to a call that died, or that
lost its connection.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from project.core import files


class Mark:
    """The mark of one running submission."""

    def __init__(self, home: Path, uuid: str, digest: str) -> None:
        self._path = _folder(home) / uuid
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write_atomic(str(self._path), digest + "\n", sync=False)
        self._handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._handle, fcntl.LOCK_EX)

    def keep(self) -> None:
        """The call ends, the submission is not over."""
        os.close(self._handle)

    def clear(self) -> None:
        """The submission is over."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        os.close(self._handle)


def digest(data: dict[str, Any], file: str, modules_file: str, policy: str) -> str:
    """What makes a call the same call: its input with every option in it, its files' names."""
    whole = json.dumps([data, os.path.abspath(file), modules_file, policy], sort_keys=True, default=str)
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()


def find(home: Path, wanted: str) -> str:
    """The UUID of a submission by the same call that was cut off, "" when there is none; the oldest first."""
    folder = _folder(home)
    try:
        names = sorted(os.listdir(folder), key=lambda name: os.stat(folder / name).st_mtime)
    except FileNotFoundError:
        return ""
    for name in names:
        if not name.startswith(".") and _matches(folder / name, wanted):
            return name
    return ""


def forget(home: Path, uuid: str) -> None:
    """There is nothing to go on with."""
    with contextlib.suppress(FileNotFoundError):
        (_folder(home) / uuid).unlink()


def _matches(path: Path, wanted: str) -> bool:
    if (files.read_text(str(path)) or "").strip() != wanted:
        return False
    try:
        with files.locked(str(path), wait=False):
            return True
    except files.Busy:
        return False


def _folder(home: Path) -> Path:
    return home / "submitting"
