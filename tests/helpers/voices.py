"""What a workload manager prints: the contract suite holds each one to its own voice (`tests/contract/voices/<manager>.py`)."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from project.core import jobspec, schedulers
from project.core.paths import JobPaths
from project.core.resources import Array, Resources, Signal
from project.core.schedulers import base
from project.core.schedulers.base import Scheduler

TESTS = Path(__file__).parent.parent
CAPTURES = TESTS / "captures"
VOICES = TESTS / "contract" / "voices"
UUID = "503d3f77-a21b-4e52-86c4-eec0f0cd9c16"

LIVE = frozenset((base.WAITING, base.HELD, base.RUNNING))
ENDS = frozenset(("ok", "exit_code", "timeout", "cancelled_by_user", "cancelled_by_scheduler", "node_failure"))
COUNTS = frozenset(
    ("nodes", "idle_nodes", "down_nodes", "cpus", "idle_cpus", "memory", "idle_memory", "jobs_running", "jobs_waiting")
)


def _nothing(_word: str) -> str:
    return ""


def _unread(_text: str) -> Mapping[str, int]:
    return {}


class Voice(NamedTuple):
    """What a manager prints, and how what is said to it is read back.

    `accepted`          the answer to a submission; `native_id` what it tells
    `rejected`, `away`  (exit status, stdout, stderr): it said no, with words after the last `failed: ` or all of stderr (`words`);
                        it did not answer
    `queue`, `history`  texts that hold every state of `live` and `ends` at least once, `history` a list of answers
    `found`             an answer to `find`, `found_ids` the ids in it of jobs of the name `found_name`
    `unknown`           a queue with one job in the state `ODD`
    `done`, `gone`      the answers to an act that was done, and to one on a job that is over
    `facts`             the answers to `facts()`; `counts` what they tell
    `row(word)`         a queue or a history with one job in the native state `word`: for each word of `Scheduler.states`
    `reads(text)`       field of Resources → number, from all that is said at a submission (directives, command, further
                        files) of one rank on one node: `seconds`, and bytes for `memory_per_cpu` and `memory_per_node`
    `empty`             what an empty queue, history and search print
    `element`           how element 4 of `array_id` stands in a command; both "" = as for Slurm
    `samples`           other values than SAMPLES for fields that this manager takes only some values of
    `cluster`           what a cluster's entry must say for all samples to be expressible
    `noisy`             False: nobody's greeting can stand in its answers (they come over a socket)
    """

    accepted: str
    native_id: str
    rejected: tuple[int, str, str]
    away: tuple[int, str, str]
    queue: str
    history: Sequence[str]
    found: str
    found_ids: Sequence[str]
    unknown: str
    done: tuple[int, str, str]
    gone: tuple[int, str, str]
    facts: Sequence[str]
    row: Callable[[str], str] = _nothing
    reads: Callable[[str], Mapping[str, int]] = _unread
    live: frozenset[str] = LIVE
    ends: frozenset[str] = ENDS
    counts: frozenset[str] = COUNTS
    words: str = ""
    found_name: str = ""
    empty: tuple[str, str, str] = ("", "", "")
    array_id: str = ""
    element: str = ""
    samples: Mapping[str, tuple[Mapping[str, Any], Any]] = {}
    cluster: Mapping[str, Any] = {}
    noisy: bool = True


# field → (what else is said, the value): said and not said must make a difference.
SAMPLES: dict[str, tuple[Mapping[str, Any], Any]] = {
    "array": ({}, Array("0-3")),
    "seconds": ({}, 3600),
    "nodes": ({}, 2),
    "ranks": ({}, 3),
    "ranks_per_node": ({"nodes": 1}, 2),
    "threads_per_rank": ({"ranks": 2}, 3),
    "memory_per_cpu": ({}, 3 * 2**30),
    "memory_per_node": ({}, 3 * 2**30),
    "gpus_per_node": ({}, 2),
    "gpus_per_rank": ({"ranks": 2}, 2),
    "gpu_type": ({"gpus_per_node": 1}, "a100"),
    "distribution": ({"ranks": 3}, "grouped"),
    "queue": ({}, "long"),
    "account": ({}, "physics"),
    "qos": ({}, "high"),
    "reservation": ({}, "week7"),
    "constraint": ({}, "haswell"),
    "exclusive": ({}, True),
    "licenses": ({}, ["matlab:2", "comsol"]),
    "begin": ({}, "2027-01-31T18:30:00"),
    "priority": ({}, 10),
    "signal": ({"seconds": 3600}, Signal("USR1", 300)),
    "requeue": ({}, True),
}


def captured(manager: str, *names: str) -> str:
    """Captured answers, one after the other."""
    return "".join((CAPTURES / manager / f"{name}.txt").read_text(encoding="utf-8") for name in names)


def voice_of(name: str) -> Voice:
    """The voice of a manager of the table."""
    path = VOICES / f"{name}.py"
    found = importlib.util.spec_from_file_location(f"voice_{name}", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    voice: Voice = module.VOICE
    return voice


def names() -> list[str]:
    """The managers of the table, by name."""
    return sorted(schedulers.SCHEDULERS)


def spec(resources: Resources | None = None, **data: Any) -> jobspec.JobSpec:
    """A small job with these resources."""
    made = jobspec.parse({"destination_cluster": "c", "job": "x", "execution": ["true"], **data})
    return made if resources is None else made._replace(resources=resources)


def said(manager: Scheduler, job: jobspec.JobSpec, **cluster: Any) -> str:
    """All that a manager is told at a submission: its lines in the batch script, the command, further files."""
    paths = JobPaths("/w", UUID)
    cluster = {**voice_of(manager.name).cluster, **cluster}
    lines = manager.directives(job, cluster, paths, UUID)
    argv = manager.submit(paths.script, job, cluster)
    return "\n".join([*lines, *argv, *manager.files(job, cluster, paths, UUID).values()])


def sample(voice: Voice, field: str) -> tuple[Resources, Resources]:
    """Resources without and with the field."""
    others, value = voice.samples.get(field, SAMPLES[field])
    without = Resources(**others)
    return without, without._replace(**{field: value})
