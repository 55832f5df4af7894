"""Flux: how a job's shape becomes slots, and what its words mean (tests/captures/flux/SOURCES.md)."""

import pytest

from helpers.voices import UUID, captured, spec
from project.core import schedulers
from project.core.errors import ClusterError
from project.core.paths import JobPaths
from project.core.resources import Resources, Signal
from project.core.schedulers import base
from project.core.schedulers.base import SEPARATOR

FLUX = schedulers.get("flux")


def options(resources=None, **cluster):
    lines = FLUX.directives(spec(resources or Resources()), cluster, JobPaths("/w", UUID), UUID)
    assert all(line.startswith("#flux: ") for line in lines)
    return [line[len("#flux: ") :] for line in lines][1:]


def refused(resources=None, options=()):
    job = spec(resources or Resources())._replace(scheduler_options=list(options))
    return [problem.key for problem in base.refusals(FLUX, job)]


@pytest.mark.parametrize(
    ("resources", "shape"),
    [
        (Resources(), ["--nslots=1"]),
        (Resources(ranks=6), ["--nslots=6"]),
        (Resources(nodes=2), ["--nslots=2", "--nodes=2"]),
        (Resources(nodes=2, ranks_per_node=4), ["--nslots=8", "--nodes=2"]),
        (Resources(ranks=7, ranks_per_node=4), ["--nslots=7", "--nodes=2"]),
        (Resources(ranks=4, distribution="grouped"), ["--nslots=4", "--nodes=1"]),
        (Resources(ranks=4, distribution="scattered"), ["--nslots=4", "--nodes=4"]),
        (Resources(ranks=4, nodes=2, distribution="distributed"), ["--nslots=4", "--nodes=2"]),
        (Resources(threads_per_rank=8), ["--nslots=1", "--cores-per-slot=8"]),
        (Resources(gpus_per_node=2), ["--nslots=1", "--nodes=1", "--gpus-per-slot=2"]),
        (Resources(nodes=2, ranks_per_node=2, gpus_per_node=4), ["--nslots=4", "--nodes=2", "--gpus-per-slot=2"]),
        (Resources(ranks=3, gpus_per_rank=1), ["--nslots=3", "--gpus-per-slot=1"]),
        (Resources(exclusive=True), ["--nslots=1", "--nodes=1", "--exclusive"]),
    ],
)
def test_a_shape_is_slots(resources, shape):
    assert options(resources) == shape
    assert refused(resources) == []


def test_what_flux_cannot_share_out_or_do_is_refused():
    assert refused(Resources(ranks=4, gpus_per_node=2)) == ["resources.gpus_per_node"]
    assert refused(Resources(nodes=1, ranks=4, gpus_per_node=2)) == ["resources.gpus_per_node"]
    # src/bindings/python/flux/job/Jobspec.py: "node count must not be greater than task count"
    assert refused(Resources(ranks=1, nodes=2)) == ["resources.nodes"]
    assert refused(Resources(priority=0)) == ["resources.priority"]
    assert refused(Resources(priority=32)) == ["resources.priority"]
    assert refused(Resources(memory_per_node=2**30, qos="x")) == ["resources.memory_per_node", "resources.qos"]


def test_a_line_that_flux_would_take_for_a_directive_is_refused():
    def refused_lines(*lines, **env):
        job = spec(env=env)._replace(execution=list(lines))
        return [problem.key for problem in base.refusals(FLUX, job)]

    assert refused_lines("cat > x <<E\n# flux: -N4\nE") == ["execution[0]"]
    assert refused_lines("true", X="a\nFLUX: b") == ["env.X"]
    assert refused_lines("# flux: -N4", "echo a; flux: b\n conflux: c") == []


def test_the_other_needs():
    resources = Resources(
        seconds=90, queue="batch", account='1"x', constraint="hw|big", begin="2031-01-31T18:30", priority=20, signal=Signal("USR1", 60)
    )  # fmt: skip
    assert options(resources, partition="debug") == [
        "--queue=batch",
        "--nslots=1",
        "--time-limit=90s",
        '\'--setattr=system.bank="1\\"x"\'',
        "'--requires=hw|big'",
        "'--begin-time=2031-01-31 18:30:00'",
        "--urgency=20",
        "--signal=SIGUSR1@60s",
    ]


def test_options_of_the_users():
    assert refused(options=["--setattr=system.x=1", "-N 2", "--requires=big"]) == []
    assert refused(Resources(nodes=2), ["-N2"]) == ["scheduler_options[0]"]
    assert refused(Resources(seconds=9), ["-t 10m"]) == ["scheduler_options[0]"]
    for option in ("--setattr=system.bank=b", "-S bank=b", "--bank=b"):
        assert refused(Resources(account="a"), [option]) == ["scheduler_options[0]"], option
    for option in ("--quiet", "--help", "-h"):
        assert refused(options=[option]) == ["scheduler_options[0]"], option
    for option in ("--job-name=x", "--output=x", "--cwd=/", "--wrap", "--dry-run", "-N 2 # x", "N2", "--", "--wa"):
        assert refused(options=[option]) == ["scheduler_options[0]"], option


def row(**fields):
    names = ("id", "state", "result", "code", "urgency", "nnodes", "ntasks", "nodes", "time", "kind", "name", "note")
    return "".join(fields.get(name, "") + SEPARATOR for name in names) + "\n"


def test_documented_return_codes():
    """A death by signal is negative, and -128 is no exit code."""
    rows = [line.split() for line in captured("flux", "returncodes").splitlines()[1:]]
    results = {"0": "COMPLETED", "1": "FAILED", "-128": "CANCELED"}
    text = "".join(row(id=one, state="INACTIVE", result=results[code], code=code) for one, code in rows)
    text += row(id="f9", state="INACTIVE", result="FAILED", code="-11")
    assert [one.exit_code for one in FLUX.parse_history(text)] == [None, 1, 1, 0, 0, 139]


def test_an_id_in_either_spelling_is_one():
    assert FLUX.submitted(0, "ƒ2SLdmS4F\n", "") == FLUX.submitted(0, "f2SLdmS4F\n", "") == "f2SLdmS4F"


def test_a_purged_id_among_others_is_an_answer():
    """src/bindings/python/flux/job/list.py, get_jobs; when all are unknown the exit code is 1 (src/cmd/flux-jobs.py)."""
    text = row(id="f9", state="RUN")
    assert FLUX.parse_history(text, 0, "JobID f8 unknown\n")
    assert FLUX.parse_history("", 1, "JobID f8 unknown\n") == []
    with pytest.raises(ClusterError):
        FLUX.parse_history(text, 1, "flux-jobs: ERROR: Unable to connect to Flux: broker socket was not found")


def test_why_a_job_was_denied_is_told():
    [one] = FLUX.parse_queue(
        row(id="f9", state="INACTIVE", result="FAILED", kind="alloc", note="unsatisfiable request")
    )
    assert (one.condition, one.reason) == ("exit_code", "unsatisfiable request")
