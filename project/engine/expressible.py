"""What a cluster's workload manager cannot do is told before anything is sent. The agent looks again: modules change jobs."""

from typing import Any

from project.core.errors import InputError, Problem, UserError
from project.core.jobspec import JobSpec
from project.core.resources import as_written
from project.spec.loader import Loaded


def check(loaded: Loaded, spec: JobSpec, cluster: dict[str, Any], data: dict[str, Any] | None = None) -> None:
    """Raises InputError with every need and option that the cluster's workload manager does not take.

    :param data: the input, when it is not what stands in the file any more: keys are named as they are written there.
    """
    found = problems(spec, cluster)
    if found:
        said = loaded.data if data is None else data
        error = InputError(loaded.placed(as_written(found, said.get("resources"))))
        error.condition = "submission_rejected"
        raise error


def problems(spec: JobSpec, cluster: dict[str, Any]) -> list[Problem]:
    """What of a job the cluster's workload manager cannot do. Raises UserError for a manager or dialect that there is not."""
    if not asks(spec):
        return []
    # Not imported by a job that asks for nothing: it costs a cold start.
    from project.core import arrays, schedulers
    from project.core.schedulers.base import refusals

    scheduler = schedulers.of_cluster(cluster)
    found = refusals(scheduler, spec) or arrays.problems(spec, scheduler, cluster)
    return found or scheduler.cluster_problems(spec, cluster)


def asks(spec: JobSpec) -> bool:
    """True for a job of which a workload manager may refuse something."""
    # A line that would be read as a header line; most managers read none there.
    texts = (*spec.execution, *spec.env.values())
    return bool(
        spec.resources.asked() or spec.scheduler_options or any("\n" in text or text.startswith("#") for text in texts)
    )


def reason(spec: JobSpec, cluster: dict[str, Any]) -> str:
    """Why a cluster cannot take the job, in a few words; "" when it can."""
    try:
        found = problems(spec, cluster)
    except UserError as error:
        return error.message
    return "; ".join(f"{problem.key} {problem.message.rstrip('.')}" for problem in found)
