"""Facts of a job that something else ended: `facts/stopped.N`."""

import pytest

from project.core import ends

ENDED = "exit_code 143\ncommand 1\nsignal TERM\n"


@pytest.mark.parametrize("condition", ["timeout", "cancelled_by_user", "out_of_memory"])
def test_why_it_was_stopped_wins_over_its_exit_code(condition):
    fact = ends.read_facts({"ended.1": ENDED, "stopped.1": f"condition {condition}\n", "started.1": ""})[None]
    element = ends.from_fact(fact)
    assert (element.condition, element.exit_code) == (condition, None)


@pytest.mark.parametrize("text", ["", "condition \n", "condition nonsense\n", "torn"])
def test_a_reason_that_is_none_changes_nothing(text):
    fact = ends.read_facts({"stopped.1": text, "ended.1": ENDED})[None]
    assert (ends.from_fact(fact).condition, ends.from_fact(fact).exit_code) == ("exit_code", 143)


def test_an_earlier_runs_reason_is_not_this_ones():
    fact = ends.read_facts({"stopped.1": "condition timeout\n", "ended.1": ENDED, "ended.2": "exit_code 0\n"})[None]
    assert (fact.run, ends.from_fact(fact).condition) == (2, "ok")


def test_a_job_that_was_cancelled_before_it_began_has_no_run():
    fact = ends.read_facts({"stopped.0": "condition cancelled_by_user\n", "ended.0": "exit_code 143\n"})[None]
    assert (fact.run, fact.ended, fact.condition) == (0, True, "cancelled_by_user")
