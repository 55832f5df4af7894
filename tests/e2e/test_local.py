"""The built-in workload manager through the whole product: every end and every need that one machine can have."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.live import Cli, eventually
from helpers.processes import stop_retrier

HUNGRY = "python3 -c 'import time; x = bytearray(300 * 1024 * 1024); time.sleep(100)'"
WARNED = (
    "python3 -c 'import signal, sys, time; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(42)); time.sleep(100)'"
)
JOBS: dict[str, dict[str, Any]] = {
    "exit": {"execution": ["true", "exit 3", "true"]},
    "memory": {"execution": [HUNGRY], "resources": {"memory_per_node": "100M"}},
    "timeout": {"execution": ["sleep 100"], "resources": {"duration": "1s"}},
    "warned": {"execution": [WARNED], "resources": {"duration": "1h", "signal": "USR1@3595s"}},
    "array": {
        "execution": ["echo $JOBFERRY_INDEX", "[ $JOBFERRY_INDEX != 7 ] || exit 5"],
        "resources": {"array": "1,5-9:2%1", "ranks": 1, "priority": 5},
    },
}
Submit = Callable[..., str]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The command line of somebody who has only this machine."""
    cli = Cli(tmp_path_factory.mktemp("here"))
    yield cli
    cli.run("cancel", "--state", "LIVE", "--yes", code=None)
    stop_retrier(cli.folder / "data")


@pytest.fixture(scope="module")
def submit(here: Cli, tmp_path_factory: pytest.TempPathFactory) -> Submit:
    def submit(name: str, **keys: Any) -> str:
        folder = tmp_path_factory.mktemp("job")
        (folder / "nothing").write_text("")
        data = {"name": name, "destination_cluster": "local", "job": "nothing", **keys}
        (folder / "input.yml").write_text(json.dumps(data))
        return str(here.json("submit", folder / "input.yml")["job_uuid"])

    return submit


@pytest.fixture(scope="module")
def ended(here: Cli, submit: Submit) -> Callable[[str], dict[str, Any]]:
    uuids = {name: submit(name, **keys) for name, keys in JOBS.items()}
    return lambda name: here.until(uuids[name])


@pytest.mark.parametrize(
    ("name", "condition", "code"),
    [
        ("exit", "exit_code", 3),
        ("timeout", "timeout", 143),
        ("memory", "out_of_memory", 143),
        ("warned", "exit_code", 42),
    ],
)
def test_an_end(ended: Callable[[str], dict[str, Any]], name: str, condition: str, code: int) -> None:
    document = ended(name)
    assert (document["state"], document["condition"]) == ("FAILED", condition), document["message"]
    assert document["exit_code"] in (code, None)


def test_an_array_of_a_list_with_a_step_and_a_throttle(ended: Callable[[str], dict[str, Any]]) -> None:
    document = ended("array")
    assert (document["state"], document["exit_code"]) == ("FAILED", 5)
    assert "element 7" in document["message"]
    log = Path(document["job_directory"]) / "log"
    assert sorted(int(path.read_text()) for path in log.glob("stdout.1.*")) == [1, 5, 7, 9]


def test_hold_release_and_cancel_of_what_begins_later(here: Cli, submit: Submit) -> None:
    uuid = submit("later", execution=["true"], resources={"begin": "2099-01-31"})
    assert here.json("status", uuid)["state"] == "QUEUED"
    here.run("hold", uuid)
    here.until(uuid, "PAUSED")
    here.run("release", uuid)
    here.until(uuid, "QUEUED")
    here.run("cancel", uuid)
    document = here.until(uuid)
    assert (document["state"], document["condition"]) == ("CANCELLED", "cancelled_by_user")


def test_a_job_that_runs_is_cancelled_with_all_its_processes(here: Cli, submit: Submit, tmp_path: Path) -> None:
    uuid = submit("long", execution=[f"echo $$ > {tmp_path}/pid; sleep 600"])
    eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "it runs")
    here.run("cancel", uuid)
    assert here.until(uuid)["condition"] == "cancelled_by_user"
    pid = (tmp_path / "pid").read_text().strip()
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "its shell is gone")
