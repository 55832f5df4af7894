"""The client's events: in order, and no thread stays for a job whose submission is over."""

import threading
import time

from project.engine import journal


class Api:
    """Takes events in memory."""

    def __init__(self):
        self.messages = []

    def report(self, uuid, events, status):
        self.messages += [event["message"] for event in events]
        return {}


def journals():
    return [thread for thread in threading.enumerate() if thread.name == "journal"]


def test_its_thread_ends_when_there_is_nothing_to_do_and_comes_again(monkeypatch):
    monkeypatch.setattr(journal, "LINGER", 0.02)
    api = Api()
    several = [journal.Journal(api, str(number)) for number in range(5)]
    for each in several:
        each.add("note", message="a")
        each.flush()
    deadline = time.monotonic() + 30
    while journals():
        assert time.monotonic() < deadline, "a thread for each job that was ever submitted"
        time.sleep(0.01)
    for number in range(200):
        several[0].add("note", message=str(number))
        if number % 20 == 0:
            several[0].flush()
            time.sleep(0.015)
    several[0].flush()
    assert api.messages == ["a"] * 5 + [str(number) for number in range(200)]
