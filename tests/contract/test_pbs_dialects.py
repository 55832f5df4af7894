"""The contract suite of workload managers over both dialects of PBS; the table has PBS before its dialect is known."""

import importlib.util
import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from helpers.voices import Voice, captured, voice_of
from project.core import schedulers

_found = importlib.util.spec_from_file_location("suite", Path(__file__).parent / "test_scheduler_contract.py")
assert _found is not None
assert _found.loader is not None
suite = importlib.util.module_from_spec(_found)
_found.loader.exec_module(suite)
PBS = voice_of("pbs")


def job(native_id: str, **values: object) -> str:
    lines = [
        f"Job Id: {native_id}.srv",
        "    Job_Name = x",
        *(f"    {name} = {value}" for name, value in values.items()),
    ]
    return "\n".join(lines) + "\n\n"


def reads(text: str) -> Mapping[str, int]:
    found = {key: value for key, value in PBS.reads(text).items() if key == "seconds"}
    for name, word in (("memory_per_cpu", "pmem"), ("memory_per_node", "mem")):
        memory = re.search(rf"-l {word}=(\d+)kb", text)
        if memory:
            found[name] = int(memory.group(1)) * 1024
    return found


TORQUE = PBS._replace(
    queue=job("11", job_state="Q")
    + job("12", job_state="R")
    + job("13", job_state="H", Hold_Types="u")
    + job("14[]", job_state="Q")
    + job("14[2]", job_state="R")
    + captured("torque", "complete"),
    history=[],
    found=job("31", job_state="C", exit_status=0, Variable_List="PBS_O_HOME=/home/x,JOBFERRY_BATCH_NAME=job.1"),
    found_ids=["31"],
    rejected=(15037 & 255, "", "qsub: Job exceeds queue resource limits"),
    words="Job exceeds queue resource limits",
    away=(111, "", "qstat: cannot connect to server srv (errno=111) Connection refused"),
    gone=(153, "", "qdel: Unknown Job Id Error 5.srv\n"),
    facts=[captured("torque", "nodes"), captured("pbs", "server")],
    row=lambda word: job("9", job_state=word, exit_status=0, start_time="x"),
    reads=reads,
)
VOICES = {"pbspro": PBS, "torque": TORQUE}


def _cases() -> list[Callable[..., None]]:
    every = [
        test for name, test in vars(suite).items() if name.startswith("test_") and name != "test_its_variables_and_name"
    ]
    return [test for test in every if list(inspect.signature(test).parameters) == ["name"]]


@pytest.fixture(params=sorted(VOICES))
def dialect(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    found: str = request.param
    monkeypatch.setitem(schedulers.SCHEDULERS, "pbs", schedulers.get("pbs").in_dialect(found))

    def own_voice(_name: str) -> Voice:
        return VOICES[found]

    monkeypatch.setattr(suite, "voice_of", own_voice)
    return found


@pytest.mark.parametrize("case", _cases(), ids=lambda case: case.__name__)
def test_each_dialect_keeps_the_contract(dialect, case):
    assert schedulers.get("pbs").dialect == dialect
    case("pbs")


@pytest.mark.parametrize("asked", ["1K", "1025K", "4G", "1T"])
def test_the_memory_of_each_dialect(dialect, asked):
    suite.test_memory_is_right_at_the_edges("pbs", asked)


@pytest.mark.parametrize("asked", ["1s", "61s", "366d"])
def test_the_times_of_each_dialect(dialect, asked):
    suite.test_times_are_right_at_the_edges("pbs", asked)
