"""The watcher: one process for each user and cluster that sees all living jobs to their end.

One round asks each workload manager once for all jobs. Rounds are a second apart while a job is young or something just
happened to it, up to a minute when nothing does; a touch of the bell file makes the next round happen at once. It carries on jobs
whose agent died, starts what is BLOCKED and due, runs postprocessing, repeats cancels until they are true, and has
events delivered. It can be killed at any time: all it knows is on disk.
"""

import contextlib
import os
import subprocess
import time
from typing import Any, Dict, List, Optional

from project.agent import control, locks, plans, runner, spawn, work
from project.agent.courier import Courier
from project.agent.folder import Folder, is_uuid
from project.agent.judge import Followed, Judge
from project.agent.names import last_lines, user
from project.core import files, process
from project.core.errors import JobferryError
from project.core.paths import Root

YOUNGEST, OLDEST = 1.0, 60.0
# The pause between rounds is this part of the time in which nothing happened.
PART = 0.1
TICK = 0.25
# Seconds for which an end that is not certain yet is looked at twice as often.
DOUBT = 3.0
CHILDREN = 4
CANCEL_EVERY = 30.0
CANCEL_AGAIN = 2.0
# A round may cost this part of the time at most: a query of 10,000 elements is not made every second.
LOAD = 0.25
# A job whose file system is away is taken off the list after this time (seconds); the next contact puts it there again.
AWAY = 30 * 24 * 3600.0
LOG_BYTES = 256 * 1024


class Watched:
    """A job on the list."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.report: Optional[Dict[str, Any]] = folder.request().get("report")
        self.followed = Followed(folder)
        self.record = folder.read()
        self.stamp: Any = None
        self.tried_at = -1e9
        self.tries = 0
        self.cancelled_at = -1e9

    def refresh(self) -> bool:
        """Read the record again if it changed; True when it did."""
        stamps = []
        for path in (self.folder.paths.events, self.folder.paths.record):
            with contextlib.suppress(OSError):
                found = os.stat(path)
                stamps.append((found.st_mtime_ns, found.st_size, found.st_ino))
        if stamps == self.stamp:
            return False
        self.record = self.folder.read()
        status = self.record.document.get("job_status") or {}
        # 10,000 elements have few different states.
        seen: Dict[str, str] = {}
        for name, values in status.items():
            status[name] = [seen.setdefault(value, value) for value in values]
        self.stamp = stamps
        return True


class Watcher:
    """The loop. `root` has its lock held by the caller."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.runner = runner.Runner(root.root)
        self.user = user()
        self.jobs: Dict[str, Watched] = {}
        self.judges: Dict[str, Judge] = {}
        self.children: Dict[str, "subprocess.Popen[bytes]"] = {}
        self.courier = Courier(self._wish, self.log)
        self.failures = 0
        # How many are on the list that cannot be watched now.
        self.waiting = 0
        self._bell = 0

    def run(self) -> None:
        """Rounds until nothing lives and nothing waits to be delivered."""
        while os.path.isdir(self.root.live):
            begin = time.monotonic()
            self._bell = self._bell_now()
            try:
                self.round()
            except Exception as error:
                # A full disk, a file system that is away: it is all there when it comes back. And a bug that one job
                # brings out must not end the watching of the others: it is in the log, and the next round is later.
                self.failures += 1
                self.log("{!r} {}".format(error, last_lines()))
            if not self.jobs and not self.children and not self.waiting:
                return
            cost = time.monotonic() - begin
            self._sleep(self.pause(cost))

    def round(self) -> None:
        """One look at everything. Raises OSError."""
        self._reap()
        self._list()
        for one in self._refreshed():
            one.followed.stirred = time.monotonic()
        self._cancel()
        self._judge()
        self._refreshed()
        self._carry_on()
        for uuid, one in list(self.jobs.items()):
            self._deliver(uuid, one)
        self.courier.wake()
        locks.refresh(self.root.watch_lock)
        files.write_atomic(self.root.looked, repr(time.time()), sync=False)

    def _refreshed(self) -> List[Watched]:
        """Read what changed; those that did. One that cannot be read stays as it was."""
        changed = []
        for uuid, one in self.jobs.items():
            try:
                if one.refresh():
                    changed.append(one)
            except (JobferryError, OSError, ValueError, KeyError, TypeError) as error:
                self.log("{}: {!r}".format(uuid, error))
        return changed

    def pause(self, cost: float) -> float:
        """Seconds until the next round, when the bell does not ring."""
        now = time.monotonic()
        times = [OLDEST]
        for one in self.jobs.values():
            if one.record.final:
                continue
            calm = max(YOUNGEST, (now - one.followed.stirred) * PART)
            plan = one.record.document.get("plan") or {}
            if work.needs_work(one.record) and plan.get("next"):
                calm = max(YOUNGEST, plans.seconds(plan["next"]) - time.time())
            elif one.followed.age.unresolved and one.followed.age.gone < DOUBT:
                # It is ending: the owner wants to know at once.
                calm = YOUNGEST / 2
            times.append(calm)
        return max(min(times), min(OLDEST, cost / LOAD), min(OLDEST, 2.0**self.failures if self.failures else 0.0))

    def log(self, text: str) -> None:
        """A line in the watcher's log, which never grows large. No secrets come here: messages name hosts and paths."""
        with contextlib.suppress(OSError):
            with open(self.root.watch_log, "a", encoding="utf-8", errors="backslashreplace") as stream:
                if stream.tell() > LOG_BYTES:
                    stream.truncate(0)
                stream.write("{} {}\n".format(plans.stamp(time.time()), text[:2000]))

    def _start(self, *words: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            runner.own_command() + list(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=True,
            env=process.clean_env(),
        )

    def _list(self) -> None:
        names = {name for name in os.listdir(self.root.live) if is_uuid(name)}
        for uuid, one in list(self.jobs.items()):
            if not one.folder.exists():
                self._forget(uuid)
                if self._removed(one.folder):
                    # By hand; there is nothing to do and nothing to say any more.
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(spawn.live_marker(self.root, uuid))
                    names.discard(uuid)
            elif uuid not in names:
                self._forget(uuid)
        self.waiting = 0
        for uuid in sorted(names - set(self.jobs)):
            marker = spawn.live_marker(self.root, uuid)
            folder = Folder(spawn.workdir_of(self.root, uuid), uuid)
            if folder.taken():
                try:
                    self.jobs[uuid] = Watched(folder)
                except (JobferryError, OSError, ValueError, KeyError) as error:
                    # Its folder is just being removed, or damaged; the others go on.
                    self.log("{}: {!r}".format(uuid, error))
                    self._wait_for(marker, AWAY)
            elif folder.exists() and locks.is_held(folder.paths.busy):
                self.waiting += 1
            else:
                # One that never arrived whole: whoever sends it again puts it on the list again.
                self._wait_for(marker, OLDEST if folder.exists() or self._removed(folder) else AWAY)

    def _wait_for(self, marker: str, seconds: float) -> None:
        """Leave a job that cannot be watched now on the list, for so long after it was put there."""
        if not self._older(marker, seconds):
            self.waiting += 1
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(marker)

    def _removed(self, folder: Folder) -> bool:
        """True when the job's folder is gone; a workdir of another place that is gone as a whole may only be unmounted."""
        workdir = folder.paths.workdir
        within = (workdir + "/").startswith(self.root.root.rstrip("/") + "/")
        return not os.path.lexists(folder.paths.folder) and (within or os.path.isdir(workdir))

    def _older(self, marker: str, seconds: float) -> bool:
        try:
            return time.time() - os.stat(marker).st_mtime > seconds
        except OSError:
            return False

    def _carry_on(self) -> None:
        now = time.monotonic()
        for uuid, one in self.jobs.items():
            if uuid in self.children or len(self.children) >= CHILDREN or not work.needs_work(one.record):
                continue
            due = plans.due(one.record.document.get("plan"), time.time())
            due = due or (work.cancel_wished(one.folder) and now - one.tried_at > CANCEL_EVERY)
            if not due or now - one.tried_at < min(OLDEST, 2.0**one.tries) or locks.is_held(one.folder.paths.busy):
                continue
            one.tried_at = now
            one.tries += 1
            self.children[uuid] = self._start("carry-on", self.root.root, one.folder.paths.workdir, uuid)

    def _reap(self) -> None:
        for uuid, child in list(self.children.items()):
            status = child.poll()
            if status is None:
                continue
            del self.children[uuid]
            if status:
                self.log("{}: carrying on ended with {}".format(uuid, status))
            elif uuid in self.jobs:
                self.jobs[uuid].tries = 0

    def _cancel(self) -> None:
        now = time.monotonic()
        for one in self.jobs.values():
            if one.record.final or work.needs_work(one.record) or now - one.cancelled_at < CANCEL_EVERY:
                continue
            if work.cancel_wished(one.folder):
                one.cancelled_at = now
                trouble = control.cancel_one(one.folder, self.runner)
                if trouble:
                    # Nobody has heard it: say it again soon.
                    one.cancelled_at = now - CANCEL_EVERY + CANCEL_AGAIN
                    self.log("{}: cancel: {}".format(one.folder.uuid, trouble))

    def _judge(self) -> None:
        by_manager: Dict[str, Dict[str, Followed]] = {}
        for uuid, one in self.jobs.items():
            if not one.record.final and not work.needs_work(one.record):
                by_manager.setdefault(one.followed.manager, {})[uuid] = one.followed
        deaf = False
        for manager, jobs in by_manager.items():
            judge = self.judges.setdefault(manager, Judge(self.runner, self.user, manager))
            judge.look(jobs, {uuid: self.jobs[uuid].record for uuid in jobs})
            if judge.trouble:
                self.log(judge.trouble)
            # Without the accounting the queue still tells of all that lives: no reason to look less often.
            deaf = deaf or judge.deaf
        self.failures = self.failures + 1 if deaf else 0

    def _deliver(self, uuid: str, one: Watched) -> None:
        if one.report:
            self.courier.put(one.folder, one.report, not one.record.final)
        if one.record.final and uuid not in self.children and self.courier.done(uuid):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(spawn.live_marker(self.root, uuid))
            self._forget(uuid)

    def _forget(self, uuid: str) -> None:
        self.jobs.pop(uuid, None)
        self.courier.drop(uuid)

    def _wish(self, folder: Folder) -> None:
        control.wish(folder)
        spawn.ring(self.root)

    def _bell_now(self) -> int:
        # Opened, not only looked at: that is what makes NFS ask the server (man 5 nfs, close-to-open).
        try:
            handle = os.open(self.root.bell, os.O_RDONLY)
        except OSError:
            return 0
        try:
            return os.fstat(handle).st_mtime_ns
        finally:
            os.close(handle)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(min(TICK, max(0.0, until - time.monotonic())))
            if self._bell_now() != self._bell:
                for one in self.jobs.values():
                    one.followed.stirred = time.monotonic()
                return
            if any(child.poll() is not None for child in self.children.values()):
                return
            if any(one.record.final and self.courier.done(uuid) for uuid, one in self.jobs.items()):
                return


def watch(root: str) -> int:
    """Watch until there is nothing to watch; 0 at once when somebody else does."""
    place = Root(root)
    while True:
        try:
            with locks.held_soon(place.watch_lock):
                # For people who look who it is; the lock itself is what counts.
                with open(place.watch_lock, "r+") as stream:
                    stream.write("{}\n".format(os.getpid()))
                    stream.truncate()
                Watcher(place).run()
        except files.Busy:
            return 0
        except FileNotFoundError:
            # The root is gone, and all jobs with it.
            return 0
        # A job that came while we left would wait for the next contact: look once more without the lock.
        try:
            if not any(is_uuid(name) for name in os.listdir(place.live)):
                return 0
        except OSError:
            return 0
