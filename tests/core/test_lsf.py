"""LSF: what a job says to it, and what its real answers (tests/captures) mean."""

import pytest

from helpers.voices import UUID, captured, spec
from project.core import schedulers
from project.core.errors import ClusterError, UserError
from project.core.paths import JobPaths
from project.core.resources import Array, Resources, Signal
from project.core.schedulers import base, lsf_text

LSF = schedulers.get("lsf")
PATHS = JobPaths("/w", UUID)
EXITED = "Thu Nov  2 11:01:55: Exited with exit code {}. The CPU time used is 0.1 seconds;\n"
STARTED = "Thu Nov  2 11:01:54: Starting (Pid 4711);\n"


def lines(resources=None, **data):
    return [line[len("#BSUB ") :] for line in LSF.directives(spec(resources, **data), {}, PATHS, UUID)]


def row(stat, code="-", reason="-", index="0", name="x"):
    return f"5|{index}|{stat}|{code}|{reason}|{name}|normal|1|hostA|5 second(s)|-|-" + "\n"


def block(text, native_id="5"):
    return f"Job <{native_id}>, Job Name <x>, User <me>, Project <default>, Command <y>\n{text}\n"


# What is said


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, []),
        ({"ranks": 4}, ["-n 4"]),
        ({"ranks": 4, "threads_per_rank": 2}, ["-n 8", '-R "span[block=2]"']),
        ({"threads_per_rank": 4}, ["-n 4", '-R "span[hosts=1]"']),
        ({"nodes": 2, "ranks_per_node": 3}, ["-n 6", '-R "span[ptile=3]"']),
        ({"nodes": 2, "ranks_per_node": 3, "threads_per_rank": 2}, ["-n 12", '-R "span[ptile=6]"']),
        ({"nodes": 2, "ranks": 5}, ["-n 5", '-R "span[ptile=3]"']),
        ({"ranks": 5, "ranks_per_node": 2}, ["-n 5", '-R "span[ptile=2]"']),
        ({"ranks": 2, "ranks_per_node": 4}, ["-n 2", '-R "span[ptile=2]"']),
        ({"ranks": 4, "distribution": "grouped"}, ["-n 4", '-R "span[hosts=1]"']),
        ({"ranks": 4, "distribution": "scattered"}, ["-n 4", '-R "span[ptile=1]"']),
        ({"nodes": 3, "distribution": "distributed"}, ["-n 3", '-R "span[ptile=1]"']),
        ({"memory_per_cpu": 2**30}, ['-R "rusage[mem=1048576KB/task]"']),
        ({"memory_per_node": 1}, ['-R "rusage[mem=1KB/host]"']),
        ({"memory_per_node": 2**40}, ['-R "rusage[mem=1073741824KB/host]"']),
        ({"gpus_per_node": 2}, ["-gpu num=2/host"]),
        ({"gpus_per_rank": 1, "ranks": 2, "gpu_type": "A100"}, ["-n 2", "-gpu num=1/task:gmodel=A100"]),
        ({"constraint": "haswell && mem > 4000"}, ['-R "select[haswell && mem > 4000]"']),
        ({"constraint": "hname!='host06-x12'"}, ["-R \"select[hname!='host06-x12']\""]),
        ({"licenses": ["matlab:2", "comsol"]}, ['-R "rusage[matlab=2/job:comsol=1/job]"']),
        ({"seconds": 61}, ["-W 0:02"]),
        ({"seconds": 366 * 86400}, ["-W 8784:00"]),
        ({"exclusive": True}, ["-x"]),
        ({"requeue": True}, ["-r"]),
        ({"requeue": False}, ["-rn"]),
        ({"signal": Signal("USR1", 61), "seconds": 600}, ["-W 0:10", "-wa USR1", "-wt 2"]),
        ({"begin": "2027-01-31T18:30"}, ["-b 2027:01:31:18:30"]),
        # LSF has no seconds: never earlier.
        ({"begin": "2027-12-31T23:59:01"}, ["-b 2028:01:01:00:00"]),
        ({"account": "physics", "reservation": "user1#0", "priority": 9}, ["-P physics", '-U "user1#0"', "-sp 9"]),
        ({"queue": "long"}, ["-q long"]),
    ],
)
def test_resources(resources, expected):
    found = lines(Resources(**resources))
    assert found == [f"-J jobferry.{UUID}", *expected]


@pytest.mark.parametrize(
    ("array", "expected"),
    [(Array("1-9"), "[1-9]"), (Array("1-9:2", 3), "[1-9:2]%3"), (Array("1,5-9"), "[1,5-9]"), (Array("7"), "[7]")],
)
def test_an_array_stands_behind_the_name(array, expected):
    assert lines(Resources(array=array), name="my job")[0] == f'-J "my-job.{UUID}{expected}"'


def test_the_script_is_read_from_standard_input_and_paths_are_arguments():
    argv = LSF.submit("/w/it's/scripts/job", spec(), {})
    assert argv == ["sh", "-c", 'exec bsub -o "$1" < "$0"', "/w/it's/scripts/job", "/w/it's/log/scheduler"]
    assert LSF.submit("/w/x/scripts/job", spec(Resources(array=Array("1-3"))), {})[-1] == "/w/x/log/scheduler.%I"
    assert LSF.submit("/w/50%J/scripts/job", spec(), {})[-1] == "/dev/null"


@pytest.mark.parametrize(
    ("resources", "key"),
    [
        ({"priority": 0}, "priority"),
        ({"nodes": 4, "ranks": 5}, "nodes"),
        ({"nodes": 4, "ranks": 2}, "nodes"),
        ({"constraint": "a] span[x"}, "constraint"),
        ({"constraint": "a'] span[x'"}, "constraint"),
        ({"licenses": ["a b"]}, "licenses"),
        ({"gpu_type": "a:b", "gpus_per_node": 1}, "gpu_type"),
        ({"gpus_per_rank": 1, "ranks": 4, "threads_per_rank": 2}, "gpus_per_rank"),
    ],
)
def test_values_that_cannot_be_said(resources, key):
    job_spec = spec(Resources(**resources))
    assert [problem.key for problem in LSF.value_problems(job_spec)] == ["resources." + key]
    with pytest.raises(UserError, match=key):
        LSF.directives(job_spec, {}, PATHS, UUID)


def test_a_line_that_bsub_would_read_as_an_option_is_refused():
    """bsub reads `#BSUB` anywhere; qsub of PBS stops at the first command."""
    job_spec = spec(execution=["echo a\n#BSUB -q long"], env={"A": "b\n#BSUB -x"})
    assert [problem.key for problem in LSF.value_problems(job_spec)] == ["execution[0]", "env.A"]
    assert schedulers.get("pbs").value_problems(spec(execution=["echo a\n#PBS -q long"])) == []
    assert LSF.value_problems(spec(execution=["echo '#BSUB'"])) == []


@pytest.mark.parametrize(
    "option",
    ["-J x", "-o x", "-oo x", "-e x", "-K", "-I", "-Is", "-cwd /x", "-env none", "-H", "x", "-q 'a", "-pack f", "-i x"],
)
def test_options_that_are_not_the_users(option):
    assert LSF.option_problem(option)[0]


@pytest.mark.parametrize(
    ("option", "fields"),
    [
        ("-W 1:00", ["seconds"]),
        ("-R 'span[ptile=2]'", ["nodes", "ranks_per_node", "threads_per_rank", "distribution"]),
        ("-R rusage[mem=4GB]", ["memory_per_cpu", "memory_per_node"]),
        ("-R select[haswell]", ["constraint"]),
        ("-R haswell", ["constraint"]),
        ("-R rusage[matlab=1]", ["licenses"]),
        ("-M 4GB", ["memory_per_cpu", "memory_per_node"]),
        ("-gpu num=1", ["gpus_per_node", "gpus_per_rank", "gpu_type"]),
        ("-app namd", []),
        ("-w 'done(5)'", []),
    ],
)
def test_options_that_say_what_a_need_says(option, fields):
    assert LSF.option_problem(option) == ("", "")
    assert LSF.option_fields(option) == fields


# What is answered


def test_a_real_history_that_is_cut_in_the_middle_of_words():
    text = "Job <26>, User <jharvard>, Command <x>\n" + captured("lsf", "bhist-memlimit")
    [found] = LSF.parse_history(text)
    assert (found.native_id, found.word, found.condition, found.exit_code) == ("26", "EXIT", "out_of_memory", 1)


def test_real_rows_with_a_delimiter():
    found = list(lsf_text.rows(captured("lsf", "bjobs-delimiter"), 14))
    assert [one[0] for one in found][-1] == "764399747"
    assert [one[1] for one in found] == ["EXIT", "PEND", "PEND", "RUN", "RUN", "RUN", "DONE"]
    assert found[0][2] == "TERM_RUNLIMIT: job killed after reaching LSF run time limit"
    assert found[1][2] == ""


def test_real_loads():
    status = LSF.parse_facts([captured("lsf", "bhosts"), captured("lsf", "bqueues"), captured("lsf", "lshosts")])
    assert (status["nodes"], status["down_nodes"], status["idle_nodes"]) == (5, 1, 1)
    assert (status["cpus"], status["idle_cpus"]) == (160, 72)
    assert (status["jobs_running"], status["jobs_waiting"]) == (1, 0)
    assert status["memory"] == 7807 * 2**20
    assert LSF.parse_array_limit("    MAX_JOB_ARRAY_SIZE = 1000\n") == base.Limit(1000, 1000)
    assert LSF.parse_array_limit("MBD_SLEEP_TIME = 10\n") is None


@pytest.mark.parametrize(("word", "condition"), sorted(lsf_text.REASONS.items()))
def test_every_reason_for_an_end(word, condition):
    [found] = LSF.parse_queue(row("EXIT", "130", f"{word}: job killed"))
    assert (found.word, found.condition, found.exit_code) == ("EXIT", condition, 130)
    [found] = LSF.parse_history(
        block(STARTED + EXITED.format(130) + f"Thu Nov  2 11:01:55: Completed <exit>; {word}: job killed;\n")
    )
    assert (found.word, found.condition, found.exit_code) == ("EXIT", condition, 130)


@pytest.mark.parametrize(
    ("stat", "code", "reason", "state", "condition", "exit_code"),
    [
        ("DONE", "-", "-", base.DONE, "ok", 0),
        ("EXIT", "3", "-", base.DONE, "exit_code", 3),
        ("EXIT", "137", "TERM_UNKNOWN: unknown reason", base.DONE, "exit_code", 137),
        ("EXIT", "-", "TERM_OWNER: job killed by owner", base.DONE, "cancelled_by_user", None),
        ("PSUSP", "-", "-", base.HELD, "", None),
        ("UNKWN", "-", "-", base.UNKNOWN, "", None),
    ],
)
def test_how_a_job_is(stat, code, reason, state, condition, exit_code):
    [found] = LSF.parse_queue(row(stat, code, reason))
    assert (found.state, found.condition, found.exit_code) == (state, condition, exit_code)


def test_an_element_has_an_index_and_its_arrays_name():
    [found] = LSF.parse_queue(row("RUN", index="4", name="x[4]"))
    assert (found.native_id, found.index, found.name, found.fields["JobID"]) == ("5", 4, "x", "5[4]")
    [found] = LSF.parse_queue(row("RUN"))
    assert found.index is None


def test_a_history_of_a_job_that_runs_again_tells_no_end():
    assert LSF.parse_history(block(STARTED + EXITED.format(1) + STARTED)) == []
    assert LSF.parse_history(block(STARTED)) == []
    [found] = LSF.parse_history(
        block(STARTED + EXITED.format(1) + STARTED + "Thu Nov  2 11:01:55: Done successfully.\n", "5[2]")
    )
    assert (found.index, found.condition) == (2, "ok")
    [found] = LSF.parse_history(
        block(STARTED + "Thu Nov  2 11:01:55: Exited by signal 9. The CPU time used is 0.1 seconds;\n")
    )
    assert (found.condition, found.exit_code) == ("exit_code", 137)


@pytest.mark.parametrize(
    ("rc", "out", "err"),
    [
        (0, "", "No job found\n"),
        (255, "", "No unfinished job found\n"),
        (255, "", "Job <5> is not found\n"),
        (0, "", "No matching job found\n"),
    ],
)
def test_nothing_is_an_answer(rc, out, err):
    assert LSF.parse_queue(out, rc, err) == []
    assert LSF.parse_history(out, rc, err) == []
    assert LSF.parse_find(out, rc, err, "x") == []


def test_waiting_for_the_daemon_is_none():
    busy = "LSF is processing your request. Please wait ...\n"
    assert len(LSF.parse_queue(row("RUN"), 0, busy)) == 1
    for rc, err in (
        (255, "LSF is down. Please wait ...\nLSF is down. Please wait ...\n"),
        (255, "batch daemon not responding ... still trying\n"),
        (255, "Request from non-LSF host rejected\n"),
        (
            255,
            "Batch system concurrent query limit exceeded ... retrying in 1 second(s).\nNo job found\nUnable to contact LIM\n",
        ),
        (-9, ""),
        (127, "sh: bjobs: not found\n"),
    ):
        with pytest.raises(ClusterError) as caught:
            LSF.parse_queue("", rc, err)
        assert caught.value.transient


@pytest.mark.parametrize(
    ("rc", "out", "err", "transient"),
    [
        (255, "", "nosuch: No such queue. Job not submitted.\n", False),
        (255, "", "Bad argument for option -n. Job not submitted.\n", False),
        (255, "", "Request aborted by esub. Job not submitted.\n", False),
        (0, "Bad resource requirement syntax. Job not submitted.\n", "", False),
        (255, "", "bsub: illegal option -- Y\n", False),
        (255, "", "LSF is down. Please wait ...\n", True),
        (255, "", "Pending job threshold reached. Retrying in 60 seconds...\n", True),
        (255, "", "normal: Queue has been closed. Job not submitted.\n", True),
        (0, "", "", True),
        (-9, "", "nosuch: No such queue. Job not submitted.", True),
        (255, "", "Failed in an LSF library call: Communication time out. Job not submitted.\n", True),
    ],
)
def test_refusals(rc, out, err, transient):
    with pytest.raises(ClusterError) as caught:
        LSF.submitted(rc, out, err)
    assert caught.value.transient is transient
    assert bool(caught.value.hint) is not transient


def test_submissions():
    assert LSF.submitted(0, "Job <5> is submitted to default queue <normal>.\n", "") == "5"
    assert LSF.submitted(0, "Job <984097> is submitted to queue <short>.\n", "memory limit added") == "984097"


@pytest.mark.parametrize(
    ("rc", "out", "err", "answer"),
    [
        (0, "Job <5> is being terminated\n", "", True),
        (0, "Job <5> is being stopped\n", "", True),
        (0, "Job <5> is being resumed\n", "", True),
        (255, "", "Job <5>: Job has already finished\n", False),
        (255, "", "Job <5>: No matching job found\n", False),
    ],
)
def test_what_an_act_answers(rc, out, err, answer):
    assert LSF.acted(rc, out, err) is answer


def test_an_act_that_is_not_allowed_is_told():
    with pytest.raises(ClusterError, match="User permission denied") as caught:
        LSF.acted(255, "", "Job <5>: User permission denied\n")
    assert not caught.value.transient


def test_elements_are_written_as_lsf_writes_them():
    assert LSF.cancel("5_4") == ["bkill", "5[4]"]
    assert LSF.hold("5") == ["bstop", "5"]
    assert LSF.release("5_4") == ["bresume", "5[4]"]
    assert LSF.history(["5_4", "6"], "now-2days")[-2:] == ["5[4]", "6"]
