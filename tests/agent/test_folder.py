import json
import os
import threading
from pathlib import Path

import pytest

from helpers.agent_client import new_uuid
from project.agent import plans
from project.agent.folder import Folder
from project.core import states
from project.core.errors import UserError


@pytest.fixture
def folder(tmp_path):
    found = Folder(str(tmp_path / "jobs"), new_uuid())
    found.create()
    return found


def lines(path):
    with open(path, encoding="utf-8") as stream:
        return stream.read().splitlines()


def test_an_event_is_on_disk_before_the_record_shows_it(folder):
    with folder.change() as change:
        change.move(states.STAGING_INPUTS)
        change.move(states.SUBMITTING)
    assert [json.loads(line)["seq"] for line in lines(folder.paths.events)] == [1, 2]
    assert folder.read().state == states.SUBMITTING
    assert folder.read().seq == 2


def test_nothing_is_written_when_the_block_fails(folder):
    with pytest.raises(ZeroDivisionError):
        with folder.change() as change:
            change.move(states.STAGING_INPUTS)
            raise ZeroDivisionError
    assert folder.read().state == states.PENDING
    assert not os.path.exists(folder.paths.events)


def test_a_record_that_lags_behind_is_folded_up(folder):
    folder.note("note", message="first")
    record = Path(folder.paths.record).read_text()
    with folder.change() as change:
        change.move(states.QUEUED, set={"native_id": "7"})
    with open(folder.paths.record, "w") as stream:
        stream.write(record)
    assert folder.read().state == states.QUEUED
    assert folder.read().document["native_id"] == "7"
    assert folder.note("note", message="third")["seq"] == 3


@pytest.mark.parametrize("damage", ["", "{", "null", "[]"])
def test_a_broken_record_is_made_anew_from_the_events(folder, damage):
    with folder.change() as change:
        change.move(states.QUEUED, set={"native_id": "7"})
    with open(folder.paths.record, "w") as stream:
        stream.write(damage)
    assert folder.read().state == states.QUEUED
    assert folder.read().seq == 1


def test_a_line_that_was_cut_off_is_not_read_and_is_mended_by_the_next_writer(folder):
    folder.note("note", message="whole")
    with open(folder.paths.events, "a") as stream:
        stream.write('{"id": "x", "seq": 2, "kind": "note", "mess')
    assert folder.read().seq == 1
    assert folder.note("note", message="next")["seq"] == 2
    assert [json.loads(line)["message"] for line in lines(folder.paths.events)] == ["whole", "next"]


def test_a_first_line_that_was_cut_off_is_mended_too(folder):
    with open(folder.paths.events, "w") as stream:
        stream.write('{"id"')
    assert folder.note("note", message="next")["seq"] == 1
    assert len(lines(folder.paths.events)) == 1


def test_rubbish_between_the_lines_is_passed_over(folder):
    folder.note("note", message="one")
    with open(folder.paths.events, "ab") as stream:
        stream.write(b"\x00\x00\x00\n")
    folder.note("note", message="two")
    events, more = folder.events_after(0, 10**6)
    assert [event["message"] for event in events] == ["one", "two"]
    assert not more


def test_events_come_in_bounded_portions(folder):
    for number in range(10):
        folder.note("note", message="x" * 100 + str(number))
    got, more, seq = [], True, 0
    while more:
        events, more = folder.events_after(seq, 600)
        assert events
        seq = events[-1]["seq"]
        got += events
    assert [event["seq"] for event in got] == list(range(1, 11))
    offset, again = 0, []
    while True:
        events, offset = folder.events_from(offset, 600, 3)
        if not events:
            break
        again += events
    assert again == got


def test_many_writers_leave_whole_lines_numbered_once(folder):
    def write(name):
        for number in range(20):
            folder.note("note", message="{} {}".format(name, number))

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [json.loads(line)["seq"] for line in lines(folder.paths.events)] == list(range(1, 81))


def test_a_final_state_stays(folder):
    with folder.change() as change:
        assert change.move(states.FAILED, condition="requirements_failed", message="no")
        assert not change.move(states.QUEUED)
        assert not change.move(states.CANCELLED)
    assert folder.read().document["condition"] == "requirements_failed"
    assert len(lines(folder.paths.events)) == 1


def test_status_csv_has_psiks_words_and_no_row_twice(folder):
    with folder.change() as change:
        for state in (states.STAGING_INPUTS, states.SUBMITTING):
            change.move(state)
        change.move(states.QUEUED, set={"native_id": "41"})
    with open(folder.paths.status_csv, "a") as stream:
        stream.write("1,1,active,0\n1,1,failed,3\n")
    with folder.change() as change:
        change.move(states.RUNNING)
        change.move(states.FAILED, exit_code=3)
    rows = [line.split(",") for line in lines(folder.paths.status_csv)]
    assert [row[2:] for row in rows] == [["new", "0"], ["queued", "41"], ["active", "0"], ["failed", "3"]]
    assert all(float(row[0]) > 0 for row in rows)
    assert [row[1] for row in rows] == ["0", "1", "1", "1"]


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "x" * 36, "ABCDEF00-0000-0000-0000-000000000000\n", None])
def test_only_a_uuid_becomes_a_folder(tmp_path, name):
    with pytest.raises(UserError):
        Folder(str(tmp_path), name)


def test_a_plan_waits_longer_each_time_and_ends():
    plan, now = None, 1000.0
    pauses = []
    for _ in range(30):
        plan = plans.following(plan, "scheduler", {"scheduler": 3600}, now)
        if plan is None:
            break
        assert not plans.due(plan, now)
        pauses.append(plans.seconds(plan["next"]) - now)
        now = plans.seconds(plan["next"])
        assert plans.due(plan, now)
    assert plan is None
    assert pauses[:4] == [2, 4, 8, 16]
    assert max(pauses) <= plans.LONGEST
    assert now <= 4700
