"""The whole agent with a fake `at`, whose jobs really run, each with its keeper. tests/e2e/test_at.py has the real one."""

import contextlib
import subprocess
from pathlib import Path

import pytest

from helpers.agent_client import PYTHONS, QUICK, Agent, new_uuid, tar, until
from helpers.crashing import crash, request
from helpers.fake_at import FakeAt

LATER = {"begin": "2031-01-31T18:30:00"}


@pytest.fixture
def fake(tmp_path):
    return FakeAt(tmp_path)


@pytest.fixture
def agent(tmp_path, fake):
    with Agent(tmp_path / "it's a root", PYTHONS[-1], env=fake.env, first=QUICK) as found:
        yield found


def last(agent, uuid):
    return next(event for event in reversed(agent.events(uuid)) if "condition" in event)


def end(agent, uuid):
    agent.wait_state(uuid, "FINISHED", "FAILED", "CANCELLED")
    event = last(agent, uuid)
    return event["state"], event["condition"], event.get("exit_code")


def marked(uuid):
    """Processes of a job."""
    found = []
    for place in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            words = place.read_bytes().split(b"\0")
            if any(word.startswith(b"JOBFERRY_AT_JOB=") and uuid.encode() in word for word in words):
                found.append(int(place.parent.name))
    return found


def test_jobs_end_with_their_exit_codes(agent, fake):
    good, bad, killed = new_uuid(), new_uuid(), new_uuid()
    agent.submit(good, ['[ "$JOBFERRY_NATIVE_ID" = 7 ]'], cluster=fake.cluster)
    agent.submit(bad, ["exit 3"], cluster=fake.cluster)
    agent.submit(killed, ["kill -9 $$"], cluster=fake.cluster)
    assert end(agent, good) == ("FINISHED", "ok", 0)
    assert end(agent, bad) == ("FAILED", "exit_code", 3)
    assert end(agent, killed) == ("FAILED", "exit_code", 137)
    until(lambda: fake.spool == [], "at's queue is empty")


def test_a_time_limit_ends_what_left_the_session_and_nothing_else(agent, fake):
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
    uuid = new_uuid()
    agent.submit(uuid, ["setsid sleep 601 & sleep 602"], cluster=fake.cluster, resources={"duration": "1s"})
    try:
        assert end(agent, uuid) == ("FAILED", "timeout", None)
        assert marked(uuid) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_waiting_job_is_cancelled_and_never_ran(agent, fake):
    uuid = new_uuid()
    agent.submit(uuid, ["true"], cluster=fake.cluster, resources={**LATER, "queue": "c"})
    assert fake.spool == ["c.7"]
    outcome = agent.ask("hold", uuids=[uuid])["jobs"][uuid]
    assert (outcome["ok"], "at cannot hold a job" in outcome["message"]) == (False, True)
    assert agent.ask("cancel", uuids=[uuid])["jobs"][uuid]["state"] == "CANCELLED"
    assert end(agent, uuid) == ("CANCELLED", "cancelled_by_user", None)
    assert "RUNNING" not in [event.get("state") for event in agent.events(uuid)]
    assert fake.spool == []


def test_a_running_job_that_ignores_term_is_cancelled(agent, fake):
    uuid = new_uuid()
    agent.submit(uuid, ["sh -c 'trap \"\" TERM; while :; do sleep 1; done'"], cluster=fake.cluster)
    agent.wait_state(uuid, "RUNNING")
    assert agent.ask("cancel", uuids=[uuid])["jobs"][uuid]["ok"]
    assert end(agent, uuid) == ("CANCELLED", "cancelled_by_user", None)
    assert marked(uuid) == []


def test_another_job_that_has_the_number_now_is_left_alone(agent, fake):
    uuid = new_uuid()
    agent.submit(uuid, ["true"], cluster=fake.cluster, resources=LATER)
    (fake.state / "spool" / "a.7").write_text("# jobferry-name somebody.else\nsleep 1\n")
    agent.ask("cancel", uuids=[uuid])
    assert fake.spool == ["a.7"]


def test_a_refusal_has_ats_words(agent, fake):
    (fake.state / "deny").touch()
    result = agent.submit(new_uuid(), ["true"], cluster=fake.cluster)
    assert (result["state"], result["condition"]) == ("FAILED", "submission_rejected")
    assert "You do not have permission to use at" in result["message"]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("state", ["runs", "is over"])
def test_an_agent_killed_before_it_knew_the_number_submits_once(fake, tmp_path, python, state):
    """A job that is over has left the queue without a trace there: its facts tell that it ran."""
    wait = "" if state == "runs" else f"while ls '{fake.state}'/spool/?.* >/dev/null 2>&1; do sleep 0.1; done;"
    (fake.state / "hook").write_text(f"rm '{fake.state}/hook'; {wait} kill -9 $PPID\n")
    uuid, root = new_uuid(), tmp_path / "root"
    sent = request(uuid, fake.cluster, [f"echo x >> '{tmp_path}/runs'"])
    assert not crash(root, python, 10**9, sent, tar({"files/data": b"x"}), fake.env)
    with Agent(root, python, env=fake.env, first=QUICK) as agent:
        assert end(agent, uuid) == ("FINISHED", "ok", 0)
        ids = [event["set"]["native_id"] for event in agent.events(uuid) if "native_id" in event.get("set", {})]
    assert ids == ["7"]
    assert (tmp_path / "runs").read_text() == "x\n"
    assert (fake.state / "next").read_text() == "7\n"
