"""What every workload manager in the table is held to. A new one needs its line in VOICES: what it prints."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from project.core import jobspec, schedulers, script, states
from project.core.errors import ClusterError, UserError
from project.core.paths import JobPaths
from project.core.schedulers import base

CAPTURES = Path(__file__).parent.parent / "captures"
UUID = "503d3f77-a21b-4e52-86c4-eec0f0cd9c16"
HOSTILE = ["a'; touch marker #", "$(touch marker)", "`touch marker`", "é 日本", "-n", '"; touch marker; "', "a\\", "%j"]


class Voice(NamedTuple):
    """What a manager prints; `queue` and the answers in `history` hold every state in `ENDS` and `LIVE` at least once."""

    accepted: str
    native_id: str
    rejected: tuple
    away: tuple
    queue: str
    history: list
    found: str
    found_ids: list
    unknown: str
    done: tuple
    gone: tuple
    facts: list


LIVE = {base.WAITING, base.HELD, base.RUNNING}
ENDS = {"ok", "exit_code", "timeout", "cancelled_by_user", "cancelled_by_scheduler", "node_failure"}


def captured(manager, *names):
    return "".join((CAPTURES / manager / f"{name}.txt").read_text(encoding="utf-8") for name in names)


def local(state, number, index=None, **fields):
    return json.dumps({"id": str(number), "index": index, "state": state, "uid": 1000, **fields}) + "\n"


LOCAL_ENDS = (
    local("COMPLETED", 1, exit_code=0, elapsed=5, cpus=2, name="x", workdir="/w", node="here")
    + local("FAILED", 2, 0, exit_code=3)
    + local("FAILED", 2, 1, signal=9)
    + local("TIMEOUT", 3, signal=15)
    + local("CANCELLED", 4, cancelled_by=1000)
    + local("CANCELLED", 5, cancelled_by=0)
    + local("NODE_FAIL", 6)
)
VOICES = {
    "slurm": Voice(
        "12345\n",
        "12345",
        (1, "", "sbatch: error: Batch job submission failed: Invalid partition name specified"),
        (1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"),
        captured("slurm", "queue-young", "queue-mid"),
        [captured("slurm", "history-mid"), captured("slurm", "history-end")],
        captured("slurm", "find-queue"),
        ["12"],
        base.SEPARATOR.join(["9", "ODD", *[""] * 9, ""]),
        (0, "", ""),
        (1, "", "scancel: error: Kill job error on job id 5: Invalid job id specified"),
        [captured("slurm", "nodes"), captured("slurm", "jobs")],
    ),
    "local": Voice(
        '{"id": "17"}\n',
        "17",
        (1, "", "array=0-x is not 0-N"),
        (75, "", "Permission denied: /home/x"),
        local("PENDING", 7)
        + local("HELD", 8)
        + local("RUNNING", 9, 0)
        + local("PENDING", 9, None, span="1-4")
        + LOCAL_ENDS,
        [LOCAL_ENDS],
        local("RUNNING", 9, 0) + local("PENDING", 9, 1) + local("FAILED", 12),
        ["9", "12"],
        local("ODD", 9),
        (0, '{"done": true}', ""),
        (0, '{"done": false, "reason": "it is over"}', ""),
        [
            json.dumps(
                {"cpus": 8, "idle_cpus": 2, "memory": 2**34, "idle_memory": 2**33, "jobs_running": 1, "jobs_waiting": 0}
            )
        ],
    ),
}

every = pytest.mark.parametrize("name", sorted(schedulers.SCHEDULERS))


def spec(**data):
    return jobspec.parse({"destination_cluster": "c", "job": "x", "execution": ["true"], **data})


def test_every_manager_in_the_table_is_here():
    assert sorted(VOICES) == sorted(schedulers.SCHEDULERS)


def test_an_unknown_manager_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="'slrum'") as caught:
        schedulers.get("slrum")
    assert "slurm" in caught.value.hint


@every
def test_its_variables_and_name(name):
    manager = schedulers.get(name)
    assert manager.name == name
    for variable in (manager.array_index_variable, manager.restart_variable, manager.job_id_variable):
        assert re.fullmatch("[A-Z][A-Z0-9_]*", variable)


@every
@pytest.mark.parametrize("odd", HOSTILE)
def test_hostile_values_stay_text(name, odd, tmp_path):
    """The script is run whole: nothing in it may do what a value says."""
    manager = schedulers.get(name)
    paths = JobPaths(str(tmp_path / "jobs" / odd.replace("/", "_")), UUID)
    for folder in (paths.work, paths.log, paths.facts):
        os.makedirs(folder)
    job = spec(name=odd.replace("\\", ""), env={"ODD": odd}, resources={"nbr_jobs_in_array": 2, "duration": "1m"})
    job = job._replace(execution=['printf %s "$ODD"'], name=odd)
    text = script.render(job, {"partition": odd}, manager, paths, UUID)
    path = tmp_path / "script"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run(["sh", str(path)], cwd=tmp_path, env={"PATH": os.environ["PATH"]}, check=False, timeout=30)
    assert done.returncode == 0
    assert Path(paths.stdout(1)).read_text(encoding="utf-8") == odd
    assert not list(tmp_path.rglob("marker"))


@every
def test_directives_are_comments_of_one_line(name):
    manager = schedulers.get(name)
    job = spec(resources={"nbr_jobs_in_array": 4, "duration": "1h", "nbr_processes": 2, "memory_per_thread": "1G"})
    lines = manager.directives(job, {"partition": "p"}, JobPaths("/w", UUID), UUID)
    assert lines
    assert all(line.startswith("#") and "\n" not in line for line in lines)
    assert any(UUID in line for line in lines)
    assert any("0-3" in line for line in lines)


@every
def test_a_submission(name):
    manager, voice = schedulers.get(name), VOICES[name]
    argv = manager.submit("/w/it's/scripts/job", spec(), {})
    assert argv[-1] == "/w/it's/scripts/job"
    assert manager.submitted(0, voice.accepted, "") == voice.native_id
    assert manager.submitted(0, "Welcome!\n" + voice.accepted, "a warning") == voice.native_id
    with pytest.raises(ClusterError) as caught:
        manager.submitted(*voice.rejected)
    assert caught.value.condition == "submission_rejected"
    assert not caught.value.transient
    assert voice.rejected[2].rpartition("failed: ")[2] in caught.value.message
    with pytest.raises(ClusterError) as caught:
        manager.submitted(*voice.away)
    assert caught.value.transient
    with pytest.raises(ClusterError) as caught:
        manager.submitted(0, "", "")
    assert caught.value.transient


@every
def test_every_state_is_understood(name):
    manager, voice = schedulers.get(name), VOICES[name]
    queue = manager.parse_queue(voice.queue)
    assert {one.state for one in queue} >= LIVE | {base.DONE}
    history = [one for text in voice.history for one in manager.parse_history(text)]
    assert {one.condition for one in history if one.state == base.DONE} >= ENDS
    for one in queue + history:
        assert one.native_id.isdigit()
        assert (one.state == base.DONE) == bool(one.condition)
        assert not one.condition or one.condition in states.CONDITIONS
        assert one.fields["State"] == one.word
        assert one.fields["JobID"].startswith(one.native_id)
        assert one.index is None or not one.span
        assert not one.span or list(base.span_indices(one.span))
    codes = {one.exit_code for one in history if one.condition == "exit_code"}
    assert 3 in codes
    assert all(one.exit_code == 0 for one in history if one.condition == "ok")


@every
def test_a_word_that_nobody_knows_is_unknown(name):
    elements = schedulers.get(name).parse_queue(VOICES[name].unknown)
    assert [(one.state, one.condition, one.word) for one in elements] == [(base.UNKNOWN, "", "ODD")]


@every
def test_no_answer_is_not_an_empty_answer(name):
    manager, voice = schedulers.get(name), VOICES[name]
    rc, out, err = voice.away
    for parse in (manager.parse_queue, manager.parse_history, manager.parse_find):
        assert parse("") == []
        with pytest.raises(ClusterError) as caught:
            parse(out, rc, err)
        assert caught.value.transient


@every
def test_a_job_is_found_by_its_name(name):
    manager, voice = schedulers.get(name), VOICES[name]
    wanted = script.job_name(UUID, "x")
    assert all(any(wanted in word for word in argv) for argv in manager.find(wanted, base.since(0)))
    assert manager.parse_find(voice.found) == voice.found_ids


@every
def test_cancel_hold_and_release(name):
    manager, voice = schedulers.get(name), VOICES[name]
    for act in (manager.cancel, manager.hold, manager.release):
        assert act("17")[-1] == "17"
        assert act("17_4")[-1] == "17_4"
    assert manager.acted(*voice.done) is True
    assert manager.acted(*voice.gone) is False
    with pytest.raises(ClusterError) as caught:
        manager.acted(*voice.away)
    assert caught.value.transient


@every
def test_the_load(name):
    manager, voice = schedulers.get(name), VOICES[name]
    assert manager.facts()
    status = manager.parse_facts(voice.facts)
    keys = (
        "nodes",
        "idle_nodes",
        "down_nodes",
        "cpus",
        "idle_cpus",
        "memory",
        "idle_memory",
        "jobs_running",
        "jobs_waiting",
    )
    assert all(isinstance(status[key], int) for key in keys)
    assert status["memory"] >= status["idle_memory"] > 2**20
    json.dumps(status)
    assert manager.parse_facts([]) == {}


@every
def test_commands_are_argument_vectors(name):
    manager = schedulers.get(name)
    program = ["python3", "agent.pyz", "local"]
    vectors = [
        manager.queue("a b"),
        manager.history(["1", "2_3"], base.since(9e6)),
        *manager.facts(),
        *manager.find("n", "now"),
    ]
    for argv in vectors:
        expanded = base.expand(argv, program)
        assert expanded[0] != base.LOCAL
        assert all(isinstance(word, str) and "\0" not in word for word in expanded)
