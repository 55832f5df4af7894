"""Files that survive a crash."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from project.core import files

REPOSITORY = Path(__file__).resolve().parents[2]


def test_written_whole_with_its_mode_and_nothing_left_aside(tmp_path):
    path = tmp_path / "a'; touch x #\nb"
    files.write_atomic(str(path), "text", 0o640)
    assert path.read_text() == "text"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == [path.name]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(TypeError):
        files.write_atomic(str(path), 3)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_torn_last_line_gets_its_end_first(tmp_path):
    path = tmp_path / "lines"
    path.write_text('{"a": 1}\n{"b":')
    files.append_line(str(path), '{"c": 3}')
    assert path.read_text().splitlines() == ['{"a": 1}', '{"b":', '{"c": 3}']


def test_what_is_missing_is_none_and_broken_json_is_an_error(tmp_path):
    assert files.read_json(str(tmp_path / "no")) is None
    assert files.read_text(str(tmp_path / "no")) is None
    (tmp_path / "broken").write_text("{")
    with pytest.raises(ValueError, match="Expecting"):
        files.read_json(str(tmp_path / "broken"))


def test_a_lock_is_exclusive_and_goes_with_its_process(tmp_path):
    path = str(tmp_path / "lock")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from project.core import files\n"
        "with files.locked(sys.argv[2]):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(REPOSITORY), path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(files.Busy), files.locked(path, wait=False):
        pass
    holder.kill()
    holder.communicate()
    with files.locked(path, wait=False):
        pass
