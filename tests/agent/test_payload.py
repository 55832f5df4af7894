"""Jobs that are a script, and jobs in a folder of the user's, through a real agent and its own workload manager."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from helpers.agent_client import LOCAL, Agent, new_uuid, tar
from project.core import states


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with Agent(home / "it's a root é", env={"HOME": str(home)}) as found:
        found.home = home
        yield found


def submit(agent, upload=None, source=None, cluster=LOCAL, **spec):
    uuid = new_uuid()
    data = {"destination_cluster": cluster["name"], **spec}
    fields = {"uuid": uuid, "spec": data, "cluster": cluster, "modules": {}, "report": None}
    return uuid, agent.ask("submit", upload=upload, source=source or {"kind": "none"}, **fields)


def run(agent, state="FINISHED", **fields):
    uuid, answer = submit(agent, **fields)
    assert answer.get("native_id"), answer
    assert agent.wait_state(uuid, *states.FINAL) == state
    return agent.paths(uuid)


def read(path):
    return Path(path).read_bytes().decode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo moo $JOBFERRY_RUN", "moo 1\n"),
        ("#!/usr/bin/env python3\nimport os\nprint(os.environ['base'], os.environ['jobndx'])\n", "{folder} 1\n"),
        ('#!/usr/bin/awk -f\nBEGIN { print "it\'s", 6 * 7 }\n', "it's 42\n"),
        ("#! /bin/sh -e\nfalse || echo on\n# é \x01 \u2028\n", "on\n"),
        ("#!/bin/sh\r\necho windows\r\n", "windows\n"),
        ("#!/bin/sh\r\nprintf 'a\r\n'\n", "a\r\n"),
        ("#!\necho none", "none\n"),
        ("echo $(touch marker) `touch marker`; rm marker", "\n"),
    ],
)
def test_a_script_of_any_language(agent, script, said):
    paths = run(agent, script=script)
    assert read(paths.stdout(1)) == said.replace("{folder}", paths.folder)
    assert stat.S_IMODE(os.stat(paths.run).st_mode) == 0o700
    assert os.listdir(paths.work) == []


@pytest.mark.parametrize("first", ["#!/no/such/rc -x", "#!/usr/bin/env no-such-rc", "#!a 'b; touch $HOME/marker; '"])
def test_an_interpreter_that_is_missing_is_named(agent, first):
    uuid, _ = submit(agent, script=first + "\necho never\n")
    assert agent.wait_state(uuid, *states.FINAL) == "FAILED"
    paths = agent.paths(uuid)
    assert (read(paths.stdout(1)), agent.events(uuid)[-1]["exit_code"]) == ("", 127)
    assert "the script's first line asks for " + first.split()[-1 if "env" in first else 0].lstrip("#!") in read(
        paths.stderr(1)
    )
    assert not list(agent.home.rglob("marker"))


def test_a_scripts_exit_code_is_the_jobs(agent):
    uuid, _ = submit(agent, script="exit 3")
    assert agent.wait_state(uuid, *states.FINAL) == "FAILED"
    assert agent.events(uuid)[-1]["exit_code"] == 3


def test_files_requirements_and_compilation_go_with_a_script(agent):
    upload = tar({"files/a": b"from here"})
    paths = run(agent, script="cat a b c", job="a", upload=upload, requirements=["echo > b"], compilation=["cp a c"])
    assert read(paths.stdout(1)) == "from here\nfrom here"


@pytest.mark.parametrize("written", ["{home}/it's `a` $dir\\é", "~/other place", "$HOME/$(touch marker)"])
def test_a_directory_is_made_used_and_left_alone(agent, written):
    place = Path(
        written.replace("{home}", str(agent.home)).replace("~", str(agent.home)).replace("$HOME", str(agent.home))
    )
    upload = tar({"files/kept": b"from here", "files/sub": None, "files/sub/new": b"new"})
    (place / "sub").mkdir(parents=True)
    (place / "sub" / "old").write_text("mine")
    (place / "kept").write_text("older")
    uuid, answer = submit(
        agent,
        upload=upload,
        job="x",
        execution="pwd; cat kept; echo result > result",
        directory=written.replace("{home}", str(agent.home)),
    )
    assert answer["working_directory"] == str(place)
    assert agent.wait_state(uuid, *states.FINAL) == "FINISHED"
    paths = agent.paths(uuid)
    assert read(paths.stdout(1)) == f"{place}\nfrom here"
    assert os.readlink(paths.work) == str(place)
    agent.ask("outputs", uuid=uuid, patterns=["result", "sub", "../x"])
    assert {header["path"] for header, _ in agent.heard if header["type"] == "file"} == {"result", "sub/new", "sub/old"}
    assert agent.ask("remove", uuids=[uuid])["jobs"][uuid]["ok"]
    assert not os.path.exists(paths.folder)
    names = sorted(str(path.relative_to(place)) for path in place.rglob("*"))
    assert names == ["kept", "result", "sub", "sub/new", "sub/old"]


@pytest.mark.parametrize(
    ("directory", "words"), [("/proc/nowhere", "cannot be made"), ("{home}/file", "cannot be made")]
)
def test_a_directory_that_cannot_be(agent, directory, words):
    (agent.home / "file").write_text("")
    uuid, answer = submit(agent, script="true", directory=directory.replace("{home}", str(agent.home)))
    assert (answer["type"], answer["condition"]) == ("error", "input_staging_failed")
    assert words in answer["message"]
    assert not agent.ask("have", uuid=uuid)["taken"]


def test_a_folder_is_not_replaced_by_a_file(agent):
    place = agent.home / "kinds"
    (place / "a").mkdir(parents=True)
    _, answer = submit(agent, upload=tar({"files/a": b""}), job="a", execution="true", directory=str(place))
    assert "has a folder of that name" in answer["message"]
    assert (place / "a").is_dir()


def test_a_repository_comes_into_a_directory_but_not_over_another_one(agent, tmp_path):
    origin = tmp_path / "origin"
    for words in (["init", "-q", str(origin)], ["-C", str(origin), "commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *words], check=True)
    url = origin.as_uri()
    fields = {
        "job": url,
        "source": {"kind": "git", "url": url},
        "script": "git log --format=%s",
        "directory": "~/clone",
    }
    assert read(run(agent, **fields).stdout(1)) == "x\n"
    uuid, answer = submit(agent, **fields)
    assert (answer["state"], answer["condition"]) == ("FAILED", "input_staging_failed")
    assert "another Git repository" in answer["message"]
    assert agent.ask("remove", uuids=[uuid])["jobs"][uuid]["ok"]
    assert (agent.home / "clone" / ".git").is_dir()


def test_the_files_beside_the_script_say_what_they_are_and_work(agent):
    uuid, _ = submit(agent, script="sleep 60")
    agent.wait_state(uuid, "RUNNING")
    paths = agent.paths(uuid)
    for path in (paths.script_submit, paths.script_cancel):
        assert read(path).splitlines()[1].startswith("# jobferry: ")
        assert uuid in read(path)
    again = subprocess.run([paths.script_submit], capture_output=True, text=True, check=True, timeout=60)
    assert again.stdout.split(",")[2] == "active"
    done = subprocess.run([paths.script_cancel, "17"], capture_output=True, text=True, check=True, timeout=60)
    assert uuid in done.stdout
    assert agent.wait_state(uuid, *states.FINAL) == "CANCELLED"


def test_an_environment_that_is_not_inherited(agent):
    home = agent.home
    ours = {"HOME": str(home), "GREETING": "hallo", "LINES": "a\nexport PATH=x\nb", "BASH_FUNC_f%%": "() { echo f; }"}
    with Agent(home / "other root", env=ours) as other:
        seen = read(run(other, script="env", inherit_environment=True).stdout(1))
        assert "GREETING=hallo" in seen
        paths = run(other, script="env", inherit_environment=False, env={"MINE": "1"})
    names = {line.partition("=")[0] for line in read(paths.stdout(1)).splitlines()}
    assert not names & {"GREETING", "LINES", "BASH_FUNC_f%%"}
    assert {"MINE", "PATH", "HOME", "mpirun", "nodes", "base", "jobndx", "jobid", "JOBFERRY_LOCAL_ID"} <= names


def test_the_sites_options_reach_the_workload_manager(agent):
    cluster = {**LOCAL, "profile": {"prologue": ["export SITE=1"], "epilogue": "echo over $JOBFERRY_EXIT_CODE"}}
    paths = run(agent, cluster=cluster, script="echo site $SITE")
    assert read(paths.stdout(1)) == "site 1\nover 0\n"
