"""`Client` on the built-in cluster: everything is real."""

import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from helpers.live import eventually, free_port
from project import (
    Client,
    ClusterError,
    InputError,
    JobEnded,
    JobferryError,
    JobRecord,
    Progress,
    UserError,
    WaitTimeout,
)
from project.engine import context as context_module

PATIENCE = 60.0
HELLO = {"destination_cluster": "local", "name": "hello", "script": "echo hello; echo oops >&2; echo made > result.txt"}
LONG = {"destination_cluster": "local", "script": "echo started; sleep 600"}


def test_a_job_from_its_input_to_its_output(client: Client, tmp_path: Path) -> None:
    job = client.submit({**HELLO, "output": "result.txt", "tags": {"kind": "good"}}, tags={"run": tmp_path.name})
    assert isinstance(job, JobRecord)
    assert job.cluster == "local"
    assert job.native_id
    assert job.tags == {"kind": "good", "run": tmp_path.name}
    ended = client.wait(job, timeout=PATIENCE)
    assert (ended.state, ended.condition, ended.exit_code, ended.ok) == ("FINISHED", "ok", 0, True)
    assert client.logs(job) == "hello\n"
    assert client.logs(job.uuid[:8], "stderr") == "oops\n"
    assert client.retrieve(ended, tmp_path / "out") == [tmp_path / "out" / "result.txt"]
    assert (tmp_path / "out" / "result.txt").read_text() == "made\n"
    states = [event.state for event in client.events(job) if event.state]
    assert (states[0], states[-1]) == ("PENDING", "FINISHED")
    assert [each.uuid for each in client.jobs({"run": tmp_path.name}, state="FINAL")] == [job.uuid]
    assert list(client.jobs(f"run={tmp_path.name}", state="LIVE")) == []
    client.remove(job)
    with pytest.raises(UserError, match="no job"):
        client.get(job)


def test_an_input_file_its_cluster_and_its_modules(alone: Client, tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    module = tmp_path / "modules" / "name.sh"
    module.write_text("#!/bin/sh\nsed 's/before/after/'\n")
    module.chmod(0o755)
    (tmp_path / "modules.yml").write_text("staging: {1: {module: name.sh, execution: ./name.sh}}\n")
    path = tmp_path / "input.yml"
    path.write_text("destination_cluster: elsewhere\nscript: echo before\n")
    job = alone.submit(path, tmp_path / "modules.yml", cluster="local")
    assert alone.wait(job, PATIENCE).ok
    assert alone.logs(job) == "after\n"


def test_paths_in_a_mapping_start_from_the_current_folder(
    alone: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.txt").write_text("42\n")
    data = {"destination_cluster": "local", "job": Path("data.txt"), "execution": "cat data.txt", "output": None}
    job = alone.wait(alone.submit(data), PATIENCE)
    assert alone.logs(job) == "42\n"
    assert data["output"] is None, "the caller's mapping is the caller's"


def test_every_problem_of_an_input_and_nothing_recorded(client: Client) -> None:
    before = len(list(client.jobs()))
    with pytest.raises(InputError) as caught:
        client.submit(
            {"destination_cluster": "local", "script": "true", "nmae": "x", "resources": {"duration": "soon"}}
        )
    assert {problem.key for problem in caught.value.problems} == {"nmae", "resources.duration"}
    assert caught.value.job_uuid == ""
    with pytest.raises(UserError, match="nowhere"):
        client.submit(HELLO, cluster="nowhere")
    assert len(list(client.jobs())) == before


def test_a_fallback_that_is_none(alone: Client) -> None:
    with pytest.raises(UserError, match="fallback"):
        alone.submit(HELLO, fallback="Never")  # type: ignore[arg-type]  # what is tried here
    assert list(alone.jobs()) == []


@pytest.mark.parametrize("name", ["x", "abc", "0" * 36, "ffffffff-ffff-4fff-bfff-ffffffffffff"])
def test_a_job_that_is_none(client: Client, name: str) -> None:
    with pytest.raises(UserError):
        client.get(name)
    with pytest.raises(UserError):
        client.wait(name)


def test_waiting_ends_by_its_timeout_and_the_job_goes_on(client: Client) -> None:
    job = client.submit(LONG)
    with pytest.raises(TimeoutError) as caught:
        client.wait(job, timeout=0.3, poll=0.1)
    assert isinstance(caught.value, WaitTimeout)
    assert caught.value.job.uuid == caught.value.job_uuid == job.uuid
    assert not caught.value.job.ended
    client.cancel(job)
    ended = client.wait(job, PATIENCE)
    assert (ended.state, ended.condition) == ("CANCELLED", "cancelled_by_user")
    assert client.cancel(job).state == "CANCELLED", "once more is no error"


def test_a_job_that_fails(alone: Client) -> None:
    job = alone.wait(alone.submit({**HELLO, "script": "exit 3"}), PATIENCE)
    assert (job.state, job.condition, job.exit_code, job.ok) == ("FAILED", "exit_code", 3, False)
    with pytest.raises(JobEnded) as caught:
        alone.wait(job, check=True)
    assert caught.value.job_uuid == job.uuid


def test_events_and_output_as_they_come(alone: Client) -> None:
    job = alone.submit({**HELLO, "script": "echo one; sleep 1; printf 'two \\303\\244'"})
    assert "".join(alone.follow(job)) == "one\ntwo ä"
    events = list(alone.events(job, follow=True, poll=0.1))
    assert events[-1].state == "FINISHED"
    assert [event.n for event in events] == sorted({event.n for event in events})


def test_acts_that_are_not_possible(alone: Client) -> None:
    job = alone.wait(alone.submit(HELLO), PATIENCE)
    for act in (alone.hold, alone.release):
        with pytest.raises(UserError) as caught:
            act(job)
        assert caught.value.job_uuid == job.uuid
    running = alone.submit(LONG)
    with pytest.raises(UserError, match="cancel it first"):
        alone.remove(running)
    alone.remove(running, force=True)


def test_created_then_started(alone: Client) -> None:
    job = alone.create(HELLO)
    assert (job.state, job.native_id) == ("PENDING", None)
    assert alone.wait(alone.start(job), PATIENCE).ok


def test_a_plan_does_nothing(alone: Client) -> None:
    assert "echo hello" in str(alone.plan(HELLO))
    assert list(alone.jobs()) == []


def test_clusters(alone: Client) -> None:
    assert [cluster["name"] for cluster in alone.clusters()] == ["local"]
    alone.add_cluster({"name": "alpha", "hostname": "alpha.example.org", "workload_manager": "slurm"})
    assert [cluster["name"] for cluster in alone.clusters()] == ["alpha", "local"]
    with pytest.raises(InputError):
        alone.add_cluster({"name": "beta", "workload_manager": "slumr"})
    alone.remove_cluster("alpha")
    with pytest.raises(UserError):
        alone.remove_cluster("alpha")


def test_an_error_names_the_job_that_was_recorded(alone: Client) -> None:
    alone.add_cluster(
        {"name": "away", "hostname": "127.0.0.1", "port": free_port(), "workload_manager": "slurm", "username": "x"}
    )
    with pytest.raises(ClusterError) as caught:
        alone.submit({**HELLO, "destination_cluster": "away"}, fallback="never")
    assert caught.value.transient
    assert alone.get(caught.value.job_uuid).state == "BLOCKED"
    assert alone.cancel(caught.value.job_uuid).state == "CANCELLED"


def test_a_blocked_submission_goes_on_when_its_cluster_answers(alone: Client, home: Path) -> None:
    alone.add_cluster({"name": "away", "hostname": "127.0.0.1", "port": free_port(), "workload_manager": "local"})
    with pytest.raises(ClusterError) as caught:
        alone.submit({**HELLO, "destination_cluster": "away"}, fallback="never")
    here = {"transport": "local", "workdir": str(home / "jobs")}
    alone.add_cluster({"name": "away", "hostname": "localhost", "workload_manager": "local", **here})
    assert alone.resume(caught.value.job_uuid).cluster == "away"
    assert alone.wait(caught.value.job_uuid, PATIENCE).ok


def test_one_connection_for_everything(alone: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    real = context_module.open_link
    monkeypatch.setattr(context_module, "open_link", lambda *args: opened.append(1) or real(*args))
    jobs = [alone.submit(HELLO), alone.submit(HELLO)]
    assert all(alone.wait(job, PATIENCE).ok for job in jobs)
    assert len(opened) == 1


def test_a_connection_that_broke_is_made_again(alone: Client) -> None:
    job = alone.submit(LONG)
    (link,) = alone._core._context._links.values()
    link._channel.close()
    alone.get(job)
    assert eventually(lambda: alone.logs(job) == "started\n", "the job prints")
    assert link not in alone._core._context._links.values()
    alone.remove(job, force=True)


def test_threads_share_a_client(alone: Client) -> None:
    ended: dict[str, JobRecord] = {}
    long = alone.submit(LONG)

    def work(name: str) -> None:
        ended[name] = alone.wait(alone.submit({**HELLO, "name": name}), PATIENCE)

    def wait() -> None:
        ended["long"] = alone.wait(long, PATIENCE)

    threads = [threading.Thread(target=work, args=(f"job-{number}",)) for number in range(3)]
    waits = threading.Thread(target=wait)
    for thread in (waits, *threads):
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert waits.is_alive(), "who waits keeps nobody else from working"
    alone.cancel(long)
    waits.join(PATIENCE)
    assert {name: record.state for name, record in ended.items()} == {
        "job-0": "FINISHED",
        "job-1": "FINISHED",
        "job-2": "FINISHED",
        "long": "CANCELLED",
    }
    assert len({record.uuid for record in ended.values()}) == 4


def test_two_clients_have_nothing_in_common(alone: Client, tmp_path: Path) -> None:
    alone.create(HELLO)
    with Client(home=tmp_path / "home" / "other") as other:
        assert list(other.jobs()) == []
    assert len(list(alone.jobs())) == 1, "closing one leaves the other"


def test_a_closed_client(home: Path) -> None:
    client = Client(home=home)
    client.close()
    client.close()
    with pytest.raises(UserError, match="closed"):
        client.clusters()


def test_nothing_is_printed_and_progress_is_told(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    told: list[Progress] = []
    with Client(home=home, progress=told.append) as client:
        client.wait(client.submit(HELLO), PATIENCE)
    assert "Submitting to local" in [each.text for each in told if each.kind == "step"]
    assert capfd.readouterr() == ("", "")


def test_warnings_without_a_callback_are_logged(alone: Client, caplog: pytest.LogCaptureFixture) -> None:
    alone.add_cluster({"name": "away", "hostname": "127.0.0.1", "port": free_port(), "workload_manager": "slurm"})
    with caplog.at_level(logging.WARNING, "jobferry"):
        job = alone.submit({**HELLO, "destination_cluster": "away"}, cluster="local")
        assert alone.wait(job, PATIENCE).ok
        alone._core._ui.warn("look here")
    assert [record.message for record in caplog.records if record.name == "jobferry"] == ["look here"]


def test_a_callback_that_fails_ends_no_submission(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Client(home=home, progress=lambda told: 1 / 0) as client:
        assert client.wait(client.submit(HELLO), PATIENCE).ok
    assert "ZeroDivisionError" in caplog.text


def test_waiting_for_what_nobody_goes_on_with_warns_once(home: Path) -> None:
    told: list[Progress] = []
    with Client(home=home, progress=told.append) as client:
        job = client.create(HELLO)
        with pytest.raises(WaitTimeout):
            client.wait(job, 0.3, poll=0.05)
    (warning,) = [each.text for each in told if each.kind == "warning"]
    assert job.uuid in warning
    assert "`start`" in warning


def test_credentials_given_win_over_the_settings(home: Path, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBFERRY_API_URL", server.url)
    monkeypatch.setenv("JOBFERRY_API_TOKEN", "not-a-token")
    with Client(home=home) as client, pytest.raises(JobferryError):
        client.clusters()
    with Client(home=home, user=server.user, password=server.password) as client:
        assert client.clusters()
    with Client("", home) as client:
        assert list(client.jobs()) == [], "an empty address is the embedded default"


def test_the_api_away_is_an_error_and_waiting_is_patient(home: Path) -> None:
    with Client(f"http://127.0.0.1:{free_port()}", home) as client:
        begin = time.monotonic()
        with pytest.raises(JobferryError) as caught:
            client.wait("12345678", timeout=30)
        assert caught.value.transient
        assert time.monotonic() - begin < 20, "nothing was ever seen: there is nothing to wait for"
