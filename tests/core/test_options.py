import pytest

from project.core import jobspec, schedulers
from project.core.options import text_problem
from project.core.resources import Resources
from project.core.schedulers.base import refusals
from project.core.schedulers.slurm_options import option_fields, option_problem


@pytest.mark.parametrize(
    "text",
    [
        "--qos=long", "--account=a b", "-A project", "--exclusive", "-C haswell", "--comment='a b'", "--hold", "-H", "-Hv",
        "--wait-all-nodes=1", "--export=ALL", "--mail-type=END", "-n4", "--nice", "--reservation=r", "-x node1",
    ],
)  # fmt: skip
def test_other_options_are_the_users(text):
    assert text_problem(text) == ("", "")
    assert option_problem(text) == ("", "")


@pytest.mark.parametrize(
    ("text", "owned"),
    [
        ("-a 1-3", "--array"), ("-a1-3", "--array"), ("--array=1-3", "--array"), ("--arr=1-3", "--array"),
        ("-J x", "--job-name"), ("--job-name x", "--job-name"), ("--job=x", "--job-name"),
        ("-o x", "--output"), ("--output=x", "--output"), ("-e x", "--error"), ("--error=x", "--error"),
        ("-D /", "--chdir"), ("--chdir=/", "--chdir"), ("--wrap=true", "--wrap"), ("--parsable", "--parsable"),
        ("-M other", "--clusters"), ("--clusters=other", "--clusters"), ("--test-only", "--test-only"),
        ("-W", "--wait"), ("--wait", "--wait"), ("-Hafoo", "--array"), ("--qos=long --array=1-3", "--array"),
        ("--qos=long -a 1", "--array"), ("'--array=3'", "--array"), ("-Q", "--quiet"), ("-HQ", "--quiet"),
    ],
)  # fmt: skip
def test_what_jobferry_sets_itself_is_refused(text, owned):
    message, hint = option_problem(text)
    assert owned in message
    assert hint


@pytest.mark.parametrize(
    "text", ["", " ", "--comment='a", "--qos=long\n#SBATCH -a 3", "--qos=\x00", "-" + "a" * 4_000_000]
)
def test_a_text_that_no_manager_takes(text):
    assert text_problem(text)[0]
    assert option_problem(text)[0]


@pytest.mark.parametrize("text", ["qos=long", "-", "--"])
def test_what_is_no_option_of_sbatch_is_refused(text):
    assert option_problem(text)[0]


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("--time=5", ["seconds"]), ("-t5", ["seconds"]), ("-t 5", ["seconds"]), ("--time-min 5", ["seconds"]),
        ("-N 2", ["nodes", "distribution"]), ("--nod=2", ["nodes", "distribution"]), ("-n4", ["ranks"]),
        ("--ntasks-per-node=2", ["ranks_per_node", "distribution"]), ("-c2", ["threads_per_rank"]),
        ("--mem=1G", ["memory_per_node", "memory_per_cpu"]), ("--mem-per-c=1G", ["memory_per_cpu", "memory_per_node"]),
        ("-p x", ["queue"]), ("--part=x", ["queue"]), ("-A x", ["account"]), ("-q x", ["qos"]), ("--reserv=x", ["reservation"]),
        ("-C x", ["constraint"]), ("-s", ["exclusive"]), ("--exclusive=user", ["exclusive"]), ("-L x:2", ["licenses"]),
        ("-b now+1hour", ["begin"]), ("--nice", ["priority"]), ("--priority=3", ["priority"]), ("--sig=USR1", ["signal"]),
        ("--no-req", ["requeue"]), ("--requeue", ["requeue"]), ("--gres=gpu:2", ["gpus_per_node", "gpus_per_rank", "gpu_type"]),
        ("-G2", ["gpus_per_node", "gpus_per_rank", "gpu_type"]), ("--gres=tmp:2", []), ("-HvN2", ["nodes", "distribution"]),
        ("--comment=-t5", []), ("-J-t5", []), ("--comment='a", []), ("-x -t", ["seconds"]), ("--hold -t 5", ["seconds"]),
    ],
)  # fmt: skip
def test_what_an_option_says_of_the_needs(text, fields):
    assert option_fields(text) == fields


def test_a_typed_need_and_an_option_that_says_it_too_are_an_error():
    spec = jobspec.parse({"destination_cluster": "c", "job": "x", "execution": "true", "scheduler_options": "--mem=1G"})
    asked = spec._replace(resources=Resources(memory_per_cpu=2**30))
    [problem] = refusals(schedulers.get("slurm"), asked)
    assert problem.key == "scheduler_options[0]"
    assert "resources.memory_per_cpu" in problem.message
    assert refusals(schedulers.get("slurm"), spec) == []
