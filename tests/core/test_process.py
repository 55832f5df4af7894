"""Programs: run to their end, bounded, nothing left behind, no secret handed on."""

import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from project.core import process


def test_a_line_is_the_shells_and_both_streams_are_kept_apart():
    done = process.run("echo out; echo err >&2; exit 3")
    assert (done.exit_status, done.text(), done.errors()) == (3, "out\n", "err\n")
    assert not done.timed_out


def test_much_input_and_output_do_not_block():
    done = process.run("cat; head -c 300000 /dev/zero >&2", stdin=b"x" * 1_000_000)
    assert (len(done.stdout), len(done.stderr)) == (1_000_000, 300_000)


def test_a_program_need_not_read_its_input():
    assert process.run("exit 0", stdin=b"x" * 1_000_000).exit_status == 0


def test_a_timeout_ends_the_whole_group(tmp_path):
    begin = time.monotonic()
    done = process.run("sleep 100 & echo $! > pid; wait", cwd=str(tmp_path), timeout=0.5)
    assert done.timed_out
    assert time.monotonic() - begin < 20
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and _runs(child):
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_wish_to_stop_is_heard():
    done = process.run("sleep 100", stop=lambda: True)
    assert done.stopped
    assert not done.timed_out


def test_a_background_child_does_not_hold_us(tmp_path):
    begin = time.monotonic()
    done = process.run("sleep 60 & echo $!", cwd=str(tmp_path))
    os.kill(int(done.text()), 9)
    assert done.exit_status == 0
    assert time.monotonic() - begin < 30


def test_only_the_end_is_kept_within_the_limit_but_all_is_seen():
    seen = []
    done = process.run("seq 1 100000", limit=100, on_output=seen.append)
    assert len(done.stdout) == 100
    assert done.text().endswith("99999\n100000\n")
    assert b"".join(seen).startswith(b"1\n2\n3\n")


def test_a_missing_program_is_an_oserror():
    with pytest.raises(OSError, match="no-such-program"):
        process.run(["/no-such-program"])


def test_our_credentials_are_not_handed_on(monkeypatch):
    for name in process.SECRET_VARIABLES:
        monkeypatch.setenv(name, "sesame")
    monkeypatch.setenv("KEPT", "1")
    text = process.run("env").text()
    assert "sesame" not in text
    assert "KEPT=1" in text


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=30))
def test_a_quoted_text_is_one_word_as_it_was(text):
    done = process.run("printf %s " + process.quote(text))
    assert done.stdout == text.encode()
