"""Which workload manager a cluster has, in the dialect that is spoken here.

Where it has dialects (PBS: PBS Pro and Torque) and the cluster does not name one, it is asked once, and the answer is kept
in the root (`dialect.<manager>`). `doctor` asks again.
"""

import os
from typing import Any, Mapping

from project.agent.runner import Runner
from project.core import files, schedulers
from project.core.errors import ClusterError
from project.core.schedulers.base import Scheduler

PATIENCE = 30.0


def key_of(cluster: Mapping[str, Any]) -> str:
    """One word for a cluster's workload manager, for `by_key`: jobs with the same one are asked about together."""
    name, dialect = str(cluster.get("workload_manager") or "slurm"), str(cluster.get("dialect") or "")
    return "{}/{}".format(name, dialect) if dialect else name


def by_key(runner: Runner, key: str) -> Scheduler:
    """The scheduler of `key_of`. Raises as `manager_of`."""
    name, _, dialect = key.partition("/")
    return manager_of(runner, {"workload_manager": name, "dialect": dialect})


def manager_of(runner: Runner, cluster: Mapping[str, Any], again: bool = False) -> Scheduler:
    """The scheduler of a cluster, in its dialect.

    :param again: ask for the dialect even if it is known.

    Raises UserError for a name that is none; ClusterError, transient when the workload manager does not answer.
    """
    scheduler = schedulers.of_cluster(cluster)
    command = scheduler.dialect_command()
    if not command:
        return scheduler
    place = os.path.join(runner.root, "dialect." + scheduler.name)
    known = (files.read_text(place) or "").strip()
    if known and not again:
        return scheduler.in_dialect(known)
    done = runner.run(command, timeout=PATIENCE)
    said = done.text() + done.errors()
    found = scheduler.in_dialect(said)
    if not found.dialect:
        text = "{} does not tell which {} it is: {}".format(
            command[0], scheduler.name, " ".join(said.split()) or "nothing"
        )
        raise ClusterError(text, "Set the cluster's dialect.", transient=True, condition="submission_rejected")
    if found.dialect != known:
        files.write_atomic(place, found.dialect + "\n")
    return found
