"""Jobs on real Grid Engine behind real sshd, seen through the whole product. All are submitted first, then waited for."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from helpers.inputs import write_input
from helpers.live import Bed, Cli, Cluster, eventually

SMALL = {"duration": "5m", "memory_per_cpu": "500M"}
LONG = ["sleep 600"]
WAITS = {**SMALL, "queue": "closed.q"}
# One process alone stays below the limit on its address space; all together are above it, and Grid Engine kills the job.
HUNGRY = "python3 -c 'import os, time; [os.fork() for i in range(3)]; x = bytearray(60 * 1024 * 1024); time.sleep(60)'"
COUNTED = "touch on.$JOBFERRY_INDEX; ls on.* | wc -l; sleep 1.5; rm on.$JOBFERRY_INDEX"

# What runs side by side: keys of the input.
JOBS: dict[str, dict[str, Any]] = {
    "exit": {"execution": ["true", "sh -c 'exit 3'", "true"]},
    # Grid Engine would start a job again for ever that ends with 99, and leave one in its queue that ends with 100.
    "exit-99": {"execution": ["exit 99"]},
    "array": {
        "execution": [
            COUNTED,
            "echo $JOBFERRY_INDEX $SGE_TASK_ID > at.$JOBFERRY_INDEX",
            "[ $JOBFERRY_INDEX != 6 ] || exit 5",
        ],
        "resources": {**SMALL, "array": "0-9:3%2"},
    },
    "list": {"execution": ["echo $JOBFERRY_INDEX"], "resources": {**SMALL, "array": "2,7-8"}},
    # The site takes no array of more than 20 tasks.
    "large": {"execution": ["echo $JOBFERRY_INDEX of $JOBFERRY_ARRAY_SIZE"], "resources": {**SMALL, "array": "0-22"}},
    "timeout": {"execution": LONG, "resources": {**SMALL, "duration": "3s"}},
    "memory": {"execution": [HUNGRY], "resources": {**SMALL, "memory_per_cpu": "200M"}},
    "slots": {
        "execution": ["echo $NSLOTS $NHOSTS $PE $JOBFERRY_NODES"],
        "resources": {**SMALL, "nodes": 1, "ranks": 2, "threads_per_rank": 2},
    },
    "again": {
        "execution": ['[ "$JOBFERRY_RUN" != 1 ] || sleep 600', "echo run $JOBFERRY_RUN"],
        "resources": {**SMALL, "requeue": True},
    },
    "runs": {"execution": LONG},
    "qdel": {"execution": LONG},
    "waits": {"execution": LONG, "resources": WAITS},
    "held": {"execution": ["true"], "resources": {**SMALL, "begin": "2035-01-01"}},
}
Submit = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def sigma(testbed: Bed) -> Cluster:
    return Cluster("sigma", testbed.bed)


@pytest.fixture(scope="module")
def submit(cli: Cli, testbed: Bed, sigma: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Submit]:
    """Submits a job that needs no files; the answer of `submit --json`. What is left after the tests is deleted."""
    answers: list[dict[str, Any]] = []

    def submit(name: str, **keys: Any) -> dict[str, Any]:
        folder = tmp_path_factory.mktemp("job")
        (folder / "nothing").write_text("")
        keys = {"job": "nothing", "destination_cluster": "sigma", "resources": SMALL, **keys}
        answers.append(cli.json("submit", write_input(folder, testbed, name=name, **keys)))
        return answers[-1]

    yield submit
    ids = {one for answer in answers for one in answer["native_id"].split(",")}
    sigma.ssh(f"qdel {' '.join(sorted(ids))}", code=None)


@pytest.fixture(scope="module")
def jobs(submit: Submit, sigma: Cluster) -> dict[str, dict[str, Any]]:
    """The answers to the submission of JOBS, once those that must run do."""
    with ThreadPoolExecutor(4) as pool:
        answers = dict(zip(JOBS, pool.map(lambda name: submit(name, **JOBS[name]), JOBS), strict=True))
    for name in ("runs", "qdel", "again"):
        number = answers[name]["native_id"]
        eventually(
            lambda number=number: re.search(rf"^ +{number} .* r ", sigma.ssh("qstat"), re.MULTILINE), f"{name} runs"
        )
    sigma.ssh(f"qmod -rj {answers['again']['native_id']}")
    return answers


@pytest.fixture
def ended(cli: Cli, jobs: dict[str, dict[str, Any]]) -> Callable[[str], dict[str, Any]]:
    """The document of one of JOBS at its end."""
    return lambda name: cli.until(jobs[name]["job_uuid"])


def end(document: dict[str, Any]) -> tuple[Any, Any, Any]:
    return document["state"], document["condition"], document["exit_code"]


def output(sigma: Cluster, document: dict[str, Any], name: str = "stdout.1") -> str:
    return (sigma.here(document["job_directory"]) / "log" / name).read_text()


def test_one_yaml_becomes_a_finished_job_with_mail_and_output(cli, testbed, sigma, jobs, tmp_path, mail):
    assert jobs
    (tmp_path / "job.sh").write_text("#!/bin/sh\necho counted $1 on $(hostname) > result.txt\necho said\n")
    path = write_input(
        tmp_path,
        testbed,
        name="counting",
        destination_cluster="sigma",
        user_mail=mail,
        job="job.sh",
        execution=["sh job.sh 42"],
        output="result.txt",
        resources=SMALL,
    )
    uuid = cli.run("-u", path, cwd=tmp_path).last.rpartition(" ")[2]
    document = cli.until(uuid)
    assert end(document) == ("FINISHED", "ok", 0)
    assert document["job_status"]["NodeList"] == ["sigma"]
    assert document["job_status"]["JobID"] == [document["native_id"]]
    assert output(sigma, document) == "said\n"
    fetched = tmp_path / "fetched"
    cli.run("retrieve", uuid, "-o", fetched)
    assert (fetched / "result.txt").read_text() == "counted 42 on sigma\n"
    eventually(lambda: any("finished" in str(one["Subject"]) for one in testbed.mails(mail)), "the mail of its end")


def test_a_waiting_job_is_cancelled(cli, sigma, jobs):
    job = jobs["waits"]
    cli.until(job["job_uuid"], "QUEUED")
    cli.run("cancel", job["job_uuid"])
    assert end(cli.until(job["job_uuid"])) == ("CANCELLED", "cancelled_by_user", None)
    assert f" {job['native_id']} " not in sigma.ssh("qstat")


def test_a_running_job_is_cancelled(cli, sigma, jobs):
    job = jobs["runs"]
    cli.run("cancel", job["job_uuid"])
    assert end(cli.until(job["job_uuid"]))[:2] == ("CANCELLED", "cancelled_by_user")
    assert f" {job['native_id']} " not in sigma.ssh("qstat")


def test_a_native_qdel(sigma, jobs, ended):
    sigma.ssh(f"qdel {jobs['qdel']['native_id']}")
    assert end(ended("qdel"))[:2] == ("CANCELLED", "cancelled_by_scheduler")


def test_held_and_released(cli, sigma, jobs):
    uuid, number = jobs["held"]["job_uuid"], jobs["held"]["native_id"]
    cli.run("hold", uuid)
    assert "hqw" in cli.until(uuid, "PAUSED")["job_status"]["State"]
    cli.run("release", uuid)
    cli.until(uuid, "QUEUED")
    sigma.ssh(f"qalter -a 202001010000 {number}")
    assert end(cli.until(uuid)) == ("FINISHED", "ok", 0)


def test_an_exit_code(ended):
    document = ended("exit")
    assert end(document) == ("FAILED", "exit_code", 3)
    assert document["job_status"]["ExitCode"] == ["3:0"]
    assert "`sh -c 'exit 3'`" in document["message"]


def test_an_exit_code_that_grid_engine_would_act_on(cli, ended):
    document = ended("exit-99")
    assert (end(document), document["run"]) == (("FAILED", "exit_code", 99), 1)
    assert "but sge says" not in cli.run("history", document["job_uuid"]).out


def test_an_array_with_a_step_and_a_throttle_from_index_0(sigma, ended):
    document = ended("array")
    assert end(document) == ("FAILED", "exit_code", 5)
    assert "1 of 4 elements failed: element 6 " in document["message"]
    assert document["job_status"]["ExitCode"] == ["0:0", "0:0", "5:0", "0:0"]
    assert document["parts"] == [{"native_id": document["native_id"], "offset": -1, "span": "1-10:3"}]
    work = sigma.here(document["job_directory"]) / "work"
    indices = ("0", "3", "6", "9")
    assert [(work / f"at.{index}").read_text() for index in indices] == [f"{index} {index}\n" for index in indices]
    assert {int(output(sigma, document, f"stdout.1.{index}")) for index in indices} <= {1, 2}


def test_an_array_that_is_a_list_becomes_two(sigma, ended):
    document = ended("list")
    assert end(document) == ("FINISHED", "ok", 0)
    assert len(set(document["native_id"].split(","))) == len(document["parts"]) == 2
    assert [output(sigma, document, f"stdout.1.{index}") for index in (2, 7, 8)] == ["2\n", "7\n", "8\n"]


def test_an_array_above_the_sites_limit_looks_like_one_job(sigma, ended):
    document = ended("large")
    assert end(document) == ("FINISHED", "ok", 0)
    assert [(part["offset"], part["span"]) for part in document["parts"]] == [(-1, "1-20"), (19, "1-3")]
    assert document["job_status"]["State"] == ["finished"] * 23
    shown = [output(sigma, document, f"stdout.1.{index}") for index in (0, 19, 20, 22)]
    assert shown == [f"{index} of 23\n" for index in (0, 19, 20, 22)]


def test_several_slots(sigma, ended):
    document = ended("slots")
    assert end(document) == ("FINISHED", "ok", 0)
    assert output(sigma, document) == "4 1 smp 1\n"
    assert document["job_status"]["NCPUS"] == ["4"]


def test_rescheduled(sigma, ended):
    document = ended("again")
    assert (end(document), document["run"]) == (("FINISHED", "ok", 0), 2)
    assert (output(sigma, document), output(sigma, document, "stdout.2")) == ("", "run 2\n")


def test_out_of_memory(ended):
    document = ended("memory")
    assert (document["state"], document["condition"]) == ("FAILED", "out_of_memory")
    assert document["job_status"]["State"] == ["failed 37"]


def test_a_time_limit(ended):
    document = ended("timeout")
    assert (document["state"], document["condition"]) == ("FAILED", "timeout")


@pytest.mark.parametrize(
    ("resources", "code", "words"),
    [
        ({"queue": "nope"}, 3, 'unknown queue "nope"'),
        ({"ranks": 2, "distribution": "scattered"}, 2, "parallel_environment"),
        ({"nodes": 2}, 2, "resources.nodes"),
        ({"qos": "high"}, 2, "resources.qos"),
    ],
)
def test_rejected_at_submission(cli, testbed, tmp_path, resources, code, words):
    (tmp_path / "nothing").write_text("")
    keys = {"job": "nothing", "destination_cluster": "sigma", "resources": {**SMALL, **resources}}
    ran = cli.run("submit", write_input(tmp_path, testbed, name="rejected", **keys), code=code)
    assert words in " ".join(ran.err.split())


KILLING_QSUB = """#!/bin/sh
mv ~/bin/qsub ~/bin/qsub.used
/usr/bin/qsub "$@" > ~/bin/said
kill -9 $PPID
"""


@pytest.fixture
def killing_home(sigma: Cluster) -> Iterator[Path]:
    """User asmith's home on sigma, whose first qsub submits and then kills the agent that called it."""
    sigma.ssh(f"mkdir -p bin; cat > bin/qsub <<'X'\n{KILLING_QSUB}X\nchmod +x bin/qsub", "asmith")
    sigma.ssh("echo 'PATH=$HOME/bin:$PATH' > .bashrc", "asmith")
    yield sigma.home("asmith")
    sigma.ssh("rm -r .bashrc bin", "asmith")


def test_submitted_once_although_the_agent_was_killed(cli, testbed, sigma, killing_home, tmp_path: Path):
    (tmp_path / "nothing").write_text("")
    keys = {"username": "asmith", "job": "nothing", "destination_cluster": "sigma", "resources": SMALL}
    path = write_input(tmp_path, testbed, name="once", execution=["echo ran >> runs"], **keys)
    cli.run("submit", path, code=None)
    uuid = next(job["job_uuid"] for job in cli.json("ls")["jobs"] if job["name"] == "once")
    document = cli.until(uuid)
    assert end(document) == ("FINISHED", "ok", 0)
    said = (killing_home / "bin" / "said").read_text().strip()
    assert document["native_id"] == said
    assert len(re.findall(r"^jobnumber", sigma.ssh(f"qacct -j once.{uuid}"), re.MULTILINE)) == 1
    assert (sigma.here(document["job_directory"]) / "work" / "runs").read_text() == "ran\n"
