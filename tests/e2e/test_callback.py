"""Callbacks of real jobs, over SSH and Slurm, to a receiver written after psik's page alone.

psik's README ("Webhooks"): POST, `application/json`, psik.Callback for every state but `new`; the header `x-hub-signature-256` is made
"the same way as github webhooks": `sha256=` and the HMAC SHA-256 of the body in hexadecimal digits.
"""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from helpers.inputs import write_input
from helpers.live import Bed, Cli, Server, eventually, serving

SECRET = "It's a Secret to Everybody"
STATES = ("queued", "active", "completed", "failed", "canceled")


class Psik(BaseHTTPRequestHandler):
    """What psik's documentation asks of a receiver; a forged message is answered 403."""

    server: "Receiver"

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        expected = "sha256=" + hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
        good = hmac.compare_digest(expected, self.headers.get("x-hub-signature-256") or "")
        good = good and self.headers["content-type"] == "application/json"
        if good:
            self.server.told.append((time.time(), json.loads(raw)))
        self.send_response(200 if good else 403)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_words: Any) -> None:
        pass


class Receiver(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Psik)
        self.told: list[tuple[float, dict[str, Any]]] = []

    def of(self, uuid: str) -> list[dict[str, Any]]:
        return [body for _, body in self.told if body.get("job_uuid") == uuid]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture(scope="module")
def calling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose administrator lets callbacks go to this machine."""
    folder = tmp_path_factory.mktemp("calling")
    yield from serving(Server(folder, {"JOBFERRY_ALLOW_PRIVATE_WEBHOOKS": "1"}))


@pytest.fixture(scope="module")
def user(testbed: Bed, calling: Server, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    made = Cli(tmp_path_factory.mktemp("caller"), testbed.folder / "known_hosts", calling.client_env)
    made.run("clusters", "import", testbed.clusters)
    return made


def submitted(user: Cli, testbed: Bed, folder: Path, receiver: Receiver, execution: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    (folder / "job.sh").write_text("true\n")
    url = f"http://127.0.0.1:{receiver.server_address[1]}/psik"
    path = write_input(folder, testbed, job="job.sh", execution=execution, callback=url, cb_secret=SECRET)
    document: dict[str, Any] = user.json("submit", path)
    return document


def test_a_job_tells_psiks_receiver_each_state_in_order(
    user: Cli, testbed: Bed, calling: Server, receiver: Receiver, tmp_path: Path
) -> None:
    document = submitted(user, testbed, tmp_path, receiver, ["env > environment.txt", "sleep 2"])
    uuid = document["job_uuid"]
    eventually(lambda: [body["state"] for body in receiver.of(uuid)][-1:] == ["completed"], "the last callback")
    ended = time.time()
    told = receiver.of(uuid)
    assert [body["state"] for body in told] == ["queued", "active", "completed"]
    assert [body["info"] for body in told] == [document["native_id"], document["native_id"], "0"]
    for body in told:
        # psik/models.py, Callback: jobid (a time stamp), jobndx from 1, state, info.
        whole, _, part = body["jobid"].partition(".")
        assert whole.isdigit() and part.isdigit()
        assert body["jobndx"] == 1 and body["state"] in STATES
    assert len({body["jobid"] for body in told}) == 1
    found = user.json("deliveries", uuid)["deliveries"]
    assert [(one["state"], one["delivery"], len(one["attempts"])) for one in found] == [
        (state, "sent", 1) for state in ("queued", "active", "completed")
    ]
    assert ended - max(moment for moment, body in receiver.told if body["job_uuid"] == uuid) < 30
    # Neither cluster nor server kept a word of it: not the job's folder, its environment, the database or the log.
    folders = [testbed.alpha.here(document["job_directory"]), calling.folder, user.folder]
    for path in [path for folder in folders for path in folder.rglob("*") if path.is_file()]:
        assert SECRET.encode() not in path.read_bytes(), path
    for path in [path for path in folders[0].rglob("*") if path.is_file()]:
        assert b"/psik" not in path.read_bytes(), path


def test_a_job_that_fails_and_one_that_is_cancelled_are_told_so(
    user: Cli, testbed: Bed, receiver: Receiver, tmp_path: Path
) -> None:
    failing = submitted(user, testbed, tmp_path / "a", receiver, "exit 3")["job_uuid"]
    long = submitted(user, testbed, tmp_path / "b", receiver, "sleep 600")["job_uuid"]
    eventually(lambda: "active" in [body["state"] for body in receiver.of(long)], "it runs")
    user.run("cancel", long)
    eventually(lambda: [body["state"] for body in receiver.of(long)][-1:] == ["canceled"], "it is cancelled")
    eventually(lambda: [body["state"] for body in receiver.of(failing)][-1:] == ["failed"], "it has failed")
    assert receiver.of(failing)[-1]["info"] == "3"
    assert receiver.of(failing)[-1]["condition"] == "exit_code"
    for uuid in (failing, long):
        words = [body["state"] for body in receiver.of(uuid)]
        assert words == sorted(set(words), key=STATES.index)
