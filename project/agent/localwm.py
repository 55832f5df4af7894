"""The commands of the built-in workload manager; `core.schedulers.local` says what they take and print.

A command reads and writes files (`localstore`); a daemon (`localrun`) starts and ends the jobs. Every command starts the
daemon again when there is something to run and none runs.
"""

import contextlib
import io
import json
import os
import re
import socket
import time
from typing import Any, Dict, List, Optional, TextIO

from project.agent import locks, runner, spawn
from project.agent.localstore import LISTED, Job, Store
from project.core import process
from project.core.errors import UserError
from project.core.process import Completed
from project.core.resources import parse_array, parse_signal

TEMPFAIL = 75
_DIRECTIVE = re.compile(r"#JOBFERRY --([a-z-]+)=(.*)\Z")


class _Refused(Exception):
    """Said on stderr; the command ends with 1."""


def call(root: str, words: List[str], cwd: Optional[str] = None) -> Completed:
    """What `agent local --root ROOT WORDS…` would answer, without starting it."""
    begin = time.monotonic()
    out, err = io.StringIO(), io.StringIO()
    status = main(root, words, out, err, cwd or os.getcwd())
    seconds = time.monotonic() - begin
    return Completed(status, out.getvalue().encode("utf-8"), err.getvalue().encode("utf-8"), seconds)


def main(root: str, words: List[str], out: TextIO, err: TextIO, cwd: str) -> int:
    """Run one command; its exit status."""
    store = Store(root)
    command, arguments = (words + [""])[0], words[1:]
    functions = {"submit": _submit, "queue": _queue, "history": _history, "find": _find, "facts": _facts}
    try:
        if command in functions:
            functions[command](store, arguments, out, cwd)
        elif command in ("cancel", "hold", "release") and len(arguments) == 1:
            _act(store, command, arguments[0], out)
        else:
            raise _Refused("usage: local submit|queue|history|find|cancel|hold|release|facts …")
        ensure_daemon(root, store)
    except _Refused as error:
        err.write("{}\n".format(error))
        return 1
    except OSError as error:
        err.write("{}: {}\n".format(error.strerror or error, error.filename or store.folder))
        return TEMPFAIL
    return 0


def ensure_daemon(root: str, store: Store) -> None:
    """Start the daemon if a job is not over and none runs; else wake it."""
    lively = [number for number in store.ids() if not over(store, number)]
    if not lively:
        return
    if locks.is_held(store.daemon_lock):
        store.wake()
    else:
        spawn.detached(runner.own_command() + ["local", "--root", root, "daemon"])


def over(store: Store, number: str) -> bool:
    """True when nothing is left to do for this job."""
    job = store.job(number)
    return job is None or job.over()


def _submit(store: Store, arguments: List[str], out: TextIO, cwd: str) -> None:
    if len(arguments) != 3 or arguments[0] != "--output":
        raise _Refused("usage: local submit --output FILE SCRIPT")
    script = os.path.join(cwd, arguments[2])
    options = _directives(script)
    array = options.get("array")
    try:
        array = None if array is None else parse_array(array).text
        warning = parse_signal(options["signal"] + "s") if "signal" in options else None
    except UserError as error:
        raise _Refused(error.message) from error
    job = {
        "name": options.get("job-name", os.path.basename(script)),
        "array": array,
        "limit": _number(options, "time"),
        "cpus": (_number(options, "processes") or 1) * (_number(options, "threads") or 1),
        "memory": _number(options, "memory"),
        "exclusive": "exclusive" in options,
        "begin": _number(options, "begin"),
        "priority": int(options["priority"]) if re.match(r"-?\d+\Z", options.get("priority", "")) else 0,
        "signal": None if warning is None else list(warning),
        "script": script,
        "output": os.path.join(cwd, arguments[1]),
        "cwd": cwd,
        "env": process.clean_env(),
        "node": socket.gethostname(),
        "uid": os.getuid(),
    }
    out.write(json.dumps({"id": store.add(job)}) + "\n")


def _directives(script: str) -> Dict[str, str]:
    """The `#JOBFERRY --key=value` lines before the first line that is no comment."""
    found: Dict[str, str] = {}
    with open(script, encoding="utf-8", errors="surrogateescape") as stream:
        for line in stream:
            if not line.startswith("#"):
                break
            match = _DIRECTIVE.match(line.rstrip("\n"))
            if match:
                found[match.group(1)] = match.group(2)
    return found


def _number(options: Dict[str, str], key: str) -> Optional[int]:
    value = options.get(key)
    if value is None:
        return None
    if not value.isdigit() or int(value) < 1:
        raise _Refused("{}={} is not a number above 0".format(key, value))
    return int(value)


def _queue(store: Store, _arguments: List[str], out: TextIO, _cwd: str) -> None:
    now = time.time()
    for number in store.ids():
        job = store.job(number)
        if job and not (job.over() and now - job.ended() > LISTED):
            _print(job, now, out)


def _history(store: Store, arguments: List[str], out: TextIO, _cwd: str) -> None:
    for number in arguments:
        job = store.job(number)
        if job:
            _print(job, time.time(), out)


def _find(store: Store, arguments: List[str], out: TextIO, _cwd: str) -> None:
    for number in store.all_ids():
        job = store.job(number)
        if job and [job.job["name"]] == arguments:
            _print(job, time.time(), out)


def _print(job: Job, now: float, out: TextIO) -> None:
    for line in job.lines(now):
        out.write(json.dumps(line) + "\n")


def _act(store: Store, command: str, name: str, out: TextIO) -> None:
    number, _, element = name.partition("_")
    job = store.job(number)
    index = int(element) if element.isdigit() else None
    reason = _refusal(job, command, index, bool(element))
    if job is not None and not reason:
        what = "hold" if command == "release" else command
        path = os.path.join(job.folder, what if index is None else "{}.{}".format(what, index))
        if command == "release":
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        else:
            open(path, "w").close()
    out.write(json.dumps({"done": False, "reason": reason} if reason else {"done": True}) + "\n")


def _refusal(job: Optional[Job], command: str, index: Optional[int], element: bool) -> str:
    if job is None or (element and (index is None or index not in job.indices())):
        return "there is no such job"
    states = {job.state(one) for one in (job.indices() if index is None else [index])}
    if job.over() or (index is not None and job.rows.get(index) and job.state(index) not in ("PENDING", "RUNNING")):
        return "it is over"
    if command == "hold" and "PENDING" not in states:
        return "it runs already"
    return ""


def _facts(store: Store, _arguments: List[str], out: TextIO, _cwd: str) -> None:
    cpus = usable_cpus()
    busy = running = waiting = 0
    for number in store.ids():
        job = store.job(number)
        if job:
            here = sum(row["s"] == "RUNNING" for row in job.rows.values())
            running += here
            busy += here * int(job.job["cpus"])
            waiting += job.count - len(job.rows)
    memory = _memory()
    facts: Dict[str, Any] = {"cpus": cpus, "idle_cpus": max(0, cpus - busy)}
    facts.update(
        memory=memory["MemTotal"], idle_memory=memory["MemAvailable"], jobs_running=running, jobs_waiting=waiting
    )
    out.write(json.dumps(facts) + "\n")


def usable_cpus() -> int:
    """CPUs that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return os.cpu_count() or 1


def _memory() -> Dict[str, int]:
    found = {"MemTotal": 0, "MemAvailable": 0}
    with contextlib.suppress(OSError):
        with open("/proc/meminfo") as stream:
            for line in stream:
                key, _, rest = line.partition(":")
                if key in found:
                    found[key] = int(rest.split()[0]) * 1024
    return found
