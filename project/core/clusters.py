"""Cluster documents: checked, and in the one form that the rest of the program reads."""

from typing import Any, Dict, List

from project.core import schema
from project.core.errors import InputError, Problem
from project.core.jobspec import texts

DEFAULT_WORKDIR = "$HOME/.jobferry/jobs"


def problems(document: Any) -> List[Problem]:
    """Everything wrong with one cluster document."""
    return schema.problems(document, schema.load("cluster"))


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
