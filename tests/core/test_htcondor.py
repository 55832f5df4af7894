"""HTCondor: the submit description, and what ads tell (tests/captures/htcondor/SOURCES.md)."""

import json
import time

import pytest

from helpers.voices import UUID, captured, spec
from project.core import schedulers
from project.core.errors import ClusterError, UserError
from project.core.paths import JobPaths
from project.core.resources import Array, Resources
from project.core.schedulers import base

CONDOR = schedulers.get("htcondor")
STARVED = (
    "(JobStatus =?= 5 && ((HoldReasonCode =?= 34 && HoldReasonSubCode =!= 104)"
    " || (HoldReasonCode =?= 21 && HoldReasonSubCode =?= 102)))"
)


def description(resources=None, options=(), workdir="/w"):
    job = spec(resources or Resources())._replace(scheduler_options=list(options))
    return CONDOR.files(job, {}, JobPaths(workdir, UUID), UUID)["job.sub"].splitlines()


def refused(resources=None, options=()):
    job = spec(resources or Resources())._replace(scheduler_options=list(options))
    return [problem.key for problem in base.refusals(CONDOR, job)]


def test_the_description_of_a_small_job():
    assert description() == [
        f"# jobferry: job {UUID}",
        "universe = vanilla",
        f"executable = /w/{UUID}/scripts/job",
        f"initialdir = /w/{UUID}/work",
        "should_transfer_files = NO",
        "getenv = True",
        "notification = Never",
        f"batch_name = jobferry.{UUID}",
        "periodic_remove = " + STARVED,
        f"output = /w/{UUID}/log/scheduler",
        f"error = /w/{UUID}/log/scheduler",
        'environment = "JOBFERRY_CONDOR_INDEX= JOBFERRY_CONDOR_ID=$(ClusterId)"',
        "queue",
    ]


def test_an_array_has_the_users_indices():
    lines = description(Resources(array=Array("1,5-9:2")))
    assert lines[lines.index("queue jobferry_index from (") + 1 :] == ["  1", "  5", "  7", "  9", ")"]
    assert "+JobferryIndex = $(jobferry_index)" in lines


@pytest.mark.parametrize(
    ("resources", "line"),
    [
        (Resources(ranks=4, threads_per_rank=2), "request_cpus = 8"),
        (Resources(ranks=4, threads_per_rank=2, memory_per_cpu=2**30), "request_memory = 8192"),
        (Resources(memory_per_node=1025 * 1024), "request_memory = 2"),
        (Resources(ranks=2, gpus_per_rank=2), "request_gpus = 4"),
        (Resources(gpus_per_node=3), "request_gpus = 3"),
        (Resources(account="group_a.b"), "accounting_group = group_a.b"),
        (Resources(licenses=["matlab:2", "comsol"]), "concurrency_limits = matlab:2,comsol"),
        (Resources(constraint='Arch == "X86_64"'), 'requirements = (Arch == "X86_64")'),
        (Resources(priority=-3), "priority = -3"),
        (Resources(begin="2031-01-31T18:30:00Z"), "deferral_time = 1927650600"),
    ],
)
def test_needs(resources, line):
    assert line in description(resources)
    assert refused(resources) == []


def test_a_time_limit_removes_a_running_job():
    [line] = [line for line in description(Resources(seconds=90)) if line.startswith("periodic_remove")]
    assert "JobStatus =?= 2 && time() - EnteredCurrentStatus > 90" in line


def test_a_site_that_forbids_getenv_takes_a_job_that_inherits_nothing():
    job = spec()._replace(inherit_environment=False)
    [text] = CONDOR.files(job, {}, JobPaths("/w", UUID), UUID).values()
    assert "getenv = False" in text.splitlines()
    # src/condor_utils/submit_utils.cpp, SetEnvironment
    words = "getenv = true command not allowed because administrator has set SUBMIT_ALLOW_GETENV = false"
    with pytest.raises(ClusterError) as caught:
        CONDOR.submitted(1, "", "\n{}\n".format(words))
    assert "inherit_environment: false" in caught.value.hint


def test_the_limit_of_one_submission():
    assert CONDOR.parse_array_limit("20000\n") == base.Limit(20000)
    assert CONDOR.parse_array_limit("Not defined: MAX_JOBS_PER_SUBMISSION\n") is None


def test_a_time_long_past_is_now():
    """A deferred job that is later than its window is put on hold (src/condor_starter.V6.1/starter.cpp)."""
    values = dict(line.split(" = ", 1) for line in description(Resources(begin="2000-01-01")) if " = " in line)
    assert int(values["deferral_time"]) + int(values["deferral_window"]) > time.time()


def test_no_path_is_a_macro():
    lines = description(workdir="/w/$(HOME) $$(x)")
    assert f"executable = /w/$(DOLLAR)(HOME) $(DOLLAR)$(DOLLAR)(x)/{UUID}/scripts/job" in lines
    with pytest.raises(UserError):
        description(workdir="/w\nexecutable = /bin/rm")


def test_what_htcondor_cannot_do_is_named():
    assert refused(Resources(nodes=2)) == ["resources.nodes"]
    assert refused(Resources(distribution="scattered")) == ["resources.distribution"]
    assert refused(Resources(array=Array("0-9", 2))) == ["resources.array"]
    assert refused(Resources(account="a b")) == ["resources.account"]
    assert refused(Resources(licenses=["a b"])) == ["resources.licenses"]
    assert refused(Resources(queue="x", reservation="y")) == ["resources.queue", "resources.reservation"]


def test_options_are_commands_of_a_description():
    options = ["request_disk = 2G", "+WantFlocking = true", "max_retries=3"]
    assert refused(options=options) == []
    assert [line for line in description(options=options) if line in options] == options
    assert refused(Resources(account="a"), ["accounting_group = b"]) == ["scheduler_options[0]"]
    assert refused(Resources(seconds=9), ["Periodic_Remove = false"]) == ["scheduler_options[0]"]
    assert refused(Resources(ranks=2), ["+RequestCpus = 4"]) == ["scheduler_options[0]"]
    for option in ('+JobBatchName = "x"', 'MY.Iwd = "/"', "+cmd = 1", "stdout = x", "my.JobferryIndex = 1"):
        assert refused(options=[option]) == ["scheduler_options[0]"], option
    for option in ("queue 5", "executable = /bin/rm", "+JobferryIndex = 1", "--disk=2G", "universe=docker", "x ="):
        assert refused(options=[option]) == ["scheduler_options[0]"], option


def element(**fields):
    [found] = CONDOR.parse_history(json.dumps([{"ClusterId": 9, "ProcId": 0, "Owner": "tkadelka", **fields}]))
    return found


def test_why_a_job_was_removed():
    by_user, too_long = captured("htcondor", "reasons").splitlines()
    assert element(JobStatus=3, RemoveReason=by_user).condition == "cancelled_by_user"
    assert element(JobStatus=3, RemoveReason=by_user, Owner="x").condition == "cancelled_by_scheduler"
    assert element(JobStatus=3, RemoveReason=too_long).condition == "timeout"
    assert element(JobStatus=3, RemoveReason=too_long, LastHoldReasonCode=34).condition == "out_of_memory"
    policy = {"LastHoldReasonCode": 21, "LastHoldReasonSubCode": 102}
    assert element(JobStatus=3, RemoveReason=too_long, **policy).condition == "out_of_memory"
    disk = {"LastHoldReasonCode": 34, "LastHoldReasonSubCode": 104}
    assert element(JobStatus=3, RemoveReason=by_user, **disk).condition == "cancelled_by_user"
    assert element(JobStatus=3).condition == "cancelled_by_scheduler"


def test_ends():
    assert (element(JobStatus=4, ExitCode=0).condition, element(JobStatus=4, ExitCode=7).exit_code) == ("ok", 7)
    killed = element(JobStatus=4, ExitBySignal=True, ExitSignal=9)
    assert (killed.condition, killed.exit_code) == ("exit_code", 137)
    assert element(JobStatus=2, NumJobStarts=3).restarts == 2


def test_an_element_is_asked_for_by_its_index():
    assert CONDOR.cancel("17_4", 'x"y')[-1] == r'ClusterId == 17 && JobferryIndex == 4 && JobBatchName == "x\"y"'
    assert CONDOR.history(["17_4", "17_5", "18"], "")[:3] == ["condor_history", "17", "18"]


def test_a_schedd_that_was_not_reached_is_no_job_that_is_gone():
    """src/condor_rm.V6/rm.cpp and src/condor_daemon_client/dc_schedd.cpp, actOnJobs: the same last line for both."""
    last = 'Couldn\'t find/remove all jobs matching constraint (ClusterId == 17 && JobBatchName == "collector.x")\n'
    assert not CONDOR.acted(1, "", "\n" + last)
    with pytest.raises(ClusterError) as caught:
        CONDOR.acted(1, "", "DCSchedd::actOnJobs:6001:Failed to connect to schedd\n" + last)
    assert caught.value.transient
    assert not CONDOR.acted(0, "", "condor_rm:0:There are no jobs in the queue\n")
