"""Events: made whole, applied purely, cut into batches."""

import json

from hypothesis import given
from hypothesis import strategies as st

from project.core import history, states


def test_a_made_event_is_valid_and_leaves_out_what_is_none():
    event = history.make("agent", 1, "state", state=states.QUEUED, condition=None)
    assert history.valid(event) is None
    assert "condition" not in event


def test_nonsense_is_named():
    good = history.make("agent", 1, "state", state=states.QUEUED)
    for key, value in [
        ("id", ""),
        ("source", "moon"),
        ("kind", "x"),
        ("seq", "1"),
        ("seq", True),
        ("time", 3),
        ("message", 3),
        ("set", []),
        ("data", "x"),
        ("exit_code", "1"),
        ("state", "DREAMING"),
        ("condition", "tired"),
    ]:
        problem = history.valid({**good, key: value})
        assert problem is not None, key
        assert problem.startswith(key)
    assert history.valid([]) == "an event is an object"


def test_an_event_changes_a_copy_and_sets_only_what_it_may():
    document = history.new_document("u", {"name": "x"}, owner="ann")
    event = history.make("agent", 1, "native", set={"native_id": "7", "owner": "eve", "job_uuid": "v"})
    changed, applied = history.fold(document, event)
    assert applied
    assert (changed["native_id"], changed["owner"], changed["job_uuid"]) == ("7", "ann", "u")
    assert document["native_id"] is None


def test_an_illegal_change_leaves_the_state_and_says_so():
    document = {**history.new_document("u", {}), "state": states.FINISHED, "condition": "ok"}
    event = history.make("agent", 1, "state", state=states.RUNNING, set={"native_id": "8"})
    changed, applied = history.fold(document, event)
    assert not applied
    assert (changed["state"], changed["native_id"]) == (states.FINISHED, None)


def test_a_plan_goes_when_the_job_goes_on():
    document = history.new_document("u", {})
    plan = {"cause": "x"}
    blocked, _ = history.fold(document, history.make("agent", 1, "state", state=states.BLOCKED, set={"plan": plan}))
    assert blocked["plan"] == plan
    queued, _ = history.fold(blocked, history.make("agent", 2, "state", state=states.QUEUED))
    assert queued["plan"] is None


@given(st.lists(st.integers(0, 3000), max_size=30), st.integers(200, 5000), st.integers(1, 10))
def test_batches_keep_all_in_order_within_the_limits(sizes, limit, count):
    events = [{"n": number, "text": "x" * length} for number, length in enumerate(sizes)]
    cut = list(history.batches(events, limit, count))
    assert [event for batch in cut for event in batch] == events
    for batch in cut:
        assert 0 < len(batch) <= count
        assert len(batch) == 1 or sum(len(json.dumps(event)) for event in batch) <= limit


def test_a_late_message_of_a_job_that_lived_does_not_change_how_it_ended():
    document = history.new_document("503d3f77-a21b-4e52-86c4-eec0f0cd9c16", {}, state="RUNNING")
    told = history.make("agent", 1, "native", set={"message": "1 of 2 elements run"})
    document, _ = history.fold(document, told)
    assert document["message"] == "1 of 2 elements run"
    document, _ = history.fold(document, history.make("agent", 2, "state", state="FAILED", message="the end"))
    assert history.fold(document, told)[0]["message"] == "the end"
