"""Every sample is submitted as its user would submit it, to this machine."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from project import spec
from project.core import jobspec, modules
from project.core.resources import Array, Resources
from project.spec import files, share

SAMPLES = share.folder("samples")
EVERY = sorted(path.relative_to(SAMPLES).as_posix() for path in SAMPLES.rglob("*.yml"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The samples, in a folder of their own beside an own home."""
    top = tmp_path_factory.mktemp("samples")
    shutil.copytree(SAMPLES, top / "samples")
    return top


@pytest.fixture(scope="module")
def jobferry(folder):
    """Runs the command line in the samples' folder; gives its JSON."""
    left_out = ("JOBFERRY_", "GIT_")
    env = {key: value for key, value in os.environ.items() if not key.startswith(left_out)}
    env["JOBFERRY_HOME"] = str(folder / "home")

    def run(*words):
        done = subprocess.run(
            [sys.executable, "-m", "project", *words, "--json", "--no-input"],
            cwd=folder / "samples",
            env={**env, "PYTHONPATH": str(SAMPLES.parent)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    return run


@pytest.fixture
def finished(jobferry, tmp_path):
    """Submits a sample, waits for its end, fetches its output; gives its document and the folder of the output."""

    def submit(*words):
        document = jobferry("submit", *words, "--wait")
        assert (document["state"], document["condition"]) == ("FINISHED", "ok"), document
        jobferry("retrieve", document["job_uuid"], "-o", str(tmp_path))
        return jobferry("status", document["job_uuid"]), tmp_path

    return submit


def test_the_samples_are_these():
    assert EVERY == [
        "array.yml",
        "clusters.yml",
        "compile.yml",
        "directory.yml",
        "git.yml",
        "hello.modules.yml",
        "hello.yml",
        "masi-tfe/modules_sample.yml",
        "masi-tfe/user_input_sample.yml",
        "script.yml",
    ]


@pytest.mark.parametrize("name", EVERY)
def test_a_sample_is_valid(name):
    path = SAMPLES / name
    load = {"input": spec.load_input, "modules": spec.load_modules, "clusters": spec.load_clusters}[files.sniff(path)]
    assert load(path)


def test_hello_with_modules_in_two_languages_around_it(finished, jobferry):
    document, output = finished("hello.yml", "-m", "hello.modules.yml")
    greeting = (output / "greeting.txt").read_text()
    assert greeting.startswith("Hello from jobferry\nI ran on ")
    assert "sha256" in greeting
    assert document["user_input"]["resources"] == {"duration": "1m"}
    history = json.dumps(jobferry("history", document["job_uuid"]))
    for module in ("resource_estimator.py", "remote_test.py", "provenance.sh", "output_check.py"):
        assert module in history


def test_hello_without_modules(finished):
    _, output = finished("hello.yml", "--set", "env.GREETING=Goedendag")
    assert (output / "greeting.txt").read_text().startswith("Goedendag\n")


def test_array(finished):
    _, output = finished("array.yml")
    squares = [line.split() for number in range(4) for line in (output / f"part.{number}.txt").read_text().splitlines()]
    assert [int(square) for _, square in squares] == [number * number for number in range(40)]


def test_directory(finished, folder):
    (folder / "samples" / "directory" / "data" / "left.tmp").write_text("stays here")
    _, output = finished("directory.yml")
    assert (output / "counts" / "words.txt").read_text() == "data/as you like it.txt: 13\ndata/hamlet.txt: 10\n"


def test_compile(finished):
    _, output = finished("compile.yml")
    assert (output / "pi.txt").read_text() == "3.1415926536\n"


def test_git(finished, tmp_path):
    bare = tmp_path / "a repository.git"
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]

    def git(*words):
        done = subprocess.run(["git", *identity, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q", "tree")
    git("-C", "tree", "commit", "-q", "--allow-empty", "-m", "first")
    revision = git("-C", "tree", "rev-parse", "HEAD")
    git("clone", "-q", "--bare", "tree", str(bare))
    _, output = finished("git.yml", "--set", f"job=file://{bare}")
    assert (output / "revision.txt").read_text().strip() == revision


def test_clusters(jobferry):
    jobferry("clusters", "import", "clusters.yml")
    shown = json.dumps(jobferry("clusters", "ls"))
    for name in ("lemaitre3", "nic4", "hercules", "dragon1", "local"):
        assert f'"{name}"' in shown


def test_masi_tfe_input_means_what_it_meant():
    job = jobspec.parse(spec.load_input(SAMPLES / "masi-tfe" / "user_input_sample.yml").data)
    assert job.resources == Resources(
        Array("0-14"), 95400, 4, 5, threads_per_rank=2, memory_per_cpu=2625 * 1024**2, distribution="distributed"
    )
    assert jobspec.job_kind(job.job) == "git"
    assert (job.compilation, job.execution, job.output) == (["gcc job.c"], ["srun ./job"], ["result.txt"])


@pytest.mark.parametrize("stage", ["staging", "preprocessing", "postprocessing"])
def test_masi_tfe_modules_run_unchanged(stage, tmp_path):
    data = spec.load_input(SAMPLES / "masi-tfe" / "user_input_sample.yml").data
    steps = spec.load_modules(SAMPLES / "masi-tfe" / "modules_sample.yml").stage(stage)
    assert len(steps) == 2
    assert modules.run_stage(steps, data, str(tmp_path), stage=stage) == data


def test_a_script_starts_its_ranks(finished):
    _, output = finished("script.yml")
    assert (output / "ranks.txt").read_text().strip() == os.uname().nodename
