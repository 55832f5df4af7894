"""Slurm's directives and answers; the answers are captured from Slurm 22.05 (tests/captures/slurm)."""

from pathlib import Path

import pytest

from project.core import jobspec, schedulers
from project.core.errors import ClusterError, UserError
from project.core.paths import JobPaths
from project.core.schedulers import base, slurm_text

CAPTURES = Path(__file__).parent.parent / "captures" / "slurm"
UUID = "503d3f77-a21b-4e52-86c4-eec0f0cd9c16"
SLURM = schedulers.get("slurm")
SPEC = jobspec.parse({"destination_cluster": "alpha", "job": "x", "execution": "true"})
PATHS = JobPaths("/home/jdoe/.jobferry/jobs", UUID)


def captured(name):
    return (CAPTURES / f"{name}.txt").read_text(encoding="utf-8")


def directives(cluster=None, **data):
    spec = jobspec.parse({"destination_cluster": "alpha", "job": "x", "execution": "true", **data})
    lines = SLURM.directives(spec, cluster or {}, PATHS, UUID)
    assert all(line.startswith("#SBATCH -") for line in lines)
    return [line[len("#SBATCH ") :] for line in lines]


def resources(**data):
    return directives(resources=data)[1:]


def by_id(elements):
    return {(one.native_id, one.index if not one.span else one.span): one for one in elements}


def short(element):
    return element.state, element.condition, element.exit_code


# Directives


def test_the_sample_of_masi_tfe():
    made = directives(
        {"partition": "batch"},
        resources={
            "nbr_jobs_in_array": 15,
            "duration": "1d2h30m",
            "nbr_processes": 5,
            "nbr_threads_per_process": 2,
            "memory_per_thread": "2625M",
            "distribution": "distributed",
            "nbr_of_nodes": 4,
        },
    )
    assert made == [
        f"--job-name=jobferry.{UUID}",
        "--partition=batch",
        "--array=0-14",
        "--time=1-02:30:00",
        "--ntasks=5",
        "--nodes=4",
        "--cpus-per-task=2",
        "--mem-per-cpu=2625M",
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, []),
        ({"nbr_jobs_in_array": 1}, ["--array=0-0"]),
        ({"duration": "90s"}, ["--time=00:01:30"]),
        ({"duration": "48h"}, ["--time=2-00:00:00"]),
        ({"memory_per_thread": "1K"}, ["--mem-per-cpu=1M"]),
        ({"memory_per_thread": "1025K"}, ["--mem-per-cpu=2M"]),
        ({"memory_per_thread": "4G"}, ["--mem-per-cpu=4096M"]),
        ({"memory_per_thread": "1T"}, ["--mem-per-cpu=1048576M"]),
        ({"nbr_processes": 3, "distribution": "grouped"}, ["--ntasks=3", "--nodes=1"]),
        ({"nbr_processes": 3, "distribution": "scattered"}, ["--ntasks=3", "--ntasks-per-node=1", "--nodes=3"]),
        ({"distribution": "scattered"}, ["--ntasks-per-node=1"]),
        ({"distribution": "distributed", "nbr_of_nodes": 2}, ["--ntasks=2", "--nodes=2"]),
        ({"nbr_of_nodes": 2}, ["--nodes=2"]),
        ({"nodes": 2, "ranks_per_node": 8}, ["--ntasks-per-node=8", "--nodes=2"]),
        ({"memory_per_node": "1K"}, ["--mem=1M"]),
        ({"memory_per_node": "1T"}, ["--mem=1048576M"]),
        ({"duration": "366d"}, ["--time=366-00:00:00"]),
        ({"gpus_per_node": 2}, ["--gres=gpu:2"]),
        ({"gpus_per_node": 2, "gpu_type": "a100"}, ["--gres=gpu:a100:2"]),
        ({"gpus_per_rank": 1, "ranks": 4, "gpu_type": "v100"}, ["--ntasks=4", "--gpus-per-task=v100:1"]),
        ({"account": "phys", "qos": "high", "reservation": "r"}, ["--account=phys", "--qos=high", "--reservation=r"]),
        ({"constraint": "haswell&ib"}, ['--constraint="haswell&ib"']),
        ({"exclusive": True}, ["--exclusive"]),
        ({"exclusive": False}, []),
        ({"licenses": ["matlab:2", "comsol"]}, ["--licenses=matlab:2,comsol"]),
        ({"array": "0-99%10"}, ["--array=0-99%10"]),
        ({"array": "1,5-9:2"}, ["--array=1,5-9:2"]),
        ({"begin": "2027-01-31"}, ["--begin=2027-01-31T00:00:00"]),
        ({"begin": "2027-01-31T18:30"}, ["--begin=2027-01-31T18:30:00"]),
        ({"priority": -50}, ["--nice=50"]),
        ({"priority": 50}, ["--nice=-50"]),
        ({"signal": "USR1@5m", "duration": "1h"}, ["--time=01:00:00", "--signal=B:USR1@300"]),
        ({"requeue": True}, ["--requeue"]),
        ({"requeue": False}, ["--no-requeue"]),
    ],
)
def test_every_resource_has_its_directive(data, expected):
    assert resources(**data) == expected


def test_a_queue_is_taken_before_the_clusters_partition():
    assert directives({"partition": "batch"}, resources={"queue": "long"})[1:] == ["--partition=long"]


def refused(**data):
    spec = jobspec.parse({"destination_cluster": "alpha", "job": "x", "execution": "true", "resources": data})
    return [(problem.key, problem.message) for problem in base.refusals(SLURM, spec)]


def test_what_slurm_cannot_do_is_said_before_it_is_asked():
    [(key, message)] = refused(signal="USR1@1d", duration="2d")
    assert key == "resources.signal"
    assert "65535" in message
    assert refused(priority=-2147483648)[0][0] == "resources.priority"
    assert refused(gpus_per_rank=1)[0][0] == "resources.gpus_per_rank"
    assert refused(gpus_per_rank=1, nodes=2, ranks_per_node=2) == []
    for name in ("INT", "quit"):
        [(key, message)] = refused(signal=name + "@1m", duration="2d")
        assert key == "resources.signal"
        assert name.upper() in message
    assert refused(nodes=4, ranks=2)[0][0] == "resources.nodes"
    assert refused(nodes=4, ranks=4) == []


def test_a_logins_default_does_not_change_what_the_job_says():
    def unset(cluster, options=(), **asked):
        data = {"destination_cluster": "alpha", "job": "x", "execution": "true", "resources": asked}
        argv = SLURM.submit(PATHS.script, jobspec.parse({**data, "scheduler_options": list(options)}), cluster)
        assert argv[-6] == "sbatch"
        return [word for word in argv[:-6] if word not in ("env", "-u")]

    assert unset({}, duration="1h", nodes=2) == []
    assert unset({"partition": "batch"}) == ["SBATCH_PARTITION"]
    assert unset({}, account="physics", qos="long") == ["SBATCH_ACCOUNT", "SBATCH_QOS"]
    memory = ["SBATCH_MEM_PER_CPU", "SBATCH_MEM_PER_GPU", "SBATCH_MEM_PER_NODE"]
    assert unset({}, memory_per_cpu="1G") == memory
    assert unset({}, ["-q long", "--expo=NONE", "--gres=disk:1"]) == ["SBATCH_EXPORT", "SBATCH_GRES", "SBATCH_QOS"]


def test_an_sbatch_that_is_not_there_is_said():
    with pytest.raises(ClusterError, match="sbatch cannot be started here") as caught:
        SLURM.submitted(127, "", "env: 'sbatch': No such file or directory\n")
    assert not caught.value.transient


def test_the_limit_on_arrays():
    config = "Configuration data as of 2026-11-21T13:49:10\nMaxArraySize            = 10001\nMaxDBDMsgs = 20004\n"
    assert SLURM.parse_array_limit(config) == base.Limit(None, 10000)
    config += "SchedulerParameters     = bf_interval=1,max_array_tasks=500,x=1\n"
    assert SLURM.parse_array_limit(config) == base.Limit(500, 10000)
    assert SLURM.parse_array_limit("slurm_load_ctl_conf error") is None


def test_the_users_options_come_last_as_they_are():
    assert directives(scheduler_options=["--qos=long", "--comment='a b'"])[1:] == ["--qos=long", "--comment='a b'"]


@pytest.mark.parametrize(
    ("partition", "directive"),
    [
        ("a b'; touch x #", """--partition="a b'; touch x #\""""),
        ('a"b', r'--partition="a\"b"'),
        ("a\\b", r'--partition="a\\b"'),
        ("long.q-2", "--partition=long.q-2"),
    ],
)
def test_an_odd_partition_stays_one_word(partition, directive):
    """sbatch 22.05 answers to these: invalid partition specified: a b'; touch x # (and so on, character by character)."""
    assert directives({"partition": partition})[1] == directive


def test_a_line_break_cannot_add_a_directive_or_a_command():
    with pytest.raises(UserError, match="control character"):
        directives({"partition": "a\ntouch x"})
    spec = jobspec.JobSpec("alpha", "x", ["true"], scheduler_options=["--qos=a\ntouch x"])
    with pytest.raises(UserError, match="no option of sbatch"):
        SLURM.directives(spec, {}, PATHS, UUID)
    with pytest.raises(UserError, match="no option of sbatch"):
        SLURM.directives(spec._replace(scheduler_options=["touch x"]), {}, PATHS, UUID)


def test_the_job_is_named_for_the_uuid():
    assert directives(name="my job")[0] == f"--job-name=my-job.{UUID}"


def test_file_patterns_of_slurm_mean_nothing_in_a_path():
    script = JobPaths("/home/50%j/it's", UUID).script
    argv = SLURM.submit(script, SPEC, {})
    assert argv[-1] == script
    assert f"--output=/home/50%%j/it's/{UUID}/log/scheduler" in argv
    argv = SLURM.submit(JobPaths("/home/a\\s 50%j", UUID).script, SPEC, {})
    assert f"--output=/home/a\\\\s 50%j/{UUID}/log/scheduler" in argv


# Submission


def test_the_id_of_a_submission():
    assert SLURM.submitted(0, "12345\n", "") == "12345"
    assert SLURM.submitted(0, "12345;alpha\n", "sbatch: info: x") == "12345"
    assert SLURM.submitted(0, "Welcome to 2026!\n77\n", "") == "77"


@pytest.mark.parametrize(
    ("err", "transient"),
    [
        ("sbatch: error: Batch job submission failed: Invalid partition name specified\n", False),
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available\n", False),
        (
            "sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)\n",
            False,
        ),
        ("sbatch: unrecognized option '--nosuch'\n", False),
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n", True),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n", True),
        ("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n", True),
        (
            "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy\n",
            True,
        ),
    ],
)
def test_a_rejection_keeps_slurms_words(err, transient):
    with pytest.raises(ClusterError) as caught:
        SLURM.submitted(1, "", err)
    assert caught.value.condition == "submission_rejected"
    assert caught.value.transient is transient
    assert slurm_text.words(err) in caught.value.message
    assert "sbatch:" not in caught.value.message or "option" in err


@pytest.mark.parametrize(
    ("err", "hint"),
    [
        ("sbatch: error: invalid partition specified: nope\n", "resources.queue"),
        (
            "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
            "resources.queue",
        ),
        ("sbatch: error: Batch job submission failed: Requested time limit is invalid", "resources.duration"),
        ("sbatch: error: Memory specification can not be satisfied", "memory_per_thread"),
        ("sbatch: unrecognized option '--nosuch'\n", "scheduler_options"),
        ("sbatch: error: something new", "Correct resources"),
    ],
)
def test_a_rejection_says_what_to_change(err, hint):
    with pytest.raises(ClusterError) as caught:
        SLURM.submitted(1, "", err)
    assert hint in caught.value.hint


def test_a_success_without_an_id_is_to_be_looked_for():
    with pytest.raises(ClusterError) as caught:
        SLURM.submitted(0, "", "")
    assert caught.value.transient


# Answers


def test_the_queue_soon_after_submission():
    found = by_id(SLURM.parse_queue(captured("queue-young")))
    assert found["12", "0-99%7"].state == base.WAITING
    assert found["12", "0-99%7"].reason == "PartitionDown"
    assert base.span_count(found["12", "0-99%7"].span) == 100
    assert list(base.span_indices(found["13", "1-19:2"].span)) == list(range(1, 20, 2))
    assert found["14", None].name == "a|b, c"
    assert found["15", None].state == base.HELD
    assert short(found["9", None]) == (base.RUNNING, "", None)
    assert short(found["19", None]) == (base.DONE, "ok", 0)
    assert found["19", None].fields["WorkDir"] == "/home/jdoe/cap/new\nline"
    assert short(found["2", None]) == (base.DONE, "exit_code", None)
    assert found["10", 1].fields["NodeList"].startswith("beta")
    assert "23" in {one.native_id for one in SLURM.parse_queue(captured("queue-young"))}


def test_the_queue_with_ends_of_many_kinds():
    found = by_id(SLURM.parse_queue(captured("queue-mid")))
    assert found["7", None].condition == found["10", 1].condition == "cancelled_by_scheduler"
    assert found["11", "0-9"].condition == "cancelled_by_scheduler"
    assert found["16", None].state == base.HELD
    assert found["16", None].reason == "JobHeldAdmin"
    assert found["17", None].condition == "preempted"
    assert short(found["18", None]) == (base.WAITING, "", None)
    assert by_id(SLURM.parse_queue(captured("queue-nodefail")))["31", None].condition == "node_failure"


def test_the_accounting_with_ends_of_many_kinds():
    found = by_id(SLURM.parse_history(captured("history-mid")))
    assert short(found["1", None]) == (base.DONE, "ok", 0)
    assert short(found["2", None]) == (base.DONE, "exit_code", 3)
    assert short(found["3", None]) == (base.DONE, "exit_code", 3)
    assert short(found["4", 1]) == (base.DONE, "exit_code", 1)
    assert short(found["4", 2]) == (base.DONE, "ok", 0)
    assert short(found["5", None]) == (base.DONE, "out_of_memory", 9)
    assert short(found["6", None]) == (base.DONE, "out_of_memory", 137)
    assert found["7", None].condition == "cancelled_by_user"
    assert found["8", None].condition == "cancelled_by_scheduler"
    assert found["10", 1].condition == "cancelled_by_user"
    assert found["11", "0-9"].condition == "cancelled_by_user"
    assert found["17", None].condition == "preempted"
    assert found["18", None].state == base.WAITING
    assert found["19", None].fields["WorkDir"] == "/home/jdoe/cap/new\nline"
    assert short(found["20", None]) == (base.DONE, "exit_code", 143)
    assert found["14", None].name == "a|b, c"
    assert found["22", None].state == base.RUNNING
    assert all("." not in one.fields["JobID"] for one in found.values())
    assert by_id(SLURM.parse_history(captured("history-nodefail")))["31", None].condition == "node_failure"


def test_the_accounting_at_the_end():
    found = by_id(SLURM.parse_history(captured("history-end")))
    assert found["9", None].condition == "timeout"
    assert short(found["32", None]) == (base.DONE, "ok", 0)
    assert by_id(SLURM.parse_queue(captured("queue-end")))["9", None].condition == "timeout"


def test_masi_tfes_fields():
    fields = by_id(SLURM.parse_history(captured("history-mid")))["1", None].fields
    assert dict(fields) == {
        "JobID": "1",
        "State": "COMPLETED",
        "ExitCode": "0:0",
        "Elapsed": "00:00:00",
        "CPUTime": "00:00:00",
        "NCPUS": "1",
        "NNodes": "1",
        "NodeList": "beta1",
        "ReqTRES": "billing=1,cpu=1,mem=100M,node=1",
        "AllocTRES": "billing=1,cpu=1,mem=100M,node=1",
        "WorkDir": "/home/jdoe/cap",
    }


def row(*fields):
    return "".join(field + base.SEPARATOR for field in fields) + "\n"


def history_row(job, state, code="0:0", uid="1001", rss="", tres="cpu=1,mem=50M,node=1", name="x"):
    return row(job, state, code, "00:00:01", "00:00:01", "1", "1", "n1", tres, tres, "/w", uid, "None", rss, name)


@pytest.mark.parametrize("word", ["WEIRD", "", "RUNNING WITH SCISSORS AND", "NEW_STATE by 7"])
def test_an_unknown_word_is_unknown(word):
    element = SLURM.parse_history(history_row("5", word))[0]
    expected = base.RUNNING if word.startswith("RUNNING") else base.UNKNOWN
    assert (element.state, element.condition, element.word) == (expected, "", word)


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        ("JobHeldUser", base.HELD),
        ("JobHeldUser,JobHeldAdmin", base.HELD),
        ("(JobHeldAdmin)", base.WAITING),
        ("PartitionDown,JobHeldUser", base.WAITING),
        ("JobHeldUser,PartitionDown", base.WAITING),
        ("launch failed requeued held", base.HELD),
        ("ReqNodeNotAvail, UnavailableNodes:beta2", base.WAITING),
        ("Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions", base.WAITING),
    ],
)
def test_a_row_is_held_when_all_of_it_is(reason, state):
    fields = ["5_[0-5]", "PENDING", "1", "1", "0:00", "1:00", "batch", "", "x", reason, "/w"]
    found = SLURM.parse_queue(row(*fields))[0]
    assert (found.state, found.reason) == (state, reason)


def test_rows_that_are_torn_or_foreign_are_left_out():
    text = (
        "Greetings\nfrom the login node\n"
        + history_row("x", "RUNNING")
        + history_row("5", "COMPLETED")
        + "6"
        + base.SEPARATOR
        + "RUN"
    )
    assert [one.native_id for one in SLURM.parse_history(text)] == ["5"]


def test_a_step_that_cgroups_killed():
    text = (
        history_row("5", "FAILED", "1:0")
        + history_row("5.batch", "FAILED", "1:0", "")
        + history_row("5.0", "OUT_OF_MEMORY", "0:125", "")
    )
    assert short(SLURM.parse_history(text)[0]) == (base.DONE, "out_of_memory", 1)
    text = history_row("5_2", "FAILED", "1:0") + history_row("5_3", "FAILED", "1:0")
    text += history_row("5_2.0", "OUT_OF_MEMORY", "0:125", "")
    assert [one.condition for one in SLURM.parse_history(text)] == ["out_of_memory", "exit_code"]


def test_a_killed_step_within_its_memory_did_not_run_out_of_it():
    text = history_row("5", "FAILED", "9:0") + history_row("5.0", "CANCELLED by 0", "0:9", "", rss="49M")
    assert SLURM.parse_history(text)[0].condition == "exit_code"
    text = history_row("5", "COMPLETED") + history_row("5.0", "OUT_OF_MEMORY", "0:125", "")
    assert SLURM.parse_history(text)[0].condition == "ok"


def test_components_of_a_heterogeneous_job_are_one():
    text = history_row("5+0", "COMPLETED") + history_row("5+1", "FAILED", "2:0")
    assert [short(one) for one in SLURM.parse_history(text)] == [(base.DONE, "exit_code", 2)]


NO_ANSWER = [
    ("", 1, "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"),
    ("", 1, "sacct: error: Problem talking to the database: Connection refused\n"),
    ("", 0, "squeue: error: something else\n"),
    ("slurm_load_jobs error: Socket timed out on send/recv operation\n", 0, ""),
]


@pytest.mark.parametrize(("out", "rc", "err"), NO_ANSWER)
def test_no_answer_is_never_an_empty_answer(out, rc, err):
    for parse in (SLURM.parse_queue, SLURM.parse_history, SLURM.parse_find):
        with pytest.raises(ClusterError) as caught:
            parse(out, rc, err)
        assert caught.value.transient


def test_what_was_found_by_name():
    assert SLURM.parse_find(captured("find-queue")) == ["12"]
    assert SLURM.parse_find(captured("find-history")) == ["12"]
    assert SLURM.parse_find(row("5_1") + row("5_2") + row("6")) == ["5", "6"]


@pytest.mark.parametrize(
    ("rc", "text", "expected"),
    [
        (0, "", True),
        (1, "scancel: error: Kill job error on job id 5: Invalid job id specified", False),
        (0, "scancel: error: Kill job error on job id 5: Job/step already completing or completed", False),
        (1, "Job has already finished for job 7\nslurm_suspend error: Job has already finished", False),
        (1, "Invalid job id specified for job 9999\nslurm_suspend error: Invalid job id specified", False),
    ],
)
def test_what_cancel_and_hold_answer(rc, text, expected):
    assert SLURM.acted(rc, "", text) is expected


@pytest.mark.parametrize(
    ("rc", "text", "transient"),
    [
        (8, "scancel: error: Kill job error on job id 12: Unable to contact slurm controller (connect failure)", True),
        (1, "Unexpected message received for job 12\nslurm_suspend error: Unexpected message received", True),
        (1, "Access/permission denied for job 12", False),
    ],
)
def test_a_cancel_that_did_not_work_is_an_error(rc, text, transient):
    with pytest.raises(ClusterError) as caught:
        SLURM.acted(rc, "", text)
    assert caught.value.transient is transient


def test_the_clusters_load():
    status = SLURM.parse_facts([captured("nodes"), captured("jobs")])
    assert {key: status[key] for key in ("nodes", "idle_nodes", "down_nodes", "cpus", "idle_cpus")} == {
        "nodes": 2,
        "idle_nodes": 1,
        "down_nodes": 0,
        "cpus": 128,
        "idle_cpus": 125,
    }
    assert status["memory"] == 2 * 128000 * 2**20
    assert status["idle_memory"] == (2 * 128000 - 300) * 2**20
    assert (status["jobs_running"], status["jobs_waiting"]) == (3, 115)
    assert status["partitions"]["batch"]["nodes"] == 2
    assert "batch*" not in status["partitions"]
    assert SLURM.parse_facts([]) == SLURM.parse_facts(["", ""]) == {}


@pytest.mark.parametrize("state", ["down", "drained", "down*", "idle*", "draining", "mixed$", "maint", "planned"])
def test_nodes_that_are_not_to_be_counted_on(state):
    line = f"{'n1':128}{state:32}{'0/64/0/64':40}{'1000':24}{'0':24}{'batch':128}\n"
    status = SLURM.parse_facts([line])
    assert (status["nodes"], status["idle_nodes"]) == (1, 0)


def test_history_asks_from_before_midnight_to_after_now():
    argv = SLURM.history(["1", "2_3"], base.since(0))
    assert "--starttime=now-2days" in argv
    assert "--endtime=now+2days" in argv
    assert "--jobs=1,2_3" in argv
    assert base.since(40 * 24 * 3600.0) == "now-42days"
    assert SLURM.history([], base.since(0)) == ["true"]


@pytest.mark.parametrize("text", ["", "x", "1-", "1,,2", "a-b"])
def test_an_odd_task_expression_is_refused(text):
    with pytest.raises(ValueError, match="task expression"):
        list(base.span_indices(text))


def test_no_task_expression_is_cut_off():
    for argv in (SLURM.queue("me"), SLURM.history(["7"], "now-2days"), SLURM.find("x", "now-2days")[1]):
        assert argv[argv.index("SLURM_BITSTR_LEN=0") + 1] in ("squeue", "sacct")
