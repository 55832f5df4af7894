"""The table of workload managers. A new one is a module here, its line in `SCHEDULERS`, and captured outputs in tests."""

from typing import Dict

from project.core.errors import UserError
from project.core.schedulers.base import Scheduler
from project.core.schedulers.local import Local
from project.core.schedulers.slurm import Slurm
from project.core.words import did_you_mean

SCHEDULERS: Dict[str, Scheduler] = {scheduler.name: scheduler for scheduler in (Slurm(), Local())}


def get(name: str) -> Scheduler:
    """The scheduler called `name` (a cluster's `workload_manager`). Raises UserError for a name that is not in the table."""
    found = SCHEDULERS.get(name)
    if found is None:
        raise UserError(
            "there is no workload manager {!r}; there are {}.".format(name, ", ".join(sorted(SCHEDULERS))),
            hint=did_you_mean(name, SCHEDULERS),
        )
    return found
