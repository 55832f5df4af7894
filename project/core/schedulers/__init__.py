"""The table of workload managers. A new one is a module here, its line in `SCHEDULERS`, and captured outputs in tests."""

from typing import Any, Dict, Mapping

from project.core.errors import UserError
from project.core.schedulers.at import At
from project.core.schedulers.base import Scheduler
from project.core.schedulers.flux import Flux
from project.core.schedulers.htcondor import Htcondor
from project.core.schedulers.local import Local
from project.core.schedulers.lsf import Lsf
from project.core.schedulers.pbs import Pbs
from project.core.schedulers.sge import Sge
from project.core.schedulers.slurm import Slurm
from project.core.words import did_you_mean

SCHEDULERS: Dict[str, Scheduler] = {
    scheduler.name: scheduler for scheduler in (Slurm(), Local(), At(), Pbs(), Lsf(), Sge(), Flux(), Htcondor())
}


def get(name: str) -> Scheduler:
    """The scheduler called `name` (a cluster's `workload_manager`). Raises UserError for a name that is not in the table."""
    found = SCHEDULERS.get(name)
    if found is None:
        raise UserError(
            "there is no workload manager {!r}; there are {}.".format(name, ", ".join(sorted(SCHEDULERS))),
            hint=did_you_mean(name, SCHEDULERS),
        )
    return found


def of_cluster(cluster: Mapping[str, Any]) -> Scheduler:
    """The scheduler of a cluster, in the dialect that the cluster names, if it names one. Raises UserError.

    On the cluster itself `agent.managers` finds the dialect out.
    """
    scheduler = get(str(cluster.get("workload_manager") or "slurm"))
    dialect = str(cluster.get("dialect") or "")
    if not dialect:
        return scheduler
    found = scheduler.in_dialect(dialect)
    if found.dialect != dialect:
        raise UserError(
            "the workload manager {} has no dialect {!r}.".format(scheduler.name, dialect),
            hint="Leave it out of the cluster: it is found out there.",
        )
    return found
