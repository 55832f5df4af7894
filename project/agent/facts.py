"""The op `facts`: the cluster's load, as the workload manager tells it."""

import time
from typing import TYPE_CHECKING, Any, Dict

from project.agent import managers, plans
from project.agent.runner import Runner

if TYPE_CHECKING:
    from project.agent.serve import Session

PATIENCE = 15.0


def facts(session: "Session", request: Dict[str, Any]) -> Dict[str, Any]:
    """Serve `facts`."""
    return {"status": status(session.runner, request.get("cluster") or {})}


def status(runner: Runner, cluster: Dict[str, Any]) -> Dict[str, Any]:
    """The load now, with the time. Raises ClusterError when the workload manager does not answer."""
    scheduler = managers.manager_of(runner, cluster)
    outs = [runner.run(argv, timeout=PATIENCE).text() for argv in scheduler.facts()]
    return dict(scheduler.parse_facts(outs), time=plans.stamp(time.time()))
