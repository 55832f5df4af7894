"""What a cluster's workload manager cannot do is told before anything is sent. The agent looks again: modules change jobs."""

from typing import Any

from project.core.errors import InputError
from project.core.jobspec import JobSpec
from project.spec.loader import Loaded


def check(loaded: Loaded, spec: JobSpec, cluster: dict[str, Any]) -> None:
    """Raises InputError with every need and option that the cluster's workload manager does not take."""
    if not (spec.resources.asked() or spec.scheduler_options):
        return
    # Not imported by a job that asks for nothing: it costs a cold start.
    from project.core import schedulers
    from project.core.schedulers.base import refusals

    found = refusals(schedulers.of_cluster(cluster), spec)
    if found:
        raise InputError(loaded.placed(found))
