"""What at is given, and what its answers mean. The jobs themselves: tests/agent/test_fake_at.py and tests/e2e/test_at.py."""

import subprocess

import pytest

from helpers.voices import said, spec
from project.core import schedulers
from project.core.errors import ClusterError
from project.core.resources import Resources
from project.core.schedulers import at_shell, base

AT = schedulers.get("at")
ODD = "/w/a'; touch marker #/$(touch marker)/é 日本/`x`/\\0101"


def refused(resources=None, options=()):
    job = spec(resources or Resources())._replace(scheduler_options=list(options))
    return [problem.key for problem in base.refusals(AT, job)]


@pytest.mark.parametrize(
    ("begin", "when"),
    [
        ("2031-01-31", "203101310000"),
        ("2031-01-31T18:30", "203101311830"),
        ("2031-01-31T18:30:01", "203101311831"),
        ("2031-12-31T23:59:59", "203201010000"),
    ],
)
def test_a_time_is_rounded_up_to_a_minute(begin, when):
    argv = AT.submit("/w/scripts/job", spec(Resources(begin=begin)), {})
    assert argv == ["env", "SHELL=/bin/sh", "at", "-M", "-f", "/w/scripts/job.at", "-t", when]


def test_the_queue_is_the_users_option_the_need_or_the_clusters():
    def queue(resources, options, **cluster):
        job = spec(resources)._replace(scheduler_options=options)
        return AT.submit("/w/scripts/job", job, cluster)[6:]

    assert queue(Resources(), []) == ["now"]
    assert queue(Resources(), [], partition="b") == ["-q", "b", "now"]
    assert queue(Resources(queue="c"), [], partition="b") == ["-q", "c", "now"]
    assert queue(Resources(), ["-q d"], partition="b") == ["-q", "d", "now"]


def test_what_at_cannot_do_is_named():
    assert refused(Resources(nodes=2)) == ["resources.nodes"]
    assert refused(Resources(distribution="scattered", ranks=2)) == ["resources.distribution"]
    assert refused(Resources(queue="long")) == ["resources.queue"]
    assert refused(Resources(nodes=1, ranks=2, threads_per_rank=2, distribution="grouped", queue="Z")) == []
    assert refused(options=["-q c", "-qc"]) == []
    assert refused(Resources(queue="a"), ["-q c"]) == ["scheduler_options[0]"]
    for option in ("-m", "-q", "-q cc", "-q =", "-f x", "now", "-q c d"):
        assert refused(options=[option]) == ["scheduler_options[0]"], option


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_its_texts_are_shell(shell, tmp_path):
    texts = [at_shell.given("x", ODD), at_shell.keeper("x", ODD, ODD, 60), at_shell.keeper("x", ODD, ODD, None)]
    texts += [at_shell.QUEUE, at_shell.FIND, at_shell.CANCEL, at_shell.REFUSE, at_shell.FACTS]
    for text in texts:
        done = subprocess.run([shell, "-n"], input=text, text=True, check=False, stderr=subprocess.PIPE, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_folder_of_any_name_is_found_again():
    [line] = [line for line in at_shell.given("x", ODD).splitlines() if line.startswith(at_shell.FOLDER)]
    octal = line[len(at_shell.FOLDER) :]
    done = subprocess.run(["sh", "-c", "printf '%b' \"$1\"", "sh", octal], stdout=subprocess.PIPE, check=True)
    assert done.stdout.decode() == ODD


def test_a_limit_is_the_keepers():
    assert "jobferry_limit=90\n" in at_shell.keeper("x", "/w", "/b", 90)
    assert "jobferry_limit=\n" in at_shell.keeper("x", "/w", "/b", None)
    assert "jobferry_limit=90\n" in said(AT, spec(Resources(seconds=90)))


def test_only_what_has_a_keeper_runs():
    out = "job 7 = x\njob 8 = y\njob 9 a z\nkeeper 08 y\n"
    assert [(one.native_id, one.state) for one in AT.parse_queue(out)] == [("9", base.WAITING), ("8", base.RUNNING)]


def test_a_keeper_that_does_not_know_its_number_is_known_by_its_name():
    [one] = AT.parse_queue("job 7 = x\nkeeper 0 x\n")
    assert (one.native_id, one.name, one.state) == ("7", "x", base.RUNNING)


def test_one_number_may_be_two_jobs():
    rows = AT.parse_queue("job 7 a x\nkeeper 07 y\n")
    assert [(one.name, one.state) for one in rows] == [("x", base.WAITING), ("y", base.RUNNING)]


@pytest.mark.parametrize("act", ["hold", "release"])
def test_at_says_that_it_cannot_hold(act):
    done = subprocess.run(getattr(AT, act)("7"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    with pytest.raises(ClusterError, match=f"at cannot {act} a job") as caught:
        AT.acted(done.returncode, done.stdout, done.stderr)
    assert not caught.value.transient


def test_the_load_is_told_by_this_machine():
    done = subprocess.run(AT.facts()[0], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    status = AT.parse_facts([done.stdout])
    assert status["cpus"] >= 1
    assert 0 <= status["idle_cpus"] <= status["cpus"]
    assert status["memory"] > status["idle_memory"] > 2**20
