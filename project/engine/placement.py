"""Choice of a cluster. Pure: what was found out goes in, the decision and its reasons come out."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from project.core import schedulers
from project.core.jobspec import JobSpec
from project.engine import expressible
from project.engine.probing import Probe

ASK, AUTO, NEVER = "ask", "auto", "never"
POLICIES = (AUTO, ASK, NEVER)
Cluster = dict[str, Any]


class Rejected(NamedTuple):
    """A cluster that was not taken, and why."""

    name: str
    reason: str


class Candidate(NamedTuple):
    """A peer that could take the job; `reason` says what speaks for it."""

    cluster: Cluster
    reason: str


class Placement(NamedTuple):
    """`chosen` is None when nothing can be taken without asking; `peers` are then the proposals, best first."""

    chosen: Cluster | None
    peers: list[Candidate]
    rejected: list[Rejected]
    reason: str = ""

    def facts(self, asked: bool = False) -> dict[str, Any]:
        """The data of the `cluster` event."""
        return {
            "chosen": self.chosen["name"] if self.chosen else None,
            "reason": self.reason,
            "rejected": [rejected._asdict() for rejected in self.rejected],
            "asked": asked,
        }

    def announcement(self, wanted: Cluster) -> str:
        """What was chosen and why, in words; something was."""
        assert self.chosen is not None
        name = str(self.chosen["name"])
        if not self.rejected:
            return f"{name}: {self.reason}"
        first = self.rejected[0]
        return f"{wanted['name']} is not available ({first.reason}); {name} takes its place: {self.reason}."


def candidates(wanted: Cluster, clusters: Sequence[Cluster], policy: str) -> list[Cluster]:
    """Whom to probe: the chosen cluster, and the peers if one of them may take its place."""
    return [wanted] if policy == NEVER else [wanted, *peers(wanted, clusters)]


def peers(wanted: Cluster, clusters: Sequence[Cluster]) -> list[Cluster]:
    """The clusters that share one of the wanted one's `preferred_jobs`."""
    kinds = _kinds(wanted)
    return [other for other in clusters if other.get("name") != wanted.get("name") and kinds & _kinds(other)]


def choose(
    wanted: Cluster,
    clusters: Sequence[Cluster],
    probes: Mapping[str, Probe],
    policy: str,
    spec: JobSpec | None = None,
) -> Placement:
    """The wanted cluster if it answers; else its peers by rank: taken (`auto`), proposed (`ask`) or not (`never`).

    A peer whose workload manager cannot do what the job (`spec`) needs is none.
    """
    problem = _problem(wanted, probes)
    if not problem:
        return Placement(wanted, [], [], "the one that was asked for")
    rejected = [Rejected(str(wanted["name"]), problem)]
    if policy == NEVER:
        return Placement(None, [], rejected, "no other cluster may be taken (fallback: never)")
    fit: list[Cluster] = []
    for peer in peers(wanted, clusters):
        reason = _problem(peer, probes) or (expressible.reason(spec, peer) if spec else "")
        if reason:
            rejected.append(Rejected(str(peer["name"]), reason))
        else:
            fit.append(peer)
    ranked = sorted(fit, key=_rank)
    shared = {str(peer["name"]): sorted(_kinds(wanted) & _kinds(peer)) for peer in ranked}
    proposals = [Candidate(peer, _reason(peer, shared[str(peer["name"])])) for peer in ranked]
    if not proposals:
        kinds = ", ".join(sorted(_kinds(wanted))) or "none given"
        return Placement(None, [], rejected, f"no reachable cluster shares its preferred_jobs ({kinds})")
    if policy == ASK:
        return Placement(None, proposals, rejected, "")
    return take(Placement(None, proposals, rejected), proposals[0])


def take(placement: Placement, candidate: Candidate) -> Placement:
    """The placement with one of its proposals taken; the others are rejected as less good."""
    others = [
        Rejected(str(peer.cluster["name"]), f"reachable, but {candidate.cluster['name']} was taken")
        for peer in placement.peers
        if peer.cluster["name"] != candidate.cluster["name"]
    ]
    return Placement(candidate.cluster, [], placement.rejected + others, candidate.reason)


def _kinds(cluster: Cluster) -> set[str]:
    value = cluster.get("preferred_jobs") or []
    return {value} if isinstance(value, str) else set(value)


def _problem(cluster: Cluster, probes: Mapping[str, Probe]) -> str:
    manager = cluster.get("workload_manager")
    if manager not in schedulers.SCHEDULERS:
        return f"its workload manager {manager} is not supported yet"
    if cluster.get("allowed") is False:
        return "not allowed for this user"
    found = probes.get(str(cluster["name"]))
    if found is None:
        return "was not probed"
    return "" if found.reachable else found.reason or "unreachable"


def _rank(cluster: Cluster) -> tuple[int, float, float, str]:
    """Known load first, then more idle nodes, then fewer waiting jobs, then the name (so that the order is stable)."""
    idle, waiting = _number(cluster, "idle_nodes"), _number(cluster, "jobs_waiting")
    known = idle is not None or waiting is not None
    return (0 if known else 1, -(idle or 0.0), waiting or 0.0, str(cluster["name"]))


def _number(cluster: Cluster, key: str) -> float | None:
    value = (cluster.get("status") or {}).get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _reason(cluster: Cluster, shared: list[str]) -> str:
    parts = [f"good at {', '.join(shared)} too"]
    idle, waiting = _number(cluster, "idle_nodes"), _number(cluster, "jobs_waiting")
    if idle is not None:
        parts.append(f"{idle:g} idle nodes")
    if waiting is not None:
        parts.append(f"{waiting:g} waiting jobs")
    return ", ".join(parts)
