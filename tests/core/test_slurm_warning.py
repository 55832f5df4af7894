"""The warning before the end, as Slurm sends it: to the batch shell alone (`--signal=B:`)."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from helpers.agent_client import until
from project.core import jobspec, schedulers, script
from project.core.paths import JobPaths

UUID = "503d3f77-a21b-4e52-86c4-eec0f0cd9c16"
PAYLOAD = 'python3 -c \'import signal, sys, time; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(42)); open("ready", "w"); time.sleep(60)\''


def started(folder, execution, name="USR1"):
    """The job's script as the leader of a process group, as slurmstepd starts it; its paths."""
    paths = JobPaths(str(folder / "jobs"), UUID)
    for place in (paths.work, paths.log, paths.facts, paths.scripts):
        os.makedirs(place)
    data = {"destination_cluster": "c", "job": "x", "execution": execution}
    spec = jobspec.parse({**data, "resources": {"duration": "1h", "signal": name + "@5m"}})
    Path(paths.script).write_text(script.render(spec, {}, schedulers.get("slurm"), paths, UUID))
    env = {"PATH": os.environ["PATH"], "SLURM_JOB_ID": "7"}
    process = subprocess.Popen(["sh", paths.script], cwd=folder, env=env, start_new_session=True)
    until(lambda: (Path(paths.work) / "ready").exists(), "the payload runs")
    return process, paths


@pytest.mark.parametrize("execution", [[PAYLOAD], ["export A=1", PAYLOAD]])
def test_the_payload_hears_the_warning(tmp_path, execution):
    process, paths = started(tmp_path, execution)
    os.kill(process.pid, signal.SIGUSR1)
    assert process.wait(30) == 42
    assert Path(paths.ended(1)).read_text().startswith(f"exit_code 42\ncommand {len(execution)}\n")


def test_a_payload_may_go_on_after_it_and_hears_it_once(tmp_path):
    line = "trap 'echo warned' USR1; touch ready; while [ ! -e over ]; do sleep 0.1; done; exit 3"
    process, paths = started(tmp_path, [line])
    os.kill(process.pid, signal.SIGUSR1)
    until(lambda: Path(paths.stdout(1)).read_text() == "warned\n", "the warning")
    (Path(paths.work) / "over").touch()
    assert process.wait(30) == 3
    assert Path(paths.stdout(1)).read_text() == "warned\n"


@pytest.mark.parametrize("everybody", [False, True])
def test_the_end_itself_comes_through(tmp_path, everybody):
    """scancel sends SIGTERM to all processes of the job; a shell alone may get it too."""
    process, paths = started(tmp_path, ["touch ready", "for i in 1 2 3 4 5; do sleep 0.3; done", "touch never"])
    (os.killpg if everybody else os.kill)(process.pid, signal.SIGTERM)
    assert process.wait(30) == 143
    assert "signal TERM\n" in Path(paths.ended(1)).read_text()
    assert not (Path(paths.work) / "never").exists()
