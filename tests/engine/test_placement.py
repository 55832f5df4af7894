"""The choice of a cluster: what decides, in which order, and that every rejected cluster says why."""

from project.core import jobspec
from project.engine import placement
from project.engine.placement import choose
from project.engine.probing import Probe

UP, DOWN = Probe(True), Probe(False, "refused the connection")


def cluster(name, kinds, idle=None, waiting=None, **more):
    status = {key: value for key, value in (("idle_nodes", idle), ("jobs_waiting", waiting)) if value is not None}
    return {"name": name, "workload_manager": "slurm", "preferred_jobs": kinds, "status": status, **more}


A = cluster("a", ["mpi", "serial"])


def test_the_chosen_one_if_it_answers():
    found = choose(A, [A, cluster("b", ["mpi"], 100)], {"a": UP, "b": UP}, "auto")
    assert found.chosen is A
    assert found.rejected == []


def test_the_best_peer_else():
    others = [
        cluster("unknown", ["mpi"]),
        cluster("busy", ["mpi"], 2, 50),
        cluster("idle", "serial", 9, 70),
        cluster("idle-too", ["mpi"], 9, 3),
        cluster("down", ["mpi"], 99),
        cluster("other", ["smp"], 99),
        cluster("strange", ["mpi"], 99, workload_manager="lsf-of-tomorrow"),
        cluster("forbidden", ["mpi"], 99, allowed=False),
    ]
    probes = {one["name"]: UP for one in others} | {"a": DOWN, "down": DOWN}
    found = choose(A, [A, *others], probes, "auto")
    assert found.chosen["name"] == "idle-too"
    reasons = {rejected.name: rejected.reason for rejected in found.rejected}
    assert reasons["a"] == reasons["down"] == "refused the connection"
    assert "workload manager" in reasons["strange"]
    assert "not allowed" in reasons["forbidden"]
    assert all("reachable, but idle-too" in reasons[name] for name in ("idle", "busy", "unknown"))
    assert "other" not in reasons
    asked = choose(A, [A, *others], probes, "ask")
    assert asked.chosen is None
    assert [peer.cluster["name"] for peer in asked.peers] == ["idle-too", "idle", "busy", "unknown"]
    assert "9 idle nodes" in asked.peers[0].reason


def test_never_takes_no_other():
    peer = cluster("b", ["mpi"], 9)
    found = choose(A, [A, peer], {"a": DOWN, "b": UP}, "never")
    assert found.chosen is None
    assert found.peers == []
    assert placement.candidates(A, [A, peer], "never") == [A]
    assert placement.candidates(A, [A, peer], "auto") == [A, peer]


def test_nobody_shares_its_kinds():
    lonely = cluster("lonely", [])
    found = choose(lonely, [lonely, A], {"lonely": DOWN, "a": UP}, "auto")
    assert found.chosen is None
    assert "preferred_jobs" in found.reason


def test_the_event_names_everything():
    peer = cluster("b", ["mpi"], 9)
    facts = choose(A, [A, peer], {"a": DOWN, "b": UP}, "auto").facts(asked=False)
    assert facts["chosen"] == "b"
    assert facts["rejected"] == [{"name": "a", "reason": "refused the connection"}]


def test_a_peer_that_cannot_do_what_the_job_needs_is_none():
    job = jobspec.parse({"destination_cluster": "a", "job": "x", "execution": "x", "resources": {"qos": "high"}})
    simple, able = cluster("simple", ["mpi"], 99, workload_manager="local"), cluster("able", ["mpi"], 1)
    found = choose(A, [A, simple, able], {"a": DOWN, "simple": UP, "able": UP}, "auto", job)
    assert found.chosen is able
    reasons = {rejected.name: rejected.reason for rejected in found.rejected}
    assert reasons["simple"] == "resources.qos cannot be expressed by the workload manager 'local'"
    array = jobspec.parse({"destination_cluster": "a", "job": "x", "execution": "x", "resources": {"array": "0-99%2"}})
    small = cluster("small", ["mpi"], 99, max_array_size=10)
    found = choose(A, [A, small], {"a": DOWN, "small": UP}, "auto", array)
    assert found.chosen is None
    assert "10 of them" in found.rejected[1].reason
