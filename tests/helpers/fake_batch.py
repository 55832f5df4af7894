"""What the fake PBS and the fake LSF share: jobs in a folder, each with a process of its own that waits its turn and then runs
the script for real. No daemon. The programs themselves are in `fake_pbs` and `fake_lsf`.

Files in the folder change what happens: `slots` (how many run at once, 4 when missing), `down` (the server does not answer),
`mute` (the next submission is accepted, and its answer lost).
"""

import contextlib
import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

TESTS = str(Path(__file__).resolve().parents[1])
TURN = 0.03
# Seconds between the first and the last signal to a job that shall end.
GRACE = 1.0


def program(module, name, *words):
    """A command line that runs `main` of a module of these helpers."""
    text = f"import sys; sys.path.insert(0, {TESTS!r}); from helpers.{module} import main; sys.exit(main(sys.argv[1:]))"
    return [sys.executable, "-E", "-s", "-S", "-c", text, name, *words]


class Store:
    """The jobs: `jobs/<id>.json`, of an array `jobs/<id>.<index>.json` each."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.jobs = self.folder / "jobs"
        self.jobs.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def lock(self):
        with open(self.folder / "lock", "w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def flag(self, name):
        return (self.folder / name).exists()

    def take(self, name):
        """True once for a file that is there."""
        try:
            (self.folder / name).unlink()
        except FileNotFoundError:
            return False
        return True

    def read(self, key):
        return json.loads((self.jobs / f"{key}.json").read_text())

    def write(self, key, job):
        aside = self.jobs / f"{key}.new"
        aside.write_text(json.dumps(job))
        aside.rename(self.jobs / f"{key}.json")

    def every(self):
        """Key → job, in the order of submission."""
        keys = [path.name[: -len(".json")] for path in self.jobs.glob("*.json")]
        keys.sort(key=lambda key: [int(part) for part in key.split(".")])
        return {key: self.read(key) for key in keys}

    def change(self, key, **fields):
        with self.lock():
            self.write(key, {**self.read(key), **fields})

    def add(self, module, text, indices, **fields):
        """A new job; its id. Each element is started by a process of its own, which may have to wait."""
        with self.lock():
            known = [int(key.split(".")[0]) for key in self.every()]
            number = max([100, *known]) + 1
            script = self.folder / f"script.{number}"
            script.write_text(text)
            keys = [f"{number}.{index}" for index in indices] if indices is not None else [str(number)]
            for key, index in zip(keys, indices if indices is not None else [None]):
                job = {"id": number, "index": index, "state": "waiting", "held": False, "deleted": "", "code": None}
                job.update(fields, script=str(script), why="", started=None, pid=None)
                self.write(key, job)
        for key in keys:
            words = program(module, "run", str(self.folder), key)
            subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        return number

    def slots(self):
        path = self.folder / "slots"
        return int(path.read_text()) if path.exists() else 4

    def may_run(self, key, job):
        """True when it is this one's turn."""
        if job["held"] or time.time() < (job.get("begin") or 0):
            return False
        running = [other for other in self.every().values() if other["state"] == "running"]
        brothers = [other for other in running if other["id"] == job["id"]]
        throttle = job.get("throttle")
        return len(running) < self.slots() and (throttle is None or len(brothers) < throttle)


def run(store, key, env, signals):
    """The life of one job: wait, run, end. `env(job)` is its environment; `signals` are what ends one too long or deleted."""
    process = None
    while process is None:
        with store.lock():
            job = store.read(key)
            if job["deleted"]:
                store.write(key, {**job, "state": "done", "why": "deleted"})
                return
            if store.may_run(key, job):
                process = _start(store, key, job, env)
        if process is None:
            time.sleep(TURN)
    deadline = time.monotonic() + (job.get("walltime") or 1e9)
    why, sent, at = "", 0, 0.0
    while process.poll() is None:
        if not why:
            why = "deleted" if store.read(key)["deleted"] else "walltime" if time.monotonic() > deadline else ""
        if why and sent < len(signals) and time.monotonic() >= at:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signals[sent])
            sent, at = sent + 1, time.monotonic() + GRACE
        time.sleep(TURN)
    code = process.returncode
    store.change(key, state="done", why=why, code=code, ended=time.time())


def _start(store, key, job, env):
    home = store.folder / "home"
    home.mkdir(exist_ok=True)
    with open(store.folder / f"spool.{key}", "wb") as spool:
        process = subprocess.Popen(
            ["/bin/sh", job["script"]],
            cwd=home,
            env={"PATH": os.environ["PATH"], "HOME": str(home), **env(job)},
            stdin=subprocess.DEVNULL,
            stdout=spool,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    store.write(key, {**job, "state": "running", "pid": process.pid, "started": time.time()})
    return process


class FakeBatch:
    """The programs of a workload manager in `folder`/bin, its jobs in `folder`/state."""

    module = ""
    programs = ()
    cluster: dict = {}

    def __init__(self, folder, *words):
        self.state = folder / "state"
        self.store = Store(self.state)
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in self.programs:
            place = self.bin / name
            line = " ".join(shlex.quote(word) for word in program(self.module, name, str(self.state), *words))
            place.write_text(f'#!/bin/sh\nexec {line} "$@"\n')
            place.chmod(0o755)

    @property
    def env(self):
        return {"PATH": "{}:{}".format(self.bin, os.environ["PATH"])}

    def call(self, name, *words, text=None):
        """One program, as a user would run it."""
        return subprocess.run(
            [name, *words],
            env={**os.environ, **self.env},
            cwd=self.state,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=60,
            check=False,
        )

    def set(self, name, text="\n"):
        aside = self.state / ("new." + name)
        aside.write_text(text)
        aside.rename(self.state / name)

    def unset(self, name):
        (self.state / name).unlink()

    @property
    def jobs(self):
        return self.store.every()

    def close(self):
        """End what still runs; what waits sees that it is deleted."""
        (self.state / "slots").write_text("0")
        for key, job in self.jobs.items():
            if job["state"] != "done":
                self.store.change(key, deleted="close")
        end = time.monotonic() + 20
        while any(job["state"] != "done" for job in self.jobs.values()) and time.monotonic() < end:
            time.sleep(TURN)


TERM, INT, KILL, USR2 = signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGUSR2
