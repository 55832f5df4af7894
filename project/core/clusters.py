"""Cluster documents: checked, and in the one form that the rest of the program reads."""

import shlex
from typing import Any, Dict, List

from project.core import schema
from project.core.errors import InputError, Problem
from project.core.jobspec import texts

DEFAULT_WORKDIR = "$HOME/.jobferry/jobs"


def problems(document: Any) -> List[Problem]:
    """Everything wrong with one cluster document."""
    found = schema.problems(document, schema.load("cluster"))
    return found or meaning(document)


def meaning(document: Dict[str, Any]) -> List[Problem]:
    """What the schema cannot say of a document that it has nothing against."""
    # All workload managers are looked at only where a cluster is checked: they cost a cold start.
    from project.core import profiles, schedulers

    found = profiles.problems(document, schedulers.SCHEDULERS.get(str(document.get("workload_manager"))))
    launcher = document.get("launcher")
    try:
        words = shlex.split(launcher) if launcher is not None else ["none"]
    except ValueError:
        return [*found, Problem("launcher", "has a quote that is not closed.", launcher)]
    return found if words else [*found, Problem("launcher", "is empty.", launcher, "Write none for no launcher.")]


def normalise(document: Dict[str, Any]) -> Dict[str, Any]:
    """The document with its defaults: `port` 22, `preferred_jobs` a list, `partition` a text, `status` there; no `_id`.

    Raises InputError with every problem.
    """
    found = problems(document)
    if found:
        raise InputError(found, "cluster")
    result = {key: value for key, value in document.items() if key != "_id"}
    result["port"] = int(document.get("port", 22))
    result["preferred_jobs"] = texts(document.get("preferred_jobs"))
    result["partition"] = document.get("partition") or ""
    result["status"] = dict(document.get("status") or {})
    return result
