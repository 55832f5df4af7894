"""The whole agent on fake PBS programs of both dialects, which check their arguments as the real ones do and run jobs for real."""

from pathlib import Path

import pytest

from helpers.agent_client import PYTHONS, QUICK, Agent, new_uuid, until
from helpers.fake_pbs import FakePbs
from project.agent.folder import Folder

DIALECTS = ("pbspro", "torque")


@pytest.fixture(params=DIALECTS)
def pbs(request, tmp_path):
    fake = FakePbs(tmp_path, request.param)
    fake.dialect = request.param
    yield fake
    fake.close()


@pytest.fixture
def agent(pbs, tmp_path):
    with Agent(tmp_path / "root", PYTHONS[-1], env=pbs.env, first=QUICK) as found:
        yield found


def submit(agent, pbs, execution, **more):
    uuid = new_uuid()
    answer = agent.submit(uuid, execution, cluster=pbs.cluster, **more)
    return uuid, answer


def ended(agent, uuid):
    """State, condition, exit code and the whole document of a job, when it is over."""
    agent.wait_state(uuid, "FINISHED", "FAILED", "CANCELLED")
    document = Folder(str(agent.root / "jobs"), uuid).read().document
    return document["state"], document["condition"], document["exit_code"], document


def one(agent, op, uuid):
    return agent.ask(op, uuids=[uuid])["jobs"][uuid]


def test_fake_jobs_end_as_their_scripts_do_or_are_ended(agent, pbs):
    pbs.set("slots", "9")
    lines = ['test "$JOBFERRY_NATIVE_ID" = 101', "echo out"]
    fine, answer = submit(agent, pbs, lines, name="my job, no: 1")
    assert answer["native_id"] == "101"
    bad, _ = submit(agent, pbs, ["exit 3"])
    killed, _ = submit(agent, pbs, ["kill -9 $$"])
    late, _ = submit(agent, pbs, ["sleep 60"], resources={"duration": "1s"})
    stopped, _ = submit(agent, pbs, ["sleep 60"])
    agent.wait_state(stopped, "RUNNING")
    assert one(agent, "cancel", stopped)["ok"] is True
    assert ended(agent, stopped)[:2] == ("CANCELLED", "cancelled_by_user")
    assert ended(agent, fine)[:3] == ("FINISHED", "ok", 0)
    assert Path(agent.paths(fine).stdout(1)).read_text() == "out\n"
    assert ended(agent, bad)[:3] == ("FAILED", "exit_code", 3)
    assert ended(agent, killed)[:3] == ("FAILED", "exit_code", 137)
    assert ended(agent, late)[:2] == ("FAILED", "timeout")
    assert (agent.root / "dialect.pbs").read_text().strip() == pbs.dialect
    findings = {finding["what"]: finding for finding in agent.ask("check", cluster=pbs.cluster)["findings"]}
    assert findings["pbs ({})".format(pbs.dialect)]["ok"] is True
    assert "nodes 1, idle_nodes 0, cpus 8" in findings["pbs ({})".format(pbs.dialect)]["text"]
    assert ended(agent, fine)[3]["job_status"]["State"] == ["F" if pbs.dialect == "pbspro" else "C"]


@pytest.mark.parametrize("pbs", ["pbspro"], indirect=True)
def test_a_fake_qsub_whose_answer_is_lost_has_submitted_once(agent, pbs):
    pbs.set("mute")
    uuid, _ = submit(agent, pbs, ["true"])
    assert ended(agent, uuid)[:2] == ("FINISHED", "ok")
    assert list(pbs.jobs) == ["101"]


def test_a_fake_array_with_a_throttle_tells_every_element(agent, pbs):
    lines = ['test "$JOBFERRY_NATIVE_ID" = "101[]"', "exit $(( JOBFERRY_INDEX == 7 ? 5 : 0 ))"]
    uuid, answer = submit(agent, pbs, lines, resources={"array": "5-8%2", "duration": "5m"})
    assert answer["native_id"] == "101[]"
    state, condition, code, document = ended(agent, uuid)
    assert (state, condition, code) == ("FAILED", "exit_code", 5)
    assert "element 7 ended with exit code 5" in document["message"]
    assert len(document["job_status"]["State"]) == 4
    assert [job["throttle"] for job in pbs.jobs.values()] == [2] * 4


@pytest.mark.parametrize("pbs", ["pbspro"], indirect=True)
def test_a_fake_array_above_the_limit_is_split_and_stays_one_job(agent, pbs):
    pbs.set("small")
    uuid, _ = submit(agent, pbs, ["true"], resources={"array": "0-29"})
    state, _, _, document = ended(agent, uuid)
    assert state == "FINISHED"
    assert sorted({job["id"] for job in pbs.jobs.values()}) == [101, 102]
    assert len(document["job_status"]["State"]) == 30


def test_fake_jobs_that_wait_are_held_released_and_cancelled(agent, pbs):
    pbs.set("slots", "0")
    uuid, _ = submit(agent, pbs, ["true"])
    other, _ = submit(agent, pbs, ["true"])
    outcome = one(agent, "hold", uuid)
    assert (outcome["ok"], outcome["state"]) == (True, "PAUSED")
    assert one(agent, "cancel", other)["ok"] is True
    assert ended(agent, other)[:2] == ("CANCELLED", "cancelled_by_user")
    assert one(agent, "cancel", other)["state"] == "CANCELLED"
    assert one(agent, "release", uuid)["ok"] is True
    pbs.set("slots", "2")
    assert ended(agent, uuid)[0] == "FINISHED"


@pytest.mark.parametrize("pbs", ["pbspro"], indirect=True)
def test_a_fake_refusal_is_told_in_the_programs_words(agent, pbs):
    uuid, answer = submit(agent, pbs, ["true"], resources={"queue": "nosuch"})
    assert answer["state"] == "FAILED"
    state, condition, _, document = ended(agent, uuid)
    assert (state, condition) == ("FAILED", "submission_rejected")
    assert "Unknown queue" in document["message"]
    uuid, _ = submit(agent, pbs, ["true"], resources={"signal": "USR1@1m", "duration": "5m"})
    assert "resources.signal" in ended(agent, uuid)[3]["message"]
    assert pbs.jobs == {}


@pytest.mark.parametrize("pbs", ["pbspro"], indirect=True)
def test_a_fake_server_that_is_away_ends_nothing(agent, pbs):
    pbs.set("slots", "0")
    uuid, _ = submit(agent, pbs, ["true"])
    pbs.set("down")
    late, answer = submit(agent, pbs, ["true"])
    assert answer["state"] == "BLOCKED"
    assert agent.state(uuid) == "QUEUED"
    pbs.unset("down")
    pbs.set("slots", "2")
    assert ended(agent, uuid)[0] == "FINISHED"
    assert ended(agent, late)[0] == "FINISHED"


def test_all_that_a_fake_takes_is_said(agent, pbs):
    resources = {"nodes": 2, "ranks_per_node": 2, "threads_per_rank": 2, "memory_per_node": "4G", "gpus_per_node": 1}
    resources.update(duration="1h", account="physics", exclusive=True, priority=5, requeue=False, constraint="haswell")
    resources["begin"] = "2020-01-01"
    uuid, answer = submit(agent, pbs, ["true"], resources=resources)
    assert answer["state"] != "FAILED", ended(agent, uuid)
    assert ended(agent, uuid)[0] == "FINISHED"
    said = pbs.jobs["101"]["resources"]
    if pbs.dialect == "pbspro":
        assert said["select"] == "2:ncpus=4:mpiprocs=2:ompthreads=2:mem=4194304kb:ngpus=1:haswell=True"
        assert said["place"] == "scatter:exclhost"
    else:
        assert said == {"walltime": "01:00:00", "nodes": "2:ppn=4:gpus=1:haswell", "mem": "8388608kb"}


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["-Y", "x"], 2, "invalid option"),
        (["-N", "a b"], 2, "illegal -N value"),
        (["-p", "5000"], 15014 & 255, "Priority"),
        (["-l", "walltyme=1"], 15035 & 255, "Unknown resource"),
        (["-l", "walltime=ever"], 15014 & 255, "Illegal attribute or resource value"),
        (["-q", "nosuch"], 15020 & 255, "Unknown queue"),
    ],
)
def test_the_fake_qsub_refuses_what_the_real_one_refuses(pbs, words, status, said):
    (pbs.state / "script").write_text("#!/bin/sh\ntrue\n")
    done = pbs.call("qsub", *words, str(pbs.state / "script"))
    assert said in done.stderr
    assert done.returncode == status
    assert pbs.jobs == {}


def test_the_fake_qstat_refuses_what_the_real_one_refuses(pbs):
    assert pbs.call("qstat", "-f", "-u", "me").returncode == 2
    assert pbs.call("qstat", "-f", "77").returncode == 15001 & 255
    assert pbs.call("qdel", "77").returncode == 15001 & 255
    until(lambda: pbs.call("qselect", "-u", "me").stdout == "")
