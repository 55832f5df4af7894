"""The table of states: whole, and a final state never changes."""

from hypothesis import given
from hypothesis import strategies as st

from project.core import history, states

any_state = st.sampled_from(states.STATES)


def test_every_state_has_its_successors_and_psik_word():
    assert set(states.SUCCESSORS) == set(states.STATES) == set(states.PSIK_WORDS)
    for followers in states.SUCCESSORS.values():
        assert followers <= set(states.STATES)


def test_no_state_follows_itself_and_every_live_one_can_end():
    for state in states.STATES:
        assert not states.may_follow(state, state)
    for state in states.LIVE:
        assert states.may_follow(state, states.FAILED)
        assert states.may_follow(state, states.CANCELLED)


def test_an_unknown_state_leads_nowhere():
    assert not states.may_follow("DREAMING", states.FAILED)


@given(st.lists(any_state, max_size=20))
def test_a_final_state_never_changes_whatever_is_reported(reported):
    document = history.new_document("u", {})
    ended = None
    for number, state in enumerate(reported, 1):
        event = history.make("agent", number, "state", state=state, condition="ok", exit_code=number, message=state)
        before = dict(document)
        document, applied = history.fold(document, event)
        if not applied:
            assert document["state"] == before["state"]
        if ended is not None:
            kept = {key: document[key] for key in ("state", "condition", "exit_code", "message")}
            assert kept == ended
        elif document["state"] in states.FINAL:
            ended = {key: document[key] for key in ("state", "condition", "exit_code", "message")}
