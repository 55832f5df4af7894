"""The whole agent on fake LSF programs, which check their arguments as the real ones do and run jobs for real."""

from pathlib import Path

import pytest

from helpers.agent_client import PYTHONS, QUICK, Agent, new_uuid
from helpers.fake_lsf import FakeLsf
from project.agent.folder import Folder


@pytest.fixture
def lsf(tmp_path):
    fake = FakeLsf(tmp_path)
    yield fake
    fake.close()


@pytest.fixture
def agent(lsf, tmp_path):
    with Agent(tmp_path / "root", PYTHONS[-1], env=lsf.env, first=QUICK) as found:
        yield found


def submit(agent, lsf, execution, **more):
    uuid = new_uuid()
    answer = agent.submit(uuid, execution, cluster=lsf.cluster, **more)
    return uuid, answer


def ended(agent, uuid):
    """State, condition, exit code and the whole document of a job, when it is over."""
    agent.wait_state(uuid, "FINISHED", "FAILED", "CANCELLED")
    document = Folder(str(agent.root / "jobs"), uuid).read().document
    return document["state"], document["condition"], document["exit_code"], document


def one(agent, op, uuid):
    return agent.ask(op, uuids=[uuid])["jobs"][uuid]


def test_fake_jobs_end_as_their_scripts_do_or_are_ended(agent, lsf):
    lsf.set("slots", "9")
    lines = ['test "$JOBFERRY_NATIVE_ID" = 101', 'test -z "$JOBFERRY_INDEX"', 'test "$JOBFERRY_NODES" = 2', "echo out"]
    fine, answer = submit(agent, lsf, lines, name="my job, no: 1")
    assert answer["native_id"] == "101"
    bad, _ = submit(agent, lsf, ["exit 3"])
    killed, _ = submit(agent, lsf, ["kill -9 $$"])
    # A minute is a second in the fake.
    late, _ = submit(agent, lsf, ["sleep 60"], resources={"duration": "1m"})
    stopped, _ = submit(agent, lsf, ["sleep 60"])
    agent.wait_state(stopped, "RUNNING")
    assert one(agent, "cancel", stopped)["ok"] is True
    assert ended(agent, stopped)[:2] == ("CANCELLED", "cancelled_by_user")
    assert ended(agent, fine)[:3] == ("FINISHED", "ok", 0)
    assert Path(agent.paths(fine).stdout(1)).read_text() == "out\n"
    assert ended(agent, bad)[:3] == ("FAILED", "exit_code", 3)
    assert ended(agent, killed)[:3] == ("FAILED", "exit_code", 137)
    assert ended(agent, late)[:2] == ("FAILED", "timeout")
    assert ended(agent, late)[3]["job_status"]["State"] == ["EXIT"]
    findings = {finding["what"]: finding for finding in agent.ask("check", cluster=lsf.cluster)["findings"]}
    assert "nodes 1, idle_nodes 1, cpus 8" in findings["lsf"]["text"]


def test_a_fake_bsub_whose_answer_is_lost_has_submitted_once(agent, lsf):
    lsf.set("mute")
    uuid, _ = submit(agent, lsf, ["true"])
    assert ended(agent, uuid)[:2] == ("FINISHED", "ok")
    assert list(lsf.jobs) == ["101"]


def test_a_fake_array_counts_from_one_and_its_job_from_where_it_says(agent, lsf):
    uuid, answer = submit(agent, lsf, ["exit $(( JOBFERRY_INDEX == 2 ? 5 : 0 ))"], resources={"array": "0-3%2"})
    assert answer["native_id"] == "101"
    state, condition, code, document = ended(agent, uuid)
    assert (state, condition, code) == ("FAILED", "exit_code", 5)
    assert "element 2 ended with exit code 5" in document["message"]
    assert sorted(lsf.jobs) == ["101.1", "101.2", "101.3", "101.4"]
    assert {job["throttle"] for job in lsf.jobs.values()} == {2}
    lsf.set("small")
    uuid, _ = submit(agent, lsf, ['test "$LSB_JOBINDEX" = "$JOBFERRY_INDEX"'], resources={"array": "1-29"})
    assert ended(agent, uuid)[0] == "FINISHED"
    assert sorted({job["id"] for job in lsf.jobs.values()}) == [101, 102, 103]


def test_fake_jobs_that_wait_are_held_released_and_cancelled(agent, lsf):
    lsf.set("slots", "0")
    uuid, _ = submit(agent, lsf, ["true"])
    other, _ = submit(agent, lsf, ["true"])
    outcome = one(agent, "hold", uuid)
    assert (outcome["ok"], outcome["state"]) == (True, "PAUSED")
    assert one(agent, "cancel", other)["ok"] is True
    assert ended(agent, other)[:2] == ("CANCELLED", "cancelled_by_user")
    assert one(agent, "release", uuid)["ok"] is True
    lsf.set("slots", "2")
    assert ended(agent, uuid)[0] == "FINISHED"


def test_what_the_fake_queue_has_forgotten_its_history_tells(agent, lsf):
    lsf.set("slots", "0")
    lsf.set("clean")
    uuid, _ = submit(agent, lsf, ["exit 4"])
    fine, _ = submit(agent, lsf, ["true"])
    lsf.set("slots", "2")
    assert ended(agent, uuid)[:3] == ("FAILED", "exit_code", 4)
    assert ended(agent, fine)[:2] == ("FINISHED", "ok")


def test_a_fake_refusal_is_told_in_the_programs_words(agent, lsf):
    uuid, answer = submit(agent, lsf, ["true"], resources={"queue": "nosuch"})
    assert answer["state"] == "FAILED"
    state, condition, _, document = ended(agent, uuid)
    assert (state, condition) == ("FAILED", "submission_rejected")
    assert "nosuch: No such queue" in document["message"]
    uuid, _ = submit(agent, lsf, ["true"], resources={"qos": "high"})
    assert "resources.qos" in ended(agent, uuid)[3]["message"]
    assert lsf.jobs == {}


def test_a_fake_lsf_that_is_down_ends_nothing(agent, lsf):
    lsf.set("slots", "0")
    uuid, _ = submit(agent, lsf, ["true"])
    lsf.set("down")
    late, answer = submit(agent, lsf, ["true"])
    assert answer["state"] == "BLOCKED"
    assert agent.state(uuid) == "QUEUED"
    lsf.unset("down")
    lsf.set("slots", "2")
    assert ended(agent, uuid)[0] == "FINISHED"
    assert ended(agent, late)[0] == "FINISHED"


def test_all_that_a_fake_takes_is_said(agent, lsf):
    resources = {"nodes": 2, "ranks_per_node": 2, "threads_per_rank": 2, "memory_per_node": "4G", "gpus_per_rank": 1}
    resources.update(duration="90m", account="physics", exclusive=True, priority=5, requeue=False, constraint="haswell")
    resources.update(begin="2020-01-01", signal="USR1@90s", reservation="week", licenses=["matlab:2"], gpu_type="A100")
    uuid, answer = submit(agent, lsf, ["true"], resources=resources)
    assert answer["state"] != "FAILED", ended(agent, uuid)
    options = lsf.jobs["101"]["options"]
    assert options["-R"] == "select[haswell] rusage[mem=4194304KB/host:matlab=2/job] span[ptile=4]"
    assert (options["-n"], options["-W"], options["-gpu"]) == ("8", "1:30", "num=2/host:gmodel=A100")
    assert (options["-wa"], options["-wt"], options["-b"]) == ("USR1", "2", "2020:01:01:00:00")
    assert {"-x", "-rn", "-P", "-U", "-sp"} <= set(options)
    assert ended(agent, uuid)[0] == "FINISHED"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-Y", "x"], "illegal option"),
        (["-n", "two"], "Bad argument for option -n. Job not submitted."),
        (["-J", "x[0-3]"], "Bad job name"),
        (["-J", "x[1-5000]"], "Job array index too large"),
        (["-R", "span{ptile=2}"], "Bad resource requirement syntax"),
        (["-q", "nosuch"], "nosuch: No such queue. Job not submitted."),
        (["true"], "Command not found"),
    ],
)
def test_the_fake_bsub_refuses_what_the_real_one_refuses(lsf, words, said):
    done = lsf.call("bsub", *words, text="#!/bin/sh\ntrue\n")
    assert said in done.stderr
    assert done.returncode == 255
    assert lsf.jobs == {}


def test_the_other_fakes_refuse_too(lsf):
    assert "No job found" in lsf.call("bjobs", "-a", "-noheader", "-o", "jobid delimiter='|'").stderr
    assert "Invalid format" in lsf.call("bjobs", "-a", "-o", "jobid").stderr
    assert "No matching job found" in lsf.call("bkill", "77").stderr
    assert lsf.call("bparams", "-z").returncode == 255
