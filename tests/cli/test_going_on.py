"""The process that goes on with blocked submissions, as the command line starts it."""

import socket

import pytest

from helpers.calling import call, until
from helpers.processes import retrier_works, stop_retrier


@pytest.fixture
def home(folder):
    yield folder.parent / "data"
    stop_retrier(folder.parent / "data")


def away(folder, name, rhythm):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    path = folder / f"{name}.clusters.yml"
    path.write_text(
        f"- {{name: {name}, hostname: 127.0.0.1, port: {port}, workload_manager: slurm, retry: {{{rhythm}}}}}\n"
    )
    call("clusters", "import", path)


def test_a_blocked_job_is_tried_again_and_given_up(folder, home):
    away(folder, "gone", "every: 1s, max: 1s, until: 3s")
    called = call("submit", "hello.yml", "--cluster", "gone", "--fallback", "never", code=3)
    assert "goes on by itself" in called.err
    uuid = call("ls", "--state", "BLOCKED,FAILED", "-q", "--limit", "1").out.strip()
    until(lambda: call("status", uuid, "--json").data["state"] == "FAILED", "the last try")
    job = call("status", uuid, "--json").data
    assert job["condition"] == "unreachable"
    assert "try 2" in call("history", uuid).out
    until(lambda: not retrier_works(home), "the process to end")
    assert "Traceback" not in (home / "retrier.log").read_text()


def test_one_process_shows_its_plan_and_ends_with_its_last_job(folder, home):
    away(folder, "later", "every: 1h")
    call("submit", "hello.yml", "--cluster", "later", "--fallback", "never", code=3)
    until(lambda: retrier_works(home), "the process to start")
    pid = (home / "retrier.lock").read_text()
    uuid = call("ls", "--state", "BLOCKED", "-q", "--limit", "1").out.strip()
    shown = call("status", uuid).out
    assert "next try" in shown
    assert "until" in shown
    assert "Tried once, every 1h" in call("why", uuid).out
    assert (home / "retrier.lock").read_text() == pid
    assert "cancelled" in call("cancel", uuid).err
    assert call("status", uuid, "--json").data["state"] == "CANCELLED"
    until(lambda: not retrier_works(home), "the process to end")
