"""What fake workload managers share: a folder of jobs that are really run, one JSON file a job. Used by their programs, too.

A file `hook.<program>` in the folder is shell that is run when the program has done its work, before it answers; its `$1` is the
process that called the program. A file `down` makes every program fail with its text.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent
_PROGRAM = """#!{python} -ES
import sys
sys.path.insert(0, {here!r})
from helpers.{module} import main
main({state!r}, {name!r}, sys.argv[1:])
"""
# The script is the leader of a session of its own; its end is written down by whoever waits for it.
_RUN = 'setsid --wait /bin/sh -- "$1" >>"$2" 2>&1 </dev/null; echo $? > "$3.aside"; mv "$3.aside" "$3"'


class Fake:
    """The programs of a fake manager in `folder`/bin, its jobs in `folder`/state."""

    def __init__(self, folder: Path, module: str, names: tuple[str, ...]) -> None:
        self.state = folder / "state"
        self.bin = folder / "bin"
        self.state.mkdir()
        self.bin.mkdir()
        for name in names:
            values = {"python": sys.executable, "here": str(TESTS), "state": str(self.state)}
            (self.bin / name).write_text(_PROGRAM.format(module=module, name=name, **values))
            (self.bin / name).chmod(0o755)

    @property
    def env(self) -> dict[str, str]:
        return {"PATH": f"{self.bin}:{os.environ['PATH']}"}

    @property
    def jobs(self) -> list[dict[str, Any]]:
        return Store(self.state).jobs()

    def set(self, name: str, text: str) -> None:
        (self.state / name).write_text(text)

    def unset(self, name: str) -> None:
        (self.state / name).unlink()


class Store:
    """The jobs of a fake manager."""

    def __init__(self, state: "str | Path") -> None:
        self.state = Path(state)

    def call(self, name: str) -> None:
        """Remember the call, and fail when the manager is down."""
        with (self.state / "calls").open("a") as calls:
            calls.write(f"{name} {' '.join(sys.argv[1:])}\n")
        down = self.state / "down"
        if down.exists():
            sys.exit(down.read_text())

    def hook(self, name: str) -> None:
        path = self.state / f"hook.{name}"
        if path.exists():
            subprocess.run(["/bin/sh", str(path), str(os.getppid())], check=False)

    def add(self, **fields: Any) -> int:
        number = 101 + len(list(self.state.glob("job.*")))
        self.save({"number": number, "submitted": time.time(), **fields})
        return number

    def save(self, job: "dict[str, Any]") -> None:
        aside = self.state / f".{job['number']}.{os.getpid()}"
        aside.write_text(json.dumps(job))
        aside.rename(self.state / f"job.{job['number']}")

    def jobs(self) -> "list[dict[str, Any]]":
        """Every job, with what is known of its end: `code`, None as long as it has none; `runs`."""
        found = []
        for path in sorted(self.state.glob("job.*")):
            job = json.loads(path.read_text())
            end = self.state / f"end.{job['number']}"
            job["code"] = int(end.read_text()) if end.exists() else None
            job["runs"] = "pid" in job and job["code"] is None
            found.append(job)
        return found

    def start(self, job: "dict[str, Any]", env: "dict[str, str]") -> None:
        """Run a job's `script` in its `cwd`."""
        words = [job["script"], job["output"], str(self.state / f"end.{job['number']}")]
        child = subprocess.Popen(
            ["/bin/sh", "-c", _RUN, "sh", *words],
            cwd=job["cwd"],
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.save({**{key: value for key, value in job.items() if key not in ("code", "runs")}, "pid": child.pid})

    def end(self, job: "dict[str, Any]", **fields: Any) -> None:
        """End a job's processes, and remember why."""
        kept = {key: value for key, value in job.items() if key not in ("code", "runs")}
        self.save({**kept, **fields})
        if job["runs"]:
            for pid in below(job["pid"]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)


def below(pid: int) -> "list[int]":
    """A process's descendants."""
    parents = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = place.read_text()
            parents[int(text.split()[0])] = int(text.rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]
