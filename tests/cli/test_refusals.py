"""What a workload manager cannot do is an error that names it, before anything is sent."""

import pytest

from helpers.calling import call

WRONG = """\
destination_cluster: local
job: job.sh
execution: echo hello
resources:
  duration: 1m
  qos: high
  nodes: 2
scheduler_options: [--mem=1G]
"""
STAGED = """\
staging:
  1: {module: add.py, execution: python3 add.py}
"""
ADD = """\
import json, sys
data = json.load(sys.stdin)
data["resources"] = {"qos": "high"}
json.dump(data, sys.stdout)
"""


@pytest.fixture
def wrong(folder):
    (folder / "needs.yml").write_text(WRONG)
    return "needs.yml"


@pytest.mark.parametrize("verb", ["validate", "plan", "submit"])
def test_every_need_that_cannot_be_expressed_is_named_with_its_place(wrong, verb):
    before = call("ls", "-q", "--limit", "0").out
    said = call(verb, wrong, code=2).err
    assert "needs.yml:6:8" in said
    assert "resources.qos" in said
    assert "needs.yml:7:" in said
    assert "one node" in said
    assert "needs.yml:8:" in said
    assert "local" in said
    assert call("ls", "-q", "--limit", "0").out == before


def test_a_cluster_that_nobody_knows_or_a_server_that_is_away_breaks_no_validation(wrong, folder, monkeypatch):
    call("validate", wrong, "--set", "destination_cluster=nowhere")
    monkeypatch.setenv("JOBFERRY_URL", "http://127.0.0.1:9")
    call("validate", wrong, "--set", "destination_cluster=nowhere")
    call("validate", wrong, code=2)


def test_what_staging_modules_add_is_looked_at_too(folder):
    (folder / "add.yml").write_text(STAGED)
    (folder / "modules").mkdir()
    (folder / "modules" / "add.py").write_text(ADD)
    said = call("submit", "hello.yml", "--module", "add.yml", code=2).err
    assert "resources.qos" in said
    [job] = call("ls", "--state", "FAILED", "--json", "--limit", "1").data["jobs"]
    assert job["condition"] == "submission_rejected"
