"""The whole agent with a fake Flux: no Flux can be run here, so its command is one that takes what the real one documents."""

import sys

import pytest

from helpers.agent_client import QUICK, Agent, new_uuid, tar, until
from helpers.crashing import crash, request
from helpers.fake_flux import FakeFlux

RESOURCES = {"duration": "1h", "nbr_processes": 2, "nbr_threads_per_process": 3, "gpus_per_rank": 1, "account": "123"}


@pytest.fixture
def flux(tmp_path):
    return FakeFlux(tmp_path)


@pytest.fixture
def agent(tmp_path, flux):
    with Agent(tmp_path / "root", env=flux.env, first=QUICK) as found:
        yield found


def last(agent, uuid):
    return next(event for event in reversed(agent.events(uuid)) if "condition" in event)


def test_jobs_run_and_end_with_their_exit_codes(agent, flux):
    good, bad = new_uuid(), new_uuid()
    agent.submit(good, ['[ "$JOBFERRY_NATIVE_ID $nodes" = "f1z1 2" ]'], cluster=flux.cluster, resources=RESOURCES)
    agent.submit(bad, ["exit 3"], cluster=flux.cluster)
    assert agent.wait_state(good, "FINISHED", "FAILED") == "FINISHED"
    assert agent.wait_state(bad, "FINISHED", "FAILED") == "FAILED"
    assert (last(agent, bad)["condition"], last(agent, bad)["exit_code"]) == ("exit_code", 3)
    asked = next(job["asked"] for job in flux.jobs if good in job["name"])
    assert (asked["time_limit"], asked["nslots"], asked["cores_per_slot"]) == ("3600s", "2", "3")
    assert (asked["gpus_per_slot"], asked["setattr"]) == ("1", ['system.bank="123"'])


def test_a_running_job_is_cancelled(agent, flux):
    uuid = new_uuid()
    agent.submit(uuid, ["sleep 600"], cluster=flux.cluster)
    agent.wait_state(uuid, "RUNNING")
    assert agent.ask("cancel", uuids=[uuid])["jobs"][uuid]["ok"]
    assert agent.wait_state(uuid, "CANCELLED", "FAILED") == "CANCELLED"
    assert last(agent, uuid)["condition"] == "cancelled_by_user"


def test_a_waiting_job_is_held_released_and_cancelled(agent, flux):
    uuid = new_uuid()
    agent.submit(uuid, ["true"], cluster=flux.cluster, resources={"begin": "2031-01-31T18:30:00"})
    assert flux.jobs[0]["asked"]["begin_time"] == "2031-01-31 18:30:00"
    assert agent.ask("hold", uuids=[uuid])["jobs"][uuid]["ok"]
    assert agent.wait_state(uuid, "PAUSED")
    assert agent.ask("release", uuids=[uuid])["jobs"][uuid]["ok"]
    assert agent.wait_state(uuid, "QUEUED")
    agent.ask("cancel", uuids=[uuid])
    assert agent.wait_state(uuid, "CANCELLED", "FAILED") == "CANCELLED"


def test_a_refusal_has_fluxs_words(agent, flux):
    result = agent.submit(new_uuid(), ["true"], cluster=flux.cluster, resources={"queue": "nope"})
    assert (result["state"], result["condition"]) == ("FAILED", "submission_rejected")
    assert "Invalid queue specified: nope" in result["message"]


def test_an_agent_killed_after_the_submission_submits_once(flux, tmp_path):
    flux.set("hook.flux", f"rm {flux.state}/hook.flux; kill -9 $1\n")
    uuid, root = new_uuid(), tmp_path / "other"
    sent = request(uuid, flux.cluster, ["true"])
    assert not crash(root, sys.executable, 10**9, sent, tar({"files/data": b"x"}), flux.env)
    until(lambda: (root / "jobs" / uuid / "state" / "native").exists(), "the native id")
    with Agent(root, env=flux.env, first=QUICK) as agent:
        assert agent.wait_state(uuid, "FINISHED", "FAILED") == "FINISHED"
    assert len(flux.jobs) == 1
