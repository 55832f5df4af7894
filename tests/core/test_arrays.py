"""Arrays that do not go into one array of the workload manager."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from project.core import arrays, schedulers
from project.core.arrays import Part, split
from project.core.errors import UserError
from project.core.resources import Array, parse_array
from project.core.schedulers.base import Limit, Scheduler
from project.core.script import job_name

SMALL = Limit(10, 9)


class Manager(Scheduler):
    def __init__(self, lowest: int = 0, lists: bool = True, steps: bool = True) -> None:
        self.name = "it"
        self.lowest_index = lowest
        self.array_lists = lists
        self.array_steps = steps


def parts(text, limit=SMALL, **manager):
    return [tuple(part) for part in split(parse_array(text), limit, Manager(**manager))]


def test_what_fits_stays_as_it_is():
    assert parts("0-9%2") == [(0, "0-9", 2)]
    assert parts("1,5-9:2") == [(0, "1,5-9:2", None)]
    assert parts("0-99999", Limit()) == [(0, "0-99999", None)]


def test_more_elements_than_one_array_may_have():
    assert parts("0-24") == [(0, "0-9", None), (10, "0-9", None), (20, "0-4", None)]
    assert parts("0-24", Limit(10, None)) == [(0, "0-9", None), (0, "10-19", None), (0, "20-24", None)]


def test_an_index_above_the_highest_is_moved():
    assert parts("15") == [(15, "0", None)]
    assert parts("2-4,100,102") == [(0, "2-4", None), (100, "0,2", None)]
    assert parts("0-90:10", Limit(100, 50)) == [(0, "0-50:10", None), (60, "0-30:10", None)]


def test_an_index_below_the_lowest_is_moved():
    assert parts("0-3", lowest=1) == [(-1, "1-4", None)]
    assert parts("1-4", lowest=1) == [(0, "1-4", None)]


def test_lists_become_several_arrays_where_there_are_none():
    assert parts("1,5-8%3", lists=False) == [(0, "1", 1), (0, "5-8", 2)]
    assert parts("0-8:2", lists=False) == [(0, "0-8:2", None)]
    assert len(parts("0-8:2", lists=False, steps=False)) == 5
    assert parts("0-8:4", steps=False) == [(0, "0,4,8", None)]
    assert parts("3-5,4-7", lists=False) == [(0, "3-7", None)]


def test_the_throttle_is_shared_and_never_more_in_sum():
    shares = [part[2] for part in parts("0-24%7")]
    assert sum(shares) == 7
    assert shares[0] >= shares[2]
    with pytest.raises(UserError, match="3 of them"):
        parts("0-24%2")


def test_far_too_many_parts_are_refused():
    with pytest.raises(UserError, match="more than 200 arrays"):
        parts("0-9000:3", lists=False, steps=False)


def test_the_limit_of_a_cluster():
    assert arrays.limit_of(Manager(), {}) is None
    assert arrays.limit_of(Manager(), {"max_array_size": 21}) == Limit(21, 20)
    assert arrays.limit_of(Manager(lowest=1), {"max_array_size": 21}) == Limit(21, 21)
    assert arrays.common(parse_array("0-999"))
    assert not arrays.common(parse_array("0-1000"))
    assert not arrays.common(parse_array("5000"))


def test_what_the_document_says():
    assert arrays.fields([Part(0, "0-9")], ["7"]) == {"native_id": "7"}
    assert arrays.placed(arrays.fields([Part(0, "0-9")], ["7"])) == [arrays.Placed("7")]
    two = arrays.fields([Part(0, "0-9"), Part(10, "0-4")], ["7", "8"])
    assert two["native_id"] == "7,8"
    assert arrays.placed(two) == [arrays.Placed("7", 0, "0-9"), arrays.Placed("8", 10, "0-4")]
    assert arrays.fields([Part(-1, "1-4")], ["7"])["parts"] == [{"native_id": "7", "offset": -1, "span": "1-4"}]
    assert arrays.placed({}) == []


INDICES = st.lists(st.integers(0, 3000), min_size=1, max_size=60, unique=True)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(INDICES, st.integers(1, 40), st.sampled_from([None, 0, 20]), st.booleans(), st.booleans(), st.integers(0, 1))
def test_every_element_is_in_one_part_and_every_part_fits(indices, elements, extra, lists, steps, lowest):
    limit = Limit(elements, None if extra is None else elements + lowest + extra)
    array = Array(",".join(map(str, sorted(indices))), 90)
    found = split(array, limit, Manager(lowest, lists, steps))
    seen = []
    for part in found:
        own = part.array().indices()
        assert 0 < len(own) <= elements
        assert own[0] >= lowest
        assert limit.highest is None or own[-1] <= limit.highest
        assert lists or "," not in part.span
        assert steps or ":" not in part.span
        seen += [index + part.offset for index in own]
    assert seen == sorted(indices)
    assert sum(part.throttle for part in found) <= 90


def test_a_list_that_is_too_long_for_the_managers_words_becomes_several():
    lsf = schedulers.get("lsf")
    wanted = Array(",".join(str(number * number) for number in range(1, 100)))
    found = split(wanted, Limit(), lsf)
    assert len(found) > 1
    assert all(len(part.span) <= lsf.longest_span for part in found)
    assert [index + part.offset for part in found for index in part.array().indices()] == list(wanted.indices())
    assert len(split(wanted, Limit(), schedulers.get("slurm"))) == 1
    name = job_name(arrays.part_name("0" * 36, arrays.MOST_PARTS), "n" * 100)
    assert len("{}[{}]%999999999".format(name, "x" * lsf.longest_span)) <= 255
