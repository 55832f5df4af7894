"""What happens when the disk says no."""

import errno
import os
import time

import pytest

from helpers.agent_client import LOCAL, Agent, new_uuid, tar, until
from helpers.fake_slurm import FakeSlurm
from project.agent import courier, folder, prepare, work
from project.agent.folder import Folder
from project.agent.judge import Followed, Judge, apply, worth
from project.agent.runner import Runner
from project.core import ends, files, states, tracking
from project.core.schedulers import base


@pytest.fixture
def job(tmp_path):
    """A job that is in the queue."""
    found = Folder(str(tmp_path / "jobs"), new_uuid())
    found.create()
    os.mkdir(found.paths.work)
    spec = {"destination_cluster": "alpha", "job": "job", "execution": ["true"]}
    request = {"uuid": found.uuid, "spec": spec, "cluster": {"name": "alpha", "workload_manager": "slurm"}}
    files.write_json(found.paths.request, request)
    files.write_json(found.paths.spec, spec)
    return found


def full(monkeypatch, partly=b""):
    """The disk takes no event any more, or only the beginning of one."""

    def append(path, line, mode=0o600):
        with open(path, "ab") as stream:
            stream.write(partly)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr(folder.files, "append_line", append)


@pytest.mark.parametrize("partly", [b"", b'{"id": "torn'])
def test_a_full_disk_leaves_the_job_as_it_was(job, monkeypatch, partly):
    job.note("note", message="before")
    with monkeypatch.context() as patch:
        full(patch, partly)
        with pytest.raises(OSError, match="No space"):
            job.note("note", message="lost")
    assert job.read().seq == 1
    assert job.note("note", message="after")["seq"] == 2
    assert [event["message"] for event in job.events_after(0, 10**6)[0]] == ["before", "after"]


def test_a_preparation_that_finds_the_disk_full_is_blocked_and_goes_on_later(job, tmp_path, monkeypatch):
    slurm = FakeSlurm(tmp_path)
    monkeypatch.setenv("PATH", slurm.env["PATH"])
    runner = Runner(str(tmp_path / "root"))
    with monkeypatch.context() as patch:

        def no(*_):
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), job.paths.script)

        patch.setattr(prepare.Preparation, "run", no)
        work.carry_on(job, runner)
    record = job.read()
    assert record.state == states.BLOCKED
    assert record.document["plan"]["cause"] == "disk"
    assert "quota" in record.document["message"].lower()
    work.carry_on(job, runner)
    assert job.read().state == states.QUEUED
    assert job.read().document["plan"] is None


def test_a_bug_of_ours_does_not_lose_the_job_in_silence(job, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare.Preparation, "run", lambda self: {}["no such key"])
    work.carry_on(job, Runner(str(tmp_path / "root")))
    record = job.read()
    assert (record.state, record.document["condition"]) == (states.FAILED, "internal_error")
    assert "no such key" in record.document["message"]


def test_an_event_that_cannot_be_written_comes_up_again_in_the_next_round(job, monkeypatch):
    with job.change() as change:
        change.move(states.QUEUED, set={"native_id": "7"})
    followed = Followed(job)
    verdict = tracking.Verdict(states.RUNNING, run=1)
    with monkeypatch.context() as patch:
        full(patch)
        with pytest.raises(OSError, match="No space"):
            apply(followed, verdict)
    assert worth(job.read(), verdict, followed)
    assert apply(followed, verdict)
    assert job.read().state == states.RUNNING
    assert not worth(job.read(), verdict, followed)


def test_the_message_of_a_job_that_lives_goes_with_its_job_status(job):
    with job.change() as change:
        change.move(states.QUEUED, set={"native_id": "7"})
    followed = Followed(job)
    for text in ("3 of 50 elements run, 0 ended", "1 of 50 elements run, 49 ended"):
        assert apply(followed, tracking.Verdict(states.RUNNING, message=text, job_status={"State": [text]}))
        assert job.read().document["message"] == text
    assert [event["kind"] for event in job.events_after(0, 10**6)[0]] == ["state", "state", "native"]


def test_a_note_is_told_once(job):
    with job.change() as change:
        change.move(states.QUEUED, set={"native_id": "7"})
    followed = Followed(job)
    verdict = tracking.Verdict(states.QUEUED, notes=["odd"])
    assert apply(followed, verdict)
    stamp = os.stat(job.paths.record).st_mtime_ns
    assert not worth(job.read(), verdict, followed)
    assert not apply(followed, verdict)
    assert os.stat(job.paths.record).st_mtime_ns == stamp


def test_facts_are_read_once_and_kept_together(job, monkeypatch):
    monkeypatch.setattr("project.agent.judge.PORTION", 3)
    count = 10
    for index in range(count):
        files.write_atomic(job.paths.started(1, index), "time 2026-11-21T10:00:00Z\nnode n\nnative_id 7\n")
    followed = Followed(job)
    assert {fact.ended for fact in followed.facts().values()} == {False}
    for index in range(count):
        files.write_atomic(job.paths.ended(1, index), "exit_code {}\ncommand 1\n".format(index % 2))
    files.write_atomic(job.paths.started(2, 3), "time 2026-11-21T10:00:00Z\n")
    files.write_atomic(os.path.join(job.paths.facts, ".ended.1.9.77"), "junk")
    facts = followed.facts()
    assert [facts[index].exit_code for index in range(count) if index != 3] == [0, 1, 0, 0, 1, 0, 1, 0, 1]
    assert (facts[3].run, facts[3].ended) == (2, False)


def test_a_large_array_is_kept_small(job):
    followed = Followed(job)
    ended = {
        index: base.Element(
            "7", index, "COMPLETED", base.DONE, "ok", 0, fields={"JobID": str(index), "ExitCode": "0:0"}
        )
        for index in range(ends.MANY + 1)
    }
    followed.remember(ended)
    assert len(followed.known) == ends.MANY + 1
    assert len({id(element) for element in followed.known.values()}) == 1
    status = ends.job_status(followed.known, lambda index: ("7", index))
    assert status["JobID"][:2] == ["7_0", "7_1"]
    assert status["ExitCode"][-1] == "0:0"


def test_sent_events_are_remembered_across_a_broken_file(job):
    job.note("note", message="x")
    bag = courier.Mailbag(job, "http://127.0.0.1:9", "token")
    assert bag.pending
    with open(job.paths.sent, "w") as stream:
        stream.write("{")
    assert courier.Mailbag(job, "http://127.0.0.1:9", "token").pending


def test_a_place_that_cannot_be_written_is_said_and_the_agent_serves_on(tmp_path):
    with Agent(tmp_path / "root") as agent:
        spec = {"destination_cluster": "local", "job": "job", "execution": ["true"]}
        fields = {"uuid": new_uuid(), "spec": spec, "cluster": LOCAL, "source": {"kind": "file"}}
        answer = agent.ask("submit", upload=tar({"files/x": b"x" * 200000}), workdir="/proc/jobs", **fields)
        assert answer["type"] == "error"
        assert "/proc/jobs" in answer["message"]
        assert agent.ask("submit", **fields)["state"] == "QUEUED"


def test_a_program_of_a_killed_agent_is_waited_for(tmp_path):
    """The agent dies during `requirements`, its program goes on: the next agent does not start another beside it."""
    root, uuid = tmp_path / "root", new_uuid()
    mark = tmp_path / "mark"
    line = "test -e '{0}' && exit 0; touch '{0}'; kill -9 $PPID; sleep 1.5; touch '{0}.late'".format(mark)
    agent = Agent(root)
    agent.send(
        {
            "op": "submit",
            "uuid": uuid,
            "spec": {"destination_cluster": "local", "job": "j", "execution": ["true"], "requirements": [line]},
            "cluster": LOCAL,
            "source": {"kind": "file"},
        }
    )
    agent.process.wait(30)
    agent.close()
    with Agent(root) as again:
        begin = time.monotonic()
        assert again.submit(uuid, ["true"])["state"] in ("QUEUED", "RUNNING", "FINISHED")
        assert os.path.exists(str(mark) + ".late")
        assert time.monotonic() - begin < 60
        again.wait_state(uuid, "FINISHED")


def test_a_job_that_fell_off_the_list_is_put_on_it_again(tmp_path):
    slurm = FakeSlurm(tmp_path)
    with Agent(tmp_path / "root", env=slurm.env) as agent:
        uuid = new_uuid()
        agent.submit(uuid, ["true"], cluster=slurm.cluster)
        os.unlink(tmp_path / "root" / "live" / uuid)
        slurm.set("end.101", "COMPLETED")
        assert agent.wait_state(uuid, "FINISHED") == "FINISHED"


def test_a_folder_that_vanishes_does_not_stop_the_watcher(tmp_path):
    slurm = FakeSlurm(tmp_path)
    with Agent(tmp_path / "root", env=slurm.env) as agent:
        gone, stays = new_uuid(), new_uuid()
        for uuid in (gone, stays):
            agent.submit(uuid, ["true"], cluster=slurm.cluster)
        # The watcher, who may begin late, has both on its list: one that it never saw stays there for a minute.
        seen = set()
        until(
            lambda: seen.add(files.read_text(str(tmp_path / "root" / "looked"))) or len(seen - {None}) > 2, "two rounds"
        )
        os.rename(agent.paths(gone).folder, tmp_path / "away")
        for number in (101, 102):
            slurm.set("end.{}".format(number), "COMPLETED")
        assert agent.wait_state(stays, "FINISHED") == "FINISHED"
        assert not os.path.exists(agent.paths(gone).folder)
        until(lambda: os.listdir(tmp_path / "root" / "live") == [], "an empty list")


def test_judges_do_not_take_silence_for_an_end(job, tmp_path, monkeypatch):
    with job.change() as change:
        change.move(states.QUEUED, set={"native_id": "7"})
    slurm = FakeSlurm(tmp_path)
    monkeypatch.setenv("PATH", slurm.env["PATH"])
    judge = Judge(Runner(str(tmp_path)), "me", "slurm")
    followed = Followed(job)
    for _ in range(3):
        judge.look({job.uuid: followed}, {job.uuid: job.read()})
    assert job.read().state == states.QUEUED
