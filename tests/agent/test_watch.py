"""The watcher: killed and started again, deaf schedulers, an API that comes and goes."""

import http.server
import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from helpers.agent_client import PYTHONS, Agent, command, new_uuid, tar, until
from helpers.fake_slurm import FakeSlurm
from project.agent import locks
from project.core.paths import Root


@pytest.fixture
def slurm(tmp_path):
    return FakeSlurm(tmp_path)


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path / "root"))


def watcher(root):
    """The pid of the watcher that holds the lock, None without one."""
    if not locks.is_held(root.watch_lock):
        return None
    text = Path(root.watch_lock).read_text().strip()
    return int(text) if text else None


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path("/proc/{}/stat".format(pid)).read_text().split(")")[-1].split()[0] != "Z"


class Api:
    """A small API server: keeps what it accepts, and can be away."""

    def __init__(self):
        api = self
        self.events = {}
        self.requests = []
        self.cancel = False
        self.answer = 200
        self.largest = 10**9

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                body = json.loads(raw)
                uuid = self.path.split("/")[-2]
                api.requests.append((self.path, self.headers["Authorization"], body))
                status = 413 if len(raw) > api.largest else api.answer
                if status == 200:
                    api.events.setdefault(uuid, []).extend(body["events"])
                text = json.dumps({"applied": len(body["events"]), "cancel": api.cancel, "error": "no"}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args):
                pass

        self._handler = Handler
        self._server = None
        self.port = 0

    def start(self):
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self):
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def report(self):
        return {"url": "http://127.0.0.1:{}".format(self.port), "token": "job.t0ken"}

    def states(self, uuid):
        return [event["state"] for event in self.events.get(uuid, []) if "state" in event]


@pytest.fixture
def api():
    found = Api().start()
    yield found
    found.stop()


@pytest.mark.parametrize("python", PYTHONS)
def test_one_watcher_runs_while_jobs_live_and_leaves_after_them(slurm, root, python):
    with Agent(root.root, python, slurm.env) as agent:
        uuids = [new_uuid(), new_uuid()]
        for uuid in uuids:
            assert agent.submit(uuid, ["true"], cluster=slurm.cluster)["state"] == "QUEUED"
        pid = until(lambda: watcher(root))
        assert subprocess.run(command(python) + ["watch", root.root], timeout=30).returncode == 0
        assert watcher(root) == pid
        slurm.set("end.101", "RUNNING")
        assert agent.wait_state(uuids[0], "RUNNING") == "RUNNING"
        slurm.set("end.101", "COMPLETED")
        slurm.set("end.102", "CANCELLED")
        assert agent.wait_state(uuids[0], "FINISHED") == "FINISHED"
        assert agent.wait_state(uuids[1], "CANCELLED", "FAILED") == "CANCELLED"
    until(lambda: not alive(pid), "the end of the watcher")
    assert os.listdir(root.live) == []


def test_a_watcher_that_is_killed_is_started_by_the_next_contact(slurm, root):
    with Agent(root.root, env=slurm.env) as agent:
        uuid = new_uuid()
        agent.submit(uuid, ["true"], cluster=slurm.cluster)
        pid = until(lambda: watcher(root))
        os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(pid))
    slurm.set("end.101", "COMPLETED")
    with Agent(root.root, env=slurm.env) as agent:
        assert agent.wait_state(uuid, "FINISHED") == "FINISHED"
        finals = [event for event in agent.events(uuid) if event.get("state") == "FINISHED"]
        assert len(finals) == 1


def test_one_query_serves_all_jobs(slurm, root):
    with Agent(root.root, env=slurm.env) as agent:
        uuids = [new_uuid() for _ in range(5)]
        for uuid in uuids:
            agent.submit(uuid, ["true"], cluster=slurm.cluster)
        before = len(slurm.lines("asked"))
        agent.ask("sync", jobs=dict.fromkeys(uuids, 0))
        until(lambda: len(slurm.lines("asked")) > before)
        for number in range(101, 106):
            slurm.set("end.{}".format(number), "COMPLETED")
        for uuid in uuids:
            agent.wait_state(uuid, "FINISHED")


def test_a_scheduler_that_does_not_answer_ends_no_job(slurm, root):
    with Agent(root.root, env=slurm.env) as agent:
        uuid = new_uuid()
        agent.submit(uuid, ["true"], cluster=slurm.cluster)
        agent.wait_state(uuid, "QUEUED")
        slurm.set("down")
        seen = len(Path(root.watch_log).read_text()) if os.path.exists(root.watch_log) else 0
        Path(root.bell).touch()
        until(lambda: os.path.exists(root.watch_log) and len(Path(root.watch_log).read_text()) > seen, "a failed query")
        assert agent.state(uuid) == "QUEUED"
        slurm.unset("down")
        slurm.set("end.101", "TIMEOUT")
        assert agent.wait_state(uuid, "FAILED", "FINISHED") == "FAILED"
        assert agent.events(uuid)[-1]["condition"] == "timeout"


@pytest.mark.parametrize("python", PYTHONS)
def test_events_reach_the_api_in_order_with_the_jobs_own_token(root, api, python):
    with Agent(root.root, python) as agent:
        uuid = new_uuid()
        agent.submit(uuid, ["true"], report=api.report)
        until(lambda: "FINISHED" in api.states(uuid), "the end at the API")
        events = agent.events(uuid)
    assert [event["seq"] for event in api.events[uuid]] == [event["seq"] for event in events]
    assert {authorization for _, authorization, _ in api.requests} == {"Bearer job.t0ken"}
    until(lambda: os.listdir(root.live) == [], "an empty list")


def test_an_api_that_was_away_misses_nothing(root, api):
    api.stop()
    with Agent(root.root) as agent:
        uuid = new_uuid()
        agent.submit(uuid, ["true"], report=api.report)
        agent.wait_state(uuid, "FINISHED")
        assert os.listdir(root.live) == [uuid]
        pid = until(lambda: watcher(root))
        os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(pid))
        api.start()
        agent.ask("sync", jobs={uuid: 0})
    with Agent(root.root):
        until(lambda: "FINISHED" in api.states(uuid), "the end at the API")
    assert [event["seq"] for event in api.events[uuid]] == list(range(1, len(api.events[uuid]) + 1))
    until(lambda: os.listdir(root.live) == [], "an empty list")


def test_what_the_api_refuses_for_good_does_not_hold_up_the_rest(root, api):
    api.answer = 422
    with Agent(root.root) as agent:
        uuid = new_uuid()
        agent.submit(uuid, ["true"], report=api.report)
        until(lambda: len(api.requests) >= 2, "a refused report")
        api.answer = 200
        agent.wait_state(uuid, "FINISHED")
        until(lambda: os.listdir(root.live) == [], "an empty list")


def test_an_event_that_is_too_large_is_delivered_without_what_makes_it_large(root, api):
    api.largest = 20000
    with Agent(root.root) as agent:
        uuid = new_uuid()
        lines = ["i=0; while [ $i -lt 2000 ]; do echo a line of output; i=$((i+1)); done"]
        agent.submit(uuid, ["true"], requirements=lines, report=api.report)
        until(lambda: "FINISHED" in api.states(uuid), "the end at the API")
    kinds = [event["kind"] for event in api.events[uuid]]
    assert "command" in kinds
    assert [event["seq"] for event in api.events[uuid]] == list(range(1, len(kinds) + 1))


def test_a_wish_to_cancel_comes_with_the_apis_answer(root, api):
    with Agent(root.root) as agent:
        uuid = new_uuid()
        api.cancel = True
        agent.submit(uuid, ["sleep 600"], report=api.report)
        assert agent.wait_state(uuid, "CANCELLED", "FAILED") == "CANCELLED"
        until(lambda: "CANCELLED" in api.states(uuid))
        assert [event["condition"] for event in api.events[uuid] if event.get("state") == "CANCELLED"] == [
            "cancelled_by_user"
        ]


def test_a_wish_to_cancel_is_repeated_until_the_scheduler_hears_it(slurm, root):
    with Agent(root.root, env=slurm.env) as agent:
        uuid = new_uuid()
        agent.submit(uuid, ["true"], cluster=slurm.cluster)
        slurm.set("down")
        outcome = agent.ask("cancel", uuids=[uuid])["jobs"][uuid]
        assert outcome["ok"] is False
        assert outcome["state"] == "QUEUED"
        slurm.unset("down")
        assert agent.wait_state(uuid, "CANCELLED") == "CANCELLED"
        assert set(slurm.lines("cancelled")) == {"101"}


def test_an_array_is_one_job_with_a_row_for_each_element(root):
    with Agent(root.root) as agent:
        uuid = new_uuid()
        line = 'echo element $JOBFERRY_INDEX; test "$JOBFERRY_INDEX" -ne 2'
        agent.submit(uuid, [line], resources={"nbr_jobs_in_array": 4})
        assert agent.wait_state(uuid, "FINISHED", "FAILED") == "FAILED"
        last = agent.events(uuid)[-1]
        assert (last["condition"], last["exit_code"]) == ("exit_code", 1)
        assert last["set"]["job_status"]["State"] == ["COMPLETED", "COMPLETED", "FAILED", "COMPLETED"]
        answer = agent.ask("logs", uuid=uuid, index=3, elements=True)
        assert agent.data() == b"element 3\n"
        assert answer["elements"] == [0, 1, 2, 3]
        assert answer["ended"] is True


def test_the_watcher_is_small(root):
    with Agent(root.root) as agent:
        uuid = new_uuid()
        api = Api().start()
        agent.submit(uuid, ["sleep 600"], upload=tar({"files/x": b"x"}), report=api.report)
        until(lambda: "RUNNING" in api.states(uuid))
        pid = watcher(root)
        status = dict(line.split(":", 1) for line in Path("/proc/{}/status".format(pid)).read_text().splitlines())
        handles = {os.readlink("/proc/{}/fd/{}".format(pid, name)) for name in ("0", "1", "2")}
        session = os.getsid(pid)
        agent.ask("cancel", uuids=[uuid])
        agent.wait_state(uuid, "CANCELLED")
        until(lambda: "CANCELLED" in api.states(uuid))
        api.stop()
    assert int(status["VmHWM"].split()[0]) < 30 * 1024
    assert handles == {"/dev/null"}
    assert session not in (os.getsid(0), os.getsid(os.getppid()))
