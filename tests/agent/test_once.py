"""A submission happens once, whatever dies in between."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from helpers.agent_client import LOCAL, PYTHONS, QUICK, Agent, new_uuid, tar, until
from helpers.crashing import crash, request
from helpers.fake_slurm import FakeSlurm


@pytest.fixture
def slurm(tmp_path):
    return FakeSlurm(tmp_path)


def test_an_agent_killed_at_any_step_submits_once_in_the_end(slurm, tmp_path):
    """Every other durable step of the taking, preparing and submitting; then the same call again, beside the watcher."""
    upload = tar({"files/data": b"x"})
    step, died = 1, 0
    uuids = []
    while True:
        root = tmp_path / "root{}".format(step % 7)
        uuid = new_uuid()
        lived = crash(root, sys.executable, step, request(uuid, slurm.cluster, ["true"]), upload, slurm.env)
        uuids.append((root, uuid))
        if lived:
            break
        died += 1
        step += 2
    assert died >= 15
    for root in {root for root, _ in uuids}:
        with Agent(root, env=slurm.env, first=QUICK) as agent:
            for where, uuid in uuids:
                if where == root:
                    sent = request(uuid, slurm.cluster, ["true"])
                    sent.pop("op")
                    sent.pop("upload")
                    answer = agent.ask("submit", upload=upload, **sent)
                    assert answer.get("native_id"), answer
                    found = [line.split()[0] for line in slurm.jobs if uuid in line]
                    assert found == [answer["native_id"]]
    for line in slurm.jobs:
        slurm.set("end." + line.split()[0], "COMPLETED\n")
    for root in {root for root, _ in uuids}:
        with Agent(root, env=slurm.env, first=QUICK) as agent:
            for where, uuid in uuids:
                if where == root:
                    agent.wait_state(uuid, "FINISHED")
                    seqs = [event["seq"] for event in agent.events(uuid)]
                    assert seqs == list(range(1, len(seqs) + 1))


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_agent_killed_around_sbatch_is_carried_on_by_the_watcher(slurm, tmp_path, python, when):
    """`$PPID` of sbatch is the agent; nobody calls again: the watcher alone finds out."""
    slurm.set("sbatch." + when, 'if mkdir "$S/once" 2>/dev/null; then kill -9 $PPID; fi\n')
    uuid = new_uuid()
    root = tmp_path / "root"
    assert not crash(root, python, 10**9, request(uuid, slurm.cluster, ["true"]), tar({"files/data": b"x"}), slurm.env)
    until(lambda: any(uuid in line for line in slurm.jobs), "a job")
    until(lambda: (root / "jobs" / uuid / "state" / "native").exists(), "the native id")
    slurm.set("end.101", "COMPLETED\n")
    with Agent(root, python, slurm.env) as agent:
        assert agent.wait_state(uuid, "FINISHED", "FAILED") == "FINISHED"
        assert [event["set"]["native_id"] for event in agent.events(uuid) if "native_id" in event.get("set", {})] == [
            "101"
        ]
    assert [line.split()[0] for line in slurm.jobs] == ["101"]


def test_an_sbatch_that_outlives_its_agent_is_waited_for(slurm, tmp_path):
    """sbatch hangs on a busy controller, the agent is killed, and only then the job is accepted."""
    slurm.set("sbatch.before", 'mkdir "$S/once" 2>/dev/null && { kill -9 $PPID; sleep 1.5; }\n')
    uuid = new_uuid()
    root = tmp_path / "root"
    upload = tar({"files/data": b"x"})
    assert not crash(root, sys.executable, 10**9, request(uuid, slurm.cluster, ["true"]), upload, slurm.env)
    with Agent(root, env=slurm.env, first=QUICK) as agent:
        assert agent.submit(uuid, ["true"], cluster=slurm.cluster)["native_id"] == "101"
    assert len(slurm.jobs) == 1


def test_a_cut_connection_does_not_stop_a_job_that_is_taken(slurm, tmp_path):
    uuid = new_uuid()
    agent = Agent(tmp_path / "root", env=slurm.env, first=QUICK)
    sent = request(uuid, slurm.cluster, ["true"])
    sent["spec"]["requirements"] = ["echo going; sleep 1; echo still going"]
    agent.send(sent)
    agent.send({"type": "data"}, tar({"files/data": b"x"}))
    agent.send({"type": "end"})
    while agent.read()[0]["type"] != "taken":
        pass
    agent.process.stdout.close()
    agent.process.stdin.close()
    agent.process.send_signal(signal.SIGHUP)
    assert agent.process.wait(20) == 0
    assert [line.split()[1].split(".")[-1] for line in slurm.jobs] == [uuid]


def test_a_connection_cut_before_everything_arrived_leaves_nothing_submitted(slurm, tmp_path):
    uuid = new_uuid()
    upload = tar({"files/data": b"x" * 300000})
    agent = Agent(tmp_path / "root", env=slurm.env, first=QUICK)
    agent.send(request(uuid, slurm.cluster, ["true"]))
    agent.send({"type": "data"}, upload[:100000])
    agent.close()
    with Agent(tmp_path / "root", env=slurm.env, first=QUICK) as again:
        assert again.ask("have", uuid=uuid)["taken"] is False
        assert slurm.jobs == []
        assert again.submit(uuid, ["true"], upload=upload, cluster=slurm.cluster)["native_id"] == "101"


def test_a_refusal_keeps_the_schedulers_words_and_is_final(slurm, tmp_path):
    slurm.set("refuse", "Batch job submission failed: Invalid partition name specified")
    with Agent(tmp_path / "root", env=slurm.env, first=QUICK) as agent:
        uuid = new_uuid()
        result = agent.submit(uuid, ["true"], cluster=slurm.cluster)
        assert (result["state"], result["condition"]) == ("FAILED", "submission_rejected")
        assert "Invalid partition name specified" in result["message"]
        slurm.unset("refuse")
        assert agent.submit(uuid, ["true"], cluster=slurm.cluster)["state"] == "FAILED"
    assert slurm.jobs == []
    assert len(slurm.lines("calls")) == 1


def test_a_scheduler_that_is_away_blocks_with_a_plan_and_is_tried_again(slurm, tmp_path):
    slurm.set("down")
    with Agent(tmp_path / "root", env=slurm.env, first=QUICK) as agent:
        uuid = new_uuid()
        result = agent.submit(uuid, ["true"], cluster=slurm.cluster)
        assert result["state"] == "BLOCKED"
        assert "Unable to contact slurm controller" in result["message"]
        plan = [event["set"]["plan"] for event in result["events"] if "plan" in event.get("set", {})][-1]
        assert plan["cause"] == "scheduler"
        assert plan["tries"] == 1
        assert plan["next"] < plan["until"]
        assert slurm.jobs == []
        slurm.unset("down")
        assert agent.wait_state(uuid, "QUEUED", "FAILED") == "QUEUED"
    assert len(slurm.jobs) == 1


def test_an_accounting_that_is_away_is_no_answer(slurm, tmp_path):
    """sbatch was tried, the queue does not know the job: without the accounting it may have run already."""
    slurm.set("sbatch.before", 'if mkdir "$S/once" 2>/dev/null; then kill -9 $PPID; exit 1; fi\n')
    slurm.set("nosacct")
    uuid = new_uuid()
    root = tmp_path / "root"
    assert not crash(
        root, sys.executable, 10**9, request(uuid, slurm.cluster, ["true"]), tar({"files/data": b"x"}), slurm.env
    )
    with Agent(root, env=slurm.env, first=QUICK) as agent:
        result = agent.submit(uuid, ["true"], cluster=slurm.cluster)
        assert result["state"] == "BLOCKED"
        assert slurm.jobs == []
        slurm.unset("nosacct")
        assert agent.submit(uuid, ["true"], cluster=slurm.cluster)["state"] == "QUEUED"
    assert len(slurm.jobs) == 1


def test_two_agents_at_once_submit_once(slurm, tmp_path):
    slurm.set("sbatch.before", "sleep 0.5\n")
    uuid = new_uuid()
    agents = [Agent(tmp_path / "root", env=slurm.env, first=QUICK) for _ in range(3)]
    upload = tar({"files/data": b"x"})
    for agent in agents:
        agent.send(request(uuid, slurm.cluster, ["true"]))
        agent.send({"type": "data"}, upload)
        agent.send({"type": "end"})
    answers = []
    for agent in agents:
        header = {"type": ""}
        while header["type"] != "result":
            header, _ = agent.read()
        answers.append(header["native_id"])
        agent.close()
    assert answers == ["101"] * 3
    assert len(slurm.jobs) == 1


def test_nothing_secret_is_readable_or_handed_on(slurm, tmp_path):
    token = "job.secret-token"
    report = {"url": "http://127.0.0.1:9", "token": token}
    with Agent(tmp_path / "root", env=dict(slurm.env, JOBFERRY_API_PASSWORD="hunter2")) as agent:
        uuid = new_uuid()
        agent.submit(uuid, ["true"], requirements=["env"], cluster=slurm.cluster, report=report)
        paths = agent.paths(uuid)
    assert os.stat(paths.token).st_mode & 0o777 == 0o600
    assert os.stat(paths.folder).st_mode & 0o777 == 0o700
    for base, _, names in os.walk(tmp_path / "root"):
        for name in names:
            content = Path(base, name).read_bytes()
            assert b"hunter2" not in content
            assert token.encode() not in content or os.path.join(base, name) == paths.token


def test_the_record_of_a_job_is_json_that_people_can_read(tmp_path):
    with Agent(tmp_path / "root") as agent:
        uuid = new_uuid()
        agent.submit(uuid, ["true"], cluster=LOCAL)
        agent.wait_state(uuid, "FINISHED")
        request_ = json.loads(Path(agent.paths(uuid).request).read_text())
    assert request_["report"] is None
    assert time.time() - os.stat(agent.paths(uuid).record).st_mtime < 60
