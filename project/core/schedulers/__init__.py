"""The table of workload managers. A new one is a module here, its line in `CLASSES`, and captured outputs in tests."""

import importlib
from typing import Any, Dict, Iterator, Mapping, MutableMapping

from project.core.errors import UserError
from project.core.schedulers.base import Scheduler
from project.core.words import did_you_mean

# Name, which is that of its module here, and its class.
CLASSES = {
    "slurm": "Slurm",
    "local": "Local",
    "at": "At",
    "pbs": "Pbs",
    "lsf": "Lsf",
    "sge": "Sge",
    "flux": "Flux",
    "htcondor": "Htcondor",
}


class _Table(MutableMapping[str, Scheduler]):
    """The workload managers by name. One is imported when it is asked for: a cold start pays for its own alone."""

    def __init__(self) -> None:
        self._made: Dict[str, Scheduler] = {}
        self._names = dict(CLASSES)

    def __getitem__(self, name: str) -> Scheduler:
        if name not in self._made:
            made = self._names[name]
            self._made[name] = getattr(importlib.import_module("project.core.schedulers." + name), made)()
        return self._made[name]

    def __setitem__(self, name: str, scheduler: Scheduler) -> None:
        self._names[name] = type(scheduler).__name__
        self._made[name] = scheduler

    def __delitem__(self, name: str) -> None:
        del self._names[name]
        self._made.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


SCHEDULERS = _Table()


def get(name: str) -> Scheduler:
    """The scheduler called `name` (a cluster's `workload_manager`). Raises UserError for a name that is not in the table."""
    if name not in SCHEDULERS:
        raise UserError(
            "there is no workload manager {!r}; there are {}.".format(name, ", ".join(sorted(SCHEDULERS))),
            hint=did_you_mean(name, SCHEDULERS),
        )
    return SCHEDULERS[name]


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
