"""Processes that the program leaves behind on purpose."""

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

from project.core import files
from project.engine import retrier


def retrier_works(home: Path) -> bool:
    """True while a process goes on with the blocked submissions of `home`."""
    if not (home / retrier.LOCK).exists():
        return False
    with contextlib.suppress(files.Busy), files.locked(str(home / retrier.LOCK), wait=False):
        return False
    return True


def stop_retrier(home: Path) -> None:
    """End it, if there is one, by its own pid; nothing waits any more, so that none is started again."""
    shutil.rmtree(home / "submitting", ignore_errors=True)
    deadline = time.monotonic() + 30
    while retrier_works(home) and time.monotonic() < deadline:
        text = (home / retrier.LOCK).read_text().strip()
        if text:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(text), signal.SIGTERM)
        time.sleep(0.05)


def of_home(home: Path) -> list[int]:
    """Processes of this home's agents and local jobs, by their command lines."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry.name}/cmdline", "rb") as stream:
                words = stream.read().split(b"\0")
                if any(word == os.fsencode(home) or word.startswith(os.fsencode(f"{home}/")) for word in words):
                    found.append(int(entry.name))
    return [pid for pid in found if pid != os.getpid()]


def end_of_home(home: Path) -> None:
    """End all of them, each by its own pid."""
    stop_retrier(home)
    for pid in of_home(home):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
