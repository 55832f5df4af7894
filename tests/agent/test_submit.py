import http.server
import json
import os
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from helpers.agent_client import LOCAL, PYTHONS, Agent, new_uuid, tar
from project.agent.localstore import Store


@pytest.fixture
def python():
    return sys.executable


every_python = pytest.mark.parametrize("python", PYTHONS, ids=lambda python: "old" if "3.6" in python else "here")


@pytest.fixture(scope="module")
def agents(tmp_path_factory):
    """One agent for each Python, for all tests: what it starts need not be started again."""
    found = {}
    for python in PYTHONS:
        home = tmp_path_factory.mktemp("home")
        found[python] = Agent(home / "it's a root é", python, {"HOME": str(home)})
    yield found
    for agent in found.values():
        agent.close()


@pytest.fixture
def agent(agents, python):
    return agents[python]


def native(agent, uuid):
    """The jobs of this UUID that the workload manager knows."""
    store = Store(str(agent.root))
    return [number for number in store.ids() if uuid in store.job(number).job["name"]]


def kinds(events):
    return [event["state"] if event["kind"] == "state" else event["kind"] for event in events]


@every_python
def test_a_file_becomes_a_finished_job(agent):
    uuid = new_uuid()
    result = agent.submit(
        uuid,
        ["./job.sh | tee result.txt", "echo $JOBFERRY_JOB >&2"],
        upload=tar({"files/job.sh": (b"#!/bin/sh\npwd; echo $GREETING\n", 0o755)}),
        name="first job",
        env={"GREETING": "hallo; echo 'x' $(date)"},
    )
    paths = agent.paths(uuid)
    assert result["state"] == "QUEUED"
    assert [result["native_id"]] == native(agent, uuid)
    assert result["job_directory"] == paths.folder
    assert result["working_directory"] == paths.work
    assert result["status"]["cpus"] >= 1
    assert kinds(result["events"])[:3] == ["STAGING_INPUTS", "SUBMITTING", "QUEUED"]
    assert result["last_seq"] == len(result["events"])
    assert {"type": "taken"} in [header for header, _ in agent.heard]
    assert agent.wait_state(uuid, "FINISHED", "FAILED") == "FINISHED"
    events = agent.events(uuid)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert "RUNNING" in kinds(events)
    assert events[-1]["condition"] == "ok"
    assert events[-1]["exit_code"] == 0
    assert Path(paths.stdout(1)).read_text().splitlines() == [paths.work, "hallo; echo 'x' $(date)"]
    assert Path(paths.stderr(1)).read_text().strip() == uuid
    words = [row.split(",")[2] for row in Path(paths.status_csv).read_text().splitlines()]
    assert words == ["new", "queued", "active", "completed"]
    assert json.loads(Path(paths.spec).read_text())["name"] == "first job"


def test_a_job_that_is_sent_again_is_not_submitted_again(agent):
    uuid = new_uuid()
    upload = tar({"files/data": b"first"})
    first = agent.submit(uuid, ["cat data"], upload=upload)
    again = agent.submit(uuid, ["cat data"], upload=tar({"files/data": b"second"}))
    assert again["native_id"] == first["native_id"]
    agent.wait_state(uuid, "FINISHED")
    assert agent.submit(uuid, ["cat data"])["native_id"] == first["native_id"]
    assert Path(agent.paths(uuid).stdout(1)).read_text() == "first"
    assert native(agent, uuid) == [first["native_id"]]
    assert agent.ask("have", uuid=uuid)["taken"] is True
    assert agent.ask("have", uuid=new_uuid())["known"] is False


@pytest.mark.parametrize(
    "stage, condition", [("requirements", "requirements_failed"), ("compilation", "compilation_failed")]
)
def test_the_first_failing_line_ends_the_job_with_its_words(agent, stage, condition):
    uuid = new_uuid()
    lines = ["echo fine; export X=7", "echo 'no rule to make it' >&2; exit $X", "touch never"]
    result = agent.submit(uuid, ["true"], **{stage: lines})
    assert (result["state"], result["condition"]) == ("FAILED", condition)
    assert "exit status 7" in result["message"]
    assert "no rule to make it" in result["message"]
    commands = [event["data"] for event in result["events"] if event["kind"] == "command"]
    assert [command["exit_status"] for command in commands] == [0, 7]
    assert commands[1]["output"] == "no rule to make it\n"
    assert any("no rule" in header.get("text", "") for header, _ in agent.heard if header["type"] == "progress")
    assert not os.path.exists(os.path.join(agent.paths(uuid).work, "never"))
    assert native(agent, uuid) == []


MODULE = b"""import json, os, sys
data = json.load(sys.stdin)
assert json.loads(sys.argv[-1]) == data
print("module log", file=sys.stderr)
data.setdefault("kwargs", {})["seen"] = data.get("kwargs", {}).get("seen", 0) + 1
data["execution"] = ["echo changed " + str(data["kwargs"]["seen"])]
open(os.path.join(os.environ["JOBFERRY_WORK"], os.environ["JOBFERRY_STAGE"]), "w").close()
print(json.dumps(data))
"""


@every_python
def test_modules_change_the_input_before_and_run_after_the_job(agent):
    uuid = new_uuid()
    step = {"index": 1, "module": "m.py", "compilation": "", "execution": shlex.quote(sys.executable) + " m.py"}
    modules = {"preprocessing": [step, dict(step, index=2)], "postprocessing": [step]}
    upload = tar({"modules/preprocessing/m.py": MODULE, "modules/postprocessing/m.py": MODULE})
    result = agent.submit(uuid, ["echo original"], upload=upload, modules=modules)
    assert result["state"] == "QUEUED", result["message"]
    assert agent.wait_state(uuid, "FINISHED", "FAILED") == "FINISHED"
    paths = agent.paths(uuid)
    assert Path(paths.stdout(1)).read_text() == "changed 2\n"
    assert sorted(os.listdir(paths.work)) == ["postprocessing", "preprocessing"]
    events = agent.events(uuid)
    assert kinds(events)[-3:] == ["module", "input", "FINISHED"] or "POSTPROCESSING" in kinds(events)
    found = [event["data"] for event in events if event["kind"] == "module"]
    assert [(one["stage"], one["exit_status"]) for one in found] == [("preprocessing", 0)] * 2 + [("postprocessing", 0)]
    assert found[0]["stderr"].strip() == "module log"
    changed = [event["set"]["user_input"] for event in events if event["kind"] == "input"]
    assert changed[0]["kwargs"]["seen"] == 2


def test_a_module_that_fails_fails_its_stage(agent):
    uuid = new_uuid()
    step = {"index": 1, "module": "m.sh", "execution": "sh m.sh"}
    upload = tar({"modules/preprocessing/m.sh": b"echo broken >&2; exit 4\n"})
    result = agent.submit(uuid, ["true"], upload=upload, modules={"preprocessing": [step]})
    assert (result["state"], result["condition"]) == ("FAILED", "preprocessing_failed")
    assert "m.sh" in result["message"]


def test_a_failing_job_has_no_postprocessing(agent):
    uuid = new_uuid()
    step = {"index": 1, "module": "m.sh", "execution": "touch ../../work/ran; cat"}
    upload = tar({"modules/postprocessing/m.sh": b""})
    agent.submit(uuid, ["exit 5"], upload=upload, modules={"postprocessing": [step]})
    assert agent.wait_state(uuid, "FINISHED", "FAILED") == "FAILED"
    assert agent.events(uuid)[-1]["exit_code"] == 5
    assert os.listdir(agent.paths(uuid).work) == []


def git(*words, cwd):
    env = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null")
    for who in ("AUTHOR", "COMMITTER"):
        env.update({"GIT_{}_NAME".format(who): "t", "GIT_{}_EMAIL".format(who): "t@example.org"})
    subprocess.run(
        ["git", "-c", "protocol.file.allow=always", *words], cwd=cwd, env=env, check=True, stdout=-3, stderr=-3
    )


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository with a submodule, a branch and a tag."""
    top = tmp_path_factory.mktemp("git repos")
    for name in ("inner", "outer"):
        (top / name).mkdir()
        git("init", "-q", "-b", "main", cwd=top / name)
        (top / name / "file").write_text(name + "\n")
        git("add", ".", cwd=top / name)
        git("commit", "-qm", "x", cwd=top / name)
    git("submodule", "add", "-q", str(top / "inner"), "sub", cwd=top / "outer")
    git("commit", "-qm", "sub", cwd=top / "outer")
    git("checkout", "-qb", "side", cwd=top / "outer")
    (top / "outer" / "file").write_text("side\n")
    git("commit", "-qam", "y", cwd=top / "outer")
    git("tag", "v1", cwd=top / "outer")
    git("checkout", "-q", "main", cwd=top / "outer")
    return top / "outer"


@pytest.mark.parametrize("reference, content", [("", "outer"), ("#side", "side"), ("#v1", "side")])
def test_a_repository_is_cloned_with_its_submodules(agent, repository, reference, content):
    uuid = new_uuid()
    job = "file://{}{}".format(repository, reference)
    result = agent.submit(uuid, ["cat file sub/file"], job=job, source={"kind": "git"})
    assert result["state"] == "QUEUED", result["message"]
    agent.wait_state(uuid, "FINISHED")
    assert Path(agent.paths(uuid).stdout(1)).read_text() == content + "\ninner\n"


def test_a_repository_that_is_not_there_is_said_with_gits_words(agent, tmp_path):
    job = "file://{}/none.git".format(tmp_path)
    result = agent.submit(new_uuid(), ["true"], job=job, source={"kind": "git"})
    assert (result["state"], result["condition"]) == ("FAILED", "input_staging_failed")
    assert "none.git" in result["message"]


@pytest.fixture
def web(tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "my job.sh").write_text("echo from the web\n")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / "web"))

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield "http://127.0.0.1:{}".format(server.server_port)
    server.shutdown()
    server.server_close()


@every_python
def test_an_address_is_downloaded(agent, web):
    uuid = new_uuid()
    result = agent.submit(uuid, ["sh 'my job.sh'"], job=web + "/my%20job.sh", source={"kind": "url"})
    assert result["state"] == "QUEUED", result["message"]
    agent.wait_state(uuid, "FINISHED")
    assert Path(agent.paths(uuid).stdout(1)).read_text() == "from the web\n"
    missing = agent.submit(new_uuid(), ["true"], job=web + "/none", source={"kind": "url"})
    assert (missing["state"], missing["condition"]) == ("FAILED", "input_staging_failed")
    assert "404" in missing["message"]


def test_what_cannot_be_taken_is_an_error_and_the_agent_serves_on(agent):
    bad = agent.submit(new_uuid(), ["true"], upload=tar({"files/out": "->/etc/passwd"}))
    assert bad["type"] == "error"
    assert "out" in bad["message"]
    assert bad["condition"] == "input_staging_failed"
    assert agent.ask("submit", uuid="../../x", spec={})["type"] == "error"
    assert agent.submit(new_uuid(), [], upload=tar({"files/x": b"x" * 100000}))["type"] == "error"
    assert agent.ask("nonsense")["type"] == "error"
    assert agent.ask("sync", jobs={})["type"] == "result"


def test_a_cluster_that_is_unknown_to_us_fails_the_job(agent):
    result = agent.submit(new_uuid(), ["true"], cluster=dict(LOCAL, workload_manager="slrm"))
    assert result["state"] == "FAILED"
    assert "slrm" in result["message"]
