"""Fake programs of HTCondor on the PATH: they take what HTCondor's manual documents and nothing else, and really run their jobs."""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from helpers.fake_runs import Fake, Store

_COMMANDS = frozenset(
    (
        "universe", "executable", "initialdir", "should_transfer_files", "getenv", "notification", "output", "error",
        "environment", "batch_name", "request_cpus", "request_memory", "request_gpus", "request_disk", "accounting_group",
        "concurrency_limits", "requirements", "priority", "periodic_remove", "deferral_time", "deferral_window",
    )
)  # fmt: skip
_PROGRAMS = (
    "condor_submit",
    "condor_q",
    "condor_history",
    "condor_rm",
    "condor_hold",
    "condor_release",
    "condor_status",
)
_DONE = {"condor_rm": "marked for removal", "condor_hold": "held", "condor_release": "released"}


class FakeCondor(Fake):
    cluster = {"name": "pool", "workload_manager": "htcondor"}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "fake_condor", _PROGRAMS)


def main(state: str, name: str, words: "list[str]") -> None:
    store = Store(state)
    store.call(name)
    if name == "condor_submit":
        submit(store, words)
    elif name in ("condor_q", "condor_history"):
        look(store, name, words)
    elif name == "condor_status":
        status(words)
    else:
        act(store, name, words)


def submit(store: Store, words: "list[str]") -> None:
    terse, place = words
    assert terse == "-terse"
    text = Path(place).read_text()
    commands, items = parse(text)
    cluster = 101 + len({job["cluster"] for job in store.jobs()})
    for proc, item in enumerate(items):
        macros = {"ClusterId": str(cluster), "jobferry_index": item, "DOLLAR": "$"}
        values = {key: expand(value, macros) for key, value in commands.items()}
        assert values["universe"] == "vanilla"
        assert values["should_transfer_files"] == "NO"
        assert os.access(values["executable"], os.X_OK), values["executable"]
        number = store.add(
            cluster=cluster,
            proc=proc,
            index=int(item) if item else None,
            name=values["batch_name"],
            script=values["executable"],
            cwd=values["initialdir"],
            output=values["output"],
            asked=values,
            held=False,
        )
        if "deferral_time" not in values:
            start(store, number)
    store.hook("condor_submit")
    print(f"{cluster}.0 - {cluster}.{len(items) - 1}")


def start(store: Store, number: int) -> None:
    job = next(job for job in store.jobs() if job["number"] == number)
    words = shlex.split(job["asked"]["environment"].strip('"'))
    store.start(job, dict(word.split("=", 1) for word in words))


def parse(text: str) -> "tuple[dict[str, str], list[str]]":
    """The commands of a description, and an item for each job of its one `queue`."""
    commands: dict[str, str] = {}
    lines = iter(text.splitlines())
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line == "queue":
            return commands, [""]
        if line == "queue jobferry_index from (":
            items = [item.strip() for item in lines]
            assert items.pop() == ")"
            return commands, items
        name, equals, value = line.partition(" = ")
        broken = name in ("requirements", "periodic_remove") and value.count("(") != value.count(")")
        if not equals or broken or not (name.lower() in _COMMANDS or name.startswith("+")):
            sys.exit(f"ERROR: Failed to parse command file (line {number}).")
        commands[name.lower()] = value.strip()
    sys.exit("ERROR: submit description has no queue command")


def expand(value: str, macros: "dict[str, str]") -> str:
    return re.sub(r"\$\((\w+)\)", lambda match: macros[match.group(1)], value)


def ad(job: "dict[str, Any]") -> "dict[str, Any]":
    """The attributes of a job that the manual describes."""
    ended = 3 if job.get("removed") else (4 if job["code"] is not None else 0)
    found = {
        "ClusterId": job["cluster"],
        "ProcId": job["proc"],
        "JobBatchName": job["name"],
        "Owner": "me",
        "JobStatus": ended or (5 if job["held"] else (2 if job["runs"] else 1)),
        "Iwd": job["cwd"],
        "RequestCpus": int(job["asked"].get("request_cpus", 1)),
    }
    if job["index"] is not None:
        found["JobferryIndex"] = job["index"]
    if ended == 4:
        found.update(ExitCode=job["code"], ExitBySignal=False)
    if ended == 3:
        found["RemoveReason"] = "via condor_rm (by user me)"
    return found


def look(store: Store, name: str, words: "list[str]") -> None:
    parser = argparse.ArgumentParser(prefix_chars="-", allow_abbrev=False)
    parser.add_argument("restrictions", nargs="*")
    parser.add_argument("-json", action="store_true", required=True)
    parser.add_argument("-attributes", required=True)
    parser.add_argument("-constraint", default="true")
    asked = parser.parse_args(words)
    clusters = [word for word in asked.restrictions if word.isdigit()]
    rows = []
    for one in map(ad, store.jobs()):
        over = one["JobStatus"] in (3, 4)
        listed = not clusters or str(one["ClusterId"]) in clusters
        if over is (name == "condor_history") and listed and meets(asked.constraint, one):
            rows.append({key: one[key] for key in asked.attributes.split(",") if key in one})
    print("[\n" + "\n,\n".join(json.dumps(row, indent=2) for row in rows) + "\n]" if rows else "[\n]")


def meets(constraint: str, one: "dict[str, Any]") -> bool:
    """A constraint of comparisons with `==`, joined by `&&`."""
    for part in constraint.split(" && "):
        name, equals, value = part.partition(" == ")
        if equals and json.loads(value) != one.get(name):
            return False
        assert equals or part == "true", part
    return True


def act(store: Store, name: str, words: "list[str]") -> None:
    option, constraint = words
    assert option == "-constraint"
    found = [job for job in store.jobs() if ad(job)["JobStatus"] not in (3, 4) and meets(constraint, ad(job))]
    verb = {"condor_rm": "remove", "condor_hold": "hold", "condor_release": "release"}[name]
    if not found:
        sys.exit(f"Couldn't find/{verb} all jobs matching constraint ({constraint})")
    for job in found:
        store.end(job, **({"removed": True} if verb == "remove" else {"held": verb == "hold"}))
    print(f"All jobs matching constraint ({constraint}) have been {_DONE[name]}")


def status(words: "list[str]") -> None:
    if "-schedd" in words:
        print(json.dumps([{"TotalRunningJobs": 0, "TotalIdleJobs": 0}]))
    else:
        cpus = int(subprocess.check_output(["getconf", "_NPROCESSORS_ONLN"]))
        print(json.dumps([{"Machine": "here", "State": "Unclaimed", "Cpus": cpus, "Memory": 4096}]))
