"""Jobs of POSIX at, over SSH, on a real atd. What runs side by side is submitted first, then waited for."""

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from helpers.inputs import write_input
from helpers.live import Bed, Cli, Cluster, eventually

MARK = "sleep 4321"
LONG = [f"{MARK} & {MARK}"]
LATER = (datetime.now() + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%S")
DEAF = "trap '' TERM; while :; do sleep 1; done"
JOBS: dict[str, dict[str, Any]] = {
    "good": {
        "execution": ["cat input.txt > result.txt", 'echo "$JOBFERRY_NATIVE_ID $SHELL"'],
        "output": ["result.txt"],
    },
    "exit": {"execution": ["true", "sh -c 'exit 3'", "true"]},
    "killed": {"execution": ["kill -9 $$"]},
    "limit": {"execution": LONG, "resources": {"duration": "2s"}},
    "deaf": {"execution": [f"sh -c {DEAF!r}"], "resources": {"duration": "2s"}},
    "later": {"execution": LONG, "resources": {"begin": LATER}},
    "running": {"execution": LONG},
    "lost": {"execution": [f"{MARK}9"]},
    "batch": {"execution": ["true"], "resources": {"queue": "b"}},
}

Submit = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def tau(testbed: Bed) -> Cluster:
    return Cluster("tau", testbed.bed)


@pytest.fixture(scope="module")
def submit(cli: Cli, testbed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Submit:
    """Submits a job of one file; the answer of `submit --json`."""

    def submit(name: str, **keys: Any) -> dict[str, Any]:
        folder = tmp_path_factory.mktemp("job")
        (folder / "input.txt").write_text("ferried\n")
        keys = {"job": "input.txt", "destination_cluster": "tau", "resources": None, **keys}
        return cli.json("submit", write_input(folder, testbed, name=name, **keys))

    return submit


@pytest.fixture(scope="module")
def answers(submit: Submit, tau: Cluster) -> Iterator[dict[str, dict[str, Any]]]:
    """What `submit` answered for each of JOBS. Nothing of them is left when the tests are over."""
    with ThreadPoolExecutor(4) as pool:
        answers = dict(zip(JOBS, pool.map(lambda name: submit(name, **JOBS[name]), JOBS), strict=True))
    yield answers
    mine = {answer["native_id"] for answer in answers.values()}
    eventually(lambda: not mine & set(tau.ssh("atq | cut -f1").split()), "nothing is left in at's queue")


@pytest.fixture(scope="module")
def ended(cli: Cli, answers: dict[str, dict[str, Any]]) -> Callable[[str], dict[str, Any]]:
    return lambda name: cli.until(answers[name]["job_uuid"])


def end(document: dict[str, Any]) -> tuple[Any, Any, Any]:
    return document["state"], document["condition"], document["exit_code"]


def marked(uuid: str, variable: str = "JOBFERRY_AT_JOB") -> list[int]:
    """Processes of a job, or its keeper: the job's name is in their environment. They run on this very machine."""
    found = []
    for place in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            words = place.read_bytes().split(b"\0")
            if any(word.startswith(f"{variable}=".encode()) and uuid.encode() in word for word in words):
                found.append(int(place.parent.name))
    return found


def test_a_job_that_is_cancelled_while_it_waits(cli, tau, answers):
    answer = answers["later"]
    uuid = answer["job_uuid"]
    assert cli.json("status", uuid)["state"] == "QUEUED"
    assert answer["native_id"] in tau.ssh("atq | cut -f1").split()
    ran = cli.run("hold", uuid, code=3)
    assert "at cannot hold a job" in ran.err + ran.out
    cli.run("cancel", uuid)
    document = cli.until(uuid)
    assert end(document) == ("CANCELLED", "cancelled_by_user", None)
    assert "RUNNING" not in [event.get("state") for event in cli.json("history", uuid)["events"]]
    assert answer["native_id"] not in tau.ssh("atq | cut -f1").split()


def test_a_job_that_is_cancelled_while_it_runs(cli, answers):
    uuid = answers["running"]["job_uuid"]
    cli.until(uuid, "RUNNING")
    eventually(lambda: len(marked(uuid)) == 3, "the script and its two programs run")
    cli.run("cancel", uuid)
    assert end(cli.until(uuid)) == ("CANCELLED", "cancelled_by_user", None)
    assert marked(uuid) == []


def test_success_and_its_output(cli, ended, tmp_path):
    document = ended("good")
    assert end(document) == ("FINISHED", "ok", 0)
    cli.run("retrieve", document["job_uuid"], "-o", tmp_path)
    assert (tmp_path / "result.txt").read_text() == "ferried\n"
    assert cli.run("logs", document["job_uuid"]).out == f"{document['native_id']} /bin/bash\n"


def test_an_exit_code(ended):
    document = ended("exit")
    assert end(document) == ("FAILED", "exit_code", 3)
    assert "`sh -c 'exit 3'`" in document["message"]


def test_a_specification_of_psik(cli, testbed, tmp_path):
    """Resources as psik always has them; the script is a program of its own."""
    resources = {"duration": "2", "node_count": 1, "processes_per_node": 2, "cpu_cores_per_process": 1}
    script = "#!/usr/bin/env python3\nimport os, sys\nprint(os.environ['jobndx'], 6 * 7)\nsys.exit(4)\n"
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({"name": "psik", "script": script, "resources": resources, "backend": "at"}))
    answer = cli.json("run", path, "--cluster", "tau", "--username", "jdoe", "--private-key", testbed.key())
    document = cli.until(answer["job_uuid"])
    assert end(document) == ("FAILED", "exit_code", 4)
    assert cli.run("logs", document["job_uuid"]).out == "1 42\n"


def test_a_script_that_is_killed(ended):
    assert end(ended("killed")) == ("FAILED", "exit_code", 137)


def test_a_queue_that_waits_for_a_low_load(ended):
    assert end(ended("batch")) == ("FINISHED", "ok", 0)


@pytest.mark.parametrize("name", ["limit", "deaf"])
def test_a_time_limit(name, ended):
    document = ended(name)
    assert end(document) == ("FAILED", "timeout", None)
    assert marked(document["job_uuid"]) == []


def test_a_machine_that_loses_everything(cli, tau, answers):
    """As after a restart: at goes on listing the job as running, and no process of it is there."""
    uuid, number = answers["lost"]["job_uuid"], answers["lost"]["native_id"]
    eventually(lambda: len(marked(uuid)) == 2, "it runs")
    [keeper] = marked(uuid, "JOBFERRY_AT_KEEPER")
    # at's own child goes first, so that its lock stays.
    child = int(Path(f"/proc/{keeper}/stat").read_text().rpartition(")")[2].split()[1])
    for pid in (child, keeper, *marked(uuid)):
        os.kill(pid, signal.SIGKILL)
    assert number in tau.ssh("atq | cut -f1").split()
    assert end(cli.until(uuid)) == ("FAILED", "lost", None)
    tau.ssh(f"atrm {number}")


NEEDS = {
    "memory_per_thread: cannot be expressed by the workload manager 'at'.": {"memory_per_thread": "1G"},
    "array: cannot be expressed by the workload manager 'at'.": {"array": "0-3"},
    "nbr_of_nodes: is 2, but at has one machine alone.": {"nbr_of_nodes": 2},
}


@pytest.mark.parametrize("said", NEEDS)
def test_what_at_cannot_do_is_refused_by_name_and_nothing_is_sent(said, cli, testbed, tau, tmp_path):
    (tmp_path / "input.txt").write_text("")
    path = write_input(tmp_path, testbed, job="input.txt", destination_cluster="tau", resources=NEEDS[said])
    before = tau.connections()
    ran = cli.run("submit", path, code=2)
    assert f"resources.{said}" in ran.err
    assert tau.connections() == before


KILLING = """#!/bin/sh
/usr/bin/at "$@" || exit
case $* in *-f*) ;; *) exit 0;; esac
# The job has run and left the queue when the agent dies.
while atq | grep -q .; do sleep 0.1; done
kill -9 $PPID
"""


@pytest.fixture
def killing_at(testbed: Bed, tau: Cluster) -> Iterator[Path]:
    """User asmith's `at` on tau: it kills the agent that submits, once the job is over."""
    tau.ssh(
        f"mkdir -p bin; cat > bin/at <<'X'\n{KILLING}X\nchmod +x bin/at; echo 'PATH=$HOME/bin:$PATH' > .bashrc",
        "asmith",
    )
    yield tau.home("asmith")
    tau.ssh("rm -r .bashrc bin runs", "asmith")


def test_a_short_job_whose_agent_was_killed_is_not_run_twice(cli, submit, killing_at):
    answer = submit("once", username="asmith", execution=["echo once >> ~/runs"])
    document = cli.until(answer["job_uuid"])
    assert end(document) == ("FINISHED", "ok", 0)
    assert document["native_id"].isdigit()
    assert (killing_at / "runs").read_text() == "once\n"
