"""Jobs that are a script, and their plan, by the command line on the built-in cluster."""

import json
from pathlib import Path

import pytest

from helpers.calling import call

SCRIPT = "#!/usr/bin/env python3\nimport os\nopen('result.txt', 'w').write('moo ' + os.environ['jobndx'])\n"


@pytest.fixture
def written(tmp_path, folder):
    def write(name="script.yml", **keys):
        path = tmp_path / name
        path.write_text(json.dumps({"destination_cluster": "local", **keys}))
        return path

    return write


@pytest.mark.usefixtures("folder")
def test_a_job_without_files_goes_all_the_way(written, tmp_path):
    path = written(script=SCRIPT, output="result.txt", name="only a script")
    call("validate", path)
    uuid = call("submit", path, "--wait", "-q").last
    call("retrieve", uuid, "-o", tmp_path / "out")
    assert (tmp_path / "out" / "result.txt").read_text() == "moo 1"
    path.unlink()
    again = call("resubmit", uuid, "--wait", "-q").last
    call("retrieve", again, "-o", tmp_path / "again")
    assert (tmp_path / "again" / "result.txt").read_text() == "moo 1"
    assert call("resubmit", "--resume", uuid).last == f"Your submission ID = {uuid}"


def test_a_script_that_fails_is_told_as_such(written):
    called = call("submit", written(script="echo boom >&2; exit 3"), "--wait", code=5)
    assert "  | boom" in called.err
    uuid = called.last.rpartition(" ")[2]
    assert "ended with exit code 3" in call("why", uuid).out
    assert "execution" not in call("why", uuid).out


def test_output_is_below_the_directory_and_rm_leaves_it(written, tmp_path):
    place = tmp_path / "it's $(mine)"
    path = written(script="echo made > result.txt", output="*.txt", directory=str(place))
    document = call("submit", path, "--wait", "--json").data
    assert document["working_directory"] == str(place)
    uuid = document["job_uuid"]
    call("retrieve", uuid, "-o", tmp_path / "out")
    assert (tmp_path / "out" / "result.txt").read_text() == "made\n"
    assert Path(document["job_directory"], "work").is_symlink()
    call("rm", uuid, "--yes")
    assert not Path(document["job_directory"]).exists()
    assert (place / "result.txt").read_text() == "made\n"


def test_a_plan_says_where_each_line_comes_from(written):
    path = written(script=SCRIPT, name="x", resources={"duration": "1h"}, directory="~/runs", env={"A": "1"})
    shown = call("plan", path).out
    rows = [line.strip().split(" │ ", 1) for line in shown.splitlines() if " │ " in line.strip()]
    origin = {text: label.strip() for label, text in rows}
    assert origin["#!/bin/sh"] == "jobferry"
    assert origin["#JOBFERRY --time=3600"] == "resources.duration"
    assert origin["export A=1"] == "env.A"
    assert "os.environ['jobndx']" in shown
    found = call("plan", path, "--json").data
    assert "".join(line["text"] + "\n" for line in found["script_lines"]) == found["script"]
    assert {line["origin"] for line in found["script_lines"]} >= {"jobferry", "resources.duration", "env.A", "script"}
    assert found["program"] == SCRIPT
    assert found["files"] == []
    assert found["source"] == found["transfer"] == ""
    assert found["working_directory"] == str(Path.home() / "runs")


@pytest.mark.parametrize(
    ("launcher", "expected"),
    [
        (None, "none"),
        ("mpirun", "mpirun -n 2"),
        ("flux  run", "flux run --ntasks=2"),
        ("mpirum -x A", "mpirum -x A (taken as it is)"),
    ],
)
def test_a_plan_says_what_starts_programs(written, launcher, expected):
    own = {"launcher": launcher} if launcher else {}
    assert call("plan", written(script="true", resources={"ranks": 2}, **own), "--json").data["launcher"] == expected


@pytest.mark.parametrize("verb", ["plan", "submit"])
def test_what_the_workload_manager_cannot_do_is_refused_before_anything_is_sent(written, verb):
    before = call("ls", "-q", "--limit", "0").out
    called = call(verb, written(script="true", resources={"qos": "high"}), code=2)
    for piece in ("script.yml:1:", "resources.qos", "workload manager 'local'"):
        assert piece in called.err
    assert call("ls", "-q", "--limit", "0").out == before
