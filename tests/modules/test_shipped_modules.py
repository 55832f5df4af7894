"""The modules that come with the program, each run as a user runs it: by its line in a modules file."""

import hashlib
import json
import os
import shlex
import subprocess
import sys

import pytest

from project.core import modules
from project.core.errors import JobferryError
from project.core.modulesfile import Step
from project.spec import share

PYTHON = shlex.quote(sys.executable)
DATA = {
    "destination_cluster": "local",
    "job": "job.sh",
    "execution": ["./job.sh"],
    "output": ["result.txt"],
    "kwargs": {"key1": "value1", "ü": "'\"$(x)"},
}
LINES = {
    "resource_estimator.py": ("", f"{PYTHON} resource_estimator.py"),
    "output_check.py": ("", f"{PYTHON} output_check.py"),
    "remote_test.py": ("", f"{PYTHON} remote_test.py"),
    "provenance.sh": ("", "sh provenance.sh"),
    "test.c": ("gcc -Wall -Wextra -Werror -o test test.c", "./test"),
    "remote_test.c": ("gcc -Wall -Wextra -Werror -o remote_test remote_test.c", "./remote_test"),
}
SHIPPED = sorted(path.name for path in share.folder("modules").iterdir() if path.is_file())


@pytest.fixture
def work(tmp_path):
    work = tmp_path / "the work; of a job"
    work.mkdir()
    return work


@pytest.fixture
def run(tmp_path, work):
    """Runs one module; gives the input as it returns it and what it said."""

    def run(name, data=DATA, **environment):
        compilation, execution = LINES[name]
        step = Step(1, name, compilation, execution, str(share.folder("modules") / name))
        said = []

        def hear(_kind, **fields):
            said.append(fields["data"]["stderr"])

        env = {"JOBFERRY_WORK": str(work), **environment}
        result = modules.run_stage([step], data, str(tmp_path / "modules"), hear, environment=env, timeout=120)
        return result, said[0]

    return run


def test_every_module_is_tested():
    assert sorted(LINES) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_module_returns_an_input_that_it_need_not_change(name, run, work):
    (work / "result.txt").write_text("x")
    result, said = run(name)
    assert result == DATA
    assert said


@pytest.mark.parametrize("name", SHIPPED)
def test_a_module_takes_an_input_too_large_for_an_argument(name, run, work):
    (work / "result.txt").write_text("x")
    data = {**DATA, "kwargs": {"big": "x" * 300_000}}
    assert run(name, data)[0] == data


@pytest.mark.parametrize(
    "name", ["test.c", "remote_test.c", "remote_test.py", "output_check.py", "resource_estimator.py"]
)
def test_a_module_takes_its_input_as_an_argument_as_masi_tfe_gives_it(name, run, work, tmp_path):
    (work / "result.txt").write_text("x")
    run(name)
    line = LINES[name][1]
    environment = {**os.environ, "JOBFERRY_WORK": str(work)}
    done = subprocess.run(
        ["/bin/sh", "-c", line + ' "$@"', "sh", json.dumps(DATA)],
        cwd=tmp_path / "modules",
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == DATA


def estimate(run, numbers, **changes):
    return run("resource_estimator.py", {**DATA, "kwargs": {"estimate": numbers}, **changes})


def test_the_estimator_fills_in_what_is_missing(run):
    numbers = {"items": 12000, "seconds_per_item": 0.8, "processes": 4, "threads": 2, "memory": "3G", "safety": 1.5}
    result, said = estimate(run, numbers)
    assert result["resources"] == {
        "nbr_processes": 4,
        "nbr_threads_per_process": 2,
        "duration": "1h",
        "memory_per_thread": "2304M",
    }
    assert "duration: 1h" in said


def test_the_estimator_leaves_what_the_owner_said(run):
    numbers = {"items": 600, "seconds_per_item": 60, "memory": "1G"}
    owner = {"duration": "5m", "nbr_processes": 10, "nbr_jobs_in_array": 3}
    result, said = estimate(run, numbers, resources=owner)
    assert result["resources"] == {**owner, "memory_per_thread": "1536M"}
    assert "duration stays 5m (estimated: 30m)" in said


def test_the_estimator_knows_the_other_names(run):
    numbers = {"items": 600, "seconds_per_item": 60, "memory": "1G", "processes": 5}
    owner = {"walltime": "5m", "ranks": 10, "array": "1,5-9:2%2", "memory_per_node": "8G"}
    result, said = estimate(run, numbers, resources=owner)
    assert result["resources"] == owner
    assert "walltime stays 5m (estimated: 23m)" in said


def test_the_estimator_knows_days(run):
    assert estimate(run, {"items": 1, "seconds_per_item": 100000, "safety": 1})[0]["resources"] == {
        "duration": "1d3h47m"
    }
    assert estimate(run, {"items": 1, "seconds_per_item": 0.1})[0]["resources"] == {"duration": "1m"}


@pytest.mark.parametrize(
    ("numbers", "word"),
    [
        ({"items": 0, "seconds_per_item": 1}, "items must be a number above zero"),
        ({"items": 5}, "seconds_per_item must be"),
        ({"items": "5", "seconds_per_item": 1}, "items must be"),
        ({"memory": "lots"}, "memory must look like 3G"),
    ],
)
def test_the_estimator_refuses_what_it_cannot_use(run, numbers, word):
    with pytest.raises(JobferryError, match=word):
        estimate(run, numbers)


def test_the_check_of_the_output(run, work):
    (work / "plots").mkdir()
    (work / "plots" / "a.png").write_text("x")
    (work / "result.txt").write_text("x")
    data = {**DATA, "output": ["result.txt", "plots", "plots/*.png", "**/*.txt"]}
    result, said = run("output_check.py", data)
    assert result == data
    assert "all of the output is there" in said


@pytest.mark.parametrize("output", ["result.txt", ["result.txt"], ["other.txt", "*.dat"]])
def test_missing_output_is_named_with_what_is_there(run, work, output):
    (work / "resutl.txt").write_text("x")
    with pytest.raises(JobferryError) as caught:
        run("output_check.py", {**DATA, "output": output})
    assert "nothing matches" in str(caught.value)
    assert "there is: resutl.txt" in str(caught.value)


def test_empty_output_is_named(run, work):
    (work / "result.txt").write_text("")
    with pytest.raises(JobferryError, match="less than 1 bytes in result.txt"):
        run("output_check.py")
    (work / "result.txt").write_text("abc")
    with pytest.raises(JobferryError, match="less than 10 bytes"):
        run("output_check.py", {**DATA, "kwargs": {"output_check": {"minimum_bytes": 10}}})


def test_a_job_without_output_has_nothing_to_check(run):
    data = {key: value for key, value in DATA.items() if key != "output"}
    assert run("output_check.py", data)[0] == data


def test_the_record_of_provenance(run, work):
    (work / "job.sh").write_text("#!/bin/sh\n")
    run("provenance.sh", JOBFERRY_UUID="503d3f77", JOBFERRY_STAGE="ignored")
    record = (work / "provenance.txt").read_text()
    digest = hashlib.sha256(b"#!/bin/sh\n").hexdigest()
    assert f"{digest}  ./job.sh" in record
    assert "job          503d3f77" in record
    for word in ("stage        staging", "recorded     20", "user ", "host ", "system ", "input        sha256 "):
        assert word in record
    assert "revision" not in record
    assert [path.name for path in work.iterdir() if path.name.startswith(".prov")] == []


def test_the_revision_of_a_clone_is_recorded_without_credentials(run, work):
    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *words], cwd=work, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q")
    (work / "job.sh").write_text("x")
    git("add", "job.sh")
    git("commit", "-qm", "first")
    git("remote", "add", "origin", "https://user:geheim@example.org/a.git")
    run("provenance.sh")
    record = (work / "provenance.txt").read_text()
    assert f"revision     {git('rev-parse', 'HEAD')}" in record
    assert "remote       https://example.org/a.git" in record
    assert "geheim" not in record
    assert "changed" not in record
    (work / "job.sh").write_text("y")
    run("provenance.sh")
    assert "changed      yes" in (work / "provenance.txt").read_text()


def test_the_modules_in_the_documentation_work(tmp_path):
    text = (share.folder("modules").parent / "docs" / "modules.md").read_text(encoding="utf-8")
    python, shell = (text.split(f"```{word}\n")[1].split("```")[0] for word in ("python", "sh"))
    (tmp_path / "mine.py").write_text(python)
    (tmp_path / "mine.sh").write_text(shell)
    steps = [
        Step(1, "mine.py", "", f"{PYTHON} mine.py", str(tmp_path / "mine.py")),
        Step(2, "mine.sh", "", "sh mine.sh", str(tmp_path / "mine.sh")),
    ]
    assert modules.run_stage(steps, DATA, str(tmp_path / "run")) == {**DATA, "resources": {"duration": "2h"}}
