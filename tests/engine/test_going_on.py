"""Blocked submissions: their plan, the rounds of tries, the end after the last one."""

import socket
import subprocess
import time

import pytest

from project.core import clusters, states
from project.core.errors import ClusterError, InputError
from project.engine import control, credentials, probing, resuming, retrying, rhythm, submission, unfinished
from project.engine.ui import SilentUi

HELLO = "destination_cluster: local\njob: .\nexecution: echo hello\n"
UUID = "11111111-2222-4333-8444-555555555555"
LOCAL = {"name": "local", "hostname": "localhost", "workload_manager": "local"}


class Weather:
    """Whether the built-in cluster answers."""

    def __init__(self):
        self.away = True
        self.probes = 0

    def targets(self, found):
        self.probes += 1
        known = probing.Probe(not self.away, "no answer" if self.away else "")
        return [probing.Target(str(cluster["name"]), "localhost", 22, known) for cluster in found]


@pytest.fixture
def weather(monkeypatch):
    made = Weather()
    monkeypatch.setattr(probing, "targets", made.targets)
    return made


def blocked(engine, text=HELLO):
    with pytest.raises(ClusterError) as caught:
        engine.submit(text)
    assert "goes on by itself" in caught.value.hint
    return next(job for job in engine.api.jobs() if job["state"] == states.BLOCKED)


def due(engine):
    """Let the time of the next try come."""
    for mark in unfinished.waiting(engine.home):
        held = unfinished.take(engine.home, mark.uuid, 0)
        held.waits(0, mark.clusters)
        held.keep()


def round_of_tries(engine):
    retrying.attempt(engine.context, unfinished.waiting(engine.home))
    engine.context.close()


def test_a_plan_grows_and_ends():
    pace = rhythm.of({"retry": {"every": "10s", "max": "1m", "until": "5m"}}, "unreachable")
    plan, moments = None, []
    moment = 1000.0
    while made := rhythm.plan("cause", "it", pace, plan, moment):
        plan = made
        moments.append(rhythm.seconds(plan["next"]) - moment)
        moment = rhythm.seconds(plan["next"])
    assert moments == [10, 20, 40, 60, 60, 60, 50]
    assert (plan["tries"], plan["every"], moment) == (7, "10s, growing to 1m", 1300.0)
    assert rhythm.of({}, "unreachable") == rhythm.Rhythm(60, 1800, 259200)
    assert rhythm.of({}, "submission_rejected").every > 60
    assert rhythm.of({"retry": {"every": "2h"}}, "unreachable").most == 7200


def test_the_rhythm_of_a_cluster_is_checked():
    assert clusters.normalise({**LOCAL, "retry": {"every": "30s"}})["retry"] == {"every": "30s"}
    with pytest.raises(InputError, match="retry"):
        clusters.normalise({**LOCAL, "retry": {"every": "often"}})


def test_a_blocked_job_goes_on_when_its_cluster_is_back(engine, weather):
    job = blocked(engine)
    uuid = job["job_uuid"]
    assert set(job["plan"]) == {"cause", "waits_for", "next", "tries", "every", "until"}
    assert (job["condition"], job["plan"]["tries"]) == ("unreachable", 1)
    before = len(engine.api.events(uuid))
    round_of_tries(engine)
    assert len(engine.api.events(uuid)) == before, "it was not due"
    due(engine)
    round_of_tries(engine)
    assert len(engine.api.events(uuid)) == before + 1
    assert engine.api.job(uuid)["plan"]["tries"] == 2
    assert engine.api.job(uuid)["state"] == states.BLOCKED
    weather.away = False
    due(engine)
    round_of_tries(engine)
    assert unfinished.waiting(engine.home) == []
    assert engine.until(uuid)["state"] == "FINISHED"
    assert engine.api.job(uuid)["plan"] is None
    assert len(engine.api.jobs()) == 1


def test_one_probe_serves_all_jobs_of_a_cluster(engine, weather):
    uuids = [blocked(engine, HELLO + f"name: n{number}\n")["job_uuid"] for number in range(3)]
    due(engine)
    weather.probes = 0
    round_of_tries(engine)
    assert weather.probes == 1
    assert {engine.api.job(uuid)["plan"]["tries"] for uuid in uuids} == {2}


def test_the_same_call_goes_on_with_a_blocked_job(engine, weather):
    uuid = blocked(engine)["job_uuid"]
    weather.away = False
    assert engine.submit(HELLO)["job_uuid"] == uuid
    assert any("Going on with submission" in line for line in engine.ui.lines)
    assert engine.until(uuid)["state"] == "FINISHED"
    assert engine.submit(HELLO)["job_uuid"] != uuid
    assert unfinished.find(engine.home, "") == ""


def test_after_the_last_try_it_has_failed(engine, weather, monkeypatch):
    uuid = blocked(engine)["job_uuid"]
    due(engine)
    real = time.time
    monkeypatch.setattr(retrying.time, "time", lambda: real() + 4 * 86400)
    round_of_tries(engine)
    job = engine.api.job(uuid)
    assert (job["state"], job["condition"]) == ("FAILED", "unreachable")
    assert "last try" in job["message"]
    assert unfinished.waiting(engine.home) == []


def test_after_the_last_try_what_may_be_on_its_cluster_has_not_failed(engine, weather, monkeypatch):
    uuid = blocked(engine)["job_uuid"]
    retrying._tell(engine.context, uuid, "cluster", data={"chosen": "local"}, set={"cluster": "local"})
    due(engine)
    real = time.time
    with monkeypatch.context() as later:
        later.setattr(retrying.time, "time", lambda: real() + 4 * 86400)
        round_of_tries(engine)
    job = engine.api.job(uuid)
    assert job["state"] == "BLOCKED"
    assert "--resume" in job["plan"]["waits_for"]
    assert unfinished.waiting(engine.home) == []
    weather.away = False
    resuming.resume(engine.context, uuid)
    assert engine.until(uuid)["state"] == "FINISHED"


def test_a_job_that_was_never_sent_is_cancelled_at_once(engine, weather):
    uuid = blocked(engine)["job_uuid"]
    (outcome,) = control.cancel(engine.context, [engine.api.job(uuid)])
    assert outcome.changed
    assert engine.api.job(uuid)["state"] == "CANCELLED"
    assert unfinished.waiting(engine.home) == []
    weather.away = False
    assert engine.submit(HELLO)["job_uuid"] != uuid


def test_two_go_on_one_after_the_other(engine, weather):
    uuid = blocked(engine)["job_uuid"]
    held = unfinished.take(engine.home, uuid, 0)
    with pytest.raises(unfinished.Held, match="right now"):
        resuming.resume(engine.context, uuid, patience=0.2)
    due_mark = unfinished.waiting(engine.home)
    weather.away = False
    retrying.attempt(engine.context, due_mark)
    assert engine.api.job(uuid)["state"] == states.BLOCKED
    held.keep()
    assert resuming.resume(engine.context, uuid)["job_uuid"] == uuid
    assert engine.until(uuid)["state"] == "FINISHED"


def test_an_api_that_was_away_when_the_job_became_blocked(engine, weather):
    request = engine.request(HELLO)
    made = submission.Submission(engine.context, request, UUID)
    _, wanted = made.look()
    made.record(wanted, credentials.from_input(engine.context, made.data, made.folder))
    made.journal.flush()
    mark = unfinished.Mark(engine.home, UUID, "call")
    mark.waits(0, ["local"])
    mark.keep()
    assert engine.api.job(UUID)["state"] == states.PENDING
    round_of_tries(engine)
    job = engine.api.job(UUID)
    assert (job["state"], job["plan"]["tries"]) == (states.BLOCKED, 1)
    weather.away = False
    due(engine)
    round_of_tries(engine)
    assert engine.until(UUID)["state"] == "FINISHED"
    assert unfinished.waiting(engine.home) == []


def test_what_the_api_does_not_know_is_no_reason_to_try(engine, weather):
    for uuid, away in ((UUID, True), (UUID, False)):
        weather.away = away
        mark = unfinished.Mark(engine.home, uuid, "call")
        mark.waits(0, ["local"])
        mark.keep()
        round_of_tries(engine)
        assert unfinished.waiting(engine.home) == []
    assert engine.submit(HELLO)["job_uuid"] != UUID


def test_marks_are_exclusive_and_leave_nothing(tmp_path):
    mark = unfinished.Mark(tmp_path, "u1", "call")
    assert unfinished.find(tmp_path, "call") == "", "it lives"
    mark.keep()
    assert unfinished.find(tmp_path, "call") == "u1"
    unfinished.take(tmp_path, "u2", 0).keep()
    assert [path.name for path in (tmp_path / "submitting").iterdir()] == ["u1"]
    (tmp_path / "submitting" / "torn").write_text('{"dig')
    assert unfinished.find(tmp_path, "call") == "u1"
    assert unfinished.waiting(tmp_path) == []
    unfinished.forget(tmp_path, "u1")
    assert unfinished.find(tmp_path, "call") == ""


class Typing(SilentUi):
    """Somebody who types the passphrase."""

    interactive = True

    def secret(self, _prompt):
        return "sesame"


def test_a_passphrase_that_only_a_person_knows_makes_no_tries(engine, monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key = engine.folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "sesame", "-f", str(key)], check=True)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    engine.api.put_cluster({"name": "away", "hostname": "127.0.0.1", "port": port, "workload_manager": "slurm"})
    text = HELLO.replace("local", "away") + "private_key: key\nfallback: never\n"
    context = engine.new_context(ui=Typing())
    with pytest.raises(ClusterError) as caught:
        submission.submit(context, engine.request(text))
    assert "passphrase" in caught.value.hint
    (job,) = engine.api.jobs()
    assert job["state"] == states.BLOCKED
    assert "next" not in job["plan"]
    assert "the user" in job["plan"]["waits_for"]
    assert unfinished.waiting(engine.home) == []
