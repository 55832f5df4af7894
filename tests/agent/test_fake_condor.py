"""The whole agent with a fake HTCondor: none can be run here, so its programs are ones that take what its manual documents."""

import sys

import pytest

from helpers.agent_client import QUICK, Agent, new_uuid, tar, until
from helpers.crashing import crash, request
from helpers.fake_condor import FakeCondor

RESOURCES = {"duration": "1h", "nbr_processes": 2, "nbr_threads_per_process": 3, "memory_per_thread": "1G"}


@pytest.fixture
def condor(tmp_path):
    return FakeCondor(tmp_path)


@pytest.fixture
def agent(tmp_path, condor):
    # A path that would be read as a macro.
    with Agent(tmp_path / "ro$(ot", env=condor.env, first=QUICK) as found:
        yield found


def last(agent, uuid):
    return next(event for event in reversed(agent.events(uuid)) if "condition" in event)


def test_jobs_run_and_end_with_their_exit_codes(agent, condor):
    good, bad = new_uuid(), new_uuid()
    agent.submit(good, ['[ "$JOBFERRY_NATIVE_ID" = 101 ]'], cluster=condor.cluster, resources=RESOURCES)
    options = ["request_disk = 2G", "+WantFlocking = true"]
    agent.submit(bad, ["exit 3"], cluster=condor.cluster, scheduler_options=options)
    assert agent.wait_state(good, "FINISHED", "FAILED") == "FINISHED"
    assert agent.wait_state(bad, "FINISHED", "FAILED") == "FAILED"
    assert (last(agent, bad)["condition"], last(agent, bad)["exit_code"]) == ("exit_code", 3)
    first, second = (job["asked"] for job in condor.jobs)
    assert (first["request_cpus"], first["request_memory"]) == ("6", "6144")
    assert "> 3600)" in first["periodic_remove"]
    assert (second["request_disk"], second["+wantflocking"]) == ("2G", "true")


def test_the_elements_of_an_array_have_the_users_indices(agent, condor):
    uuid = new_uuid()
    lines = ["[ $JOBFERRY_INDEX != 7 ] || exit 5"]
    answer = agent.submit(uuid, lines, cluster=condor.cluster, resources={"array": "1,5-9:2"})
    assert answer["native_id"] == "101"
    assert agent.wait_state(uuid, "FINISHED", "FAILED") == "FAILED"
    assert last(agent, uuid)["exit_code"] == 5
    assert [job["index"] for job in condor.jobs] == [1, 5, 7, 9]
    status = last(agent, uuid)["set"]["job_status"]
    assert status["JobID"] == ["101_1", "101_5", "101_7", "101_9"]


def test_an_array_in_parts_has_a_description_for_each(agent, condor):
    uuid = new_uuid()
    cluster = {**condor.cluster, "max_array_size": 2}
    answer = agent.submit(uuid, ['[ "$JOBFERRY_INDEX" -lt 4 ]'], cluster=cluster, resources={"array": "0-4"})
    assert answer["native_id"] == "101,102,103"
    assert agent.wait_state(uuid, "FINISHED", "FAILED") == "FAILED"
    assert len(condor.jobs) == 5
    assert len(last(agent, uuid)["set"]["job_status"]["State"]) == 5


def test_a_running_job_is_cancelled(agent, condor):
    uuid = new_uuid()
    agent.submit(uuid, ["sleep 600"], cluster=condor.cluster)
    agent.wait_state(uuid, "RUNNING")
    assert agent.ask("cancel", uuids=[uuid])["jobs"][uuid]["ok"]
    assert agent.wait_state(uuid, "CANCELLED", "FAILED") == "CANCELLED"
    assert last(agent, uuid)["condition"] == "cancelled_by_user"


def test_a_waiting_job_is_held_released_and_cancelled(agent, condor):
    uuid = new_uuid()
    agent.submit(uuid, ["true"], cluster=condor.cluster, resources={"begin": "2031-01-31T18:30:00Z"})
    assert condor.jobs[0]["asked"]["deferral_time"] == "1927650600"
    assert agent.ask("hold", uuids=[uuid])["jobs"][uuid]["ok"]
    assert agent.wait_state(uuid, "PAUSED")
    assert agent.ask("release", uuids=[uuid])["jobs"][uuid]["ok"]
    assert agent.wait_state(uuid, "QUEUED")
    agent.ask("cancel", uuids=[uuid])
    assert agent.wait_state(uuid, "CANCELLED", "FAILED") == "CANCELLED"


def test_a_running_job_is_not_held(agent, condor):
    uuid = new_uuid()
    agent.submit(uuid, ["sleep 600"], cluster=condor.cluster)
    agent.wait_state(uuid, "RUNNING")
    assert not agent.ask("hold", uuids=[uuid])["jobs"][uuid]["ok"]
    agent.ask("cancel", uuids=[uuid])
    agent.wait_state(uuid, "CANCELLED")


def test_a_refusal_has_htcondors_words(agent, condor):
    result = agent.submit(new_uuid(), ["true"], cluster=condor.cluster, resources={"constraint": "(Arch"})
    assert (result["state"], result["condition"]) == ("FAILED", "submission_rejected")
    assert "Failed to parse command file" in result["message"]


def test_an_agent_killed_after_the_submission_submits_once(condor, tmp_path):
    condor.set("hook.condor_submit", f"rm {condor.state}/hook.condor_submit; kill -9 $1\n")
    uuid, root = new_uuid(), tmp_path / "other"
    sent = request(uuid, condor.cluster, ["true"])
    assert not crash(root, sys.executable, 10**9, sent, tar({"files/data": b"x"}), condor.env)
    until(lambda: (root / "jobs" / uuid / "state" / "native").exists(), "the native id")
    with Agent(root, env=condor.env, first=QUICK) as agent:
        assert agent.wait_state(uuid, "FINISHED", "FAILED") == "FINISHED"
    assert len(condor.jobs) == 1
