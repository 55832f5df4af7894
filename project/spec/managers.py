"""Writes docs/workload-managers.md from the table of workload managers; `project.spec.reference` calls it.

A test fails when the file is not what this writes.
"""

from __future__ import annotations

from pathlib import Path

from project.core import schedulers, schema
from project.core.resources import KEYS, Resources
from project.core.schedulers import base
from project.core.schedulers.base import Scheduler

TARGET = Path(__file__).resolve().parent.parent.parent / "docs" / "workload-managers.md"
# A manager with more native states than this has letters for queues, or combines them; its module tells.
MOST_STATES = 40

_HEAD = """\
# Workload managers

*Written from `project/core/schedulers/` by `python -m project.spec.reference`; change it there.*

The key `workload_manager` of a cluster is one of these. Nothing of a job is dropped in silence: a need that the manager cannot express is
an error that names it, before anything is sent, and a cluster whose manager cannot express the job is not chosen in place of another.
"""
_NEEDS = """
## What each can be told

The keys of `resources`. What has no key is said by `scheduler_options`, verbatim; one that says what a key says too is an error.
A "yes" may have bounds (`local` is one node): a value beyond them is an error that names it, too.
"""
_BOUNDS = """
Slurm refuses two values besides: a warning by `INT` or `QUIT`, which commands started by a batch script do not hear, and more nodes than
ranks, of which it would give fewer. A default of the login (`SBATCH_ACCOUNT`, …) holds for what the job does not say, and for nothing else.
"""
_STATES = """
## Native states

Each manager's own words stay visible in `job_status`. A word that is not listed is unknown: it is kept, and says nothing about the job.
The end of a job is told by more than its word where the manager tells more (exit code, signal, reason).
"""
# What the table of states says for people.
_MEANS = {
    base.WAITING: "waits",
    base.HELD: "held",
    base.RUNNING: "runs",
    base.DONE: "ended",
    base.UNKNOWN: "unknown",
}


def render() -> str:
    """The text of docs/workload-managers.md."""
    spoken = _spoken()
    return "".join(
        [_HEAD, _managers(spoken), _NEEDS, _needs(spoken), _BOUNDS, _STATES, *(_states(one) for one in spoken)]
    )


def _spoken() -> list[Scheduler]:
    """Every manager in each of its dialects, in the order of the table."""
    words = schema.load("cluster")["properties"]["dialect"]["enum"]
    found: list[Scheduler] = []
    for scheduler in schedulers.SCHEDULERS.values():
        dialects = [one for one in map(scheduler.in_dialect, words) if one.dialect]
        found += dialects or [scheduler]
    return found


def _title(scheduler: Scheduler) -> str:
    return f"{scheduler.name} ({scheduler.dialect})" if scheduler.dialect else scheduler.name


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def _managers(spoken: list[Scheduler]) -> str:
    rows = []
    for one in spoken:
        program = "built in" if one.program == base.LOCAL else f"`{one.program}`"
        launcher = f"`{one.launcher}`" if one.launcher else "none"
        ends = "the manager" if one.keeps_history else "the batch script"
        rows.append([f"`{_title(one)}`", program, launcher, ends])
    return _table(
        ["workload manager", "submits by", "launcher unless another is named", "told how jobs ended by"], rows
    )


def _needs(spoken: list[Scheduler]) -> str:
    rows = []
    for name in Resources._fields:
        rows.append([f"`{KEYS.get(name, name)}`", *("yes" if name in one.expresses else "–" for one in spoken)])
    return _table(["key", *(_title(one) for one in spoken)], rows)


def _states(scheduler: Scheduler) -> str:
    if len(scheduler.states) > MOST_STATES:
        text = f"{len(scheduler.states)} words of one letter or several, listed in `project/core/schedulers/{scheduler.name}*.py`."
        return f"\n### {_title(scheduler)}\n\n{text}\n"
    rows = [
        [f"`{word}`", _MEANS[state] + (f": {condition}" if condition else "")]
        for word, (state, condition) in scheduler.states.items()
    ]
    return f"\n### {_title(scheduler)}\n" + _table(["word", "means"], rows)
