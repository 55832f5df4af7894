"""A client that talks to a real agent process over pipes, in frames, as the engine does over SSH."""

import io
import os
import subprocess
import sys
import tarfile
import time
import uuid as uuid_module
from pathlib import Path

from project.core import protocol
from project.core.paths import JobPaths

TREE = Path(__file__).resolve().parents[2]
# Where pyenv keeps a Python 3.6; a machine without one tries the newer one alone (vermin keeps the floor there).
_OLDEST = sorted(Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv").glob("versions/3.6.*/bin/python"))
# The interpreters that are here: the one that runs the tests, and the oldest one supported if there is one.
PYTHONS = [sys.executable] + [str(path) for path in _OLDEST[-1:]]
LOCAL = {"name": "local", "workload_manager": "local"}
# Seconds; a machine may be busy with much else, and only what fails waits for it.
DEADLINE = 60.0

_START = "import sys; sys.path.insert(0, {!r}); {}; from project.agent.__main__ import main; sys.exit(main())"
# An agent that takes the accounting for quick and loses its patience early, so that a test need not wait.
QUICK = "import os; exec(os.environ['QUICK'])"
QUICK_ENV = {
    "QUICK": """
import project.agent.native, project.agent.control, project.agent.plans, project.agent.runner
project.agent.native.ACCOUNTING_LAG = 0.2
project.agent.control.PATIENCE = 1.0
project.agent.plans.FIRST = 0.3
# What it starts shall be quick too.
project.agent.runner._RUN_FROM_FOLDER = {!r}
""".format(_START.replace("{};", QUICK + ";"))
}


def command(python=sys.executable, first="pass"):
    """The agent's command line; `first` is Python that runs before it."""
    return [python, "-E", "-s", "-S", "-c", _START.format(str(TREE), first)]


def new_uuid():
    return str(uuid_module.uuid4())


def until(check, what="", seconds=DEADLINE):
    """Wait until `check()` is true, and give back what it said."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < end, "waited {} s for {}".format(seconds, what or check)
        time.sleep(0.02)


def tar(entries):
    """A tar stream of {name: bytes | (bytes, mode) | None (a folder) | "->target" (a link)}."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as archive:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.mode = 0o644
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content[2:]
            else:
                data, info.mode = content if isinstance(content, tuple) else (content, 0o644)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
                continue
            archive.addfile(info)
    return buffer.getvalue()


class Agent:
    """One agent process that serves us."""

    def __init__(self, root, python=sys.executable, env=None, first="pass"):
        self.root = Path(root)
        self.process = subprocess.Popen(
            command(python, first) + ["serve", str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(os.environ, **QUICK_ENV, **(env or {})),
        )
        self.heard = []
        self.hello = self.read()[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def read(self):
        header, payload = protocol.read(self.process.stdout)
        self.heard.append((header, payload))
        return header, payload

    def send(self, header, payload=b""):
        protocol.write(self.process.stdin, header, payload)

    def ask(self, op, upload=None, **fields):
        """The result or the error; what came before it is in `heard`."""
        self.heard = []
        self.send(dict(fields, op=op, **({"upload": True} if upload is not None else {})))
        if upload is not None:
            for start in range(0, len(upload), 65536):
                self.send({"type": "data"}, upload[start : start + 65536])
            self.send({"type": "end"})
        while True:
            header, _ = self.read()
            if header["type"] in ("result", "error"):
                return header

    def submit(self, uuid, execution, upload=None, cluster=LOCAL, modules=None, report=None, source=None, **spec):
        data = {"destination_cluster": cluster["name"], "job": "job", "execution": execution}
        data.update(spec)
        fields = {"uuid": uuid, "spec": data, "cluster": cluster, "modules": modules or {}, "report": report}
        return self.ask("submit", upload=upload, source=source or {"kind": "file"}, **fields)

    def data(self):
        return b"".join(payload for header, payload in self.heard if header["type"] == "data")

    def state(self, uuid):
        return self.ask("sync", jobs={uuid: 0})["jobs"][uuid]["state"]

    def events(self, uuid):
        return self.ask("sync", jobs={uuid: 0})["jobs"][uuid]["events"]

    def wait_state(self, uuid, *states):
        return until(lambda: self.state(uuid) in states, "{} in {}".format(uuid, states)) and self.state(uuid)

    def paths(self, uuid):
        return JobPaths(str(self.root / "jobs"), uuid)

    def close(self):
        for stream in (self.process.stdin, self.process.stdout):
            try:
                stream.close()
            except OSError:
                pass
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
