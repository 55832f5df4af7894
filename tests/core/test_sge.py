"""Grid Engine's directives and answers; the answers are captured (tests/captures/sge/SOURCES.md)."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from project.core import jobspec, schedulers
from project.core.errors import ClusterError, UserError
from project.core.paths import JobPaths
from project.core.schedulers import base, sge_options, sge_text

CAPTURES = Path(__file__).parent.parent / "captures" / "sge"
UUID = "503d3f77-a21b-4e52-86c4-eec0f0cd9c16"
SGE = schedulers.get("sge")
PATHS = JobPaths("/home/jdoe/.jobferry/jobs", UUID)
CLUSTER = {"parallel_environment": {"grouped": "smp", "any": "mpi", "scattered": "spread"}}
BLOCK = "=" * 62 + "\n"


def captured(name):
    return (CAPTURES / f"{name}.txt").read_text(encoding="utf-8")


def spec(**data):
    return jobspec.parse({"destination_cluster": "sigma", "job": "x", "execution": "true", **data})


def directives(cluster=None, **data):
    lines = SGE.directives(spec(**data), {**CLUSTER, **(cluster or {})}, PATHS, UUID)
    assert all(line.startswith("#$ -") for line in lines)
    return [line[len("#$ ") :] for line in lines]


def resources(**data):
    common = [f"-N jobferry.{UUID}", "-S /bin/sh", "-V"]
    return [line for line in directives(resources=data) if line not in common]


def refused(**data):
    return [problem.key for problem in base.refusals(SGE, spec(**data))]


def accounted(**fields):
    row = {"jobname": f"x.{UUID}", "owner": "jdoe", "jobnumber": "7", "taskid": "undefined", "slots": "1"}
    row.update(
        {"failed": "0", "exit_status": "0", "ru_wallclock": "9", "maxvmem": "0.000B", "category": "NONE"}, **fields
    )
    [element] = SGE.parse_history(BLOCK + "".join(f"{name} {value}\n" for name, value in row.items()))
    return element


def ended(**fields):
    element = accounted(**fields)
    return element.condition, element.exit_code


def by_id(elements):
    return {(one.native_id, one.index if not one.span else one.span): one for one in elements}


# What is said


def test_the_name_begins_with_no_digit_and_is_found_again():
    assert directives(name="5 steps")[0] == f"-N .5-steps.{UUID}"
    assert directives(name="steps")[0] == f"-N steps.{UUID}"
    queue, accounting = SGE.find(f"5-steps.{UUID}", base.since(0))
    assert "-xml" in queue
    assert accounting == ["qacct", "-d", "2", "-j", f".5-steps.{UUID}"]


def test_times_and_memory():
    assert resources(duration="1d1s") == ["-l h_rt=86401"]
    assert resources(duration="1h", signal="USR1@5m") == ["-l h_rt=3600", "-l s_rt=3300"]
    assert resources(memory_per_cpu="1025K") == ["-l h_vmem=1025K"]
    assert resources(memory_per_cpu="1T") == ["-l h_vmem=1048576M"]
    assert resources(memory_per_node="4G", ranks=3, nodes=1) == ["-pe smp 3", "-l h_vmem=1398102K"]
    assert "-l mem_free=1024M" in directives({"memory_resource": "mem_free"}, resources={"memory_per_cpu": "1G"})


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"ranks": 1}, []),
        ({"ranks": 4}, ["-pe mpi 4"]),
        ({"ranks": 4, "nodes": 1}, ["-pe smp 4"]),
        ({"ranks_per_node": 4, "nodes": 1}, ["-pe smp 4"]),
        ({"ranks": 4, "distribution": "grouped"}, ["-pe smp 4"]),
        ({"ranks": 4, "distribution": "scattered"}, ["-pe spread 4"]),
        ({"threads_per_rank": 8}, ["-pe smp 8"]),
        ({"ranks": 2, "threads_per_rank": 3}, ["-pe smp 6"]),
    ],
)
def test_slots_and_their_parallel_environment(asked, expected):
    assert resources(**asked) == expected


def test_which_parallel_environment_a_cluster_has():
    job = spec(resources={"ranks": 4})
    assert "#$ -pe orte 4" in SGE.directives(job, {"parallel_environment": "orte"}, PATHS, UUID)
    assert "#$ -pe smp 4" in SGE.directives(job, {"parallel_environment": {"grouped": "smp"}}, PATHS, UUID)
    spread = spec(resources={"ranks": 4, "distribution": "scattered"})
    for job, cluster in ((job, {}), (spread, {"parallel_environment": "orte"})):
        with pytest.raises(UserError, match="parallel_environment") as caught:
            SGE.directives(job, cluster, PATHS, UUID)
        assert "qconf -spl" in caught.value.hint
        [problem] = SGE.cluster_problems(job, cluster)
        assert problem.key in {"resources.ranks", "resources.distribution"}
        assert "parallel_environment" in problem.message
    assert SGE.cluster_problems(spread, CLUSTER) == []


def test_the_other_needs():
    assert resources(queue="long", account="physics", reservation="7", priority=-5, requeue=False) == [
        *("-q long", "-P physics", "-ar 7", "-p -5", "-r n"),
    ]
    assert resources(gpus_per_node=2, gpu_type="a100", exclusive=True) == [
        *("-l gpu=2", "-l gpu_type=a100", "-l exclusive=true"),
    ]
    assert resources(gpus_per_rank=2, ranks=2, nodes=1) == ["-pe smp 2", "-l gpu=4"]
    assert resources(constraint="haswell", licenses=["matlab:2", "comsol"]) == [
        *("-l haswell", "-l matlab=2", "-l comsol=1"),
    ]
    assert resources(begin="2027-01-31T18:30:05") == ["-a 202701311830.05"]
    assert resources(array="1-9:2%3") == ["-t 1-9:2", "-tc 3"]
    assert resources() == []


def test_the_environment_is_inherited_unless_said_otherwise():
    assert "-V" in directives()
    assert "-V" not in directives(inherit_environment=False)


def test_the_users_own_queue_takes_the_clusters_place():
    assert "-q wide" in directives({"partition": "wide"})
    lines = directives({"partition": "wide"}, scheduler_options=["-q long"])
    assert "-q wide" not in lines
    assert lines[-1] == "-q long"


@pytest.mark.parametrize(
    ("asked", "key"),
    [
        ({"nodes": 2}, "resources.nodes"),
        ({"ranks": 4, "ranks_per_node": 2}, "resources.ranks_per_node"),
        ({"ranks": 2, "threads_per_rank": 2, "distribution": "scattered"}, "resources.distribution"),
        ({"ranks": 2, "memory_per_node": "1G"}, "resources.memory_per_node"),
        ({"ranks": 2, "gpus_per_node": 1}, "resources.gpus_per_node"),
        ({"duration": "1h", "signal": "TERM@1m"}, "resources.signal"),
        ({"priority": 2000}, "resources.priority"),
        ({"qos": "high"}, "resources.qos"),
    ],
)
def test_what_cannot_be_said_is_named(asked, key):
    assert refused(resources=asked) == [key]


def test_a_line_that_qsub_would_take_for_an_option_is_refused():
    assert refused(execution=["true", "cat > s <<X\n#$ -q other\nX"]) == ["execution[1]"]
    assert refused(env={"A": "x\n#$ -q other"}) == ["env.A"]
    assert refused(execution=["echo '#$ -q other'"]) == []


@pytest.mark.parametrize(
    ("option", "fields"),
    [
        ("-pe smp 4", ["ranks", "threads_per_rank", "nodes", "ranks_per_node", "distribution"]),
        ("-l h_rt=60,scratch=1G", ["seconds"]),
        ("-l mem_free=1G -l excl", ["memory_per_cpu", "memory_per_node", "exclusive"]),
        ("-q long", ["queue"]),
        (
            "-P p -p -3 -r y -ar 3 -a 01011200 -tc 3",
            ["account", "priority", "requeue", "reservation", "begin", "array"],
        ),
        ("-hold_jid 7", []),
        ("-l 'a", []),
    ],
)
def test_what_an_option_says_too(option, fields):
    assert sge_options.option_fields(option) == fields


def test_which_options_are_the_users():
    assert refused(scheduler_options=["-l scratch=10G", "-m be", "-hold_jid 7", "-notify", "-w e"]) == []
    wrong = [
        "-N x",
        "-t 1-3",
        "-sync y",
        "-l a=1 -o x",
        "--qos=long",
        "x",
        "-",
        "-l 'a",
        "-w v",
        "-w n -w v",
        "-V",
        "-l " + "x" * 5000,
    ]
    for option in wrong:
        job = spec()._replace(scheduler_options=[option])
        assert [problem.key for problem in base.refusals(SGE, job)] == ["scheduler_options[0]"], option
    assert refused(resources={"duration": "1h"}, scheduler_options=["-l h_rt=60"]) == ["scheduler_options[0]"]
    with pytest.raises(UserError, match="no option"):
        SGE.directives(spec()._replace(scheduler_options=["x\ny"]), CLUSTER, PATHS, UUID)


def test_values_that_no_quotes_hold_are_refused():
    assert directives({"partition": "a b"})[2] == '-q "a b"'
    assert directives({"partition": 'a"b'})[2] == "-q 'a\"b'"
    for odd in ("a\"'b", "a\nb"):
        with pytest.raises(UserError, match="cannot stand"):
            directives({"partition": odd})


def test_the_words_of_qsub_go_where_a_path_allows():
    argv = SGE.submit("/w/jobs/1/scripts/job", spec(), {})
    assert argv == ["qsub", "-terse", "-j", "y", "-o", "/w/jobs/1/log/scheduler", "-cwd", "/w/jobs/1/scripts/job"]
    assert "/dev/null" in SGE.submit("/w/a:b/1/scripts/job", spec(), {})
    assert "-cwd" not in SGE.submit("/w/$a/1/scripts/job", spec(), {})
    assert "$HOME/jobs/1/log/scheduler" in SGE.submit("$HOME/jobs/1/scripts/job", spec(), {})


# What is answered


@pytest.mark.parametrize("text", ["5\n", "5.1-10:2\n", "5.1\n", 'Your job 5 ("x") has been submitted\n'])
def test_the_forms_of_a_job_id(text):
    assert SGE.submitted(0, text, "") == "5"
    assert SGE.submitted(0, 'Your job-array 5.2-4:1 ("x") has been submitted\n', "") == "5"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ('job rejected: the requested parallel environment "nope" does not exist', "qconf -spl"),
        ('unknown resource "nope"', "qconf -sc"),
        ('Job was rejected because job requests unknown queue "nope"', "qconf -sql"),
        ('job rejected: the requested project "nope" does not exist', "qconf -sprjl"),
        ("job rejected: positive submission priority requires operator privileges", "0 or less"),
        ("job rejected: 0 is an invalid task id", "Correct resources"),
    ],
)
def test_a_rejection_says_what_to_change(words, hint):
    with pytest.raises(ClusterError) as caught:
        SGE.submitted(1, "", f"Unable to run job: {words}\nExiting.\n")
    assert not caught.value.transient
    assert caught.value.message == f"Grid Engine did not take the job: {words}."
    assert hint in caught.value.hint


def test_too_many_jobs_is_not_now():
    with pytest.raises(ClusterError) as caught:
        SGE.submitted(
            25, "", "Unable to run job: job rejected: only 3 jobs are allowed per user (current job count: 3)\n"
        )
    assert caught.value.transient


def test_the_queue():
    rows = by_id(SGE.parse_queue(captured("queue")))
    assert (rows[("19", None)].state, rows[("19", None)].name) == (
        base.RUNNING,
        "run.503d3f77-a21b-4e52-86c4-eec0f0cd9c10",
    )
    assert rows[("19", None)].fields["NodeList"] == "sigma"
    assert (rows[("29", 3)].state, rows[("29", "5,6")].state, rows[("29", "1,2")].condition) == (
        "running",
        "waiting",
        "lost",
    )
    assert list(base.span_indices(rows[("26", "1-9:2")].span)) == [1, 3, 5, 7, 9]
    assert rows[("27", None)].state == base.HELD
    assert (rows[("31", None)].word, rows[("31", None)].state) == ("Rq", base.WAITING)
    broken = rows[("25", None)]
    assert (broken.word, broken.state) == ("Eqw", base.HELD)
    assert "qstat -j 25" in broken.reason
    assert rows[("28", None)].word == "z"


def test_the_accounting():
    rows = by_id(SGE.parse_history(captured("history")))
    found = {key: (one.condition, one.exit_code) for key, one in rows.items()}
    assert found == {
        ("20", None): ("ok", 0),
        ("21", None): ("exit_code", 3),
        ("22", None): ("timeout", 137),
        ("23", None): ("out_of_memory", 137),
        ("24", None): ("cancelled_by_scheduler", 137),
        ("25", None): ("exit_code", None),
        **{("29", task): ("ok", 0) for task in range(1, 7)},
        ("31", None): ("preempted", 0),
        ("32", 1): ("ok", 0),
        ("32", 2): ("cancelled_by_scheduler", 137),
        ("32", 3): ("ok", 0),
    }
    assert rows[("25", None)].reason == "searching requested shell"
    assert rows[("22", None)].fields["State"] == "failed 37"
    assert rows[("23", None)].fields["MaxVMSize"]


def test_univas_accounting():
    first, second = SGE.parse_history(captured("univa"))
    assert (first.condition, first.fields["NCPUS"]) == ("ok", "80")
    assert (second.condition, second.word, second.exit_code) == ("timeout", "failed 44", 137)


def test_why_a_job_was_killed():
    killed = {"failed": "100 : assumedly after job", "exit_status": "137"}
    assert ended(**killed) == ("cancelled_by_scheduler", 137)
    # The accounting of Univa Grid Engine says whose qdel it was.
    assert ended(**killed, deleted_by="jdoe@host") == ("cancelled_by_user", 137)
    assert ended(**killed, deleted_by="root@host") == ("cancelled_by_scheduler", 137)
    assert ended(**killed, category="-l h_rt=8") == ("timeout", 137)
    assert ended(**killed, category="-l h_rt=00:00:08") == ("timeout", 137)
    assert ended(**killed, category="-l h_rt=80") == ("cancelled_by_scheduler", 137)
    assert ended(**killed, category="-l h_vmem=1G -pe smp 2", slots="2", maxvmem="2.100GB") == ("out_of_memory", 137)
    assert (
        ended(**killed, category="-l h_vmem=1G -pe smp 4", slots="4", maxvmem="2.100GB")[0] == "cancelled_by_scheduler"
    )
    assert ended(failed="100 : assumedly after job", exit_status="139") == ("exit_code", 139)
    assert ended(failed="100 : assumedly after job", exit_status="138", category="-l s_rt=5")[0] == "timeout"
    assert ended(failed="37  : qmaster enforced h_rt, h_cpu, or h_vmem limit", exit_status="137")[0] == "timeout"
    assert ended(failed="47  : execd enforced h_rss limit", exit_status="137")[0] == "out_of_memory"
    # A code that nobody has written down, but with words.
    assert ended(failed="60  : execd enforced h_vmem limit", exit_status="137")[0] == "out_of_memory"
    assert ended(failed="19  : before writing exit_status")[0] == "node_failure"
    assert ended(failed="15  : in epilog", exit_status="2") == ("exit_code", 2)
    assert ended(failed="15  : in epilog") == ("ok", 0)


def test_the_last_run_of_a_job_counts_and_its_master_alone():
    def block(**fields):
        row = {"jobnumber": "7", "taskid": "undefined", "failed": "0", "exit_status": "0", **fields}
        return BLOCK + "".join(f"{name} {value}\n" for name, value in row.items())

    again = block(failed="25 : rescheduling") + block(exit_status="4")
    assert [one.exit_code for one in SGE.parse_history(again)] == [4]
    tasks = block(exit_status="4") + block(exit_status="9", pe_taskid="1.node7")
    assert [one.exit_code for one in SGE.parse_history(tasks)] == [4]
    cut = block(exit_status="4") + BLOCK + "jobnumber 8\nfailed 0\n"
    assert [one.native_id for one in SGE.parse_history(cut)] == ["7"]


def test_an_unknown_job_is_an_answer_and_a_missing_file_is_none():
    assert SGE.parse_history("", 1, "error: job id 3 not found\n") == []
    assert SGE.parse_find("", 1, "error: job name x not found\n") == []
    for rc, err in (
        (1, "/cell/common/accounting: No such file or directory\n"),
        (127, "sh: 1: qacct: not found\n"),
        (1, ""),
    ):
        with pytest.raises(ClusterError) as caught:
            SGE.parse_history("", rc, err)
        assert caught.value.transient


QACCT = """#!/bin/sh
echo "$@" >> "$0.said"
[ "$2" != 8 ] || { echo 'error: job id 8 not found' >&2; exit 1; }
echo ==============
printf 'jobnumber %s\\nfailed 0\\nexit_status 0\\n' "$2"
"""


def test_few_jobs_are_asked_for_one_by_one_and_many_together(tmp_path):
    """A fake qacct, which takes one job at a time as the real one does."""
    fake = tmp_path / "qacct"
    fake.write_text(QACCT)
    fake.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def ask(*ids):
        argv = SGE.history(ids, base.since(3 * 24 * 3600))
        ran = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=30)
        return [one.native_id for one in SGE.parse_history(ran.stdout, ran.returncode, ran.stderr)]

    assert ask("7_1", "7_2", "8", "9") == ["7", "9"]
    ask("1", "2", "3", "4")
    said = (tmp_path / "qacct.said").read_text().splitlines()
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    assert said == ["-j 7", "-j 8", "-j 9", f"-o {user} -d 5 -j"]
    assert SGE.history([], "now-2days") == ["true"]


@pytest.mark.parametrize(
    ("out", "err", "rc", "expected"),
    [
        ("jdoe has registered the job 4 for deletion\n", "", 0, True),
        ("jdoe has deleted job-array task 6.2\n", "", 0, True),
        ("modified hold of job 8\n", "", 0, True),
        ("job 4 is already in deletion\n", "", 1, True),
        ('denied: job "999" does not exist\n', "", 1, False),
        ('job "15" task "4" does not exist\n', "", 1, False),
    ],
)
def test_acts(out, err, rc, expected):
    assert SGE.acted(rc, out, err) is expected


def test_an_act_that_is_not_allowed_is_an_error():
    with pytest.raises(ClusterError, match="must be manager") as caught:
        SGE.acted(1, 'denied: "jdoe" must be manager for this operation\n', "")
    assert not caught.value.transient
    assert SGE.hold("7_3") == ["qhold", "7", "-t", "3"]
    assert SGE.release("7") == ["qrls", "7"]


def test_the_limit_on_arrays():
    assert SGE.parse_array_limit(captured("configuration")) == base.Limit(elements=20)
    assert SGE.parse_array_limit("max_aj_tasks   0\n") == base.Limit()
    assert SGE.parse_array_limit("error: commlib error\n") is None


def test_the_load_by_queue():
    status = SGE.parse_facts([captured("hosts"), captured("jobs")])
    assert (status["nodes"], status["cpus"], status["down_nodes"]) == (1, 2, 0)
    assert set(status["partitions"]) == {"all.q", "short.q", "closed.q"}
    assert status["partitions"]["closed.q"]["down_nodes"] == 1
    assert status["jobs_running"] >= 1
    assert SGE.parse_facts([captured("hosts"), "error"]).keys() == status.keys() - {"jobs_running", "jobs_waiting"}
    silent = re.sub(r"(name='load_avg'>)[0-9.]+", r"\1-", captured("hosts"))
    assert SGE.parse_facts([silent])["down_nodes"] == 1


@pytest.mark.parametrize(
    ("text", "size"),
    [("526.160MB", 526.160 * 2**20), ("23.5G", 23.5 * 2**30), ("200M", 200 * 2**20), ("1k", 1000), ("7", 7), ("-", 0)],
)
def test_amounts_of_memory(text, size):
    assert sge_text.memory(text) == size
