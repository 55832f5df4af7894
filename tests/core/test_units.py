import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from project.core import schema, units
from project.core.errors import UserError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1d2h30m", 95400),
        ("90s", 90),
        ("10m", 600),
        ("26h", 93600),
        ("366d", 366 * 86400),
        ("1D 2H", 93600),
        (" 1d ", 86400),
        ("0d1s", 1),
        ("1:30", 90),
        ("90:00", 5400),
        ("02:30:00", 9000),
        ("100:00:00", 360000),
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("1-02:30:05", 95405),
    ],
)
def test_a_duration_in_seconds(text, seconds):
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "not a duration"),
        ("30", "write 30m for minutes or 30s"),
        ("10x", "no unit 'x'"),
        ("10 min", "no unit 'min'"),
        ("2h1d", "not a duration"),
        ("1h1h", "not a duration"),
        ("-1h", "negative"),
        ("0s", "zero"),
        ("00:00", "zero"),
        ("1:60", "too large"),
        ("1-24:00", "too large"),
        ("1:60:00", "too large"),
        ("4000d", "ten years"),
        ("1.5h", "not a duration"),
        ("1h\n#SBATCH", "not a duration"),
        ("1h\n", "not a duration"),
        ("٣m", "not a duration"),
        ("UNLIMITED", "not a duration"),
    ],
)
def test_a_wrong_duration_says_why(text, word):
    with pytest.raises(UserError) as caught:
        units.parse_duration(text)
    assert word in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2625M", 2625 * 1024**2),
        ("4G", 4 * 1024**3),
        ("1K", 1024),
        ("1KiB", 1024),
        ("1T", 1024**4),
        ("1TiB", 1024**4),
        ("10 MB", 10 * 1024**2),
        ("4g", 4 * 1024**3),
    ],
)
def test_memory_in_bytes(text, size):
    assert units.parse_memory(text) == size


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "not an amount"),
        ("100", "write 100M or 100G"),
        ("0G", "zero"),
        ("-4G", "negative"),
        ("4X", "no unit 'X'"),
        ("4 gigs", "no unit 'gigs'"),
        ("1.5G", "not an amount"),
        ("4G\n", "not an amount"),
        ("9999999999T", "exabyte"),
    ],
)
def test_wrong_memory_says_why(text, word):
    with pytest.raises(UserError) as caught:
        units.parse_memory(text)
    assert word in str(caught.value)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(1, units.LONGEST))
def test_every_duration_survives_both_of_its_texts(seconds):
    assert units.parse_duration(units.duration_text(seconds)) == seconds
    assert units.parse_duration(units.clock(seconds)) == seconds


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(1, units.MOST // 1024))
def test_every_amount_of_memory_survives_its_text(kib):
    assert units.parse_memory(units.memory_text(kib * 1024)) == kib * 1024


def test_memory_is_rounded_up_and_written_with_the_largest_unit():
    assert units.memory_text(1) == "1K"
    assert units.memory_text(1025) == "2K"
    assert units.memory_text(1024**4) == "1T"
    assert units.memory_text(1536 * 1024**2) == "1536M"


def test_the_texts_people_read():
    assert units.duration_text(95400) == "1d2h30m"
    assert units.duration_text(0) == "0s"
    assert units.clock(95400) == "1-02:30:00"
    assert units.clock(59) == "00:00:59"


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(alphabet="0123456789dhmsDMGKTiB:- \n", max_size=12))
def test_the_schema_takes_the_same_texts(text):
    resources = schema.load("input")["properties"]["resources"]["properties"]
    for key, parse in (("duration", units.parse_duration), ("memory_per_thread", units.parse_memory)):
        fits = re.search(resources[key]["pattern"], text) is not None
        try:
            parse(text)
        except UserError as error:
            assert not fits or re.search("zero|years|exabyte|too large", str(error))
        else:
            assert fits


def test_the_schema_holds_the_expressions_of_this_module():
    resources = schema.load("input")["properties"]["resources"]["properties"]
    end = r"(?![\s\S])"
    assert resources["duration"]["pattern"] == f"^(?:{units.DURATION_UNITS}|{units.DURATION_CLOCK}){end}"
    assert resources["memory_per_thread"]["pattern"] == f"^(?:{units.MEMORY}){end}"
    assert json.dumps(resources)
