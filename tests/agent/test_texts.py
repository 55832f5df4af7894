import os

import pytest

from project.agent import names, texts
from project.core.errors import UserError


@pytest.mark.parametrize(
    "workdir, path",
    [
        ("", "/default/jobs"),
        ("/abs/jobs", "/abs/jobs"),
        ("$HOME", "/home/me"),
        ("$HOME/x y/../z", "/home/me/z"),
        ("${HOME}/x", "/home/me/x"),
        ("~", "/home/me"),
        ("~/x", "/home/me/x"),
        ("$SCRATCH/jobs", "/scratch/me/jobs"),
        ("relative", "/home/me/relative"),
        ("/a/$HOME", "/a/$HOME"),
    ],
)
def test_a_workdir_is_made_absolute(monkeypatch, workdir, path):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    assert texts.expand(workdir, "/default/jobs") == path


@pytest.mark.parametrize("workdir", ["$NOWHERE_SET/jobs", "${NOWHERE_SET}", "$RELATIVE/x"])
def test_a_variable_that_is_not_set_is_named(monkeypatch, workdir):
    monkeypatch.delenv("NOWHERE_SET", raising=False)
    monkeypatch.setenv("RELATIVE", "x")
    with pytest.raises(UserError, match="is not set here"):
        texts.expand(workdir, "/default")


def test_text_and_path_are_inverse():
    name = b"caf\xc3\xa9 \xff"
    text = name.decode("utf-8", "surrogateescape")
    assert os.fsencode(texts.to_path(text)) == name
    assert texts.from_path(os.fsdecode(name)) == text


def test_we_are_who_the_system_says_not_who_the_environment_says(monkeypatch):
    monkeypatch.setenv("USER", "somebody-else")
    monkeypatch.setenv("LOGNAME", "somebody-else")
    assert names.user() != "somebody-else"
