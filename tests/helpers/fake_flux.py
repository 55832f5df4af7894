"""A fake `flux` on the PATH: it takes the options that flux-core documents and no others, and really runs its jobs."""

import argparse
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from helpers.fake_runs import Fake, Store

_BATCH = (
    "job-name", "output", "queue", "nslots", "nodes", "cores-per-slot", "gpus-per-slot", "time-limit", "setattr", "requires",
    "begin-time", "urgency", "signal", "cwd",
)  # fmt: skip


class FakeFlux(Fake):
    cluster = {"name": "phi", "workload_manager": "flux"}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "fake_flux", ("flux",))


def fail(program: str, text: str) -> None:
    sys.exit(f"flux-{program}: ERROR: {text}")


def main(state: str, name: str, words: "list[str]") -> None:
    store = Store(state)
    store.call(name)
    verb, *rest = words
    {"batch": batch, "jobs": jobs, "cancel": cancel, "job": urgency, "resource": resources, "getattr": attribute}[verb](
        store, rest
    )


def batch(store: Store, words: "list[str]") -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for option in _BATCH:
        parser.add_argument("--" + option, action="append" if option == "setattr" else "store")
    parser.add_argument("--exclusive", action="store_true")
    parser.add_argument("script")
    script = words[-1]
    directives: list[str] = []
    for line in Path(script).read_text().splitlines():
        match = re.match(r"[^a-zA-Z0-9]*(flux|FLUX):(.*)", line)
        if match:
            directives += shlex.split(match.group(2), comments=True)
    job = vars(parser.parse_args([*directives, *words]))
    if not job["nslots"] and not job["nodes"]:
        fail("batch", "Number of slots to allocate must be specified")
    if job["exclusive"] and not job["nodes"]:
        fail("batch", "--exclusive can only be set with --nodes")
    if job["queue"] == "nope":
        fail("batch", "[Errno 22] Invalid queue specified: nope")
    if job["time_limit"] and not re.fullmatch(r"\d+(\.\d+)?(ms|s|m|h|d)?", job["time_limit"]):
        fail("batch", "invalid Flux standard duration")
    number = store.add(
        name=job["job_name"],
        script=script,
        cwd=str(Path.cwd()),
        output=job["output"],
        urgency=int(job["urgency"] or 16),
        asked=job,
    )
    if not job["begin_time"]:
        # As before 0.71, which set no FLUX_ENCLOSING_ID: the job's own instance is asked.
        store.start(one(store, number), {"FAKE_FLUX_INSTANCE": identity(number)})
    store.hook("flux")
    print(identity(number))


def identity(number: int) -> str:
    return f"f{str(number).replace('0', 'z')}"


def one(store: Store, number: int) -> "dict[str, Any]":
    return next(job for job in store.jobs() if job["number"] == number)


def named(store: Store, word: str) -> "dict[str, Any] | None":
    return next((job for job in store.jobs() if identity(job["number"]) == word), None)


def fields(job: "dict[str, Any]") -> "dict[str, str]":
    """The documented fields of flux-jobs(1)."""
    ended = job["code"] is not None or job.get("cancelled")
    code = job["code"] if job["code"] is not None else -128
    result = "CANCELED" if job.get("cancelled") else ("COMPLETED" if code == 0 else "FAILED")
    return {
        "id.f58": identity(job["number"]),
        "state": "INACTIVE" if ended else ("RUN" if job["runs"] else "SCHED"),
        "result": result if ended else "",
        "returncode": str(code) if ended else "",
        "urgency": str(job["urgency"]),
        "nnodes": "1" if job["runs"] else "",
        "ntasks": "1",
        "nodelist": "phi1" if job["runs"] else "",
        "runtime": "0.5",
        "exception.type": "cancel" if job.get("cancelled") else "",
        "exception.note": "",
        "name": job["name"],
    }


def jobs(store: Store, words: "list[str]") -> None:
    if words == ["--stats-only"]:
        rows = store.jobs()
        runs = sum(job["runs"] for job in rows)
        print(f"{runs} running, 0 completed, 0 failed, {sum(job['code'] is None for job in rows) - runs} pending")
        return
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-n", action="store_true", required=True)
    parser.add_argument("-a", action="store_true")
    for option in ("user", "count", "since", "filter", "name", "format"):
        parser.add_argument("--" + option)
    parser.add_argument("ids", nargs="*")
    asked = parser.parse_args(words)
    found = [named(store, word) for word in asked.ids] if asked.ids else store.jobs()
    for job in found:
        if job is not None and asked.name in (None, job["name"]):
            values = fields(job)
            print(re.sub(r"\{([a-z0-9._]+)\}", lambda match: values[match.group(1)], asked.format))
    for word, job in zip(asked.ids, found):
        if job is None:
            print(f"flux-jobs: ERROR: JobID {word} unknown job", file=sys.stderr)


def cancel(store: Store, words: "list[str]") -> None:
    job = named(store, words[0])
    if job is None:
        fail("cancel", f"{words[0]}: unknown job id")
    elif job["code"] is not None or job.get("cancelled"):
        fail("cancel", f"{words[0]}: job is inactive")
    else:
        store.end(job, cancelled=True)


def urgency(store: Store, words: "list[str]") -> None:
    verb, word, value = words
    job = named(store, word)
    assert verb == "urgency"
    if job is None or job["code"] is not None:
        fail("job", "job is inactive")
    elif job["runs"]:
        fail("job", "urgency cannot be changed once resources are allocated")
    else:
        number = {"hold": 0, "default": 16}[value]
        store.end(job, urgency=number)


def resources(store: Store, words: "list[str]") -> None:  # noqa: ARG001  # as the others
    assert words[0] == "list"
    assert set(words[1:]) == {"-n", "--states=free,allocated,down", "--format={state} {nnodes} {ncores}"}
    print("free 3 12\nallocated 1 4\ndown 0 0")


def attribute(store: Store, words: "list[str]") -> None:  # noqa: ARG001  # as the others
    [name] = words
    print({"size": 2, "jobid": os.environ.get("FAKE_FLUX_INSTANCE")}[name])
