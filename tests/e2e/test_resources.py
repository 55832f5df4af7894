"""Needs in the field's words on the real Slurm: what is asked arrives, and does what it says."""

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from helpers.inputs import write_input
from helpers.live import Bed, Cli, Cluster, eventually

SMALL = {"duration": "5m", "memory_per_cpu": "50M"}
TYPED = {
    "duration": "1h30m",
    "nodes": 2,
    "ranks_per_node": 3,
    "threads_per_rank": 2,
    "memory_per_node": "1G",
    "queue": "low",
    "account": "physics",
    "reservation": "week7",
    "exclusive": True,
    "begin": "2099-01-31T18:30",
    "priority": -50,
    "signal": "USR1@5m",
    "requeue": False,
}
# Ends with 42 when it is warned, with 1 when it is not.
WARNED = "python3 -c 'import signal, sys, time; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(42)); time.sleep(100); sys.exit(1)'"
WARNING = {**SMALL, "duration": "2m", "signal": "USR1@110s"}
HUNGRY = "python3 -c 'import time; x = bytearray(400 * 1024 * 1024); time.sleep(60)'"
INDEX = 'echo "$SLURM_ARRAY_TASK_ID $JOBFERRY_INDEX"'
JOBS: dict[str, dict[str, Any]] = {
    "warned": {"execution": [WARNED], "resources": WARNING},
    "warned-srun": {"execution": [f"srun {WARNED}"], "resources": WARNING},
    "memory": {"execution": [HUNGRY], "resources": {"duration": "5m", "memory_per_node": "60M"}},
    "array": {"execution": [INDEX, "sleep 2"], "resources": {**SMALL, "array": "1,5-9:2,20%2"}},
    "split": {"execution": [INDEX], "resources": {**SMALL, "array": "0-6,100%4"}, "destination_cluster": "small"},
    "asked": {
        "execution": [INDEX, "[ $JOBFERRY_INDEX != 40 ] || exit 4"],
        "resources": {**SMALL, "array": "0-44"},
        "destination_cluster": "beta",
    },
}
Submit = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def submit(cli: Cli, testbed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Submit]:
    """Submits a job that needs no files. What still runs after the tests is cancelled."""
    answers: list[dict[str, Any]] = []
    folder = tmp_path_factory.mktemp("inventory")
    small = {"name": "small", "hostname": "127.0.0.1", "port": testbed.alpha.port, "workload_manager": "slurm"}
    (folder / "small.yml").write_text(json.dumps([{**small, "partition": "batch", "max_array_size": 3}]))
    cli.run("clusters", "import", folder / "small.yml")

    def submit(name: str, code: int = 0, **keys: Any) -> dict[str, Any]:
        place = tmp_path_factory.mktemp("job")
        (place / "nothing").write_text("")
        path = write_input(place, testbed, name=name, job="nothing", **keys)
        answer = cli.json("submit", path, code=code)
        if code == 0:
            answers.append(answer)
        return answer

    yield submit
    for answer in answers:
        cluster = testbed.beta if answer["cluster"] == "beta" else testbed.alpha
        cluster.slurm(f"scancel {answer['native_id'].replace(',', ' ')}", code=None)


@pytest.fixture(scope="module")
def ended(cli: Cli, testbed: Bed, submit: Submit) -> Callable[[str], dict[str, Any]]:
    """The document of one of JOBS at its end."""
    with ThreadPoolExecutor(3) as pool:
        answers = dict(zip(JOBS, pool.map(lambda name: submit(name, **JOBS[name]), JOBS), strict=True))
    return lambda name: cli.until(answers[name]["job_uuid"], seconds=150)


@pytest.fixture
def reservation(testbed: Bed) -> Iterator[None]:
    testbed.alpha.slurm(
        "scontrol create reservation reservationname=week7 starttime=now duration=1 nodes=alpha4,alpha3 users=jdoe flags=overlap"
    )
    yield
    testbed.alpha.slurm("scontrol delete reservationname=week7", code=None)


def shown(cluster: Cluster, native_id: str) -> dict[str, str]:
    """What `scontrol show job` says."""
    text = cluster.slurm(f"scontrol show job {native_id}")
    return dict(re.findall(r"(\S+?)=(\S*)", text))


def test_what_is_asked_arrives(cli: Cli, testbed: Bed, submit: Submit, reservation: None) -> None:
    answer = submit("typed", resources=TYPED)
    found = shown(testbed.alpha, answer["native_id"])
    expected = {
        "TimeLimit": "01:30:00",
        "NumNodes": "2-2",
        "NtasksPerN:B:S:C": "3:0:*:*",
        "CPUs/Task": "2",
        "MinMemoryNode": "1G",
        "Partition": "low",
        "Reservation": "week7",
        "OverSubscribe": "NO",
        "EligibleTime": "2099-01-31T18:30:00",
        "Nice": "50",
        "Requeue": "0",
    }
    assert {key: found.get(key) for key in expected} == expected
    cli.run("cancel", answer["job_uuid"])
    assert cli.until(answer["job_uuid"])["condition"] == "cancelled_by_user"


@pytest.mark.parametrize(
    ("need", "hint"),
    [
        ({"constraint": "haswell"}, "resources.constraint"),
        ({"licenses": ["matlab:2"]}, "resources.licenses"),
        ({"gpus_per_node": 1}, "GPUs"),
        ({"queue": "nowhere"}, "resources.queue"),
        ({"priority": 50}, "resources.priority"),
    ],
)
def test_what_the_site_has_not_is_refused_in_its_words(
    cli: Cli, submit: Submit, need: dict[str, Any], hint: str
) -> None:
    answer = submit("refused", code=3, resources={**SMALL, **need})
    uuid = (
        answer["error"]["job_uuid"]
        if "job_uuid" in answer.get("error", {})
        else cli.json("ls", "--limit", "1")["jobs"][0]["job_uuid"]
    )
    document = cli.json("status", uuid)
    assert (document["state"], document["condition"]) == ("FAILED", "submission_rejected")
    assert hint in cli.run("history", uuid, "--json").out


def test_a_need_and_an_option_that_says_it_too_are_an_error(cli: Cli, submit: Submit) -> None:
    answer = submit("twice", code=2, resources={**SMALL, "queue": "low"}, scheduler_options=["-p high"])
    assert "resources.queue" in json.dumps(answer)


@pytest.mark.parametrize("name", ["warned", "warned-srun"])
def test_the_payload_is_warned_before_its_end(ended: Callable[[str], dict[str, Any]], name: str) -> None:
    document = ended(name)
    assert (document["state"], document["exit_code"]) == ("FAILED", 42), document["message"]


def test_memory_of_a_node_is_a_limit(ended: Callable[[str], dict[str, Any]]) -> None:
    assert ended("memory")["condition"] == "out_of_memory"


def printed(cli: Cli, cluster: Cluster, document: dict[str, Any]) -> dict[int, str]:
    """What each element printed, by its index."""
    log = cluster.here(document["job_directory"]) / "log"
    return {int(path.name.split(".")[2]): path.read_text().strip() for path in log.glob("stdout.1.*")}


def test_an_array_of_a_list_with_a_step_and_a_throttle(
    cli: Cli, testbed: Bed, ended: Callable[[str], dict[str, Any]]
) -> None:
    document = ended("array")
    assert document["state"] == "FINISHED"
    assert printed(cli, testbed.alpha, document) == {index: f"{index} {index}" for index in (1, 5, 7, 9, 20)}
    assert [name.rpartition("_")[2] for name in document["job_status"]["JobID"]] == ["1", "5", "7", "9", "20"]
    times = testbed.alpha.slurm(f"sacct -n -X -P -j {document['native_id']} -o Start,End").split()
    moments = sorted(moment for line in times for moment in ((line.split("|")[0], 1), (line.split("|")[1], -1)))
    running, most = 0, 0
    for _, change in sorted(moments):
        running += change
        most = max(most, running)
    assert most <= 2


def test_an_array_above_the_clusters_entry_is_split_and_is_one_job(
    cli: Cli, testbed: Bed, ended: Callable[[str], dict[str, Any]]
) -> None:
    document = ended("split")
    assert document["state"] == "FINISHED"
    assert [(part["offset"], part["span"]) for part in document["parts"]] == [
        (0, "0-2"),
        (3, "0-2"),
        (6, "0"),
        (100, "0"),
    ]
    assert document["native_id"] == ",".join(part["native_id"] for part in document["parts"])
    indices = (*range(7), 100)
    assert printed(cli, testbed.alpha, document) == {index: f"{index} {index}" for index in indices}
    assert len(document["job_status"]["JobID"]) == 8


def test_an_array_above_the_managers_own_limit_is_split(
    cli: Cli, testbed: Bed, ended: Callable[[str], dict[str, Any]]
) -> None:
    document = ended("asked")
    assert [(part["offset"], part["span"]) for part in document["parts"]] == [(0, "0-20"), (21, "0-20"), (42, "0-2")]
    assert (document["state"], document["exit_code"]) == ("FAILED", 4)
    assert document["message"].startswith("1 of 45 elements failed: element 40 ")
    assert len(printed(cli, testbed.beta, document)) == 45


def test_hold_release_and_cancel_mean_every_part(cli: Cli, testbed: Bed, submit: Submit) -> None:
    array = {**SMALL, "array": "0-8", "begin": "2099-01-31"}
    answer = submit("held", resources=array, destination_cluster="small")
    uuid, ids = answer["job_uuid"], answer["native_id"].split(",")
    assert len(ids) == 3

    def reasons() -> set[str]:
        return set(testbed.alpha.slurm(f"squeue -h -o %r -j {','.join(ids)}").split())

    cli.run("hold", uuid)
    assert cli.until(uuid, "PAUSED")
    assert reasons() == {"JobHeldUser"}
    cli.run("release", uuid)
    assert cli.until(uuid, "QUEUED")
    eventually(lambda: "JobHeldUser" not in reasons(), "released")
    cli.run("cancel", uuid)
    document = cli.until(uuid)
    assert (document["state"], document["condition"]) == ("CANCELLED", "cancelled_by_user")
    assert testbed.alpha.slurm(f"squeue -h -j {','.join(ids)} -t pending").strip() == ""


def test_a_plan_shows_what_would_be_asked(cli: Cli, testbed: Bed, tmp_path: Path) -> None:
    (tmp_path / "nothing").write_text("")
    path = write_input(tmp_path, testbed, job="nothing", resources={**TYPED, "begin": "2099-01-31T18:30Z"})
    script = cli.json("plan", path)["script"]
    for option in (
        "--mem=1024M",
        "--account=physics",
        "--signal=B:USR1@300",
        "--nice=50",
        "--no-requeue",
        "--begin=2099-01-31T",
        "--exclusive",
    ):
        assert f"#SBATCH {option}" in script
