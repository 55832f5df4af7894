"""What an agent answers is believed as far as it makes sense."""

from project.core import history
from project.engine import sync

UUID = "11111111-2222-4333-8444-555555555555"


class Link:
    """Says for ever that there is more, and brings it once."""

    def __init__(self):
        self.asked = []

    def request(self, op, **fields):
        assert len(self.asked) < 20
        self.asked.append((op, fields))
        events = [history.make("agent", 1, "note", message="only")] if len(self.asked) == 1 else []
        return {"jobs": {UUID: {"known": True, "events": events}}, "more": True}


def test_more_without_an_event_is_no_more(engine):
    engine.api.create(history.new_document(UUID, {"destination_cluster": "local", "job": "job", "execution": ["true"]}))
    link = Link()
    assert sync.collect(engine.context, link, {"name": "local"}, [engine.api.job(UUID)]) == [UUID]
    assert len(link.asked) == 2
    assert [event["message"] for event in engine.api.events(UUID) if event["source"] == "agent"] == ["only"]
