"""Where a job runs: made once and again, moved to by a module, filled across disks."""

import errno
import os

import pytest

from project.agent import workfolder
from project.core.errors import UserError
from project.core.paths import JobPaths

UUID = "503d3f77-a21b-4e52-86c4-eec0f0cd9c16"


@pytest.fixture
def paths(tmp_path):
    found = JobPaths(str(tmp_path / "jobs"), UUID)
    os.makedirs(found.state)
    return found


@pytest.fixture
def place(tmp_path):
    found = tmp_path / "it's a place"
    found.mkdir()
    (found / "mine").write_text("mine")
    return found


def incoming(paths, **entries):
    for name, text in entries.items():
        path = os.path.join(paths.incoming, name.replace("__", "/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)
    return paths.incoming


def test_made_again_it_is_the_same(paths, place):
    for _ in range(2):
        assert workfolder.make(paths, str(place)) == workfolder.real(paths) == str(place)
    assert os.readlink(paths.work) == str(place)


def test_without_a_directory_it_is_the_jobs_own(paths):
    for _ in range(2):
        assert workfolder.make(paths, "") == workfolder.real(paths) == paths.work
    assert os.path.isdir(paths.work)
    assert not os.path.islink(paths.work)


def test_a_module_may_name_another_directory_until_there_are_files(paths, place, tmp_path):
    workfolder.make(paths, str(place))
    other = str(tmp_path / "other")
    assert workfolder.make(paths, other) == other
    assert (place / "mine").read_text() == "mine"
    # Left out again, the job stays where its files are.
    assert workfolder.make(paths, "") == other


def test_an_empty_folder_of_the_jobs_own_gives_way_and_a_full_one_does_not(paths, place):
    workfolder.make(paths, "")
    assert workfolder.make(paths, str(place)) == str(place)
    os.unlink(paths.work)
    os.mkdir(paths.work)
    with open(os.path.join(paths.work, "file"), "w", encoding="utf-8"):
        pass
    with pytest.raises(UserError, match="came too late"):
        workfolder.make(paths, str(place))


def test_it_may_not_lie_where_it_would_be_removed(paths):
    with pytest.raises(UserError, match="the job's own folder"):
        workfolder.make(paths, os.path.join(paths.folder, "x"))


@pytest.mark.parametrize("other_disk", [False, True])
def test_files_are_put_beside_what_is_there(paths, place, monkeypatch, other_disk):
    real = os.replace

    def replace(source, target):
        if other_disk and os.path.dirname(source) != os.path.dirname(target):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        real(source, target)

    workfolder.make(paths, str(place))
    source = incoming(paths, new="new", mine="theirs", sub__deep="deep")
    os.symlink("new", os.path.join(source, "link"))
    os.chmod(os.path.join(source, "sub"), 0o500)
    monkeypatch.setattr(os, "replace", replace)
    workfolder.settle(paths, source)
    assert {path.name: path.read_text() for path in place.rglob("*") if path.is_file()} == {
        "new": "new",
        "link": "new",
        "mine": "theirs",
        "deep": "deep",
    }
    assert os.readlink(place / "link") == "new"
    assert (place / "sub").stat().st_mode & 0o777 == 0o500
    (place / "sub").chmod(0o700)


def test_a_second_try_goes_on(paths, place):
    workfolder.make(paths, str(place))
    workfolder.settle(paths, incoming(paths, **{".git__HEAD": "one"}))
    workfolder.settle(paths, incoming(paths, **{".git__HEAD": "two"}))
    assert (place / ".git" / "HEAD").read_text() == "two"
