from datetime import datetime, timezone

import pytest

from project.render import text, times

HOSTILE = "a\x1b[31mred\x1b]0;title\x07\x00\x9b2J\r\nb\u202ec\ud800[red]"


def test_a_hostile_line_becomes_harmless_and_stays_readable():
    shown = text.clean(HOSTILE)
    assert "\x1b" not in shown
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in shown)
    assert "\u202e" not in shown
    assert shown.startswith("a\\x1b[31mred")
    # rich's markup is only text: it is never given to rich as markup
    assert shown.endswith("[red]")
    shown.encode("utf-8")


def test_a_block_keeps_its_lines_and_nothing_else():
    assert text.clean_block("a\tb\r\nc\x07") == "a   b\nc\\x07"


@pytest.mark.parametrize(("colour", "expected"), [(True, "\x1b[31mred\x1b[0m\n"), (False, "red\n")])
def test_a_log_keeps_its_colours_only_if_wanted(colour, expected):
    assert text.clean_stream("\x1b[31mred\x1b[0m\n", colour=colour) == expected


def test_a_log_cannot_move_the_cursor_or_set_the_title():
    shown = text.clean_stream("a\x1b[2J\x1b]0;x\x07b\tc\r\n", colour=True)
    assert shown == "a\\x1b[2J\\x1b]0;x\\x07b\tc\n"


@pytest.mark.parametrize(("word", "columns"), [("abc", 3), ("é", 1), ("日本", 4), ("e\u0301", 1)])
def test_width_counts_columns(word, columns):
    assert text.width(word) == columns


@pytest.mark.parametrize("columns", range(12))
def test_cut_fits(columns):
    for word in ("abcdefghijkl", "日本語日本語", "ab"):
        assert text.width(text.cut(word, columns)) <= columns


@pytest.mark.parametrize("columns", range(2, 9))
def test_a_folded_line_loses_nothing(columns):
    for word in ("", "export  A=1 # two spaces", "日本語 e\u0301 日本語"):
        pieces = text.folded(word, columns)
        assert "".join(pieces) == word
        assert all(text.width(piece) <= columns for piece in pieces)


def test_what_a_program_printed_keeps_its_spaces():
    line = '  File "/home/jdoe/.jobferry/jobs/' + "x" * 60 + '", line 3'
    first, second = text.quoted(line, 80)
    assert first.startswith('  |   File "/home') and len(first) == 80
    assert first.removeprefix("  | ") + second.removeprefix("  ┊ ") == line
    assert text.quoted(line, 0) == ["  | " + line]


def test_a_path_too_long_for_its_column_has_a_line_of_its_own():
    path = "$HOME/.jobferry/jobs/1f2e3d4c-0000-4000-8000-000000000000/work"
    shown = text.fields([("working directory", path), ("workload manager", "slurm")], columns=81, below=True)
    assert shown.split("\n") == ["working directory  " + path, "workload manager   slurm"]
    assert text.fields([("working directory", path)], columns=60) == "working directory  " + path
    shown = text.fields([("working directory", path), ("workload manager", "slurm")], columns=80, below=True)
    assert shown.split("\n") == ["working directory", "  " + path, "workload manager   slurm"]


def test_a_table_fits_and_cuts_the_columns_that_may_shrink():
    rows = [("1f2e3d4c", "FINISHED", "cluster" * 10, "name" * 20)]
    shown = text.table(("JOB", "STATE", "CLUSTER", "NAME"), rows, columns=60, shrink=(2, 3))
    assert all(len(line) <= 60 for line in shown.splitlines())
    assert "1f2e3d4c  FINISHED" in shown
    assert "…" in shown


def test_a_table_paints_only_with_a_palette():
    palette = text.Palette(enabled=True)
    paint = {0: {"FAILED": "red"}}
    assert "\x1b[31mFAILED\x1b[0m" in text.table(("STATE",), [("FAILED",)], palette=palette, paint=paint)
    assert "\x1b" not in text.table(("STATE",), [("FAILED",)], paint=paint)


def test_fields_leave_out_what_is_empty_and_wrap_the_rest():
    shown = text.fields(
        [("name", "x"), ("none", None), ("empty", ""), ("zero", "0"), ("long", "word " * 40)], columns=60
    )
    assert "none" not in shown
    assert "empty" not in shown
    assert "zero  0" in shown
    assert all(len(line) <= 60 for line in shown.splitlines())


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0.0 s"), (0.34, "0.3 s"), (42, "42 s"), (185, "3 min 5 s"), (7800, "2 h 10 min"), (273600, "3 d 4 h")],
)
def test_seconds(count, expected):
    assert text.seconds(count) == expected


@pytest.mark.parametrize(("count", "expected"), [(0, "0 B"), (512, "512 B"), (1536, "1.5 KiB"), (2**41, "2.0 TiB")])
def test_size(count, expected):
    assert text.size(count) == expected


def test_wrapping_keeps_commands_whole():
    shown = text.wrap("Follow it again with `python -m project watch 1f2e3d4c` now", 40)
    assert shown == ["Follow it again with", "`python -m project watch 1f2e3d4c` now"]
    assert text.wrap("a\n\nb", 10) == ["a", "", "b"]


def test_age_and_moments():
    now = datetime(2026, 11, 21, 12, 0, 0, tzinfo=timezone.utc)
    ages = {"2026-11-21T11:59:48.000Z": "12s", "2026-11-21T11:00:00.000Z": "1h", "2026-11-19T11:00:00Z": "2d"}
    for moment, expected in ages.items():
        assert times.age(moment, now) == expected
    assert times.age("2026-11-21T11:55:00", now) == "5m"
    assert times.age(None) == "-"
    assert times.local("rubbish\x1b") == "rubbish\\x1b"
    assert times.between("2026-11-21T11:00:00.000Z", "2026-11-21T11:00:01.500Z") == 1.5
    assert times.between(None, "2026-11-21T11:00:01.500Z") is None
