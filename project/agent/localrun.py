"""The daemon of the built-in workload manager: starts waiting elements as CPUs are free, and sees how they end.

One for each root, by a lock. It can be killed at any time: a running element holds a lock of its own (`run.<index>`) and
writes its exit code there itself, so that the next daemon neither loses nor repeats it.
"""

import contextlib
import os
import select
import signal
import subprocess
import time
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

from project.agent import localwm, locks
from project.agent.localstore import LISTED, OVER, Job, Store
from project.core import files

# Seconds between SIGTERM and SIGKILL; seconds without work after which the daemon leaves; between two looks at
# elements that an earlier daemon started.
GRACE, IDLE, POLL = 3.0, 10.0, 0.2
# Seconds between two looks at what an element with a limit uses of the memory.
WEIGHED = 0.5
# The element holds the lock that is its stdin (moved to 9) and outlives SIGTERM to tell how the script ended.
_ELEMENT = r"""
exec 9>&0 </dev/null
echo "pid $$" >&9
trap : HUP INT TERM QUIT USR1 USR2 XCPU ALRM
/bin/sh "$1" 9>&-
code=$?
echo "exit $code" >&9
exit $code
"""

Key = Tuple[str, Optional[int]]


class _Running:
    """An element that runs: our child, or one of an earlier daemon's (`child` is None)."""

    def __init__(self, job: Job, index: Optional[int], started: float, child: Any) -> None:
        self.job = job
        self.index = index
        self.started = started
        self.child = child
        self.ending = ""
        self.warned = False
        self.kill_at: Optional[float] = None
        self.file = run_file(job, index)

    def gone(self) -> bool:
        if self.child is not None:
            return self.child.poll() is not None
        return not locks.is_held(self.file)

    def told(self, word: str) -> Optional[int]:
        for line in (files.read_text(self.file) or "").splitlines():
            if line.startswith(word + " ") and line[len(word) + 1 :].isdigit():
                return int(line[len(word) + 1 :])
        return None

    def warns_at(self) -> float:
        """When it is to be warned of its time limit."""
        limit, warning = self.job.job["limit"], self.job.job.get("signal")
        return self.started + limit - warning[1] if limit and warning and not self.warned else float("inf")

    def memory(self) -> int:
        """Bytes that its processes use."""
        return sum(_resident(one) for one in self._processes())

    def _processes(self) -> Iterator[int]:
        pid = self.child.pid if self.child is not None else self.told("pid")
        return iter(()) if pid is None or self.gone() else _session(pid)

    def send(self, number: int) -> None:
        """Send a signal to every process of its session."""
        for one in self._processes():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(one, number)


def run_file(job: Job, index: Optional[int]) -> str:
    return os.path.join(job.folder, "run" if index is None else "run.{}".format(index))


class Daemon:
    """All of it, for one root. Raises OSError when the disk does not take a row: the caller tries again."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.jobs: Dict[str, Job] = {}
        self.running: Dict[Key, _Running] = {}
        self.cpus = localwm.usable_cpus()

    def turn(self) -> bool:
        """One look at everything; True while there is work."""
        now = time.time()
        self._load()
        self._reap(now)
        for job in sorted(self.jobs.values(), key=lambda job: (-int(job.job.get("priority") or 0), int(job.id))):
            if not os.path.isdir(job.folder):
                del self.jobs[job.id]
                continue
            flags = set(job.flags())
            self._cancel(job, flags, now)
            self._start(job, flags, now)
            if job.over() and now - job.ended() > LISTED:
                self.store.retire(job)
                del self.jobs[job.id]
        return any(not job.over() for job in self.jobs.values())

    def wait(self) -> float:
        """Seconds until the next look if nothing rings."""
        times = [60.0]
        now = time.time()
        for one in self.running.values():
            limit = one.job.job["limit"]
            if one.child is None:
                times.append(POLL)
            if one.kill_at is not None:
                times.append(one.kill_at - now)
            elif limit:
                times.append(min(one.started + limit, one.warns_at()) - now)
            if one.job.job.get("memory"):
                times.append(WEIGHED)
        times += [job.waits_until() - now for job in self.jobs.values() if job.waits_until() > now]
        return max(0.01, min(times))

    def _load(self) -> None:
        for number in self.store.ids():
            if number in self.jobs:
                continue
            job = self.store.job(number)
            if job is None:
                continue
            for index, row in list(job.rows.items()):
                if row["s"] == "RUNNING":
                    self.running[number, index] = _Running(job, index, row["t"], None)
                elif row["s"] == "PENDING":
                    del job.rows[index]
            self.jobs[number] = job

    def _reap(self, now: float) -> None:
        for key, one in list(self.running.items()):
            limit = one.job.job["limit"]
            if one.gone():
                if os.path.isdir(one.job.folder):
                    self._end(key, one, now)
                else:
                    del self.running[key]
                continue
            if limit and now - one.started >= limit and not one.ending:
                self._stop(one, "TIMEOUT", now)
            elif now >= one.warns_at() and not one.ending:
                one.warned = True
                one.send(getattr(signal, "SIG" + one.job.job["signal"][0]))
            most = one.job.job.get("memory")
            if most and not one.ending and one.memory() > most:
                self._stop(one, "OUT_OF_MEMORY", now)
            if one.kill_at is not None and now >= one.kill_at:
                one.send(signal.SIGKILL)

    def _stop(self, one: _Running, why: str, now: float) -> None:
        one.ending = one.ending or why
        if one.kill_at is None:
            one.kill_at = now + GRACE
            one.send(signal.SIGTERM)

    def _end(self, key: Key, one: _Running, now: float) -> None:
        code = one.told("exit")
        if code is None and one.child is not None and one.child.returncode >= 0:
            # The disk was full: the element could not write it down, and we know it all the same.
            code = one.child.returncode
        row: Dict[str, Any] = {"i": one.index, "t": now, "e": round(now - one.started, 3), "c": code}
        if code is None and one.child is not None and one.child.returncode < 0:
            row["g"] = -one.child.returncode
        if one.ending:
            row["s"] = one.ending
            if one.ending == "CANCELLED":
                row["by"] = os.getuid()
        elif code is None and one.child is None and one.told("pid") is None:
            # The daemon died before the element began: it has not run.
            row = {"i": one.index, "s": "PENDING", "t": now}
        elif code is None:
            row["s"] = "FAILED" if "g" in row else "NODE_FAIL"
        else:
            row["s"] = "COMPLETED" if code == 0 else "FAILED"
        one.job.append(row)
        if row["s"] == "PENDING":
            del one.job.rows[one.index]
        del self.running[key]
        with contextlib.suppress(FileNotFoundError):
            os.unlink(one.file)

    def _cancel(self, job: Job, flags: Set[str], now: float) -> None:
        wished = [flag for flag in flags if flag.startswith("cancel")]
        if not wished or job.over():
            return
        for index in list(job.indices()):
            if "cancel" not in flags and "cancel.{}".format(index) not in flags:
                continue
            one = self.running.get((job.id, index))
            if one is not None:
                self._stop(one, "CANCELLED", now)
            elif job.state(index) not in OVER:
                job.append({"i": index, "s": "CANCELLED", "t": now, "e": 0, "by": os.getuid()})

    def _start(self, job: Job, flags: Set[str], now: float) -> None:
        if "hold" in flags or "cancel" in flags or len(job.rows) >= job.count or now < job.waits_until():
            return
        cpus = self._needs(job)
        for index in job.indices():
            if index in job.rows or flags & {"hold.{}".format(index), "cancel.{}".format(index)}:
                continue
            busy = sum(self._needs(one.job) for one in self.running.values())
            beside = sum(one.job.id == job.id for one in self.running.values())
            if (busy and busy + cpus > self.cpus) or beside >= job.throttle:
                return
            self._launch(job, index, now)

    def _needs(self, job: Job) -> int:
        cpus = int(job.job["cpus"])
        return max(cpus, self.cpus) if job.job.get("exclusive") else cpus

    def _launch(self, job: Job, index: Optional[int], now: float) -> None:
        env = dict(job.job["env"], JOBFERRY_LOCAL_ID=job.id, JOBFERRY_LOCAL_RESTARTS="0")
        if index is not None:
            env["JOBFERRY_LOCAL_INDEX"] = str(index)
        job.append({"i": index, "s": "RUNNING", "t": now})
        path = run_file(job, index)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with locks.inherited(path) as handles:
            handle = handles[0] if handles else os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                with open(job.job["output"], "ab") as output:
                    child: Any = subprocess.Popen(
                        ["/bin/sh", "-c", _ELEMENT, "sh", job.job["script"]],
                        stdin=handle,
                        stdout=output,
                        stderr=output,
                        cwd=job.job["cwd"],
                        env=env,
                        close_fds=True,
                        start_new_session=True,
                    )
            except OSError:
                # Its folder is gone: as if its first command had not been found.
                job.append({"i": index, "s": "FAILED", "t": now, "e": 0, "c": 127})
                return
            finally:
                if not handles:
                    os.close(handle)
        self.running[job.id, index] = _Running(job, index, now, child)


def main(root: str) -> int:
    """Run until nothing is left to do; 0 at once when another daemon runs."""
    store = Store(root)
    store.make()
    while True:
        try:
            with locks.held_soon(store.daemon_lock):
                _serve(store)
        except files.Busy:
            return 0
        # A job that came while we left would wait for ever: look once more without the lock.
        if all(localwm.over(store, number) for number in store.ids()):
            return 0


def _serve(store: Store) -> None:
    ring_read, ring_write = os.pipe()
    os.set_blocking(ring_write, False)
    os.set_blocking(ring_read, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(ring_write)
    pipe = os.open(store.pipe, os.O_RDWR | os.O_NONBLOCK)
    daemon = Daemon(store)
    store.purge(time.time())
    idle_since = time.monotonic()
    try:
        while time.monotonic() - idle_since < IDLE and os.path.isdir(store.folder):
            try:
                busy, wait = daemon.turn(), daemon.wait()
            except OSError:
                if not os.path.isdir(store.folder):
                    # Everything was removed: nobody will ever ask.
                    return
                # No room for a row: nothing was started or ended by it; try again.
                busy, wait = True, 1.0
            if busy:
                idle_since = time.monotonic()
            _sleep([ring_read, pipe], min(wait, 60.0 if busy else 1.0))
    finally:
        signal.set_wakeup_fd(-1)
        for handle in (ring_read, ring_write, pipe):
            os.close(handle)


def _sleep(handles: List[int], seconds: float) -> None:
    ready, _, _ = select.select(handles, [], [], seconds)
    for handle in ready:
        with contextlib.suppress(BlockingIOError):
            os.read(handle, 65536)


def _session(leader: int) -> Iterator[int]:
    """Every process of the session (field 6 of man 5 proc, /proc/pid/stat)."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                text = files.read_text("/proc/{}/stat".format(name)) or ""
                if text.rpartition(")")[2].split()[3] == str(leader):
                    yield int(name)


def _resident(pid: int) -> int:
    """Bytes of memory of a process (field 2 of man 5 proc, /proc/pid/statm, in pages); 0 for one that is gone."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int((files.read_text("/proc/{}/statm".format(pid)) or "").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
