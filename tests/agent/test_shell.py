import os
from pathlib import Path

import pytest

from helpers.agent_client import new_uuid
from project.agent import shell
from project.agent.folder import Folder


@pytest.fixture
def paths(tmp_path):
    folder = Folder(str(tmp_path / "my jobs é"), new_uuid())
    folder.create()
    os.mkdir(folder.paths.work)
    return folder.paths


def run(paths, lines, stop=lambda: False):
    done, heard = [], []
    failed = shell.run_lines(lines, paths, shell.environment({"GIVEN": "from input"}), heard.append, stop, done.append)
    return failed, done, "".join(heard)


def test_cd_and_export_hold_for_the_lines_after_them(paths):
    lines = [
        "mkdir -p 'a b' && cd 'a b'",
        "export X='two words'",
        'pwd; echo "$X|$GIVEN"',
        "cd .. ; cd - >/dev/null; pwd",
    ]
    failed, done, heard = run(paths, lines)
    assert failed is None
    inside = os.path.join(paths.work, "a b")
    assert done[2].output == inside + "\ntwo words|from input\n"
    assert heard.startswith(inside)


def test_what_one_stage_exported_holds_for_the_next_which_begins_in_work(paths):
    run(paths, ["cd /tmp", "export LOADED=yes"])
    _, done, _ = run(paths, ["echo $LOADED; pwd"])
    assert done[0].output == "yes\n" + paths.work + "\n"


def test_the_first_failure_stops_and_keeps_its_words(paths):
    failed, done, _ = run(paths, ["echo fine", "echo bad >&2; exit 7", "echo never"])
    assert [ran.exit_status for ran in done] == [0, 7]
    assert failed.exit_status == 7
    assert failed.output == "bad\n"


@pytest.mark.parametrize("line", ["if then", "false | true | false", "no-such-program-here", "kill -9 $$"])
def test_lines_that_fail_in_odd_ways_fail(paths, line):
    failed, _, _ = run(paths, [line])
    assert failed is not None
    assert failed.exit_status != 0


def test_a_line_is_a_line_of_the_shell(paths):
    failed, done, _ = run(
        paths, ["printf 'b\\na\\n' | sort && (exit 0) # a comment", "for i in 1 2; do\n echo $i\ndone"]
    )
    assert failed is None
    assert [ran.output for ran in done] == ["a\nb\n", "1\n2\n"]


def test_only_the_end_of_a_long_output_is_kept(paths):
    _, done, _ = run(paths, ["i=0; while [ $i -lt 40000 ]; do echo line $i; i=$((i+1)); done"])
    assert len(done[0].output) <= shell.TAIL
    assert done[0].output.endswith("line 39999\n")


def test_a_program_can_be_stopped(paths):
    calls = []

    def stop():
        calls.append(1)
        return len(calls) > 1

    failed, _, _ = run(paths, ["sleep 60"], stop)
    assert failed.stopped


def test_credentials_of_ours_are_not_in_the_environment(paths, monkeypatch):
    monkeypatch.setenv("JOBFERRY_API_PASSWORD", "hunter2")
    monkeypatch.setenv("JOBFERRY_SMTP_URL", "smtp://u:hunter2@h")
    _, done, _ = run(paths, ["env", "true"])
    assert "hunter2" not in done[0].output
    for name in os.listdir(paths.state):
        assert b"hunter2" not in Path(os.path.join(paths.state, name)).read_bytes()
