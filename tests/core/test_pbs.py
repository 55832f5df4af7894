"""PBS Pro and Torque: what a job says to them, and what their real answers (tests/captures) mean."""

import pytest

from helpers.voices import UUID, captured, said, spec
from project.core import schedulers
from project.core.errors import ClusterError, UserError
from project.core.paths import JobPaths
from project.core.resources import Array, Resources
from project.core.schedulers import base, pbs_text

PBS = schedulers.get("pbs")
PRO, TORQUE = PBS.in_dialect("pbspro"), PBS.in_dialect("torque")
PATHS = JobPaths("/w", UUID)


def job(native_id, **values):
    """A block of `qstat -f`; a double underscore is a dot."""
    return f"Job Id: {native_id}\n" + "".join(
        f"    {key.replace('__', '.')} = {value}\n" for key, value in values.items()
    )


def lines(manager, resources=None, **data):
    return manager.directives(spec(resources, **data), {}, PATHS, UUID)


def lists(manager, **resources):
    return [line[len("#PBS -l ") :] for line in lines(manager, Resources(**resources)) if line.startswith("#PBS -l ")]


# The dialect


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        ("pbs_version = 2022.1.1.20220228173215\n", "pbspro"),
        ("pbs_version = 19.1.2\n", "pbspro"),
        ("Version: 6.1.2\nCommit: 661e0925a09e62ee30aa4d5ccb3dcdd6a6a5e47b\n", "torque"),
        ("version: 2.5.13\n", "torque"),
        ("pbspro", "pbspro"),
        ("torque", "torque"),
        ("Connection refused\nqstat: cannot connect to server x (errno=15010)", ""),
        ("", ""),
    ],
)
def test_the_dialect_is_told_by_the_version(text, dialect):
    found = PBS.in_dialect(text)
    assert (found.name, found.dialect) == ("pbs", dialect)
    assert bool(found.dialect_command()) is not bool(dialect)


def test_what_a_dialect_cannot_say_is_refused():
    asked = spec(Resources(seconds=60, qos="high", licenses=["matlab"], signal=None))
    assert [problem.key for problem in base.refusals(PRO, asked)] == ["resources.qos"]
    assert [problem.key for problem in base.refusals(TORQUE, asked)] == ["resources.licenses"]


# What is said


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, []),
        ({"ranks": 4}, ["select=4:ncpus=1:mpiprocs=1"]),
        ({"ranks": 4, "threads_per_rank": 2}, ["select=4:ncpus=2:mpiprocs=1:ompthreads=2"]),
        ({"nodes": 2, "ranks_per_node": 3}, ["select=2:ncpus=3:mpiprocs=3", "place=scatter"]),
        ({"nodes": 2, "ranks": 5}, ["select=1:ncpus=3:mpiprocs=3+1:ncpus=2:mpiprocs=2", "place=scatter"]),
        ({"ranks": 5, "ranks_per_node": 2}, ["select=2:ncpus=2:mpiprocs=2+1:ncpus=1:mpiprocs=1", "place=scatter"]),
        ({"ranks": 4, "distribution": "grouped"}, ["select=1:ncpus=4:mpiprocs=4", "place=pack"]),
        ({"ranks": 4, "distribution": "scattered"}, ["select=4:ncpus=1:mpiprocs=1", "place=scatter"]),
        ({"nodes": 3, "distribution": "distributed"}, ["select=3:ncpus=1:mpiprocs=1", "place=scatter"]),
        (
            {"nodes": 1, "ranks_per_node": 2, "threads_per_rank": 2, "memory_per_cpu": 2**30},
            ["select=1:ncpus=4:mpiprocs=2:ompthreads=2:mem=4194304kb", "place=scatter"],
        ),
        ({"memory_per_node": 1}, ["select=1:ncpus=1:mpiprocs=1:mem=1kb"]),
        ({"memory_per_node": 2**40}, ["select=1:ncpus=1:mpiprocs=1:mem=1073741824kb"]),
        (
            {"nodes": 2, "ranks_per_node": 2, "gpus_per_rank": 1},
            ["select=2:ncpus=2:mpiprocs=2:ngpus=2", "place=scatter"],
        ),
        ({"constraint": "ib & model=has"}, ["select=1:ncpus=1:mpiprocs=1:ib=True:model=has"]),
        ({"exclusive": True}, ["select=1:ncpus=1:mpiprocs=1", "place=exclhost"]),
        ({"licenses": ["matlab:2", "comsol"]}, ["matlab=2", "comsol=1"]),
        ({"seconds": 366 * 86400 + 1}, ["walltime=8784:00:01"]),
    ],
)
def test_resources_of_pbs_pro(resources, expected):
    assert lists(PRO, **resources) == expected


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"ranks": 4}, ["procs=4"]),
        ({"ranks": 4, "threads_per_rank": 2}, ["nodes=4:ppn=2"]),
        ({"nodes": 2, "ranks": 5}, ["nodes=1:ppn=3+1:ppn=2"]),
        ({"ranks": 4, "distribution": "grouped"}, ["nodes=1:ppn=4"]),
        ({"nodes": 2, "gpus_per_node": 2, "constraint": "k40"}, ["nodes=2:ppn=1:gpus=2:k40"]),
        ({"ranks": 2, "memory_per_cpu": 2**30}, ["procs=2", "pmem=1048576kb"]),
        ({"ranks": 2, "threads_per_rank": 3, "memory_per_cpu": 2**30}, ["nodes=2:ppn=3", "mem=6291456kb"]),
        ({"nodes": 2, "memory_per_node": 2**30}, ["nodes=2:ppn=1", "mem=2097152kb"]),
        ({"qos": "high"}, ["qos=high"]),
    ],
)
def test_resources_of_torque(resources, expected):
    assert lists(TORQUE, **resources) == expected


def test_the_other_options():
    resources = Resources(begin="2027-01-31T18:30:05", priority=-5, requeue=True, account="physics", queue="long")
    found = lines(PRO, resources)
    assert found[3:] == ["#PBS -q long", "#PBS -A physics", "#PBS -a 202701311830.05", "#PBS -p -5", "#PBS -r y"]
    assert "#PBS -q R42" in lines(PRO, Resources(reservation="R42"))
    assert "#PBS -W x=FLAGS:ADVRES:week" in lines(TORQUE, Resources(reservation="week"))
    assert "#PBS -n" in lines(TORQUE, Resources(exclusive=True))
    assert "#PBS -m n" in lines(PRO)
    assert "#PBS -m n" not in lines(PRO, scheduler_options=["-m abe"])


def test_the_name_is_whole_in_the_variables_and_short_for_torque():
    assert lines(PRO, name="my job")[:2] == [f"#PBS -N my-job.{UUID}", f"#PBS -v JOBFERRY_BATCH_NAME=my-job.{UUID}"]
    found = lines(TORQUE, name="a rather long name")
    assert found[:2] == ["#PBS -N a-rather-long-n", f"#PBS -v JOBFERRY_BATCH_NAME=a-rather-long-name.{UUID}"]
    assert lines(TORQUE, name="1st")[0] == "#PBS -N j1st"


@pytest.mark.parametrize(
    ("array", "pro", "torque"),
    [
        (Array("0-9"), "-J 0-9", "-t 0-9"),
        (Array("0-9", 5), "-J 0-9%5", "-t 0-9%5"),
        (Array("0-8:2"), "-J 0-8:2", None),
        # Y must be more than X: a step past it leaves the one index.
        (Array("0"), "-J 0-1:2", "-t 0"),
        (Array("7", 1), "-J 7-8:2%1", "-t 7%1"),
        (Array("1,5-9"), None, "-t 1,5-9"),
    ],
)
def test_arrays(array, pro, torque):
    for manager, expected in ((PRO, pro), (TORQUE, torque)):
        assert expected is None or "#PBS " + expected in lines(manager, Resources(array=array))


def test_an_array_may_be_run_again_whatever_the_sites_default():
    """src/cmds/qsub.c, process_opts: "cannot submit non-rerunable Array Job"; it looks when it comes to -J."""
    for requeue in (None, True):
        found = lines(PRO, Resources(array=Array("0-9"), requeue=requeue))
        assert found.count("#PBS -r y") == 1
        assert found.index("#PBS -r y") < found.index("#PBS -J 0-9")
    assert "#PBS -r n" in lines(TORQUE, Resources(array=Array("0-9"), requeue=False))


def test_the_schedulers_words_go_to_a_file_of_each_element():
    plain = PRO.submit("/w/x/scripts/job", spec(), {})
    assert plain == ["qsub", "-f", "-S", "/bin/sh", "-j", "oe", "-o", "/w/x/log/scheduler", "/w/x/scripts/job"]
    # -f: no process stays behind that submits for a qsub that was killed. To Torque it says that the job is fault tolerant.
    assert "-f" not in TORQUE.submit("/w/x/scripts/job", spec(), {})
    array = spec(Resources(array=Array("0-3")))
    assert "/w/x/log/scheduler.^array_index^" in PRO.submit("/w/x/scripts/job", array, {})
    assert "/w/x/log/scheduler" in TORQUE.submit("/w/x/scripts/job", array, {})


@pytest.mark.parametrize(
    ("resources", "key"),
    [
        ({"priority": 1024}, "priority"),
        ({"nodes": 4, "ranks": 2}, "nodes"),
        ({"ranks": 4, "memory_per_node": 2**30}, "memory_per_node"),
        ({"constraint": "a|b"}, "constraint"),
        ({"constraint": "a:ncpus=99=1"}, "constraint"),
        ({"licenses": ["a b"]}, "licenses"),
        ({"reservation": "R1", "queue": "long"}, "reservation"),
        ({"array": Array("0-3"), "requeue": False}, "requeue"),
    ],
)
def test_values_that_cannot_be_said(resources, key):
    job_spec = spec(Resources(**resources))
    assert [problem.key for problem in PRO.value_problems(job_spec)] == ["resources." + key]
    with pytest.raises(UserError, match=key):
        PRO.directives(job_spec, {}, PATHS, UUID)


@pytest.mark.parametrize(
    "option",
    [
        "-N x",
        "-Nx",
        "-v A=1",
        "-V",
        "-o x",
        "-j oe",
        "-J 0-9",
        "-hV",
        "-W block=true",
        "-W umask=022,block=true",
        "-I",
        "x",
        "-q 'a",
    ],
)
def test_options_that_are_not_the_users(option):
    assert PRO.option_problem(option)[0]


@pytest.mark.parametrize(
    ("option", "fields"),
    [
        ("-l walltime=1:00:00,mem=4gb", ["seconds", "memory_per_cpu", "memory_per_node"]),
        ("-lselect=1:ncpus=2", ["nodes", "ranks"]),
        ("-q long", ["queue", "reservation"]),
        ("-P physics", ["account"]),
        ("-W umask=022", []),
        ("-W x=FLAGS:ADVRES:y", ["reservation"]),
        ("-W umask=022,max_run_subjobs=3", ["array"]),
        ("-l ngpus=2", ["gpus_per_node", "gpus_per_rank"]),
        ("-M me@here", []),
    ],
)
def test_options_that_say_what_a_need_says(option, fields):
    assert PRO.option_problem(option) == ("", "")
    assert PRO.option_fields(option)[: len(fields)] == fields
    assert fields or not PRO.option_fields(option)


# What is answered


def test_real_answers_of_pbs_pro():
    [pi, hacky] = PRO.parse_history(captured("pbs", "finished", "finished-katana"))
    assert (pi.native_id, pi.word, pi.state, pi.condition, pi.exit_code) == ("7600424", "F", base.DONE, "ok", 0)
    assert pi.fields["NodeList"] == "node0088/1*2+node0094/1*2+node0094/2*2+node0085/0*2"
    assert pi.fields["ReqTRES"] == "4:ncpus=2:mem=1gb:interconnect=1g:mpiprocs=2"
    assert (hacky.native_id, hacky.name, hacky.fields["Elapsed"]) == ("4686875", "hacky", "00:00:09")
    blocks = list(pbs_text.blocks(captured("pbs", "finished")))
    assert blocks[0].attributes["Output_Path"].endswith("/MPI/pi-mpi.o7600424")
    assert ":/opt/pbs/default/bin:" in blocks[0].attributes["Variable_List"]


def test_real_answers_of_torque():
    [one, element] = TORQUE.parse_queue(captured("torque", "complete"))
    assert (one.native_id, one.index, one.word, one.condition) == ("9", None, "C", "ok")
    assert (element.native_id, element.index, element.condition, element.exit_code) == (
        "48[]",
        1,
        "cancelled_by_scheduler",
        143,
    )
    assert element.fields["JobID"] == "48[1]"
    [failed] = TORQUE.parse_queue(captured("torque", "failed"))
    assert (failed.condition, failed.exit_code) == ("exit_code", None)


def test_real_loads():
    status = PRO.parse_facts([captured("pbs", "nodes"), captured("pbs", "server")])
    assert (status["nodes"], status["down_nodes"], status["cpus"], status["idle_cpus"]) == (2, 1, 16, 15)
    assert status["memory"] == 31890060 * 1024
    assert (status["jobs_running"], status["jobs_waiting"]) == (0, 0)
    status = TORQUE.parse_facts([captured("torque", "nodes")])
    assert (status["nodes"], status["down_nodes"], status["idle_nodes"]) == (2, 1, 0)
    assert (status["cpus"], status["idle_cpus"]) == (36, 27)
    assert PRO.parse_array_limit(captured("pbs", "server")) == base.Limit(10000, None)
    assert TORQUE.parse_array_limit("Server: x\n    max_job_array_size = 500\n") == base.Limit(500, 99999)
    assert PRO.parse_array_limit("") is None


@pytest.mark.parametrize(
    ("status", "more", "condition", "code"),
    [
        (0, {"substate": 92}, "ok", 0),
        (3, {"substate": 93}, "exit_code", 3),
        (143, {"substate": 93}, "exit_code", 143),
        (256 + 11, {"substate": 93}, "exit_code", 139),
        (271, {"substate": 91}, "cancelled_by_scheduler", 143),
        (143, {"substate": 91}, "cancelled_by_scheduler", 143),
        (271, {}, "cancelled_by_scheduler", 143),
        (271, {"comment": "Job run at x and exceeded resource walltime"}, "timeout", 143),
        (271, {"comment": "job killed: vmem 192GB exceeded limit 190GB"}, "out_of_memory", 143),
        (143, {"Resource_List__walltime": "00:01:00", "resources_used__walltime": "00:01:05"}, "timeout", 143),
        (1, {"Resource_List__walltime": "00:01:00", "resources_used__walltime": "00:01:05"}, "exit_code", 1),
        (-29, {}, "timeout", None),
        (-28, {}, "timeout", None),
        (-27, {}, "out_of_memory", None),
        (-26, {}, "out_of_memory", None),
        (-20, {}, "node_failure", None),
        (-24, {}, "cancelled_by_scheduler", None),
        (-1, {}, "exit_code", None),
        (-11, {}, "exit_code", None),
    ],
)
def test_how_a_job_of_pbs_pro_ended(status, more, condition, code):
    [found] = PRO.parse_history(job("5.pbs", job_state="F", Exit_status=status, **more))
    assert (found.condition, found.exit_code) == (condition, code)


@pytest.mark.parametrize(
    ("status", "condition", "code"),
    [
        (0, "ok", 0),
        (2, "exit_code", 2),
        (271, "cancelled_by_scheduler", 143),
        (143, "cancelled_by_scheduler", 143),
        (-11, "timeout", None),
        (-10, "out_of_memory", None),
        (-12, "timeout", None),
        (-3, "exit_code", None),
        (-5, "node_failure", None),
    ],
)
def test_how_a_job_of_torque_ended(status, condition, code):
    [found] = TORQUE.parse_queue(job("5.srv", job_state="C", exit_status=status, start_time="x"))
    assert (found.condition, found.exit_code) == (condition, code)


def test_ends_without_an_exit_status():
    [deleted] = PRO.parse_history(job("5.pbs", job_state="F", substate=91))
    assert deleted.condition == "cancelled_by_scheduler"
    [failed] = PRO.parse_history(job("5.pbs", job_state="F", substate=93, comment="Not Running: no"))
    assert (failed.condition, failed.exit_code) == ("exit_code", None)
    [never] = TORQUE.parse_queue(job("5.srv", job_state="C"))
    assert never.condition == "cancelled_by_scheduler"
    # Nothing tells how it ended: then it is as if the row were not there, and the batch script's fact is asked.
    assert PRO.parse_queue(job("5[2].pbs", job_state="X")) == []
    assert TORQUE.parse_queue(job("5.srv", job_state="C", start_time="x")) == []


@pytest.mark.parametrize(
    ("comment", "condition", "code"),
    [
        ("Subjob finished", "ok", 0),
        ("Subjob failed", "exit_code", None),
        ("Subjob terminated", "cancelled_by_scheduler", None),
    ],
)
def test_an_element_that_the_server_has_forgotten_does_not_take_its_arrays_exit_status(comment, condition, code):
    [found] = PRO.parse_queue(job("5[2].pbs", job_state="X", comment=comment, Exit_status=1))
    assert (found.condition, found.exit_code) == (condition, code)


@pytest.mark.parametrize(
    ("values", "state", "reason"),
    [
        ({"Hold_Types": "u"}, base.HELD, "by the user: Hold_Types = u"),
        ({"Hold_Types": "us"}, base.HELD, "by an administrator: Hold_Types = us"),
        ({"Hold_Types": "o"}, base.HELD, "by an administrator: Hold_Types = o"),
        ({"Hold_Types": "s", "substate": 22}, base.WAITING, ""),
        ({"Hold_Types": "l"}, base.WAITING, ""),
        ({"Hold_Types": "a"}, base.WAITING, ""),
        ({"Hold_Types": "ul"}, base.HELD, "by the user: Hold_Types = u"),
    ],
)
def test_who_holds_a_job(values, state, reason):
    [found] = PRO.parse_queue(job("5.pbs", job_state="H", **values))
    assert (found.state, found.reason) == (state, reason)


def test_one_job_that_is_gone_does_not_silence_the_others():
    out = job("5.pbs", job_state="R")
    assert len(PRO.parse_queue(out, 153, "qstat: Unknown Job Id 6.pbs\n")) == 1
    words = "qstat: 6.pbs Job has finished, use -x or -H to obtain historical job information\n"
    assert len(PRO.parse_queue(out, 35, words)) == 1
    assert PRO.parse_queue("", 35, words) == []
    assert PRO.parse_history("", 0, "qstat: PBS is not configured to maintain job history\n") == []
    for rc, err in (
        (153, words + "Connection refused\nqstat: cannot connect to server x"),
        (1, "sh: qselect: not found"),
        (-9, ""),
    ):
        with pytest.raises(ClusterError) as caught:
            PRO.parse_queue(out, rc, err)
        assert caught.value.transient


@pytest.mark.parametrize(
    ("rc", "err", "transient"),
    [
        (172, "qsub: Unknown queue\n", False),
        (188, "qsub: Job violates queue and/or server resource limits\n", False),
        (2, "qsub: invalid option -- 'Y'\nusage: qsub [-a date_time]\n", False),
        (206, "qsub: would exceed queue workq's per-user limit of jobs in 'Q' state\n", True),
        (198, "qsub: Maximum number of jobs already in queue\n", True),
        (111, "qsub: cannot connect to server pbs (errno=111) Connection refused\n", True),
        (1, "qsub: Your job has been administratively rejected by the queueing system.\n", False),
        (0, "", True),
        (-9, "qsub: Unknown queue", True),
    ],
)
def test_refusals(rc, err, transient):
    with pytest.raises(ClusterError) as caught:
        PRO.submitted(rc, "", err)
    assert caught.value.transient is transient
    assert bool(caught.value.hint) is not transient


@pytest.mark.parametrize(
    ("rc", "err", "answer"),
    [
        (0, "", True),
        (153, "qdel: Unknown Job Id 5.pbs\n", False),
        (35, "qdel: Job has finished 5.pbs\n", False),
        (170, "qdel: Request invalid for state of job 5.srv\n", False),
    ],
)
def test_what_an_act_answers(rc, err, answer):
    assert PRO.acted(rc, "", err) is answer


def test_an_act_that_is_not_allowed_is_told():
    with pytest.raises(ClusterError, match="Unauthorized Request") as caught:
        PRO.acted(159, "", "qdel: Unauthorized Request  5.pbs\n")
    assert not caught.value.transient


def test_elements_are_written_as_pbs_writes_them():
    assert PRO.cancel("5[]_4") == ["qdel", "5[4]"]
    assert PRO.cancel("5[]") == ["qdel", "5[]"]
    assert PRO.hold("5") == ["qhold", "5"]
    assert PRO.history(["5[]_4", "6"], "now-2days") == ["qstat", "-x", "-f", "-t", "5[4]", "6"]
    assert "5-9" in said(PRO, spec(Resources(array=Array("5-9"))))


def test_a_value_that_is_cut_before_a_space_keeps_it():
    """src/cmds/qstat.c, prt_attr: a line goes on after a tab, wherever it was cut."""
    text = "Job Id: 1.s\n    job_state = F\n    comment = Job exceeded\n\t resource walltime\n    Exit_status = 271\n"
    [found] = PRO.parse_queue(text)
    assert found.condition == "timeout"
