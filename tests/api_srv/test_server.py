"""The server as a process: first start, signals, kill -9, accounts and backup while it runs."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from api_srv.store.sqlite import SqliteStore
from helpers.mail_server import MailServer
from project.core import history
from project.core.api_client import ApiClient, http_call
from project.core.errors import ApiError

HERE = Path(__file__).resolve().parents[2]
INPUT = {"destination_cluster": "c", "job": "j", "execution": ["true"], "user_mail": "ann@example.org"}
PASSWORD = "correct horse"


class Site:
    """A folder, a port, and the server that runs on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        kept = {key: value for key, value in os.environ.items() if not key.startswith("JOBFERRY_")}
        self.environment = {
            **kept,
            "JOBFERRY_HOME": str(folder / "home"),
            "JOBFERRY_LISTEN": "127.0.0.1:0",
            "JOBFERRY_ADMIN_USER": "root",
            "JOBFERRY_ADMIN_PASSWORD": PASSWORD,
        }
        self.running: list[subprocess.Popen[bytes]] = []

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        before = len(self.log)
        with open(self.folder / "log", "ab") as log:
            argv = [sys.executable, "-m", "api_srv", *words]
            process = subprocess.Popen(argv, cwd=HERE, env=self.environment, stdout=log, stderr=log)
        self.running.append(process)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert process.poll() is None, self.log
            said = re.search(r"serves on http://127\.0\.0\.1:(\d+)\.", self.log[before:])
            if said:
                # The system chose a port that is free; it says so once it listens.
                self.port = int(said[1])
                return process
            time.sleep(0.05)
        raise AssertionError(self.log)

    def api(self, password: str = PASSWORD, user: str = "root") -> ApiClient:
        return ApiClient(http_call(f"http://127.0.0.1:{self.port}", user, password))

    def run(self, *words: str, stdin: str = "", code: int = 0) -> str:
        argv = [sys.executable, "-m", "api_srv", *words]
        done = subprocess.run(
            argv, cwd=HERE, env=self.environment, input=stdin, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stderr


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    for process in site.running:
        if process.poll() is None:
            process.kill()
        process.wait()


def document() -> dict[str, Any]:
    return history.new_document(str(uuid.uuid4()), dict(INPUT))


def test_requests_in_flight_finish_when_it_is_stopped(site: Site) -> None:
    process = site.start()
    made = document()
    body = json.dumps(made).encode()
    import base64

    credentials = base64.b64encode(f"root:{PASSWORD}".encode()).decode()
    head = (
        f"POST /jobs/{made['job_uuid']} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {credentials}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", site.port), 60) as call:
        call.sendall(head + body[:20])
        # A second call goes through after the first has been received: the server has read the first one's beginning.
        site.api().jobs()
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", site.port), 5).close()
            except OSError:
                break
            time.sleep(0.02)
        assert process.poll() is None
        call.sendall(body[20:])
        answer = b""
        while piece := call.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    assert process.wait(60) == 0
    assert "has stopped" in site.log
    site.start()
    assert site.api().job(made["job_uuid"])["state"] == "PENDING"


def test_what_was_acknowledged_survives_a_kill(site: Site) -> None:
    process = site.start()
    api = site.api()
    made = [document() for _ in range(5)]
    for one in made:
        api.create(one)
        api.report(one["job_uuid"], [history.make("agent", 1, "state", state="QUEUED")])
    process.kill()
    process.wait()
    site.start()
    api = site.api()
    assert {job["job_uuid"] for job in api.jobs(state="QUEUED")} == {one["job_uuid"] for one in made}
    assert all(len(api.events(one["job_uuid"])) == 2 for one in made)


def test_accounts_backup_and_restore_while_it_runs(site: Site) -> None:
    site.start()
    assert "Added ann" in site.run("user", "add", "ann", stdin="a password of ann\n")
    ann = site.api("a password of ann", "ann")
    made = document()
    ann.create(made)
    assert site.run("user", "ls").splitlines()[0].startswith("ann\tuser\t")
    token = site.run("user", "token", "ann").strip()
    by_token = ApiClient(http_call(f"http://127.0.0.1:{site.port}", token=token))
    assert len(by_token.jobs()) == 1
    file = site.folder / "back up.gz"
    assert "1 jobs" in site.run("backup", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    ann._call("DELETE", f"/jobs/{made['job_uuid']}", None, {"force": "1"})
    ann.create(other := document())
    assert "1 jobs" in site.run("restore", str(file))
    assert {job["job_uuid"] for job in ann.jobs()} == {made["job_uuid"], other["job_uuid"]}
    assert "Changed" in site.run("user", "passwd", "ann", stdin="another password\n")
    with pytest.raises(ApiError) as caught:
        ann.jobs()
    assert caught.value.status == 401
    site.run("user", "rm", "ann")
    assert len(site.api().jobs()) == 2


def test_what_cannot_be_done_is_one_line(site: Site) -> None:
    assert "There is no account" in site.run("user", "rm", "nobody", code=2)
    assert "8 to" in site.run("user", "add", "ann", stdin="short\n", code=2)
    assert "No such file" in site.run("restore", str(site.folder / "none"), code=2)
    (site.folder / "bad").write_bytes(b"no backup")
    assert "cannot be restored" in site.run("restore", str(site.folder / "bad"), code=2)
    site.environment["JOBFERRY_LISTEN"] = "nowhere"
    assert "JOBFERRY_LISTEN" in site.run(code=2)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        site.environment["JOBFERRY_LISTEN"] = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "cannot listen" in site.run(code=2)
    site.environment["JOBFERRY_MONGO_URL"] = "mongodb://user:s3cret@127.0.0.1:1/?serverSelectionTimeoutMS=200"
    said = site.run("user", "ls", code=4)
    assert "MongoDB" in said
    assert "s3cret" not in said


def test_the_first_start_prints_a_password_once(site: Site) -> None:
    del site.environment["JOBFERRY_ADMIN_USER"]
    del site.environment["JOBFERRY_ADMIN_PASSWORD"]
    process = site.start("serve")
    (line,) = [line for line in site.log.splitlines() if "The first account is" in line]
    assert line.startswith("The first account is admin with the password ")
    assert site.api(line.split()[-1], "admin").jobs() == []
    process.terminate()
    assert process.wait(60) == 0
    site.start()
    assert site.log.count("The first account is") == 1
    assert "change nothing" not in site.log
    site.environment["JOBFERRY_ADMIN_PASSWORD"] = PASSWORD
    site.start()
    assert "change nothing" in site.log


def test_slow_clients_keep_nobody_out(site: Site) -> None:
    site.start()
    with contextlib.ExitStack() as stack:
        for _ in range(150):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", site.port), timeout=60))
            slow.sendall(b"POST /jobs HTTP/1.1\r\nHost: x\r\nX: ")
        assert site.api().health()["status"] == "ok"


def test_a_first_account_of_too_short_a_password_is_said_to_be_one(site: Site) -> None:
    site.environment["JOBFERRY_ADMIN_PASSWORD"] = "short"
    assert "JOBFERRY_ADMIN_PASSWORD" in site.run("serve", code=2)


def test_mails_go_out_and_a_stop_leaves_no_lease(site: Site) -> None:
    with MailServer() as server:
        site.environment["JOBFERRY_SMTP_URL"] = f"smtp://127.0.0.1:{server.port}"
        process = site.start()
        made = document()
        site.api().create(made)
        site.api().report(made["job_uuid"], [history.make("agent", 1, "state", state="QUEUED")])
        deadline = time.monotonic() + 60
        while not server.mails and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(server.mails) == 1
        process.terminate()
        assert process.wait(60) == 0
    store = SqliteStore.in_home(site.environment["JOBFERRY_HOME"])
    assert [row["lease_by"] for row in store.outbox_rows()] == [""]
    assert store.outbox_counts() == {"sent": 1}
    store.close()


def test_a_page_is_shown_at_the_root(site: Site) -> None:
    site.start()
    opener: Callable[..., Any] = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
    with opener(f"http://127.0.0.1:{site.port}/", timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/html")
