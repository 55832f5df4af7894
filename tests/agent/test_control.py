"""Cancel, hold, release and remove, in every state a job may be in."""

import os
from pathlib import Path

import pytest

from helpers.agent_client import PYTHONS, QUICK, Agent, command, new_uuid, tar, until
from helpers.fake_slurm import FakeSlurm


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    with Agent(tmp_path_factory.mktemp("shared") / "root") as found:
        yield found


def one(agent, op, uuid, **fields):
    return agent.ask(op, uuids=[uuid], **fields)["jobs"][uuid]


def test_a_running_job_is_cancelled_when_the_scheduler_says_so(root):
    with Agent(root, PYTHONS[-1]) as agent:
        uuid = new_uuid()
        agent.submit(uuid, ["trap '' TERM; sleep 600 & wait; sleep 600"])
        agent.wait_state(uuid, "RUNNING")
        outcome = one(agent, "cancel", uuid)
        assert outcome["ok"] is True
        assert agent.wait_state(uuid, "CANCELLED") == "CANCELLED"
        last = agent.events(uuid)[-1]
        assert last["condition"] == "cancelled_by_user"
        assert last["set"]["job_status"]["State"] == ["CANCELLED"]
        again = one(agent, "cancel", uuid)
        assert (again["ok"], again["state"]) == (True, "CANCELLED")
        assert agent.events(uuid)[-1] == last


def test_a_scheduler_that_does_not_confirm_is_not_spoken_for(tmp_path, root):
    slurm = FakeSlurm(tmp_path)
    slurm.set("deaf")
    with Agent(root, env=slurm.env, first=QUICK) as agent:
        uuid = new_uuid()
        agent.submit(uuid, ["true"], cluster=slurm.cluster)
        outcome = one(agent, "cancel", uuid)
        assert outcome["ok"] is True
        assert outcome["state"] == "QUEUED"
        assert "not confirmed" in outcome["message"]
        slurm.set("end.101", "CANCELLED")
        assert agent.wait_state(uuid, "CANCELLED") == "CANCELLED"


def test_a_job_in_preparation_is_stopped_before_its_submission(root):
    with Agent(root) as agent, Agent(root) as other:
        uuid = new_uuid()
        spec = {"destination_cluster": "local", "job": "job", "execution": ["true"], "requirements": ["sleep 600"]}
        cluster = {"name": "local", "workload_manager": "local"}
        agent.send({"op": "submit", "uuid": uuid, "spec": spec, "cluster": cluster, "source": {"kind": "file"}})
        until(lambda: other.state(uuid) == "PREPROCESSING")
        outcome = one(other, "cancel", uuid)
        assert (outcome["ok"], outcome["state"]) == (True, "CANCELLED")
        header = {"type": ""}
        while header["type"] != "result":
            header, _ = agent.read()
        assert header["state"] == "CANCELLED"
        assert header["native_id"] is None
        assert not (root / "local" / "jobs").exists()


def test_a_blocked_job_is_cancelled_without_the_scheduler(tmp_path, root):
    slurm = FakeSlurm(tmp_path)
    slurm.set(
        "refuse", "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, MaxSubmitJob)"
    )
    with Agent(root, env=slurm.env, first=QUICK) as agent:
        uuid = new_uuid()
        assert agent.submit(uuid, ["true"], cluster=slurm.cluster)["state"] == "BLOCKED"
        outcome = one(agent, "cancel", uuid)
        assert (outcome["ok"], outcome["state"]) == (True, "CANCELLED")
    assert slurm.jobs == []


def test_a_wish_that_came_before_the_job_is_kept(agent):
    uuid = new_uuid()
    assert one(agent, "cancel", uuid)["known"] is False
    (Path(agent.paths(uuid).folder) / "state").mkdir(parents=True)
    assert one(agent, "cancel", uuid)["known"] is False
    assert agent.submit(uuid, ["true"])["state"] == "CANCELLED"


def test_postprocessing_is_cancelled_too(agent):
    uuid = new_uuid()
    step = {"index": 1, "module": "m.sh", "execution": "sh m.sh"}
    upload = tar({"modules/postprocessing/m.sh": b"sleep 600\n"})
    agent.submit(uuid, ["true"], upload=upload, modules={"postprocessing": [step]})
    agent.wait_state(uuid, "POSTPROCESSING")
    assert one(agent, "cancel", uuid)["ok"] is True
    assert agent.wait_state(uuid, "CANCELLED") == "CANCELLED"


def test_hold_and_release_go_to_the_scheduler(agent):
    uuids = [new_uuid() for _ in range(2)]
    # The first takes the whole machine, so the second waits.
    cpus = len(os.sched_getaffinity(0))
    agent.submit(uuids[0], ["sleep 600"], resources={"nbr_processes": cpus})
    agent.wait_state(uuids[0], "RUNNING")
    agent.submit(uuids[1], ["true"], resources={"nbr_processes": cpus})
    assert one(agent, "hold", uuids[0])["ok"] is False
    assert one(agent, "hold", uuids[1]) == {"ok": True, "known": True, "state": "PAUSED", "message": ""}
    one(agent, "cancel", uuids[0])
    agent.wait_state(uuids[0], "CANCELLED")
    assert agent.state(uuids[1]) == "PAUSED"
    assert one(agent, "release", uuids[1])["ok"] is True
    assert agent.wait_state(uuids[1], "FINISHED") == "FINISHED"
    assert one(agent, "hold", uuids[1])["ok"] is False
    assert one(agent, "release", new_uuid())["known"] is False


def test_remove_spares_the_living_unless_forced_and_cleans_the_folder(agent):
    uuid = new_uuid()
    agent.submit(uuid, ["mkdir sub; touch sub/x; chmod 500 sub; sleep 600"])
    agent.wait_state(uuid, "RUNNING")
    refused = one(agent, "remove", uuid)
    assert refused["ok"] is False
    assert "RUNNING" in refused["message"]
    outcome = one(agent, "remove", uuid, force=True)
    assert outcome["ok"] is True, outcome
    assert uuid not in "".join(os.listdir(agent.root / "jobs"))
    assert one(agent, "remove", uuid) == {"ok": True, "known": False, "message": "there is no folder of it here"}
    assert not (agent.root / "live" / uuid).exists()


def test_the_agents_own_command_cancels(root):
    import subprocess

    with Agent(root) as agent:
        uuid = new_uuid()
        agent.submit(uuid, ["sleep 600"])
        done = subprocess.run(command() + ["cancel", str(root), uuid], stdout=subprocess.PIPE, timeout=60)
        assert done.returncode == 0
        assert done.stdout.decode().split()[:2] == [uuid, "CANCELLED"]
        assert agent.state(uuid) == "CANCELLED"


def test_a_job_that_may_be_in_the_queue_is_cancelled_when_that_is_known(tmp_path, root):
    slurm = FakeSlurm(tmp_path)
    slurm.set(
        "sbatch.after", "echo 'sbatch: error: Socket timed out on send/recv operation' >&2; touch \"$S/down\"; exit 1\n"
    )
    with Agent(root, env=slurm.env, first=QUICK) as agent:
        uuid = new_uuid()
        assert agent.submit(uuid, ["true"], cluster=slurm.cluster)["state"] == "BLOCKED"
        outcome = one(agent, "cancel", uuid)
        assert (outcome["ok"], outcome["state"]) == (False, "BLOCKED")
        slurm.unset("down")
        assert agent.wait_state(uuid, "CANCELLED") == "CANCELLED"
        assert slurm.lines("cancelled")[:1] == ["101"]
    assert len(slurm.jobs) == 1
