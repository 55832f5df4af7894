"""Which workload manager, in which dialect: asked once, and remembered in the root."""

import pytest

from project.agent import managers
from project.agent.runner import Runner
from project.core import schedulers
from project.core.errors import ClusterError, UserError
from project.core.schedulers.base import Scheduler


class Speaker(Scheduler):
    name = "speaker"

    def dialect_command(self):
        return [] if self.dialect else ["sh", "-c", 'echo x >> "$0"; cat "$1"', *self.places]

    def in_dialect(self, text):
        found = Speaker()
        found.dialect = next((word for word in ("north", "south") if word in text), "")
        return found


@pytest.fixture
def asked(tmp_path, monkeypatch):
    speaker = Speaker()
    (tmp_path / "answer").write_text("Version: south 6.1\n")
    (tmp_path / "asked").write_text("")
    Speaker.places = [str(tmp_path / "asked"), str(tmp_path / "answer")]
    monkeypatch.setitem(schedulers.SCHEDULERS, "speaker", speaker)
    return tmp_path / "asked"


def test_the_dialect_is_asked_once_for_a_root(asked, tmp_path):
    runner = Runner(str(tmp_path))
    cluster = {"workload_manager": "speaker"}
    assert managers.manager_of(runner, cluster).dialect == "south"
    (tmp_path / "answer").write_text("north")
    assert managers.by_key(Runner(str(tmp_path)), managers.key_of(cluster)).dialect == "south"
    assert asked.read_text() == "x\n"
    assert managers.manager_of(runner, cluster, again=True).dialect == "north"
    assert managers.manager_of(runner, cluster).dialect == "north"
    assert asked.read_text() == "x\nx\n"


def test_the_clusters_own_word_is_taken_unasked(asked, tmp_path):
    cluster = {"workload_manager": "speaker", "dialect": "north"}
    assert managers.key_of(cluster) == "speaker/north"
    assert managers.by_key(Runner(str(tmp_path)), "speaker/north").dialect == "north"
    assert asked.read_text() == ""
    with pytest.raises(UserError, match="no dialect 'west'"):
        managers.manager_of(Runner(str(tmp_path)), {"workload_manager": "speaker", "dialect": "west"})


def test_an_answer_that_does_not_tell_is_asked_for_again(asked, tmp_path):
    (tmp_path / "answer").write_text("Connection refused")
    with pytest.raises(ClusterError, match="Connection refused") as caught:
        managers.manager_of(Runner(str(tmp_path)), {"workload_manager": "speaker"})
    assert caught.value.transient
    (tmp_path / "answer").write_text("north")
    assert managers.manager_of(Runner(str(tmp_path)), {"workload_manager": "speaker"}).dialect == "north"


def test_a_manager_of_one_dialect_is_not_asked(tmp_path):
    assert managers.manager_of(Runner(str(tmp_path)), {}) is schedulers.get("slurm")
    assert managers.key_of({}) == "slurm"
