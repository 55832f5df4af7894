"""The clusters that can be named: the API's, and `local`, which needs no adding."""

import sys
from typing import TYPE_CHECKING, Any

from project.core.errors import UserError
from project.core.words import did_you_mean

if TYPE_CHECKING:
    from project.core.api_client import ApiClient

Cluster = dict[str, Any]
LOCAL = "local"


def is_here(cluster: Cluster) -> bool:
    """True for a cluster that is this machine, reached without a connection: the built-in one, or one that says so."""
    return cluster.get("transport") == LOCAL or is_built_in(cluster)


def is_built_in(cluster: Cluster) -> bool:
    """True for the cluster `local` that nobody has to add."""
    return cluster.get("name") == LOCAL and cluster.get("hostname") in {None, "", "localhost", LOCAL}


def local() -> Cluster:
    """The document of the built-in cluster."""
    return {"name": LOCAL, "hostname": "localhost", "workload_manager": "local", "preferred_jobs": [], "status": {}}


def python(cluster: Cluster) -> str:
    """The Python to try first there."""
    chosen = str(cluster.get("python") or "")
    return chosen or (sys.executable if is_here(cluster) else "")


def clusters(api: "ApiClient") -> list[Cluster]:
    """Every cluster, `local` among them. Raises ApiError."""
    found = api.clusters()
    if not any(cluster.get("name") == LOCAL for cluster in found):
        found.append(local())
    return found


def find(name: str, among: list[Cluster]) -> Cluster:
    """The cluster called `name`, or the one with that host name. Raises UserError with the nearest names."""
    for key in ("name", "hostname"):
        for cluster in among:
            if cluster.get(key) == name:
                return cluster
    names = [str(cluster.get("name")) for cluster in among]
    hint = did_you_mean(name, names) or f"Known clusters: {', '.join(sorted(names))}."
    raise UserError(f"There is no cluster called {name!r}.", hint)


def of_job(document: dict[str, Any], api: "ApiClient") -> Cluster:
    """The cluster on which a job is: as the inventory has it now, else as the job was submitted.

    Raises UserError when the job names none.
    """
    recorded = document.get("destination_cluster") or {}
    name = str(document.get("cluster") or recorded.get("name") or "")
    for cluster in clusters(api):
        if cluster.get("name") == name:
            # Where the job's files are was decided at its submission.
            return {**cluster, "workdir": recorded["workdir"]} if recorded.get("workdir") else cluster
    if recorded.get("name"):
        return dict(recorded)
    raise UserError(f"The cluster {name!r} of job {document.get('job_uuid')} is not in the inventory any more.")
