"""Going on by itself: one small process on this machine tries the blocked submissions again, each at its time.

One per home folder, by a lock. It is started by a call that leaves a submission blocked, or by any later call that finds one
and nobody at work; it ends when nothing waits any more, or when the home folder is gone. It sleeps between the tries.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from project.core import files
from project.engine import unfinished

LOCK = "retrier.lock"
LOG = "retrier.log"
# Seconds between two looks at whether there is still something to wait for.
LOOK = 2.0
# Seconds of rest after a round that left something due, as when the API is away; doubles up to the longest.
REST, LONGEST = 5.0, 300.0
Round = Callable[[list[unfinished.Waiting]], None]


def ensure(home: Path, module: str) -> None:
    """Start one for `home` if something waits and nobody is at work: `python -m MODULE HOME`, detached."""
    if not unfinished.waiting(home):
        return
    try:
        with files.locked(str(home / LOCK), wait=False):
            pass
    except files.Busy:
        return
    import subprocess

    program = [sys.executable, "-m", module, str(home)]
    folder = Path(__file__).resolve().parents[2]
    with open(home / LOG, "wb") as log:
        # By way of a shell that ends at once: its parent is then the init process, nobody has to wait for it.
        subprocess.run(
            ["/bin/sh", "-c", '"$@" &', "sh", *program],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
            check=False,
        )


def serve(home: Path, work: Round) -> None:
    """Work until nothing waits. `work` gets what waits, and tries what is due."""
    while unfinished.waiting(home):
        try:
            with files.locked(str(home / LOCK), wait=False) as lock:
                os.ftruncate(lock, 0)
                os.pwrite(lock, b"%d\n" % os.getpid(), 0)
                _serve(home, work)
        except files.Busy:
            return
        # Something may have begun to wait after the last look, when its caller still saw us at work: look again.


def _serve(home: Path, work: Round) -> None:
    rest = REST
    while marks := unfinished.waiting(home):
        pause = marks[0].next - time.time()
        if pause > 0:
            time.sleep(min(pause, LOOK))
            continue
        work(marks)
        if not any(mark.next <= time.time() for mark in unfinished.waiting(home)):
            rest = REST
            continue
        _sleep(home, rest)
        rest = min(2 * rest, LONGEST)


def _sleep(home: Path, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and unfinished.waiting(home):
        time.sleep(min(LOOK, seconds))
