"""An array that does not go into one array of the manager: every part is submitted once, or none stays."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.agent_client import LOCAL, PYTHONS, QUICK, Agent, new_uuid, tar, until
from helpers.crashing import crash, request
from helpers.fake_slurm import FakeSlurm
from project.agent.folder import Folder
from project.agent.native import Submission
from project.agent.runner import Runner
from project.core import files
from project.core.process import Completed

ARRAY = {"array": "0-24%9"}
PARTS = [
    {"native_id": "101", "offset": 0, "span": "0-9"},
    {"native_id": "102", "offset": 10, "span": "0-9"},
    {"native_id": "103", "offset": 20, "span": "0-4"},
]


@pytest.fixture
def slurm(tmp_path):
    fake = FakeSlurm(tmp_path)
    fake.cluster = {**fake.cluster, "max_array_size": 10}
    yield fake
    # The watchers leave when nothing lives.
    for line in fake.jobs:
        fake.set("end." + line.split()[0], "COMPLETED\n")


def names(slurm, uuid):
    return [line.split()[1].partition(uuid)[2] for line in slurm.jobs if uuid in line]


def submitted(agent, uuid):
    return [event["set"] for event in agent.events(uuid) if "native_id" in event.get("set", {})]


@pytest.mark.parametrize("python", PYTHONS)
def test_a_large_array_is_submitted_in_parts_and_is_one_job(slurm, tmp_path, python):
    with Agent(tmp_path / "root", python, slurm.env, QUICK) as agent:
        uuid = new_uuid()
        answer = agent.submit(uuid, ["true"], cluster=slurm.cluster, resources=ARRAY)
        assert answer["native_id"] == "101,102,103"
        [fields] = submitted(agent, uuid)
        assert fields["parts"] == PARTS
        scripts = Path(agent.paths(uuid).scripts)
        assert names(slurm, uuid) == [".p1", ".p2", ".p3"]
        shares = []
        for number, row in enumerate(PARTS, 1):
            text = (scripts / f"job.{number}").read_text()
            [line] = [line for line in text.splitlines() if line.startswith("#SBATCH --array=")]
            shares.append(int(line.partition("%")[2]))
            assert f"--array={row['span']}%" in line
        assert sum(shares) == 9
        for number in ("101", "102", "103"):
            slurm.set("end." + number, "COMPLETED\n")


def test_the_scripts_of_the_parts_know_the_users_indices(slurm, tmp_path):
    with Agent(tmp_path / "root", env=slurm.env, first=QUICK) as agent:
        uuid = new_uuid()
        lines = ['echo "$SLURM_ARRAY_TASK_ID $JOBFERRY_INDEX $JOBFERRY_ARRAY_SIZE"']
        agent.submit(uuid, lines, cluster=slurm.cluster, resources=ARRAY)
        paths = agent.paths(uuid)
        env = {"PATH": os.environ["PATH"], "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_ID": "999"}
        subprocess.run(["sh", paths.script + ".3"], env=env, check=True, timeout=60)
        assert Path(paths.stdout(1, 23)).read_text() == "23 23 25\n"
        assert Path(paths.ended(1, 23)).read_text().startswith("exit_code 0\n")


def test_a_small_array_costs_no_further_call_and_a_large_one_is_asked_about_once(tmp_path):
    slurm = FakeSlurm(tmp_path)
    with Agent(tmp_path / "root", env=slurm.env, first=QUICK) as agent:
        agent.submit(new_uuid(), ["true"], cluster=slurm.cluster, resources={"array": "0-999%50"})
        assert slurm.lines("asked.scontrol") == []
        answer = agent.submit(new_uuid(), ["true"], cluster=slurm.cluster, resources={"array": "0-2999%50"})
        assert answer["native_id"] == "102,103,104"
        assert slurm.lines("asked.scontrol") == ["scontrol show config"]
    assert len(slurm.lines("calls")) == 4


def test_a_limit_that_nobody_told_is_asked_for_when_the_array_is_refused(tmp_path):
    slurm = FakeSlurm(tmp_path)
    slurm.set("maxarray", "21\n")
    with Agent(tmp_path / "root", env=slurm.env, first=QUICK) as agent:
        answer = agent.submit(new_uuid(), ["true"], cluster=slurm.cluster, resources={"array": "0-49"})
        assert answer["native_id"] == "101,102,103"
        slurm.set("refuse", "Batch job submission failed: Invalid partition name specified\n")
        answer = agent.submit(new_uuid(), ["true"], cluster=slurm.cluster, resources={"array": "0-9"})
        assert "Invalid partition" in answer["message"]
    assert len(slurm.lines("calls")) == 5


def test_an_agent_killed_at_any_step_submits_every_part_once(slurm, tmp_path):
    """Every other durable step; then the same call again, beside the watcher."""
    upload, step, died, made = tar({"files/data": b"x"}), 2, 0, []
    while True:
        root, uuid = tmp_path / f"root{step % 5}", new_uuid()
        sent = request(uuid, slurm.cluster, ["true"])
        sent["spec"]["resources"] = ARRAY
        made.append((root, uuid, sent))
        if crash(root, sys.executable, step, sent, upload, slurm.env):
            break
        died += 1
        step += 5
    assert died >= 8
    for root in sorted({root for root, _, _ in made}):
        with Agent(root, env=slurm.env, first=QUICK) as agent:
            for _, uuid, sent in [one for one in made if one[0] == root]:
                rest = {key: value for key, value in sent.items() if key not in ("op", "upload")}
                answer = agent.ask("submit", upload=upload, **rest)
                found = {line.split()[1].rpartition(".")[2]: line.split()[0] for line in slurm.jobs if uuid in line}
                assert answer["native_id"] == ",".join(found.get(part, "") for part in ("p1", "p2", "p3")), answer
                assert sorted(names(slurm, uuid)) == [".p1", ".p2", ".p3"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_agent_killed_between_parts_is_carried_on_by_the_watcher(slurm, tmp_path, when):
    slurm.set("sbatch." + when, 'case $name in *.p2) mkdir "$S/once" 2>/dev/null && kill -9 $PPID;; esac\n')
    uuid, root = new_uuid(), tmp_path / "root"
    sent = request(uuid, slurm.cluster, ["true"])
    sent["spec"]["resources"] = ARRAY
    assert not crash(root, sys.executable, 10**9, sent, tar({"files/data": b"x"}), slurm.env)
    until(lambda: (root / "jobs" / uuid / "state" / "native").exists(), "the native ids")
    assert sorted(names(slurm, uuid)) == [".p1", ".p2", ".p3"]
    with Agent(root, env=slurm.env) as agent:
        assert agent.wait_state(uuid, "QUEUED") == "QUEUED"
        assert [row["native_id"] for row in submitted(agent, uuid)[-1]["parts"]] == ["101", "102", "103"]
        for number in ("101", "102", "103"):
            slurm.set("end." + number, "COMPLETED\n")


@pytest.mark.parametrize("begun", [False, True])
def test_where_nothing_is_kept_a_part_is_known_by_its_own_elements(tmp_path, monkeypatch, begun):
    """The first part runs already when the agent dies before the second one is submitted."""
    found = Folder(str(tmp_path / "jobs"), new_uuid())
    found.create()
    cluster = {"name": "alpha", "workload_manager": "pbs", "dialect": "torque"}
    files.write_json(found.paths.request, {"uuid": found.uuid, "spec": {}, "cluster": cluster})
    row = {"span": "0-9", "throttle": None, "name": "x", "time": 1.0, "facts": []}
    rows = [{**row, "offset": 0, "native_id": "101[]"}, {**row, "offset": 10}]
    files.write_json(found.paths.intent, {"time": 1.0, "name": "x", "parts": rows})
    files.write_atomic(found.paths.started(1, 3), "native_id 101[]\n")
    if begun:
        files.write_atomic(found.paths.started(1, 13), "native_id 102[]\n")
    submission = Submission(found, Runner(str(tmp_path)), cluster)
    monkeypatch.setattr(submission.runner, "run", lambda *_, **__: Completed(0, b"", b"", 0.0))
    assert submission.find() == ("101[],102[]" if begun else None)
    assert ("time" in files.read_json(found.paths.intent)["parts"][1]) is begun


def test_a_part_that_is_refused_for_good_leaves_nothing_in_the_queue(slurm, tmp_path):
    slurm.set("refuse.p3", "Batch job submission failed: Invalid account")
    with Agent(tmp_path / "root", env=slurm.env, first=QUICK) as agent:
        uuid = new_uuid()
        result = agent.submit(uuid, ["true"], cluster=slurm.cluster, resources=ARRAY)
        assert (result["state"], result["condition"]) == ("FAILED", "submission_rejected")
        assert "part 3 of 3" in result["message"]
        assert "Invalid account" in result["message"]
        assert slurm.lines("cancelled") == ["101", "102"]
        assert not os.path.exists(agent.paths(uuid).intent)


def test_a_part_that_is_refused_for_now_is_tried_again_alone(slurm, tmp_path):
    slurm.set("refuse.p2", "QOSMaxSubmitJobPerUserLimit")
    with Agent(tmp_path / "root", env=slurm.env, first=QUICK) as agent:
        uuid = new_uuid()
        result = agent.submit(uuid, ["true"], cluster=slurm.cluster, resources=ARRAY)
        assert result["state"] == "BLOCKED"
        assert "part 2 of 3" in result["message"]
        slurm.unset("refuse.p2")
        assert agent.wait_state(uuid, "QUEUED", "FAILED") == "QUEUED"
        assert sorted(names(slurm, uuid)) == [".p1", ".p2", ".p3"]


def test_the_accounting_is_asked_from_the_first_part_on(slurm, tmp_path):
    """The last part may come days after the first."""
    slurm.set("refuse.p2", "QOSMaxSubmitJobPerUserLimit")
    with Agent(tmp_path / "root", env=slurm.env, first=QUICK) as agent:
        uuid = new_uuid()
        agent.submit(uuid, ["true"], cluster=slurm.cluster, resources=ARRAY)
        begun = files.read_json(agent.paths(uuid).intent)["time"]
        slurm.unset("refuse.p2")
        assert agent.wait_state(uuid, "QUEUED", "FAILED") == "QUEUED"
        job = Folder(str(agent.root / "jobs"), uuid)
        until(lambda: job.read().memo.get("submitted") == begun, "the time of the first part")


def test_a_cancel_between_parts_cancels_those_that_were_taken(slurm, tmp_path):
    slurm.set("refuse.p2", "QOSMaxSubmitJobPerUserLimit")
    with Agent(tmp_path / "root", env=slurm.env, first=QUICK) as agent:
        uuid = new_uuid()
        agent.submit(uuid, ["true"], cluster=slurm.cluster, resources=ARRAY)
        assert agent.ask("cancel", uuids=[uuid])["jobs"][uuid]["state"] == "CANCELLED"
        assert slurm.lines("cancelled") == ["101"]
        assert "parts that were in the queue" in agent.events(uuid)[-1]["message"]


def test_cancel_means_every_part(slurm, tmp_path):
    with Agent(tmp_path / "root", env=slurm.env, first=QUICK) as agent:
        uuid = new_uuid()
        agent.submit(uuid, ["true"], cluster=slurm.cluster, resources=ARRAY)
        agent.ask("cancel", uuids=[uuid])
        assert agent.wait_state(uuid, "CANCELLED", "FAILED") == "CANCELLED"
        # The watcher asks for it too.
        assert set(slurm.lines("cancelled")) == {"101", "102", "103"}


def test_a_throttle_that_cannot_be_kept_is_said(slurm, tmp_path):
    with Agent(tmp_path / "root", env=slurm.env, first=QUICK) as agent:
        result = agent.submit(new_uuid(), ["true"], cluster=slurm.cluster, resources={"array": "0-24%2"})
        assert result["state"] == "FAILED"
        assert result["condition"] == "submission_rejected"
        assert "no more than 2 may" in result["message"]
    assert slurm.jobs == []


def test_far_too_many_parts_by_a_limit_that_nobody_told_are_the_inputs_fault(tmp_path):
    slurm = FakeSlurm(tmp_path)
    slurm.set("maxarray", "3\n")
    with Agent(tmp_path / "root", env=slurm.env, first=QUICK) as agent:
        for array in ("0-9999", "0-999"):
            result = agent.submit(new_uuid(), ["true"], cluster=slurm.cluster, resources={"array": array})
            assert (result["state"], result["condition"]) == ("FAILED", "submission_rejected")
            assert "more than 200 arrays" in result["message"]
    assert slurm.jobs == []


def test_what_the_manager_cannot_do_is_refused_before_it_is_asked(tmp_path):
    with Agent(tmp_path / "root") as agent:
        result = agent.submit(new_uuid(), ["true"], cluster=LOCAL, resources={"qos": "high", "nodes": 2})
        assert (result["state"], result["condition"]) == ("FAILED", "submission_rejected")
        text = json.dumps(result["events"])
        assert "resources.qos" in text
        assert "resources.nodes" in text


def test_a_split_array_runs_on_the_built_in_manager(tmp_path):
    with Agent(tmp_path / "root") as agent:
        uuid = new_uuid()
        cluster = {**LOCAL, "max_array_size": 2}
        lines = ["[ $JOBFERRY_INDEX != 6 ] || exit 4"]
        agent.submit(uuid, lines, cluster=cluster, resources={"array": "1,4-6,9%4"})
        assert agent.wait_state(uuid, "FAILED", "FINISHED") == "FAILED"
        ended = [event for event in agent.events(uuid) if event.get("state") == "FAILED"][-1]
        assert ended["exit_code"] == 4
        assert "1 of 5 elements failed: element 6" in ended["message"]
        facts = sorted(int(name.rpartition(".")[2]) for name in os.listdir(agent.paths(uuid).facts) if "ended" in name)
        assert facts == [1, 4, 5, 6, 9]
