"""What somebody at a terminal of 80 columns sees and is asked."""

import os
import signal

import pytest

from helpers.calling import Terminal, call, until


@pytest.fixture(scope="module")
def good(submit):
    return submit("hello", ended=True)


def fits(screen):
    return all(len(line.split("\r")[-1].rstrip()) <= 80 for line in screen.split("\n"))


def test_a_submission_shows_its_steps_with_their_times_and_the_id_last(folder):
    terminal = Terminal("-u", "hello.yml", "--wait")
    screen = terminal.end()
    for step in ("✓ Connecting to local", "✓ Submitting to local", "✓ Waiting for job"):
        assert step in screen
    assert screen.rstrip("\n").rpartition("\n")[2].startswith("Your submission ID = ")
    assert b"\x1b[32m" in terminal.raw


@pytest.mark.parametrize(("words", "env"), [(("--no-color",), {}), ((), {"NO_COLOR": "1"}), ((), {"TERM": "dumb"})])
def test_no_color_means_no_colours_and_one_line_a_step(folder, words, env):
    terminal = Terminal("submit", "hello.yml", *words, env=env)
    screen = terminal.end()
    assert b"\x1b[3" not in terminal.raw
    assert "Connecting to local\nSubmitting to local\n" in screen


def test_the_list_on_a_terminal_has_short_ids_and_fits(good):
    screen = Terminal("ls").end()
    assert good[:8] in screen
    assert good not in screen
    assert fits(screen)


def test_an_error_is_wrapped_and_its_command_stays_whole(folder):
    screen = Terminal("status", "00000000-0000-4000-8000-000000000000").end(code=2)
    assert fits(screen)
    assert "`python -m project ls`" in screen


def test_acting_on_many_asks_and_no_means_nothing(good):
    call("tag", good, "ask=1")
    terminal = Terminal("rm", "-l", "ask=1")
    terminal.expect("Remove 1 job? [y/N]")
    terminal.type("maybe\n")
    terminal.expect("Please type y or n.")
    terminal.type("n\n")
    assert "Nothing was done." in terminal.end(code=2)
    assert call("status", good, "-q").out == good + "\n"


def test_acting_on_many_does_it_after_a_yes(submit):
    submit("hello", "--tag", "gone=1", ended=True)
    terminal = Terminal("rm", "-l", "gone=1")
    terminal.expect("[y/N]")
    terminal.type("y\n")
    assert "removed." in terminal.end()
    assert call("ls", "-l", "gone=1", "-q").out == ""


def test_no_input_never_asks(good):
    screen = Terminal("rm", "--state", "FINISHED", "--no-input").end(code=2)
    assert "--yes" in screen


def test_init_asks_and_writes_what_was_answered(folder, tmp_path):
    terminal = Terminal("init", cwd=tmp_path)
    (tmp_path / "run.sh").write_text("echo hi\n")
    for question, answer in (
        ("A name for the job", "my job"),
        ("The cluster (local)", "lcal"),
        ("There is no cluster lcal.", "local"),
        ("The job: a file", "run.sh"),
        ("The command", "sh run.sh > 'out put.txt' # \"x\""),
        ("The file to bring back", "out put.txt"),
        ("The longest time", ""),
        ("Your mail address", ""),
    ):
        terminal.expect(question)
        terminal.type(answer + "\n")
    assert "Wrote input.yml." in terminal.end()
    os.chdir(folder)
    uuid = call("-u", tmp_path / "input.yml", "--wait", "--json").data["job_uuid"]
    call("-r", uuid, "-o", tmp_path)
    assert (tmp_path / "out put.txt").read_text() == "hi\n"


def test_a_log_cannot_command_the_terminal(submit):
    line = "printf 'a\\033[2Jb\\033]0;title\\007 \\033[31mred\\033[0m [red]\\n'"
    uuid = submit("hello", "--set", f"execution={line}", ended=True)
    terminal = Terminal("logs", uuid)
    terminal.end()
    assert b"\x1b[2J" not in terminal.raw
    assert b"\x1b]0" not in terminal.raw
    assert b"a\\x1b[2Jb\\x1b]0;title\\x07 \x1b[31mred\x1b[0m [red]" in terminal.raw
    assert call("logs", uuid).out == "a\x1b[2Jb\x1b]0;title\x07 \x1b[31mred\x1b[0m [red]\n"


def test_following_a_log_shows_it_as_it_grows_until_the_end(submit):
    uuid = submit("hello", "--set", "execution=['echo one', 'while test ! -e go; do sleep 0.1; done; echo two']")
    terminal = Terminal("logs", uuid, "-f")
    terminal.expect("one")
    document = call("status", uuid, "--json").data
    with open(os.path.join(document["working_directory"], "go"), "w"):
        pass
    terminal.expect("two")
    terminal.end()
    until(lambda: call("status", uuid, "--json").data["state"] == "FINISHED", "the end")


def test_ctrl_c_on_a_terminal_is_130_and_leaves_no_traceback(submit):
    uuid = submit("long")
    terminal = Terminal("watch", uuid)
    terminal.expect("Watching 1 job")
    until(lambda: call("status", uuid, "--json").data["state"] == "RUNNING", "the start")
    terminal.process.send_signal(signal.SIGINT)
    screen = terminal.end(code=130)
    assert f"watch {uuid[:8]}`" in screen
    assert "Traceback" not in screen
    call("cancel", uuid)
