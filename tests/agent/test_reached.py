"""The op `reached`: what a job's own steps tell."""

from pathlib import Path

import pytest

from helpers.agent_client import PYTHONS, Agent, new_uuid
from helpers.fake_slurm import FakeSlurm


@pytest.mark.parametrize("python", PYTHONS)
def test_no_word_changes_the_state(tmp_path, python):
    slurm = FakeSlurm(tmp_path)
    with Agent(tmp_path / "root", python, env=slurm.env) as agent:
        uuid = new_uuid()
        agent.submit(uuid, ["true"], cluster=slurm.cluster)
        for state, info in (("completed", "0"), ("active", "step 1, of 2")):
            assert agent.ask("reached", uuid=uuid, jobndx=1, state=state, info=info)["state"] == "QUEUED"
        notes = [event for event in agent.events(uuid) if (event.get("data") or {}).get("reached")]
        assert [note["data"]["reached"] for note in notes] == ["completed", "active"]
        assert notes[1]["data"] == {"reached": "active", "jobndx": 1, "info": "step 1, of 2"}
        rows = Path(agent.paths(uuid).status_csv).read_text().splitlines()
        assert [row.split(",", 1)[1] for row in rows[-2:]] == ["1,completed,0", "1,active,step 1, of 2"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"jobndx": -1}, "no jobndx"),
        ({"jobndx": "1x"}, "no jobndx"),
        ({"state": "RUNNING"}, "none of psik's states"),
        ({"info": "a\nb"}, "one line"),
        ({"uuid": new_uuid()}, "not known"),
    ],
)
def test_nonsense_is_refused(tmp_path, fields, words):
    with Agent(tmp_path / "root") as agent:
        answer = agent.ask("reached", **{"uuid": new_uuid(), "jobndx": 1, "state": "active", **fields})
        assert answer["error"] == "UserError"
        assert words in answer["message"]
