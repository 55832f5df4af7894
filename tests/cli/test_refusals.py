"""What a workload manager cannot do is an error that names it, before anything is sent."""

import json

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
ALIASES = """\
destination_cluster: c9
job: job.sh
execution: echo hello
resources:
  walltime: 1m
  partition: long
  nbr_of_nodes: 4
  nbr_processes: 2
  memory_per_thread: 1G
  nbr_jobs_in_array: 100000
scheduler_options: [--mem=2G, -p short, "-t5"]
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


@pytest.mark.parametrize("verb", ["validate", "plan", "submit"])
def test_a_need_is_named_as_it_is_written_with_its_place(folder, verb):
    cluster = {"name": "c9", "hostname": "127.0.0.1", "port": 9, "workload_manager": "slurm"}
    (folder / "c9.yml").write_text(json.dumps([{**cluster, "max_array_size": 10}]))
    call("clusters", "import", "c9.yml")
    (folder / "aliases.yml").write_text(ALIASES)
    said = call(verb, "aliases.yml", code=2).err
    assert "aliases.yml:7:17: resources.nbr_of_nodes: is 4" in said
    assert "aliases.yml:11:21: scheduler_options[0]: says what resources.memory_per_thread says too" in said
    assert "says what resources.partition says too" in said
    assert "says what resources.walltime says too" in said
    (folder / "aliases.yml").write_text("\n".join(ALIASES.replace("nbr_of_nodes: 4", "").splitlines()[:-1]) + "\n")
    said = call(verb, "aliases.yml", code=2).err
    assert "aliases.yml:10:22: resources.nbr_jobs_in_array: the array '0-99999'" in said


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
