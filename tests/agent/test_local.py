"""The built-in workload manager, by its own commands."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from helpers.agent_client import PYTHONS, command, until
from project.agent.localstore import Store


class Local:
    def __init__(self, folder, python):
        self.folder = folder
        self.root = str(folder / "root")
        self.words = [*command(python), "local", "--root", self.root]
        self.store = Store(self.root)

    def run(self, *words):
        return subprocess.run(
            self.words + list(words), cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60
        )

    def rows(self, *words):
        return [json.loads(line) for line in self.run(*words).stdout.decode().splitlines()]

    def submit(self, text, *directives):
        script = self.folder / "script {}".format(len(list(self.folder.iterdir())))
        script.write_text("#!/bin/sh\n" + "".join("#JOBFERRY --{}\n".format(one) for one in directives) + text)
        return self.rows("submit", "--output", "out", str(script))[0]["id"]

    def states(self, number):
        return [row["state"] for row in self.rows("history", number)]

    def end(self, number):
        over = ("COMPLETED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "CANCELLED", "NODE_FAIL")
        until(lambda: all(state in over for state in self.states(number)), number)
        return self.rows("history", number)

    def daemon(self):
        """The pid of the daemon."""
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    words = Path("/proc/{}/cmdline".format(name)).read_bytes().split(b"\0")
                except OSError:
                    continue
                if b"daemon" in words and self.root.encode() in words:
                    return int(name)
        return None

    def kill_daemon(self):
        pid = until(self.daemon)
        os.kill(pid, signal.SIGKILL)
        # Another one that waited beside it may take its place.
        until(lambda: self.daemon() != pid)


@pytest.fixture(params=PYTHONS, ids=lambda python: "old" if "3.6" in python else "here")
def both(request, tmp_path):
    return Local(tmp_path, request.param)


@pytest.fixture
def local(tmp_path):
    return Local(tmp_path, PYTHONS[0])


def test_a_job_runs_where_it_was_submitted_and_ends_with_its_code(both):
    number = both.submit("pwd; echo $JOBFERRY_LOCAL_ID $JOBFERRY_LOCAL_RESTARTS; exit 5\n", "job-name=mine")
    row = both.end(number)[0]
    assert (row["state"], row["exit_code"], row["index"], row["name"]) == ("FAILED", 5, None, "mine")
    assert (both.folder / "out").read_text() == "{}\n{} 0\n".format(both.folder, number)
    assert both.rows("find", "mine")[0]["id"] == number
    assert both.rows("find", "min") == []
    assert [row["id"] for row in both.rows("queue")] == [number]
    assert both.rows("history", "999") == []


def test_an_array_runs_every_element(both):
    number = both.submit("exit $JOBFERRY_LOCAL_INDEX\n", "array=0-3")
    rows = both.end(number)
    assert [(row["index"], row["state"], row["exit_code"]) for row in rows] == [
        (0, "COMPLETED", 0),
        (1, "FAILED", 1),
        (2, "FAILED", 2),
        (3, "FAILED", 3),
    ]


def test_an_array_of_any_indices_and_its_throttle(local):
    text = "echo x >> running; [ $(wc -l < running) -le 2 ] || touch crowd; sleep 0.2; sed -i '$ d' running\n"
    number = local.submit(text, "array=1,5-9:2%1")
    rows = local.end(number)
    assert [row["index"] for row in rows] == [1, 5, 7, 9]
    assert not (local.folder / "crowd").exists()
    assert local.rows("cancel", number + "_6")[0]["done"] is False


def test_a_job_that_uses_too_much_memory_is_ended(local):
    hungry = "exec python3 -c 'import time; x = bytearray(200 * 1024 * 1024); time.sleep(600)'\n"
    row = local.end(local.submit(hungry, "memory={}".format(100 * 1024 * 1024)))[0]
    assert row["state"] == "OUT_OF_MEMORY"
    assert local.end(local.submit("true\n", "memory={}".format(100 * 1024 * 1024)))[0]["state"] == "COMPLETED"


def test_a_warning_before_the_end(local):
    number = local.submit("trap 'exit 7' USR1\nwhile :; do sleep 0.1; done\n", "time=600", "signal=USR1@599")
    row = local.end(number)[0]
    assert (row["state"], row["exit_code"]) == ("FAILED", 7)


def test_a_start_in_the_future(local):
    number = local.submit("true\n", "begin={}".format(int(time.time()) + 3))
    row = local.rows("history", number)[0]
    assert (row["state"], row["reason"]) == ("PENDING", "BeginTime")
    assert local.end(number)[0]["state"] == "COMPLETED"


def test_the_larger_priority_is_earlier_and_an_exclusive_job_is_alone(local):
    busy = local.submit("while [ ! -e go ]; do sleep 0.1; done\n", "exclusive=1")
    until(lambda: local.states(busy) == ["RUNNING"])
    later = local.submit("echo later >> order\n", "exclusive=1")
    sooner = local.submit("echo sooner >> order\n", "exclusive=1", "priority=5")
    assert local.states(later) == local.states(sooner) == ["PENDING"]
    (local.folder / "go").touch()
    local.end(later)
    local.end(sooner)
    assert (local.folder / "order").read_text() == "sooner\nlater\n"


def test_the_time_limit_ends_a_job_that_does_not_listen(local):
    number = local.submit("trap '' TERM\nwhile :; do sleep 0.1; done\n", "time=1")
    row = local.end(number)[0]
    assert row["state"] == "TIMEOUT"
    assert 1 <= row["elapsed"] < 20


def test_cancel_hold_and_release(local):
    busy = local.submit("sleep 600\n", "processes=999")
    until(lambda: local.states(busy) == ["RUNNING"])
    waiting = local.submit("true\n", "array=0-9")
    assert local.rows("history", waiting)[0]["span"] == "0-9"
    assert local.rows("hold", waiting + "_3") == [{"done": True}]
    assert [(row["span"], row["state"]) for row in local.rows("history", waiting)] == [
        ("3", "HELD"),
        ("0-2,4-9", "PENDING"),
    ]
    assert local.rows("hold", busy)[0]["done"] is False
    assert local.rows("cancel", waiting + "_5") == [{"done": True}]
    assert local.rows("cancel", busy) == [{"done": True}]
    row = local.end(busy)[0]
    assert (row["state"], row["cancelled_by"]) == ("CANCELLED", os.getuid())
    until(lambda: local.states(waiting).count("COMPLETED") == 8)
    assert local.rows("release", waiting + "_3") == [{"done": True}]
    states = [row["state"] for row in local.end(waiting)]
    assert states == ["COMPLETED"] * 5 + ["CANCELLED"] + ["COMPLETED"] * 4
    assert local.rows("cancel", waiting)[0]["done"] is False
    assert local.rows("cancel", "77")[0]["done"] is False


def test_a_killed_daemon_neither_loses_nor_repeats_a_job(local):
    mark = local.folder / "ran"
    number = local.submit("echo x >> '{}'; sleep 1; exit 6\n".format(mark))
    waiting = local.submit("echo y >> '{}'\n".format(mark), "processes=999")
    until(mark.exists)
    local.kill_daemon()
    assert local.states(number) == ["RUNNING"]
    row = local.end(number)[0]
    assert (row["state"], row["exit_code"]) == ("FAILED", 6)
    assert local.end(waiting)[0]["state"] == "COMPLETED"
    assert mark.read_text() == "x\ny\n"


def test_a_job_that_is_gone_with_the_machine_is_a_node_failure(local):
    number = local.submit("sleep 600\n")
    until(lambda: local.states(number) == ["RUNNING"])
    run = local.store.job(number).folder + "/run"
    pid = int(until(lambda: Path(run).read_text().strip()).split()[1])
    local.kill_daemon()
    os.killpg(pid, signal.SIGKILL)
    row = local.end(number)[0]
    assert (row["state"], row["exit_code"]) == ("NODE_FAIL", None)


def test_a_killed_daemons_job_can_be_cancelled(local):
    number = local.submit("sleep 600\n")
    until(lambda: local.states(number) == ["RUNNING"])
    until(lambda: Path(local.store.job(number).folder + "/run").read_text())
    local.kill_daemon()
    assert local.rows("cancel", number) == [{"done": True}]
    assert local.end(number)[0]["state"] == "CANCELLED"


def test_a_folder_that_is_gone_fails_the_job(local):
    gone = local.folder / "gone"
    gone.mkdir()
    script = gone / "script"
    script.write_text("#!/bin/sh\n#JOBFERRY --processes=999\ntrue\n")
    busy = local.submit("sleep 0.5\n", "processes=999")
    number = json.loads(
        subprocess.run([*local.words, "submit", "--output", str(gone / "out"), str(script)], cwd=gone, stdout=-1).stdout
    )["id"]
    script.unlink()
    gone.rmdir()
    local.end(busy)
    assert local.end(number)[0]["state"] == "FAILED"


def test_bad_calls_say_so(local):
    for words in (["submit"], ["nonsense"], ["cancel"], ["submit", "--output", "x", "none"]):
        done = local.run(*words)
        assert done.returncode in (1, 75)
        assert done.stderr.strip()
    for directive in ("array=3-1", "signal=KILL@5", "time=0", "processes=many"):
        script = local.folder / "bad"
        script.write_text("#JOBFERRY --{}\n".format(directive))
        assert local.run("submit", "--output", "x", str(script)).returncode == 1


def test_facts_tell_the_machine(local):
    facts = local.rows("facts")[0]
    assert facts["cpus"] == len(os.sched_getaffinity(0))
    assert 0 < facts["idle_memory"] <= facts["memory"]
    assert (facts["jobs_running"], facts["jobs_waiting"]) == (0, 0)


def test_the_daemon_leaves_when_everything_was_removed(local):
    number = local.submit("sleep 600\n")
    until(lambda: local.states(number) == ["RUNNING"])
    until(lambda: Path(local.store.job(number).folder + "/run").read_text())
    pid = int(Path(local.store.job(number).folder + "/run").read_text().split()[1])
    os.rename(local.root, local.root + ".away")
    os.killpg(pid, signal.SIGKILL)
    until(lambda: local.daemon() is None, "the end of the daemon")
