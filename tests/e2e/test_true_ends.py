"""How jobs really end on Slurm, seen through the whole product. What can run side by side is submitted first, then waited for.

What disturbs others happens on beta and is undone by the test that did it.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from helpers.inputs import write_input
from helpers.live import Bed, Cli, Cluster, eventually

HUNGRY = "python3 -c 'import time; x = bytearray(400 * 1024 * 1024); time.sleep(60)'"
SMALL = {"duration": "5m", "memory_per_thread": "50M"}
ARRAY = {**SMALL, "nbr_jobs_in_array": 3}
LONG = ["sleep 120"]
# The script of another author may claim another end than Slurm saw.
CLAIM = 'printf "exit_code 7\\n" > "$jobferry_folder/facts/ended.1"; trap - EXIT; exit 0'

# What runs side by side: keys of the input, on alpha if they do not say otherwise.
JOBS: dict[str, dict[str, Any]] = {
    "exit": {"execution": ["true", "sh -c 'exit 3'", "true"]},
    "srun": {"execution": ["srun sh -c 'exit 4'"]},
    "element": {"execution": ["exit $((SLURM_ARRAY_TASK_ID == 1 ? 5 : 0))"], "resources": ARRAY},
    "timeout": {"execution": LONG, "resources": {**SMALL, "duration": "1m"}},
    "memory": {"execution": [HUNGRY]},
    "memory-srun": {"execution": [f"srun {HUNGRY}"]},
    "scancel": {"execution": LONG},
    "scancel-root": {"execution": LONG},
    "scancel-element": {"execution": ["[ $SLURM_ARRAY_TASK_ID != 2 ] || sleep 120"], "resources": ARRAY},
    "requeue": {"execution": ['[ "$JOBFERRY_RUN" != 1 ] || sleep 120', "echo run $JOBFERRY_RUN"]},
    "held": {"execution": LONG, "scheduler_options": ["--partition=closed"]},
    "claim": {"execution": [CLAIM]},
    # On beta: one in `high` that needs both nodes has the first one requeued and the second one cancelled.
    "again": {
        "execution": ['[ "$JOBFERRY_RUN" != 1 ] || sleep 120'],
        "destination_cluster": "beta",
        "scheduler_options": ["--partition=low", "--nodelist=beta1"],
    },
    "gone": {
        "execution": LONG,
        "destination_cluster": "beta",
        "scheduler_options": ["--partition=kill", "--nodelist=beta2"],
    },
}
AWAITED = ("timeout", "scancel", "scancel-root", "requeue")

Submit = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def submit(cli: Cli, testbed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Submit]:
    """Submits a job that needs no files; the answer of `submit --json`. What still runs after the tests is cancelled."""
    answers: list[dict[str, Any]] = []

    def submit(name: str, **keys: Any) -> dict[str, Any]:
        folder = tmp_path_factory.mktemp("job")
        (folder / "nothing").write_text("")
        path = write_input(folder, testbed, name=name, job="nothing", **keys)
        answers.append(cli.json("submit", path))
        return answers[-1]

    yield submit
    for cluster in (testbed.alpha, testbed.beta):
        ids = [answer["native_id"] for answer in answers if answer["cluster"] == cluster.name]
        cluster.slurm(f"scancel {' '.join(ids)}", code=None)


@pytest.fixture(scope="module")
def ended(cli: Cli, testbed: Bed, submit: Submit) -> Callable[[str], dict[str, Any]]:
    """The document of one of JOBS at its end."""
    with ThreadPoolExecutor(4) as pool:
        answers = dict(zip(JOBS, pool.map(lambda name: submit(name, **JOBS[name]), JOBS), strict=True))
    alpha, beta = testbed.alpha, testbed.beta
    native = {name: answer["native_id"] for name, answer in answers.items()}
    for name in ("again", "gone"):
        runs(beta, native[name])
    beta.ssh("sbatch --partition=high --nodes=2 --exclusive --output=/dev/null --wrap 'sleep 1'")
    for name in AWAITED:
        runs(alpha, native[name])
    runs(alpha, f"{native['scancel-element']}_2")
    alpha.slurm(f"scontrol update jobid={native['timeout']} EndTime=now")
    alpha.slurm(
        f"scontrol requeue {native['requeue']}; scontrol hold {native['held']}; scancel {native['scancel-root']}"
    )
    alpha.ssh(f"scancel {native['scancel']} {native['scancel-element']}_2")
    return lambda name: cli.until(answers[name]["job_uuid"], seconds=90)


def runs(cluster: Cluster, native_id: str) -> None:
    """Wait until Slurm runs it, and its script has come to its commands."""
    eventually(lambda: "RUNNING" in cluster.slurm(f"squeue -h -o %T -j {native_id}"), f"{native_id} runs")


def end(document: dict[str, Any]) -> tuple[Any, Any, Any]:
    return document["state"], document["condition"], document["exit_code"]


def test_an_exit_code(ended):
    document = ended("exit")
    assert end(document) == ("FAILED", "exit_code", 3)
    assert document["job_status"]["State"] == ["FAILED"]
    assert document["job_status"]["ExitCode"] == ["3:0"]
    assert "`sh -c 'exit 3'`" in document["message"]


def test_an_exit_code_inside_srun(ended):
    assert end(ended("srun")) == ("FAILED", "exit_code", 4)


def test_the_exit_code_of_one_element(ended):
    document = ended("element")
    assert end(document) == ("FAILED", "exit_code", 5)
    assert document["job_status"]["State"] == ["COMPLETED", "FAILED", "COMPLETED"]
    assert document["job_status"]["ExitCode"] == ["0:0", "5:0", "0:0"]
    assert "1 of 3 elements failed" in document["message"]


@pytest.mark.parametrize("name", ["memory", "memory-srun"])
def test_out_of_memory(ended, name):
    document = ended(name)
    assert (document["state"], document["condition"]) == ("FAILED", "out_of_memory")


def test_a_native_scancel_by_the_owner(ended):
    document = ended("scancel")
    assert (document["state"], document["condition"]) == ("CANCELLED", "cancelled_by_user")
    assert document["job_status"]["State"][0].startswith("CANCELLED")


def test_a_native_scancel_by_an_administrator(ended):
    document = ended("scancel-root")
    assert (document["state"], document["condition"]) == ("CANCELLED", "cancelled_by_scheduler")


def test_a_native_scancel_of_one_element(ended):
    document = ended("scancel-element")
    assert (document["state"], document["condition"]) == ("CANCELLED", "cancelled_by_user")
    assert [word.split()[0] for word in document["job_status"]["State"]] == ["COMPLETED", "COMPLETED", "CANCELLED"]
    assert "1 of 3 elements cancelled" in document["message"]


def test_the_script_and_slurm_disagree(cli, ended):
    document = ended("claim")
    assert end(document) == ("FINISHED", "ok", 0)
    history = cli.run("history", document["job_uuid"]).out
    assert "exit code 7" in history
    assert "COMPLETED" in history


def test_held_by_an_administrator(cli, testbed, ended):
    jobs = cli.json("ls")["jobs"]
    uuid = next(job["job_uuid"] for job in jobs if job["name"] == "held")
    document = cli.until(uuid, "PAUSED")
    assert "JobHeldAdmin" in document["message"]
    testbed.alpha.slurm(f"scontrol release {document['native_id']}")
    cli.until(uuid, "QUEUED")
    eventually(
        lambda: cli.json("status", uuid)["job_status"].get("Reason") == ["PartitionDown"], "why it waits is told"
    )
    cli.run("cancel", uuid)
    assert end(cli.until(uuid))[:2] == ("CANCELLED", "cancelled_by_user")


def test_rejected_at_submission(cli, testbed, tmp_path):
    (tmp_path / "nothing").write_text("")
    options = ["--partition=nope"]
    path = write_input(tmp_path, testbed, name="rejected", job="nothing", scheduler_options=options)
    ran = cli.run("submit", path, code=3)
    assert "invalid partition specified: nope" in ran.err.lower()
    document = next(job for job in cli.json("ls")["jobs"] if job["name"] == "rejected")
    assert (document["state"], document["condition"]) == ("FAILED", "submission_rejected")
    assert "invalid partition specified: nope" in document["message"].lower()


def test_preempted_and_cancelled(ended):
    document = ended("gone")
    assert (document["state"], document["condition"]) == ("FAILED", "preempted")


def test_preempted_and_requeued(cli, ended):
    document = ended("again")
    assert (end(document), document["run"]) == (("FINISHED", "ok", 0), 2)
    states = [event.get("state") for event in cli.json("history", document["job_uuid"])["events"]]
    assert "QUEUED" in states[states.index("RUNNING") :]


@pytest.fixture
def beta2(testbed: Bed) -> Iterator[Callable[[str], None]]:
    """Sets the state of node beta2; it is idle again afterwards."""

    def become(word: str) -> None:
        # A node that is down may have come back by itself: then there is nothing to resume.
        testbed.beta.slurm(
            f"scontrol update nodename=beta2 state={word} reason=test", code=None if word == "resume" else 0
        )
        if word == "resume":
            idle = "sinfo -h -n beta2 -p batch -o %T"
            eventually(lambda: testbed.beta.slurm(idle).strip() == "idle", "beta2 is idle again")

    yield become
    become("resume")


def test_a_node_fails_and_another_is_drained(cli, testbed, submit, beta2):
    on_beta2 = {"destination_cluster": "beta", "execution": LONG}
    lost = submit("lost", **on_beta2, scheduler_options=["--nodelist=beta2", "--no-requeue"])
    runs(testbed.beta, lost["native_id"])
    beta2("down")
    document = cli.until(lost["job_uuid"])
    assert (document["state"], document["condition"]) == ("FAILED", "node_failure")
    beta2("resume")
    beta2("drain")
    on_beta2["execution"] = ["true"]
    waiting = submit("waiting", **on_beta2, scheduler_options=["--nodelist=beta2"])
    uuid = waiting["job_uuid"]
    eventually(
        lambda: "UnavailableNodes:beta2" in str(cli.json("status", uuid)["job_status"].get("Reason")),
        "the reason is told",
    )
    assert cli.json("status", uuid)["state"] == "QUEUED"
    beta2("resume")
    assert end(cli.until(uuid)) == ("FINISHED", "ok", 0)


def test_the_accounting_is_away(cli, testbed, submit):
    """squeue and the batch script still tell how jobs end; nothing is guessed, and the history says where it comes from."""
    testbed.bed.stop("slurmdbd")
    try:
        with ThreadPoolExecutor(2) as pool:
            lines = (["sleep 1"], ["sleep 1; exit 6"])
            fine, wrong = pool.map(
                lambda line: submit("unaccounted", execution=line, destination_cluster="beta"), lines
            )
        assert end(cli.until(fine["job_uuid"])) == ("FINISHED", "ok", 0)
        assert end(cli.until(wrong["job_uuid"])) == ("FAILED", "exit_code", 6)
        assert "accounting" in cli.run("history", wrong["job_uuid"]).out
    finally:
        testbed.bed.start("slurmdbd")


def test_the_controller_is_away_and_comes_back(cli, testbed, submit):
    line = "while [ ! -e go ]; do sleep 0.1; done; exit 2"
    job = submit("orphan", execution=[line], destination_cluster="beta")
    cli.until(job["job_uuid"], "RUNNING")
    testbed.beta.stop("slurmctld")
    try:
        folder = testbed.beta.here(job["job_directory"])
        (folder / "work" / "go").touch()
        eventually((folder / "facts" / "ended.1").exists, "the job has ended meanwhile")
        assert cli.json("status", job["job_uuid"])["state"] == "RUNNING"
    finally:
        testbed.beta.start("slurmctld")
    assert end(cli.until(job["job_uuid"], seconds=90)) == ("FAILED", "exit_code", 2)


FAILING_SQUEUE = """#!/bin/sh
n=$(cat ~/bin/count 2>/dev/null || echo 0)
echo $((n + 1)) > ~/bin/count
[ $((n % 3)) -ne 0 ] || { echo 'slurm_load_jobs error: Socket timed out on send/recv operation' >&2; exit 1; }
exec /usr/bin/squeue "$@"
"""
FAST_DATE = "#!/bin/sh\nexec /bin/date -d '+1 hour' \"$@\"\n"


@pytest.fixture
def odd_home(testbed: Bed) -> Iterator[Path]:
    """User asmith's home on beta, whose squeue fails every third time and whose clock is an hour fast."""
    home = testbed.beta.home("asmith")
    # An older watcher would go on with the squeue that it knows: it writes its process into its lock.
    lock = ".jobferry/watch.lock"
    free = f"test ! -e {lock} || flock -n {lock} true || {{ kill $(cat {lock}); false; }}; echo $?"
    eventually(lambda: testbed.beta.ssh(free, "asmith").strip() == "0", "no older watcher")
    for name, text in (("squeue", FAILING_SQUEUE), ("date", FAST_DATE)):
        testbed.beta.ssh(f"mkdir -p bin; cat > bin/{name} <<'X'\n{text}X\nchmod +x bin/{name}", "asmith")
    testbed.beta.ssh("echo 'PATH=$HOME/bin:$PATH' > .bashrc", "asmith")
    yield home
    testbed.beta.ssh("rm -r .bashrc bin", "asmith")


def test_a_queue_that_fails_now_and_then_and_a_clock_that_is_wrong(cli, submit, odd_home):
    job = submit("odd", username="asmith", destination_cluster="beta", execution=["sleep 3; exit 8"])
    assert end(cli.until(job["job_uuid"])) == ("FAILED", "exit_code", 8)
    assert int((odd_home / "bin" / "count").read_text()) >= 2


def test_requeued(cli, testbed, ended):
    document = ended("requeue")
    assert (end(document), document["run"]) == (("FINISHED", "ok", 0), 2)
    log = testbed.alpha.here(document["job_directory"]) / "log"
    assert (log / "stdout.1").read_text() == ""
    assert (log / "stdout.2").read_text() == "run 2\n"


def test_a_time_limit(ended):
    document = ended("timeout")
    assert end(document) == ("FAILED", "timeout", None)
    assert document["job_status"]["State"] == ["TIMEOUT"]
