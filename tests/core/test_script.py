"""The batch script, really run by the shells of this machine, in folders with hostile names."""

import os
import shutil
import signal
import subprocess
import time

import pytest

from project.core import ends, jobspec, schedulers, script
from project.core.errors import UserError
from project.core.paths import JobPaths

UUID = "503d3f77-a21b-4e52-86c4-eec0f0cd9c16"
HOSTILE = ["plain", "a'; touch x #", 'two  "words" $HOME `id`', "line\nbreak", "élève-日本", "back\\slash %j", "-n * ?"]
# /bin/sh is dash on Debian and bash on many clusters: both must agree.
SHELLS = [["sh"], ["bash", "--posix"], ["bash"]]
DEADLINE = 30


class Job:
    def __init__(self, root, manager="slurm", cluster=None, **data):
        self.spec = jobspec.parse({"destination_cluster": "alpha", "job": "job.sh", "execution": ["true"], **data})
        self.paths = JobPaths(os.path.join(root, "jobs"), UUID)
        for folder in (self.paths.work, self.paths.log, self.paths.facts, self.paths.scripts):
            os.makedirs(folder)
        self.scheduler = schedulers.get(manager)
        self.bell = os.path.join(root, "bell")
        self.text = script.render(self.spec, cluster or {}, self.scheduler, self.paths, UUID, bell=self.bell)
        with open(self.paths.script, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(self.text)

    def start(self, shell, index=None, restarts=None, **env):
        env = {"PATH": os.environ["PATH"], **env}
        if index is not None:
            env[self.scheduler.array_index_variable] = str(index)
        if restarts is not None:
            env[self.scheduler.restart_variable] = str(restarts)
        return subprocess.Popen([*shell, self.paths.script], env=env, cwd="/", stdin=subprocess.DEVNULL)

    def run(self, shell=("sh",), **options):
        return self.start(list(shell), **options).wait(DEADLINE)

    def facts(self):
        texts = {}
        for name in os.listdir(self.paths.facts):
            with open(os.path.join(self.paths.facts, name), encoding="utf-8") as stream:
                texts[name] = stream.read()
        return ends.read_facts(texts)

    def stdout(self, run=1, index=None):
        with open(self.paths.stdout(run, index), encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()

    def rows(self):
        with open(self.paths.status_csv, encoding="utf-8") as stream:
            return [line.rstrip("\n").split(",") for line in stream]


def wait_for(condition):
    until = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_job_in_a_folder_with_any_name(tmp_path, name, shell):
    job = Job(str(tmp_path / name), execution=["pwd", "echo error >&2"], env={"TEXT": name})
    assert job.run(shell) == 0
    assert job.stdout() == job.paths.work + "\n"
    with open(job.paths.stderr(1), encoding="utf-8") as stream:
        assert stream.read() == "error\n"
    assert job.facts()[None]._replace(started_at="", ended_at="", node="") == ends.Fact(1, True, 0, 2)
    assert [row[1:] for row in job.rows()] == [["1", "active", "0"], ["1", "completed", "0"]]
    assert abs(int(job.rows()[0][0]) - time.time()) < 3600
    assert os.path.exists(job.bell)
    assert sorted(os.listdir(tmp_path)) == [name]
    assert sorted(os.listdir(job.paths.facts)) == ["ended.1", "started.1"]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_lines_share_one_shell(tmp_path, shell):
    job = Job(
        str(tmp_path),
        execution=["mkdir sub && cd sub", "X='a  b'; export Y=2", 'echo "$PWD|$X|$Y|$Z|$JOBFERRY_RUN|$JOBFERRY_JOB"'],
        env={"Z": "it's $HOME"},
    )
    assert job.run(shell) == 0
    assert job.stdout() == f"{job.paths.work}/sub|a  b|2|it's $HOME|1|{UUID}\n"


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize(
    ("execution", "code", "command"),
    [
        (["echo one", "(exit 3)", "echo never"], 3, 2),
        (["false && true", "echo never"], 1, 1),
        (["exit 7", "echo never"], 7, 1),
        (["exit 0", "echo never"], 0, 1),
        (["echo 'unclosed", "echo never"], 2, 1),
        (["if true", "echo never"], 2, 1),
        (["no-such-program-here", "echo never"], 127, 1),
        (["sh -c 'kill -9 $$'", "echo never"], 137, 1),
        (["set -eu", "false", "echo never"], 1, 2),
        (["PATH=/nowhere", "false_", "echo never"], 127, 2),
        (["for i in 1 2; do\n echo $i\ndone # end", "# a comment"], 0, 2),
        (["cat <<X\nhere\nX"], 0, 1),
        (["umask 077; exec 1>&2"], 0, 1),
    ],
)
def test_the_first_failure_ends_the_job_with_its_code(tmp_path, shell, execution, code, command):
    job = Job(str(tmp_path), execution=execution)
    assert job.run(shell) == code
    fact = job.facts()[None]
    assert (fact.exit_code, fact.command, fact.ended, fact.signal) == (code, command, True, "")
    assert "never" not in job.stdout()
    assert job.rows()[-1][1:] == ["1", "completed" if code == 0 else "failed", str(code)]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_elements_and_runs_have_files_of_their_own(tmp_path, shell):
    job = Job(str(tmp_path), execution=["echo $JOBFERRY_INDEX $JOBFERRY_RUN; exit $JOBFERRY_INDEX"])
    assert job.run(shell, index=0) == 0
    assert job.run(shell, index=4, restarts=2) == 4
    assert job.stdout(1, 0) == "0 1\n"
    assert job.stdout(3, 4) == "4 3\n"
    assert {index: (fact.run, fact.exit_code) for index, fact in job.facts().items()} == {0: (1, 0), 4: (3, 4)}
    assert [row[1:] for row in job.rows()][-1] == ["5", "failed", "4"]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize(("number", "name", "code"), [(signal.SIGTERM, "TERM", 143), (signal.SIGHUP, "HUP", 129)])
def test_a_signal_lets_the_program_tidy_up_and_is_recorded(tmp_path, shell, number, name, code):
    job = Job(
        str(tmp_path),
        execution=[
            "sh -c 'trap \"echo tidy; exit 0\" TERM HUP; echo $$ > ready; while :; do sleep 0.05; done'",
            "echo never",
        ],
    )
    process = job.start(shell)
    ready = os.path.join(job.paths.work, "ready")
    wait_for(lambda: os.path.exists(ready) and os.path.getsize(ready))
    process.send_signal(number)
    with open(ready, encoding="utf-8") as stream:
        os.kill(int(stream.read()), number)
    assert process.wait(DEADLINE) == code
    assert job.stdout() == "tidy\n"
    assert (job.facts()[None].exit_code, job.facts()[None].signal) == (code, name)


def test_a_warning_signal_ends_nothing_and_a_line_may_handle_it(tmp_path):
    job = Job(
        str(tmp_path),
        execution=["trap 'echo warned' USR1", "echo > ready; while [ ! -e go ]; do sleep 0.05; done", "echo on"],
    )
    process = job.start(["sh"])
    wait_for(lambda: os.path.exists(os.path.join(job.paths.work, "ready")))
    process.send_signal(signal.SIGUSR2)
    process.send_signal(signal.SIGUSR1)
    with open(os.path.join(job.paths.work, "go"), "w", encoding="utf-8"):
        pass
    assert process.wait(DEADLINE) == 0
    assert job.stdout() == "warned\non\n"


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_bookkeeping_that_fails_does_not_change_the_end(tmp_path, shell):
    job = Job(str(tmp_path), execution=["echo fine > result", "exit 5"])
    for folder in (job.paths.facts, job.paths.log):
        shutil.rmtree(folder)
    assert job.run(shell) == 5
    with open(os.path.join(job.paths.work, "result"), encoding="utf-8") as stream:
        assert stream.read() == "fine\n"


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_without_its_working_directory_nothing_runs(tmp_path, shell):
    job = Job(str(tmp_path), execution=["echo never"])
    shutil.rmtree(job.paths.work)
    assert job.run(shell) != 0
    assert job.stdout() == ""
    assert job.facts()[None].exit_code != 0
    assert job.facts()[None].command == 0


def test_profile_lines_run_first_and_a_failing_one_is_no_end(tmp_path):
    job = Job(str(tmp_path), cluster={"profile": ["export FROM_SITE=1", "false"]}, execution=["echo $FROM_SITE"])
    assert job.run() == 0
    assert job.stdout() == "1\n"


def test_the_local_managers_variables(tmp_path):
    job = Job(str(tmp_path), "local", execution=["echo $JOBFERRY_INDEX"])
    assert job.run(index=2, restarts=0) == 0
    assert job.stdout(1, 2) == "2\n"


@pytest.mark.parametrize("name", ["", "simple", "a'; touch x #", "é" * 300, "x" * 300, "..", "a,b\nc"])
def test_the_jobs_name_holds_the_uuid_and_nothing_odd(name):
    made = script.job_name(UUID, name)
    assert UUID in made
    assert len(made) <= 120
    assert made.isascii()
    assert not set(made) & set(" ,;'\"\n/%\\#$")


def test_what_cannot_stand_in_a_script_is_refused(tmp_path):
    spec = jobspec.JobSpec("alpha", "job.sh", ["true"], env={"A B": "1"})
    paths = JobPaths(str(tmp_path), UUID)
    with pytest.raises(UserError, match="'A B'"):
        script.render(spec, {}, schedulers.get("slurm"), paths, UUID)
    with pytest.raises(UserError, match="NUL"):
        script.render(spec._replace(env={}, execution=["echo \0"]), {}, schedulers.get("slurm"), paths, UUID)


def test_headers_come_before_the_first_command(tmp_path):
    for manager, word in (("slurm", "#SBATCH "), ("local", "#JOBFERRY ")):
        job = Job(str(tmp_path / manager), manager, resources={"nbr_jobs_in_array": 3})
        lines = job.text.splitlines()
        assert lines[0] == "#!/bin/sh"
        count = len([line for line in lines if line.startswith(word)])
        assert count >= 2
        assert all(line.startswith(word) for line in lines[1 : 1 + count])
