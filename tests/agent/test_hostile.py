"""What must not happen whatever the machines around us do: a job lost, doubled, or kept from the others by one."""

import errno
import io
import os
import time

import pytest

from helpers.agent_client import LOCAL, PYTHONS, QUICK, Agent, new_uuid, tar, until
from helpers.fake_slurm import FakeSlurm
from project.agent import control, courier, native, plans, prepare, watch, work
from project.agent.folder import Folder
from project.agent.judge import Followed, Judge
from project.agent.runner import Runner
from project.agent.serve import Session
from project.core import files, process, schedulers, states
from project.core.api_client import ApiClient
from project.core.errors import ApiError, ClusterError
from project.core.paths import Root


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    found = FakeSlurm(tmp_path)
    monkeypatch.setenv("PATH", found.env["PATH"])
    monkeypatch.setattr(native, "ACCOUNTING_LAG", 0.2)
    monkeypatch.setattr(plans, "FIRST", 0.0)
    return found


def make(folder, state="", cluster="slurm"):
    """A job that is taken; in the queue as native job 101 when it has a state."""
    found = Folder(str(folder / "jobs"), new_uuid())
    found.create()
    os.mkdir(found.paths.work)
    spec = {"destination_cluster": "alpha", "job": "job", "execution": ["true"]}
    request = {"uuid": found.uuid, "spec": spec, "cluster": {"name": "alpha", "workload_manager": cluster}}
    files.write_json(found.paths.request, request)
    files.write_json(found.paths.spec, spec)
    if state:
        with found.change() as change:
            change.move(state, set={"native_id": "101"})
    return found


@pytest.fixture
def job(tmp_path):
    return make(tmp_path)


@pytest.mark.parametrize("how", ["kill -9 $$", "exit 137", "exit 1", "echo $id; exit 1"])
def test_an_sbatch_that_is_killed_after_the_job_was_accepted_is_no_refusal(slurm, job, tmp_path, how):
    slurm.set("sbatch.after", 'if mkdir "$S/once" 2>/dev/null; then {}; fi\n'.format(how))
    runner = Runner(str(tmp_path / "root"))
    work.carry_on(job, runner)
    assert job.read().state == states.BLOCKED
    work.carry_on(job, runner)
    assert (job.read().state, job.read().document["native_id"]) == (states.QUEUED, "101")
    assert len(slurm.jobs) == 1


def test_a_queue_that_cannot_be_asked_fails_no_job_that_may_be_in_it(slurm, job, tmp_path, monkeypatch):
    slurm.set("sbatch.after", 'if mkdir "$S/once" 2>/dev/null; then kill -9 $$; fi\n')
    runner = Runner(str(tmp_path / "root"))
    work.carry_on(job, runner)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        work.carry_on(job, runner)
        assert job.read().state == states.BLOCKED
    with monkeypatch.context() as patch:
        patch.setattr(native.Submission, "_remember", lambda self, _: _no_permission(self.paths.native))
        work.carry_on(job, runner)
        assert job.read().state == states.BLOCKED
    work.carry_on(job, runner)
    assert job.read().document["native_id"] == "101"


def _no_permission(path, *_, **__):
    raise PermissionError(13, "Permission denied", path)


def test_what_a_busy_controller_was_asked_may_come_late(slurm, job, tmp_path, monkeypatch):
    """sbatch gives up after a while; the job is in neither place for a moment more."""
    monkeypatch.setattr(native, "ACCOUNTING_LAG", 1.5)
    late = '(sleep 1; echo "101 $name" >> "$S/jobs") > /dev/null 2>&1 &\n'
    words = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
    slurm.set("sbatch.before", 'if mkdir "$S/once"; then sleep 1.6; {}echo "{}" >&2; exit 1; fi\n'.format(late, words))
    runner = Runner(str(tmp_path / "root"))
    work.carry_on(job, runner)
    assert job.read().state == states.BLOCKED
    work.carry_on(job, runner)
    assert job.read().document["native_id"] == "101"
    assert len(slurm.jobs) == 1


def test_what_compilation_left_running_does_not_delay_another_try(slurm, job, tmp_path, monkeypatch):
    """A server that a build tool started holds the lock of the programs; every step is done all the same."""
    with job.change() as change:
        change.record.steps.update(requirements=True, compilation=True)
    with files.locked(job.paths.busy + ".programs"):
        begin = time.monotonic()
        monkeypatch.setattr(prepare, "ORPHANS", 60.0)
        work.carry_on(job, Runner(str(tmp_path / "root")))
        assert time.monotonic() - begin < 30
    assert job.read().state == states.QUEUED


def bag_of(job, monkeypatch, report):
    bag = courier.Mailbag(job, "http://127.0.0.1:9", "token")
    monkeypatch.setattr(ApiClient, "report", report)
    return bag


def test_a_torn_last_line_is_not_delivered_over_and_over(tmp_path, monkeypatch):
    job = make(tmp_path, states.QUEUED)
    with open(job.paths.events, "ab") as stream:
        stream.write(b'{"id": "torn')
    asked = []

    def report(self, uuid, events, status=None):
        asked.append(len(events))
        assert len(asked) < 50
        return {}

    bag = bag_of(job, monkeypatch, report)
    while bag.pending:
        bag.deliver()
    assert len(asked) <= 2
    job.note("note", message="after")
    assert bag.pending
    bag.deliver()
    assert not bag.pending
    assert sum(asked) == 2


def test_rubbish_at_the_end_is_not_delivered_over_and_over(tmp_path, monkeypatch):
    job = make(tmp_path, states.QUEUED)
    with open(job.paths.events, "ab") as stream:
        stream.write(b"rubbish\n")
    asked = []
    bag = bag_of(job, monkeypatch, lambda self, uuid, events, status=None: asked.append(len(events)) or {})
    while bag.pending and len(asked) < 50:
        bag.deliver()
    assert len(asked) <= 2


def test_a_job_that_breaks_the_api_does_not_hold_up_the_others(tmp_path, monkeypatch):
    jobs = [make(tmp_path, states.QUEUED) for _ in range(3)]
    poisoned = jobs[0].uuid
    told = []

    def report(self, uuid, events, status=None):
        if uuid == poisoned:
            raise ApiError("the server failed", status=500, transient=True)
        told.append(uuid)
        return {}

    monkeypatch.setattr(ApiClient, "report", report)
    monkeypatch.setattr(courier, "FIRST", 0.05)
    post = courier.Courier(lambda folder: None, lambda text: None)
    for job in jobs:
        files.write_atomic(job.paths.token, "token")
        post.put(job, {"url": "http://127.0.0.1:9"}, True)
    until(lambda: {job.uuid for job in jobs[1:]} <= set(told), "the others' events")


def test_a_refused_token_is_no_refused_event(tmp_path, monkeypatch):
    job = make(tmp_path, states.QUEUED)

    def report(self, uuid, events, status=None):
        raise ApiError("no", status=422 if "set" in events[0] else 401)

    bag = bag_of(job, monkeypatch, report)
    with pytest.raises(ApiError):
        bag.deliver()
    assert bag.pending


def test_one_job_that_cannot_be_judged_does_not_blind_the_others(slurm, tmp_path):
    first, second = make(tmp_path, states.QUEUED), make(tmp_path, states.QUEUED)
    first.note("native", set={"native_id": "102"})
    slurm.set("jobs", "101 x.{}\n102 x.{}\n".format(second.uuid, first.uuid))
    slurm.set("end.101", "RUNNING")
    # Not a number, whatever str.isdigit says.
    files.write_atomic(os.path.join(first.paths.facts, "ended.1.\u00b2"), "exit_code 0\n")
    files.write_atomic(first.paths.ended(1), "exit_code \u00b2\ncommand \u00b2\n")
    judge = Judge(Runner(str(tmp_path)), "me", "slurm")
    jobs = {one.uuid: Followed(one) for one in (first, second)}
    judge.look(jobs, {uuid: one.folder.read() for uuid, one in jobs.items()})
    assert second.read().state == states.RUNNING
    jobs[first.uuid].facts = lambda: 1 // 0
    slurm.set("end.101", "COMPLETED")
    for _ in range(2):
        judge.look(jobs, {uuid: one.folder.read() for uuid, one in jobs.items()})
    assert first.uuid in judge.trouble
    until(lambda: judge.look(jobs, {u: one.folder.read() for u, one in jobs.items()}) or second.read().final, "its end")


def test_the_watchers_log_takes_any_text(tmp_path):
    root = Root(str(tmp_path))
    watcher = watch.Watcher(root)
    watcher.log("caf\u00e9 \udcc3 \u2019")
    assert "caf" in files.read_text(root.watch_log)


def watched(tmp_path, workdir):
    root = Root(str(tmp_path / "root"))
    job = make(workdir, states.QUEUED)
    os.makedirs(root.live)
    marker = os.path.join(root.live, job.uuid)
    files.write_atomic(marker, job.paths.workdir + "\n")
    os.utime(marker, (time.time() - 3600,) * 2)
    return watch.Watcher(root), job, marker


@pytest.mark.parametrize("seen", [True, False])
def test_a_file_system_that_is_away_takes_no_job_off_the_list(slurm, tmp_path, seen):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    watcher, job, marker = watched(tmp_path, scratch)
    if seen:
        watcher.round()
        assert list(watcher.jobs) == [job.uuid]
    os.rename(scratch, tmp_path / "unmounted")
    for _ in range(2):
        watcher.round()
    assert os.path.exists(marker)
    assert watcher.waiting
    os.rename(tmp_path / "unmounted", scratch)
    watcher.round()
    assert list(watcher.jobs) == [job.uuid]


def test_a_folder_that_was_removed_by_hand_is_forgotten(slurm, tmp_path):
    watcher, job, marker = watched(tmp_path, tmp_path)
    watcher.round()
    os.rename(job.paths.folder, tmp_path / "away")
    watcher.round()
    assert not os.path.exists(marker)
    assert not watcher.waiting


def test_a_job_that_cannot_be_read_does_not_blind_the_others(slurm, tmp_path):
    watcher, job, _ = watched(tmp_path, tmp_path)
    other = make(tmp_path, states.QUEUED)
    files.write_atomic(os.path.join(watcher.root.live, other.uuid), other.paths.workdir + "\n")
    slurm.set("jobs", "101 x.{}\n".format(other.uuid))
    slurm.set("end.101", "RUNNING")
    watcher.round()
    watcher.jobs[job.uuid].refresh = lambda: _no_permission(job.paths.events)
    other.note("note", message="news")
    watcher.round()
    assert other.read().state == states.RUNNING


@pytest.mark.parametrize("python", PYTHONS, ids=lambda python: "old" if "3.6" in python else "here")
def test_names_beyond_ascii_in_a_poor_locale(tmp_path, python):
    root, workdir = tmp_path / "r\u00fccken", str(tmp_path / "w\u00f6rk")
    with Agent(root, python, {"LC_ALL": "C"}, QUICK) as agent:
        uuid = new_uuid()
        spec = {"destination_cluster": "local", "job": "job", "execution": ["cat d\u00e4t > \u00f6ut"]}
        fields = {"uuid": uuid, "spec": spec, "cluster": LOCAL, "source": {"kind": "file"}, "workdir": workdir}
        answer = agent.ask("submit", upload=tar({"files/d\u00e4t": b"x"}), **fields)
        assert answer["job_directory"] == "{}/{}".format(workdir, uuid)
        assert answer["working_directory"].startswith(workdir)

        def told():
            return agent.ask("sync", jobs={uuid: 0}, workdir=workdir)["jobs"][uuid]

        until(lambda: told()["state"] in states.FINAL, "the end")
        assert told()["state"] == "FINISHED"
        places = [
            event["set"]["job_directory"] for event in told()["events"] if "job_directory" in event.get("set", {})
        ]
        assert set(places) == {answer["job_directory"]}


def test_sbatch_refuses_only_in_words():
    slurm = schedulers.get("slurm")
    for rc, out, err in ((-9, "", "x"), (137, "", "x"), (1, "", ""), (1, "7", "x")):
        with pytest.raises(ClusterError) as caught:
            slurm.submitted(rc, out, err)
        assert caught.value.transient
    with pytest.raises(ClusterError) as caught:
        slurm.submitted(1, "", "sbatch: error: Batch job submission failed: Invalid account")
    assert not caught.value.transient


def test_a_client_that_vanished_while_it_sent_does_not_keep_the_next_one_out(slurm, tmp_path):
    """Its connection is still open here: nobody told the other end."""
    quick = QUICK + "; import project.agent.submit; project.agent.submit.SILENCE = 1.0"
    upload = tar({"files/data": b"x" * 300000})
    uuid = new_uuid()
    first = Agent(tmp_path / "root", env=slurm.env, first=quick)
    spec = {"destination_cluster": "alpha", "job": "job", "execution": ["true"]}
    first.send({"op": "submit", "upload": True, "uuid": uuid, "spec": spec, "cluster": slurm.cluster})
    first.send({"type": "data"}, upload[:100000])
    until(lambda: os.path.exists(first.paths(uuid).incoming), "the first bytes")
    try:
        with Agent(tmp_path / "root", env=slurm.env, first=quick) as second:
            assert second.submit(uuid, ["true"], upload=upload, cluster=slurm.cluster)["native_id"] == "101"
        assert first.process.wait(20) == 75
    finally:
        first.close()
    assert len(slurm.jobs) == 1


def test_a_folder_that_cannot_be_removed_keeps_no_other(slurm, tmp_path, monkeypatch):
    stays, goes = make(tmp_path), make(tmp_path)
    for one in (stays, goes):
        with one.change() as change:
            change.move(states.CANCELLED)
    os.mkdir(tmp_path / "jobs" / ".removed.left")
    left = new_uuid()
    os.mkdir(tmp_path / "jobs" / (".removed." + left))
    real = os.rename

    def rename(source, target):
        if source == stays.paths.folder:
            raise PermissionError(13, "Permission denied", source)
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    session = Session(str(tmp_path), io.BytesIO(), io.BytesIO())
    answer = control.remove(session, {"uuids": [stays.uuid, goes.uuid, left]})["jobs"]
    assert [answer[uuid]["ok"] for uuid in (stays.uuid, goes.uuid, left)] == [False, True, True]
    assert stays.paths.folder in answer[stays.uuid]["message"]
    assert not os.path.exists(tmp_path / "jobs" / (".removed." + left))


def test_a_login_node_that_is_crowded_is_tried_again(slurm, job, tmp_path, monkeypatch):
    def no(*_, **__):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    runner = Runner(str(tmp_path / "root"))
    for where in (prepare.Preparation, process):
        with monkeypatch.context() as patch:
            patch.setattr(where, "run", no)
            work.carry_on(job, runner)
            assert job.read().state == states.BLOCKED
    work.carry_on(job, runner)
    assert job.read().state == states.QUEUED


def test_a_local_job_gets_none_of_our_settings(tmp_path):
    ours = {"JOBFERRY_HOME": "/h", "JOBFERRY_API_URL": "http://x", "JOBFERRY_API_TOKEN": "secret"}
    with Agent(tmp_path / "root", env=ours) as agent:
        uuid = new_uuid()
        line = "env | grep ^JOBFERRY_ | cut -d= -f1 | sort | tr '\\n' ' '"
        agent.submit(uuid, [line], requirements=["! env | grep ^JOBFERRY_"])
        assert agent.wait_state(uuid, *states.FINAL) == "FINISHED"
        agent.ask("logs", uuid=uuid)
        names = set(agent.data().decode().split())
    assert {"JOBFERRY_JOB", "JOBFERRY_LOCAL_ID"} <= names
    assert not names & set(ours)


def test_another_job_that_got_our_id_is_not_cancelled(slurm, job, tmp_path):
    """The controller lost its state and counts from the beginning: the user's next job has the same id."""
    runner = Runner(str(tmp_path / "root"))
    work.carry_on(job, runner)
    assert job.read().document["native_id"] == "101"
    slurm.set("jobs", "101 somebody.else\n")
    assert control.cancel_one(job, runner) == ""
    assert not os.path.exists(slurm.state / "end.101")
    assert not job.read().final


def test_patience_that_ends_does_not_end_a_job_that_may_be_in_the_queue(slurm, job, tmp_path, monkeypatch):
    slurm.set("sbatch.after", 'if mkdir "$S/once" 2>/dev/null; then kill -9 $$; fi\n')
    runner = Runner(str(tmp_path / "root"))
    work.carry_on(job, runner)
    slurm.set("down", "")
    real = time.time
    with monkeypatch.context() as patch:
        patch.setattr(work.time, "time", lambda: real() + 30 * 86400)
        work.carry_on(job, runner)
        assert job.read().state == states.BLOCKED
    os.unlink(slurm.state / "down")
    work.carry_on(job, runner)
    assert job.read().document["native_id"] == "101"


def test_a_damaged_job_makes_no_busy_watcher(slurm, tmp_path):
    watcher, job, marker = watched(tmp_path, tmp_path)
    files.write_atomic(job.paths.request, "{")
    watcher.round()
    assert (watcher.jobs, watcher.waiting) == ({}, 1)
    assert watcher.pause(0.0) >= 1.0
    os.utime(marker, (1.0, 1.0))
    watcher.round()
    assert watcher.waiting == 0
    assert not os.path.exists(marker)
