"""Verdicts: every true end, and that nothing is ended by being absent."""

import itertools
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from project.core import ends, states, tracking
from project.core.ends import Fact
from project.core.schedulers import base
from project.core.schedulers.base import Element
from project.core.tracking import GRACE, LOST, RUNAWAY, SHORT, SIGNALLED, UNBEGUN, Age

UUID = "503d3f77-a21b-4e52-86c4-eec0f0cd9c16"
OLD = Age(GRACE, GRACE, 1)
WORDS = {
    "ok": "COMPLETED",
    "exit_code": "FAILED",
    "timeout": "TIMEOUT",
    "out_of_memory": "OUT_OF_MEMORY",
    "node_failure": "NODE_FAIL",
    "preempted": "PREEMPTED",
    "deadline": "DEADLINE",
    "cancelled_by_user": "CANCELLED by 1000",
    "cancelled_by_scheduler": "CANCELLED",
}


def document(array=None, **fields):
    resources = {} if array is None else {"nbr_jobs_in_array": array}
    return {
        "job_uuid": UUID,
        "native_id": "7",
        "user_input": {"resources": resources, "execution": ["make", "./run"]},
        "destination_cluster": {"workload_manager": "slurm"},
        **fields,
    }


def live(state, index=None, reason="", span="", word=None):
    word = word or {base.WAITING: "PENDING", base.HELD: "PENDING", base.RUNNING: "RUNNING", base.UNKNOWN: "ODD"}[state]
    return Element(
        "7", index, word, state, reason=reason, span=span, fields={"JobID": "7", "State": word}, name=f"x.{UUID}"
    )


def done(condition, code=None, index=None, span=""):
    word = WORDS[condition]
    fields = {"JobID": "7", "State": word, "Elapsed": "00:00:05"}
    return Element("7", index, word, base.DONE, condition, code, fields=fields, span=span, name=f"x.{UUID}")


def judge(queue, history=(), facts=None, age=None, known=None, doc=None):
    return tracking.judge(doc or document(), queue, history, facts or {}, age or Age(), known or {})


def state(verdict):
    return verdict.state, verdict.condition, verdict.exit_code


# One job


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (live(base.WAITING, reason="Resources"), states.QUEUED),
        (live(base.HELD, reason="JobHeldAdmin"), states.PAUSED),
        (live(base.RUNNING), states.RUNNING),
        (live(base.UNKNOWN), ""),
    ],
)
def test_what_lives(row, expected):
    verdict = judge([row])
    assert state(verdict) == (expected, None, None)
    assert verdict.job_status["State"] == [row.word]
    assert verdict.job_status.get("Reason") == ([row.reason] if row.reason else None)
    if row.reason:
        assert row.reason in verdict.message


def test_a_job_held_by_an_admin_says_so():
    assert judge([live(base.HELD, reason="JobHeldAdmin")]).message == "held by an administrator (JobHeldAdmin)"
    assert "owner" in judge([live(base.HELD, reason="JobHeldUser")]).message


@pytest.mark.parametrize(
    ("condition", "code", "expected"),
    [
        ("ok", 0, (states.FINISHED, "ok", 0)),
        ("exit_code", 3, (states.FAILED, "exit_code", 3)),
        ("timeout", 0, (states.FAILED, "timeout", None)),
        ("out_of_memory", 137, (states.FAILED, "out_of_memory", 137)),
        ("deadline", 0, (states.FAILED, "deadline", None)),
        ("cancelled_by_user", 0, (states.CANCELLED, "cancelled_by_user", None)),
        ("cancelled_by_scheduler", 143, (states.CANCELLED, "cancelled_by_scheduler", 143)),
    ],
)
def test_the_accounting_tells_the_end(condition, code, expected):
    verdict = judge([], [done(condition, code)])
    assert state(verdict) == expected
    assert verdict.job_status["Elapsed"] == ["00:00:05"]
    assert verdict.ended
    assert bool(verdict.message) == (condition != "ok")


@pytest.mark.parametrize("condition", ["node_failure", "preempted"])
def test_an_end_that_another_run_may_follow_waits_a_while(condition):
    assert state(judge([], [done(condition)])) == ("", None, None)
    assert state(judge([], [done(condition)], age=OLD)) == (states.FAILED, condition, None)
    requeued = judge([live(base.WAITING, reason="BeginTime")], [done(condition)], {None: Fact(1)}, OLD)
    assert (requeued.state, requeued.run) == (states.QUEUED, 1)
    assert judge([live(base.RUNNING)], [done(condition)], {None: Fact(2)}, OLD).run == 2


def test_the_queue_wins_while_it_shows_the_job_alive():
    for row, condition in itertools.product((live(base.WAITING), live(base.RUNNING)), WORDS):
        assert judge([row], [done(condition)], {None: Fact(1, True, 0)}, Age(LOST, LOST, 1)).state in (
            states.QUEUED,
            states.RUNNING,
        )


def test_no_answer_of_the_queue_decides_nothing():
    verdict = judge(None, [done("ok", 0)], {None: Fact(1, True, 0)}, Age(LOST, LOST, 1))
    assert (verdict.state, verdict.answered) == ("", False)
    assert Age(3, 2, 1).after(100, verdict) == Age(3, 2, 1)


def test_absence_is_never_an_end():
    for age in (Age(), OLD, Age(LOST, LOST - 1, 1)):
        verdict = judge([], [], {None: Fact(1)}, age)
        assert (verdict.state, verdict.unresolved) == ("", 1)
        assert verdict.job_status["State"] == ["UNKNOWN"]
    assert judge([], None, {None: Fact(1)}, Age(10 * LOST, 0, 1)).state == ""


def test_an_hour_of_silence_is_a_loss():
    assert state(judge([], [], {None: Fact(1)}, Age(LOST, LOST, 1))) == (states.FAILED, "lost", None)


def test_the_accounting_that_says_running_for_ever_of_a_job_that_the_queue_does_not_know():
    assert judge([], [live(base.RUNNING)], {}, Age(LOST, LOST, 1)).state == ""
    assert state(judge([], [live(base.RUNNING)], {}, Age(RUNAWAY, RUNAWAY, 1))) == (states.FAILED, "lost", None)


def test_the_scripts_own_code_is_taken_after_a_while():
    for code, expected in ((0, (states.FINISHED, "ok", 0)), (3, (states.FAILED, "exit_code", 3))):
        facts = {None: Fact(1, True, code, 2)}
        for history in ((), None):
            assert judge([], history, facts).state == ""
            verdict = judge([], history, facts, OLD)
            assert state(verdict) == expected
            assert any("batch script's own" in note for note in verdict.notes)


def test_a_script_that_was_signalled_may_run_again():
    facts = {None: Fact(1, True, 143, 1, "TERM")}
    assert judge([], None, facts, OLD).state == ""
    assert state(judge([], None, facts, Age(SIGNALLED, 0, 1))) == (states.FAILED, "exit_code", 143)


def test_the_queues_word_without_accounting():
    """slurmdbd is down: squeue lists ends for five minutes."""
    assert state(judge([done("ok", 0)], None)) == (states.FINISHED, "ok", 0)
    assert state(judge([done("timeout")], None)) == (states.FAILED, "timeout", None)
    for condition in ("exit_code", "cancelled_by_scheduler"):
        assert judge([done(condition)], None).state == ""
    verdict = judge([done("exit_code")], None, {None: Fact(1, True, 3, 2)}, OLD)
    assert state(verdict) == (states.FAILED, "exit_code", 3)
    assert any("accounting" in note for note in verdict.notes)
    assert "`./run`" in verdict.message


def test_the_queues_word_while_the_accounting_lags():
    assert judge([done("ok", 0)], []).state == ""
    assert judge([done("ok", 0)], [live(base.RUNNING)], age=Age(SHORT, SHORT, 1)).state == states.FINISHED
    assert judge([done("exit_code")], [live(base.RUNNING)], age=Age(SHORT, SHORT, 1)).state == ""
    assert judge([done("ok", 0)], [done("node_failure")]).state == ""
    assert judge([done("ok", 0)], [done("node_failure")], age=OLD).state == states.FINISHED


def test_the_accounting_knows_better_than_the_queue():
    assert state(judge([done("exit_code")], [done("out_of_memory", 9)])) == (states.FAILED, "out_of_memory", 9)
    assert judge([done("cancelled_by_scheduler")], [done("cancelled_by_user")]).condition == "cancelled_by_user"


def test_an_unknown_word_is_left_to_the_accounting():
    row = live(base.UNKNOWN)
    assert judge([row], [done("ok", 0)]).state == ""
    assert judge([row], [done("ok", 0)], age=OLD).state == states.FINISHED
    assert judge([row], [], {None: Fact(1, True, 0)}, Age(LOST, LOST, 1)).state == ""


def test_rows_of_another_job_with_the_same_id_do_not_count():
    other = done("ok", 0)._replace(name="somebody.else")
    assert judge([other], [other]).state == ""
    assert judge([done("ok", 0)._replace(name="", native_id="8")], []).state == ""
    assert judge([live(base.RUNNING)._replace(name="somebody.else")], [done("exit_code", 3)]).state == states.FAILED


@pytest.mark.parametrize(
    ("element", "fact", "expected"),
    [
        (done("ok", 0), Fact(1, True, 0), False),
        (done("ok", 0), Fact(1, True, 3), True),
        (done("exit_code", 3), Fact(1, True, 3), False),
        (done("exit_code", 3), Fact(1, True, 4), True),
        (done("exit_code", 9), Fact(1, True, 0), True),
        (done("timeout", 0), Fact(1, True, 143, 1, "TERM"), False),
        (done("timeout", 0), Fact(1, True, 0), True),
        (done("cancelled_by_user"), Fact(1, True, 1), False),
        (done("out_of_memory", 9), Fact(1, True, 137), False),
        (done("ok", 0), Fact(1), False),
    ],
)
def test_script_and_scheduler_disagree(element, fact, expected):
    verdict = judge([], [element], {None: fact})
    assert bool(verdict.notes) is expected
    assert verdict.condition == element.condition
    if expected:
        assert f"exit code {fact.exit_code}" in verdict.notes[0]
        assert element.word in verdict.notes[0]


def test_a_failure_names_the_line():
    verdict = judge([], [done("exit_code", 3)], {None: Fact(1, True, 3, 2)})
    assert verdict.message == "the job ended with exit code 3 in `./run`"
    assert "signal 9" in judge([], [done("exit_code", 137)], {None: Fact(1)}).message
    assert "did not start" in judge([], [done("exit_code", 181)]).message


def test_components_of_a_heterogeneous_job():
    assert judge([done("ok", 0), live(base.RUNNING)]).state == states.RUNNING


# Arrays


def array(*rows, history=(), facts=None, age=None, known=None, size=5):
    return judge(list(rows), history, facts, age, known, document(size))


def test_a_waiting_array_is_one_row():
    verdict = array(live(base.WAITING, span="0-4%2", reason="Priority"))
    assert verdict.state == states.QUEUED
    assert verdict.job_status["JobID"] == ["7_0", "7_1", "7_2", "7_3", "7_4"]
    assert verdict.job_status["State"] == ["PENDING"] * 5
    assert array(live(base.HELD, span="0-4", reason="JobHeldUser")).state == states.PAUSED


def test_a_mixed_array_element_by_element():
    rows = (live(base.RUNNING, 0), done("ok", 0, 1), live(base.WAITING, span="3-4"), done("exit_code", None, 2))
    verdict = array(*rows, history=[done("ok", 0, 1), done("exit_code", 2, 2)])
    assert verdict.state == states.RUNNING
    assert verdict.job_status["State"] == ["RUNNING", "COMPLETED", "FAILED", "PENDING", "PENDING"]
    assert sorted(verdict.ended) == [1, 2]
    assert verdict.message == "1 of 5 elements run, 2 ended"
    later = array(live(base.WAITING, span="0,3-4"), known=verdict.ended)
    assert (later.state, later.unresolved) == (states.RUNNING, 0)


def test_one_failing_element_fails_the_array():
    history = [done("ok", 0, index) for index in (0, 1, 4)] + [done("exit_code", 3, 2), done("timeout", 0, 3)]
    verdict = array(history=history, facts={2: Fact(1, True, 3, 1)})
    assert state(verdict) == (states.FAILED, "exit_code", 3)
    assert (
        verdict.message
        == "2 of 5 elements failed: element 2 ended with exit code 3 in `make`, 3 reached its time limit"
    )
    assert verdict.job_status["State"] == ["COMPLETED", "COMPLETED", "FAILED", "TIMEOUT", "COMPLETED"]


def test_one_cancelled_element():
    history = [done("ok", 0, index) for index in range(4)] + [done("cancelled_by_user", 0, 4)]
    assert state(array(history=history)) == (states.CANCELLED, "cancelled_by_user", None)
    history[0] = done("exit_code", 1, 0)
    verdict = array(history=history)
    assert state(verdict) == (states.FAILED, "exit_code", 1)
    assert verdict.message.endswith("; 1 cancelled")


def test_an_array_cancelled_while_it_waited():
    verdict = array(done("cancelled_by_scheduler", span="0-4"), history=[done("cancelled_by_user", 0, span="0-4")])
    assert state(verdict) == (states.CANCELLED, "cancelled_by_user", None)
    assert len(verdict.job_status["State"]) == 5


def test_an_array_cancelled_while_it_waited_is_one_row_without_elements():
    """Measured on 22.05: the accounting has `85 CANCELLED by 1000` for it, and nothing for `85_0`."""
    queue = [done("cancelled_by_scheduler", span="0-2"), done("ok", 0, 3), live(base.RUNNING, 4)]
    assert tracking.wanted(document(5), [done("cancelled_by_scheduler")], {}) == ["7"]
    assert array(done("cancelled_by_scheduler"), history=[done("cancelled_by_user", 0)]).state == states.CANCELLED
    assert tracking.wanted(document(5), queue, {}) == ["7"]
    verdict = array(*queue, history=[done("cancelled_by_user", 0), done("ok", 0, 3)])
    assert {index: element.condition for index, element in verdict.ended.items()} == {
        0: "cancelled_by_user", 1: "cancelled_by_user", 2: "cancelled_by_user", 3: "ok",
    }  # fmt: skip
    assert verdict.state == states.RUNNING


def test_an_array_is_over_only_when_every_element_is():
    history = [done("ok", 0, index) for index in range(4)]
    verdict = array(history=history)
    assert (verdict.state, verdict.unresolved) == ("", 1)
    assert array(history=history, age=Age(LOST, LOST, 1)).condition == "lost"
    # The accounting shows a young array as one row that has no element of its own.
    assert array(history=[live(base.WAITING, span="0-4")]).state == ""
    assert array(history=[Element("7", None, "COMPLETED", base.DONE, "ok", 0)]).state == ""


def test_a_hand_requeued_element_lives_again():
    known = {index: done("ok", 0, index) for index in range(5)}
    verdict = array(live(base.WAITING, 2), known=known)
    assert verdict.state == states.RUNNING
    assert sorted(verdict.ended) == [0, 1, 3, 4]


def test_many_failures_are_summed_up():
    history = [done("exit_code", 1, index) for index in range(3000)]
    verdict = array(history=history, facts={index: Fact(1, True, 2, 1) for index in range(3000)}, size=3000)
    assert verdict.state == states.FAILED
    assert len(verdict.message) < 400
    assert "and 2995 more" in verdict.message
    assert len(verdict.notes) <= 6
    assert set(verdict.job_status) <= {"JobID", "State", "ExitCode"}


def test_a_large_waiting_array_stays_one_entry():
    verdict = array(live(base.WAITING, span="0-9999%50"), size=10_000)
    assert verdict.state == states.QUEUED
    assert len(verdict.job_status["State"]) == 1


# A manager whose accounting has only the jobs that began


def unbegun(rows, history=(), facts=None, seconds=0.0, wished=False):
    return tracking.judge(document(), rows, history, facts or {}, Age(seconds, seconds, 1), {}, True, wished)


OVER = Element("7", None, "z", base.DONE, "lost", name=f"x.{UUID}")


def test_a_job_that_never_began_was_cancelled_when_that_was_wished():
    for rows, seconds in (([OVER], SHORT), ([], GRACE)):
        assert unbegun(rows, seconds=seconds / 2, wished=True).state == ""
        assert state(unbegun(rows, seconds=seconds, wished=True)) == (states.CANCELLED, "cancelled_by_user", None)
        assert unbegun(rows, None, seconds=seconds, wished=True).state in {"", states.CANCELLED}
        assert unbegun(rows, facts={None: Fact(1)}, seconds=seconds, wished=True).state == ""
    assert unbegun([], seconds=UNBEGUN).state == ""


def test_what_is_over_without_a_word_was_cancelled_when_it_never_began():
    assert unbegun([OVER], seconds=GRACE).state == ""
    assert state(unbegun([OVER], seconds=UNBEGUN)) == (states.CANCELLED, "cancelled_by_scheduler", None)
    assert unbegun([OVER], facts={None: Fact(1)}, seconds=UNBEGUN).state == ""
    assert state(unbegun([OVER], facts={None: Fact(1)}, seconds=LOST)) == (states.FAILED, "lost", None)
    ended = {None: Fact(1, True, 3, 2)}
    assert state(unbegun([OVER], facts=ended, seconds=GRACE)) == (states.FAILED, "exit_code", 3)
    assert state(unbegun([OVER], [done("timeout")], ended)) == (states.FAILED, "timeout", None)


def test_a_row_whose_expression_was_cut_off_tells_of_no_element():
    cut = done("cancelled_by_user", span="0,2,...")
    verdict = judge([live(base.WAITING, span="0-2")], [cut], doc=document(3))
    assert verdict.state == states.QUEUED
    assert judge([], [cut], doc=document(3)).state == ""
    assert judge([done("cancelled_by_user", span="0-2")], [cut], age=OLD, doc=document(3)).state == states.CANCELLED


@pytest.mark.parametrize(("shown", "true"), [(0, 128), (10, 138), (72, 200), (127, 255)])
def test_a_code_from_128_on_is_the_true_one_although_sacct_shows_less(shown, true):
    facts = ends.read_facts({"ended.1": f"exit_code {true}\ncommand 2\ntime x\n"})
    verdict = judge([], [done("exit_code", shown)], facts, OLD)
    assert state(verdict) == (states.FAILED, "exit_code", true)
    assert ("signal" in verdict.message) is (true == 138)
    assert verdict.notes == []
    facts = ends.read_facts({"ended.1": "exit_code 3\ncommand 2\ntime x\n"})
    assert state(judge([], [done("exit_code", shown)], facts, OLD)) == (states.FAILED, "exit_code", shown)


def test_a_code_that_the_manager_was_not_told_is_the_true_one():
    facts = ends.read_facts({"started.1": "time x\n", "ended.1": "exit_code 99\ncommand 2\ntold 1\ntime x\n"})
    verdict = judge([], [done("exit_code", 1)], facts)
    assert state(verdict) == (states.FAILED, "exit_code", 99)
    assert verdict.notes == []
    assert state(judge([], [done("exit_code", 2)], facts)) == (states.FAILED, "exit_code", 2)


@pytest.mark.parametrize("wished", [False, True])
def test_who_cancelled_is_told_by_the_managers_word_or_else_by_the_wish(wished):
    def verdict(word):
        row = done("cancelled_by_scheduler", 137)._replace(word=word)
        return tracking.judge(document(), [row], [row], {}, Age(), {}, True, wished)

    silent, root = verdict("failed 100"), verdict("CANCELLED by 0")
    assert silent.condition == ("cancelled_by_user" if wished else "cancelled_by_scheduler")
    assert ("its owner" in silent.message) is wished
    assert (root.state, root.condition) == (states.CANCELLED, "cancelled_by_scheduler")
    assert "an administrator" in root.message


# A manager that keeps nothing of a job that left its queue


def forgetful(queue, facts=None, age=None, wished=False):
    return tracking.judge(document(), queue, None, facts or {}, age or Age(), {}, False, wished)


@pytest.mark.parametrize(("code", "expected"), [(0, (states.FINISHED, "ok", 0)), (3, (states.FAILED, "exit_code", 3))])
def test_without_a_history_the_scripts_word_is_taken_at_once(code, expected):
    verdict = forgetful([], {None: Fact(1, True, code, 2)})
    assert state(verdict) == expected
    assert verdict.notes == []
    assert forgetful([live(base.RUNNING)], {None: Fact(1, True, code, 2)}).state == states.RUNNING


def test_without_a_history_a_job_that_left_without_a_word_is_lost_or_cancelled():
    for facts in ({}, {None: Fact(1)}):
        assert forgetful([], facts).state == ""
        assert forgetful([], facts, wished=True).state == ""
        assert state(forgetful([], facts, OLD)) == (states.FAILED, "lost", None)
        assert state(forgetful([], facts, OLD, wished=True)) == (states.CANCELLED, "cancelled_by_user", None)
    age = Age().after(1, forgetful([])).after(GRACE, forgetful([]))
    assert state(forgetful([], {}, age)) == (states.FAILED, "lost", None)


def test_without_a_history_a_killed_script_was_cancelled_only_when_that_was_wished():
    facts = {None: Fact(1, True, 143, 1, "TERM")}
    assert state(forgetful([], facts, wished=True)) == (states.CANCELLED, "cancelled_by_user", 143)
    assert state(forgetful([], facts)) == (states.FAILED, "exit_code", 143)
    assert state(forgetful([], {None: Fact(1, True, 0)}, wished=True)) == (states.FINISHED, "ok", 0)
    assert state(forgetful([], {None: Fact(1, True, 2)}, wished=True)) == (states.FAILED, "exit_code", 2)
    for code in (139, 152, 255):
        crashed = {None: Fact(1, True, code, signal="XCPU" if code == 152 else "")}
        assert state(forgetful([], crashed, wished=True)) == (states.FAILED, "exit_code", code)


def test_without_a_history_an_odd_word_or_no_answer_ends_nothing():
    assert forgetful([live(base.UNKNOWN)], {None: Fact(1, True, 0)}, OLD).state == ""
    assert forgetful(None, {None: Fact(1, True, 0)}, OLD).state == ""


# Arrays of other indices than 0 to n - 1, and arrays in parts


def odd_array(text, **fields):
    doc = document(**fields)
    doc["user_input"]["resources"] = {"array": text}
    return doc


def part(native_id, state_word, index=None, span=""):
    row = live(state_word, index, span=span)
    return row._replace(native_id=native_id)


def test_indices_need_not_be_dense():
    doc = odd_array("1,5-9:2%2")
    verdict = judge([live(base.WAITING, span="5-9:2%2"), live(base.RUNNING, 1)], doc=doc)
    assert verdict.job_status["JobID"] == ["7_1", "7_5", "7_7", "7_9"]
    assert verdict.job_status["State"] == ["RUNNING", "PENDING", "PENDING", "PENDING"]
    assert tracking.array_size(doc) == 4
    assert tracking.wanted(doc, [], {}) == ["7_1", "7_5", "7_7", "7_9"]
    history = [done("ok", 0, index) for index in (1, 5, 7)] + [done("exit_code", 3, 9)]
    assert state(judge([], history, doc=doc)) == (states.FAILED, "exit_code", 3)
    assert "element 9" in judge([], history, doc=doc).message


PARTS = [{"native_id": "7", "offset": 0, "span": "0-2"}, {"native_id": "8", "offset": 3, "span": "0-1"}]


def test_the_parts_of_an_array_are_one_job():
    doc = odd_array("0-4", native_id="7,8", parts=PARTS)
    rows = [part("7", base.RUNNING, 1), part("7", base.WAITING, span="2"), part("8", base.WAITING, span="0-1")]
    verdict = judge(rows, [done("ok", 0, 0)], doc=doc)
    assert verdict.state == states.RUNNING
    assert verdict.job_status["JobID"] == ["7_0", "7_1", "7_2", "8_0", "8_1"]
    assert verdict.job_status["State"] == ["COMPLETED", "RUNNING", "PENDING", "PENDING", "PENDING"]
    assert tracking.wanted(doc, rows, {}) == ["7_0"]
    assert tracking.wanted(doc, [], {}) == ["7_0", "7_1", "7_2", "8_0", "8_1"]
    history = [done("ok", 0, index) for index in range(3)]
    ended = [done("ok", 0, 0)._replace(native_id="8"), done("timeout", 0, 1)._replace(native_id="8")]
    verdict = judge([], history + ended, doc=doc)
    assert state(verdict) == (states.FAILED, "timeout", None)
    assert "element 4" in verdict.message
    assert judge([], history, doc=doc).unresolved == 2


def test_a_part_that_begins_elsewhere_is_read_back():
    doc = odd_array("0-3", native_id="7", parts=[{"native_id": "7", "offset": -1, "span": "1-4"}])
    history = [done("ok", 0, index) for index in (1, 2, 3)] + [done("exit_code", 5, 4)]
    verdict = judge([], history, {3: Fact(1, True, 5, 1)}, doc=doc)
    assert "element 3 ended with exit code 5 in `make`" in verdict.message
    assert verdict.job_status["JobID"] == ["7_1", "7_2", "7_3", "7_4"]


def test_ten_thousand_elements_in_parts_are_quick():
    rows = [{"native_id": str(number), "offset": 1000 * number, "span": "0-999"} for number in range(10)]
    doc = odd_array("0-9999", native_id=",".join(map(str, range(10))), parts=rows)
    queue = [part(str(number), base.WAITING, span="0-999%5") for number in range(10)]
    begin = time.monotonic()
    verdict = judge(queue, doc=doc)
    assert time.monotonic() - begin < 2
    assert verdict.state == states.QUEUED
    assert len(verdict.job_status["State"]) == 10
    assert tracking.wanted(doc, [], {}) == [str(number) for number in range(10)]


# What to ask, and for how long


def test_what_to_ask_the_accounting_for():
    doc = document(5)
    rows = [live(base.RUNNING, 0), done("ok", 0, 1), live(base.WAITING, span="3-4")]
    assert tracking.wanted(doc, rows, {}) == ["7_1", "7_2"]
    assert tracking.wanted(doc, rows, {1: rows[1], 2: rows[1]}) == []
    assert tracking.wanted(doc, None, {}) == []
    assert tracking.wanted(document(1000), [], {}) == ["7"]
    assert tracking.wanted(document(), [], {}) == ["7"]
    assert tracking.wanted(document(), [live(base.RUNNING)], {}) == []
    assert tracking.wanted(document(native_id=None), [], {}) == []


def test_doubt_ages_by_answers_only():
    silent = judge([], [])
    age = Age().after(1000, silent)
    assert age == Age(0, 0, 1)
    age = age.after(30, silent)
    assert age == Age(30, 30, 1)
    age = age.after(30, judge([], None))
    assert age == Age(60, 30, 1)
    assert age.after(1e6, silent).silent == 30 + tracking.ROUND
    assert age.after(1, judge([live(base.RUNNING)])) == Age()
    assert Age(50, 50, 1).after(10, array(size=3)) == Age(0, 0, 3)


def test_facts_of_files():
    texts = {
        "started.1": "time 2026-11-21T10:00:00Z\nnode n1\nnative_id 7\n",
        "ended.1": "exit_code 143\ncommand 2\nsignal TERM\ntime 2026-11-21T10:00:05Z\n",
        "started.2": "time 2026-11-21T10:01:00Z\nnode n2\n",
        "started.1.4": "",
        "ended.1.4": "exit_code 0\ncommand 1\ntime x\n",
        "ended.3.5": "torn",
        ".ended.1.6.123": "exit_code 9\n",
        "notes": "x",
    }
    assert ends.read_facts(texts) == {
        None: Fact(2, started_at="2026-11-21T10:01:00Z", node="n2"),
        4: Fact(1, True, 0, 1, ended_at="x"),
        5: Fact(3),
    }


ROWS = st.lists(
    st.one_of(
        st.builds(live, st.sampled_from([base.WAITING, base.HELD, base.RUNNING, base.UNKNOWN]), st.integers(0, 3)),
        st.builds(done, st.sampled_from(sorted(WORDS)), st.sampled_from([None, 0, 3]), st.integers(0, 3)),
    ),
    max_size=6,
)
FACT = st.builds(
    lambda run, ended, code, condition: Fact(run, ended, code, condition=condition),
    st.integers(1, 3), st.booleans(), st.sampled_from([0, 3]), st.sampled_from(["", "", "timeout"]),
)  # fmt: skip
FACTS = st.dictionaries(st.integers(0, 3), FACT)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(st.none(), ROWS), st.one_of(st.none(), ROWS), FACTS, st.sampled_from([Age(), OLD, Age(LOST, LOST, 4)]))
def test_no_element_ends_well_without_a_witness(queue, history, facts, age):
    verdict = judge(queue, history, facts, age, doc=document(4))
    assert verdict.state in (
        "",
        states.QUEUED,
        states.PAUSED,
        states.RUNNING,
        states.FINISHED,
        states.FAILED,
        states.CANCELLED,
    )
    assert verdict.condition is None or verdict.condition in states.CONDITIONS
    rows = list(queue or ()) + list(history or ())
    for index, element in verdict.ended.items():
        said = any(row.index == index and row.condition == "ok" for row in rows)
        wrote = index in facts and facts[index].ended and facts[index].exit_code == 0
        assert element.condition != "ok" or said or wrote
    if verdict.state in states.FINAL:
        assert sorted(verdict.ended) == [0, 1, 2, 3]
        last = {row.index: row for row in queue}
        assert all(row.state == base.DONE or row.state == base.UNKNOWN for row in last.values())
