r"""What the built-in workload manager keeps on disk, and how it reads.

`<root>/local/`::

    lock, next            one number after the other
    daemon                lock of the daemon (`localrun`) that starts and ends the jobs
    wake                  named pipe: a byte in it makes the daemon look at once
    jobs/<id>/job.json    the job as submitted; never changes
    jobs/<id>/rows        what became of it: one JSON object a line, written by the daemon alone
    jobs/<id>/<flag>      wishes: `cancel`, `cancel.<index>`, `hold`, `hold.<index>`
    jobs/<id>/run.<index> held by the running element (flock), with `pid N` and at its end `exit N` in it
    done/<id>/            the same, after the job has been over for a while

A row is `{"i": index or null, "s": state, "t": time, "c": exit code, "g": signal, "e": elapsed, "by": uid}`.
"""

import contextlib
import json
import os
import shutil
import time
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from project.agent import locks
from project.core import files
from project.core.paths import Root
from project.core.resources import parse_array

Row = Dict[str, Any]
OVER = frozenset(("COMPLETED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "CANCELLED", "NODE_FAIL"))
# How long (seconds) an ended job is listed in `queue`, and how long its record is kept.
LISTED, KEPT = 300.0, 30 * 24 * 3600.0


class Job:
    """One job: what was submitted, and the last row of each element."""

    def __init__(self, folder: str, job: Dict[str, Any]) -> None:
        self.folder = folder
        self.job = job
        array = job["array"]
        # A number of elements is what an older agent wrote.
        text = "0-{}".format(array - 1) if isinstance(array, int) else array
        self.array = None if text is None else parse_array(text)
        self._indices: Sequence[Optional[int]] = [None] if self.array is None else self.array.indices()
        self.rows: Dict[Optional[int], Row] = {}
        self._read = 0
        self.update()

    @property
    def id(self) -> str:
        return str(self.job["id"])

    @property
    def count(self) -> int:
        """Number of elements; a job that is no array has one."""
        return len(self._indices)

    @property
    def throttle(self) -> int:
        """How many elements may run at once."""
        return (self.array.throttle if self.array else None) or self.count

    def indices(self) -> Sequence[Optional[int]]:
        return self._indices

    def waits_until(self) -> float:
        """Not before this moment may it start."""
        return float(self.job.get("begin") or 0)

    def update(self) -> None:
        """Read the rows that came since the last time."""
        try:
            stream = open(os.path.join(self.folder, "rows"), "rb")
        except FileNotFoundError:
            return
        with stream:
            stream.seek(self._read)
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                with contextlib.suppress(ValueError):
                    row = json.loads(line.decode("ascii"))
                    self.rows[row["i"]] = row

    def append(self, row: Row) -> None:
        """Write a row, then know it. Raises OSError."""
        files.append_line(os.path.join(self.folder, "rows"), json.dumps(row))
        self.update()

    def state(self, index: Optional[int]) -> str:
        row = self.rows.get(index)
        return str(row["s"]) if row else "PENDING"

    def over(self) -> bool:
        return len(self.rows) >= self.count and all(row["s"] in OVER for row in self.rows.values())

    def ended(self) -> float:
        """When the last element ended."""
        return float(max([row["t"] for row in self.rows.values()] + [self.job["time"]]))

    def wished(self, what: str, index: Optional[int]) -> bool:
        """True when the whole job or this element has the flag."""
        names = [what] if index is None else [what, "{}.{}".format(what, index)]
        return any(os.path.exists(os.path.join(self.folder, name)) for name in names)

    def flags(self) -> List[str]:
        return [name for name in os.listdir(self.folder) if name.partition(".")[0] in ("cancel", "hold")]

    def lines(self, now: float) -> Iterator[Row]:
        """What `queue` and `history` print of it; elements that wait alike are one line."""
        flags = set(self.flags())
        early = now < self.waits_until()
        waiting: Dict[str, List[int]] = {}
        for index in self.indices():
            row = self.rows.get(index)
            if row and row["s"] != "PENDING":
                yield self._line(index, row, now)
                continue
            state = "HELD" if flags & {"hold", "hold.{}".format(index)} else "PENDING"
            if index is None:
                yield self._line(None, {"s": state, "t": now, "e": 0}, now, early)
            else:
                waiting.setdefault(state, []).append(index)
        for state, indices in sorted(waiting.items()):
            yield dict(self._line(None, {"s": state, "t": now, "e": 0}, now, early), span=_span(indices))

    def _line(self, index: Optional[int], row: Row, now: float, early: bool = False) -> Row:
        job = self.job
        elapsed = row["e"] if "e" in row else now - row["t"]
        return {
            "id": self.id,
            "index": index,
            "name": job["name"],
            "state": row["s"],
            "reason": {"HELD": "JobHeldUser", "PENDING": "BeginTime" if early else "Resources"}.get(row["s"], ""),
            "exit_code": row.get("c"),
            "signal": row.get("g"),
            "restarts": 0,
            "elapsed": int(max(0, elapsed)),
            "cpus": job["cpus"],
            "workdir": job["cwd"],
            "node": job["node"],
            "cancelled_by": row.get("by"),
            "uid": job["uid"],
        }


def _span(indices: List[int]) -> str:
    parts: List[Tuple[int, int]] = []
    for index in indices:
        if parts and parts[-1][1] == index - 1:
            parts[-1] = (parts[-1][0], index)
        else:
            parts.append((index, index))
    return ",".join(str(first) if first == last else "{}-{}".format(first, last) for first, last in parts)


class Store:
    """All jobs of one root."""

    def __init__(self, root: str) -> None:
        self.folder = Root(root).local
        self.daemon_lock = os.path.join(self.folder, "daemon")
        self.pipe = os.path.join(self.folder, "wake")
        self._jobs = os.path.join(self.folder, "jobs")
        self._done = os.path.join(self.folder, "done")

    def make(self) -> None:
        """Make the folders. Idempotent. Raises OSError."""
        for path in (self._jobs, self._done):
            os.makedirs(path, mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(self.pipe, 0o600)

    def add(self, job: Dict[str, Any]) -> str:
        """Take a job in; its id. It is there whole or not at all. Raises OSError."""
        self.make()
        counter = os.path.join(self.folder, "next")
        with locks.held(os.path.join(self.folder, "lock")):
            number = int(files.read_text(counter) or 1)
            files.write_atomic(counter, str(number + 1))
        aside = os.path.join(self.folder, "new.{}".format(number))
        os.mkdir(aside, 0o700)
        files.write_json(os.path.join(aside, "job.json"), dict(job, id=str(number), time=time.time()))
        os.rename(aside, os.path.join(self._jobs, str(number)))
        return str(number)

    def ids(self) -> List[str]:
        """Jobs that live or ended a moment ago, in the order of their submission."""
        try:
            names = os.listdir(self._jobs)
        except FileNotFoundError:
            return []
        return sorted((name for name in names if name.isdigit()), key=int)

    def all_ids(self) -> List[str]:
        """Also those that were over long ago."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(set(self.ids()) | {name for name in os.listdir(self._done) if name.isdigit()}, key=int)
        return self.ids()

    def job(self, number: str) -> Optional[Job]:
        """The job with this id, None when there is none."""
        for place in (self._jobs, self._done):
            folder = os.path.join(place, number)
            job = files.read_json(os.path.join(folder, "job.json")) if number.isdigit() else None
            if job is not None:
                return Job(folder, job)
        return None

    def retire(self, job: Job) -> None:
        """Put an ended job out of the way of `queue`."""
        os.rename(job.folder, os.path.join(self._done, job.id))

    def purge(self, now: float) -> None:
        """Forget jobs that were over long ago."""
        for name in os.listdir(self._done):
            folder = os.path.join(self._done, name)
            if now - os.stat(folder).st_mtime > KEPT:
                shutil.rmtree(folder, ignore_errors=True)

    def wake(self) -> None:
        """Make a running daemon look at once."""
        with contextlib.suppress(OSError):
            handle = os.open(self.pipe, os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(handle, b"!")
            finally:
                os.close(handle)
