"""`serve`, and the same verbs through the server that it runs."""

import os
import re
import signal
import subprocess
import sys

import pytest

from helpers.calling import ROOT, call

PASSWORD = "a long password"


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    config = tmp_path_factory.mktemp("config")
    (config / "jobferry").mkdir()
    (config / "jobferry" / "config.yml").write_text(f"admin_user: boss\nadmin_password: {PASSWORD}\n")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(config), "JOBFERRY_HOME": str(config / "home")}
    process = subprocess.Popen(
        [sys.executable, "-m", "project", "serve", "--listen", "127.0.0.1:0"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )
    found = None
    while not found:
        line = process.stderr.readline()
        assert line, "the server ended"
        found = re.search(r"http://127\.0\.0\.1:[1-9]\d*", line)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOBFERRY_API_URL", found.group())
        patch.setenv("JOBFERRY_API_USER", "boss")
        patch.setenv("JOBFERRY_API_PASSWORD", PASSWORD)
        yield found.group()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


def test_the_whole_job_goes_through_the_server(server, tmp_path):
    called = call("-u", "hello.yml", "--wait")
    uuid = called.last.removeprefix("Your submission ID = ")
    assert call("ls", "-q").out == uuid + "\n"
    assert call("status", uuid, "--json").data["state"] == "FINISHED"
    call("-r", uuid, "-o", tmp_path)
    assert (tmp_path / "result.txt").read_text() == "made\n"
    assert call("logs", uuid).out == "hello\n"
    call("rm", uuid)
    assert call("ls", "-q").out == ""


def test_wrong_credentials_are_exit_code_4_and_the_password_is_not_shown(server, monkeypatch):
    monkeypatch.setenv("JOBFERRY_API_PASSWORD", "hunter2")
    called = call("ls", "-vv", code=4)
    assert "JOBFERRY_API_USER" in called.err
    assert "hunter2" not in called.err + called.out
