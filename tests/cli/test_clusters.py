"""The inventory: import, add, show, test, rm; and what doctor says of a cluster that is not there."""

import socket

import pytest

from helpers.calling import call

CLUSTERS = """
- name: alpha
  hostname: alpha.invalid
  port: 22
  workload_manager: slurm
  preferred_jobs: [mpi, smp]
  partition: batch
- name: beta
  hostname: 127.0.0.1
  port: {port}
  workload_manager: slurm
  preferred_jobs: mpi
"""


@pytest.fixture(scope="module")
def port():
    """A port of this machine that refuses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        yield listener.getsockname()[1]


@pytest.fixture(scope="module")
def imported(folder, port):
    (folder / "clusters.yml").write_text(CLUSTERS.format(port=port))
    return call("clusters", "import", "clusters.yml", "--json").data


def test_importing_again_updates_by_name(folder, imported, port):
    assert imported == {"clusters": [{"name": "alpha", "result": "added"}, {"name": "beta", "result": "added"}]}
    assert "as it was" in call("clusters", "import", "clusters.yml").out
    (folder / "clusters.yml").write_text(CLUSTERS.format(port=port).replace("batch", "long"))
    found = call("clusters", "import", "clusters.yml", "--json").data["clusters"]
    assert [row["result"] for row in found] == ["changed", "as it was"]
    assert call("clusters", "show", "alpha", "--json").data["partition"] == "long"


def test_a_wrong_file_changes_nothing(folder, imported):
    before = call("clusters", "ls", "--json").data
    (folder / "wrong.yml").write_text(
        "- {name: gamma, hostname: h, workload_manager: slurm}\n- {name: x, hostname: h}\n"
    )
    assert "workload_manager" in call("clusters", "import", "wrong.yml", code=2).err
    assert call("clusters", "ls", "--json").data == before


def test_the_list_has_local_and_fits(imported):
    assert call("clusters", "-q").out.split() == ["alpha", "beta", "local"]
    out = call("clusters", "ls").out
    assert max(len(line) for line in out.splitlines()) <= 80
    assert "this machine" in out


def test_add_changes_only_what_is_given(imported):
    call("clusters", "add", "gamma", "--hostname", "g.example", "--preferred-jobs", "mpi", "--profile", "module load x")
    call("clusters", "add", "gamma", "--port", "2222")
    found = call("clusters", "show", "gamma", "--json").data
    assert (found["hostname"], found["port"], found["preferred_jobs"]) == ("g.example", 2222, ["mpi"])
    assert found["workload_manager"] == "slurm"
    assert "port" in call("clusters", "add", "gamma", "--port", "0", code=2).err
    assert "watch" in found["crontab"]
    assert found["crontab"] in call("clusters", "show", "gamma").out
    assert call("clusters", "rm", "gamma", "-q").out == "gamma\n"
    assert "gamma" not in call("clusters", "-q").out


@pytest.mark.parametrize("words", [("clusters", "show"), ("clusters", "rm"), ("clusters", "test"), ("doctor",)])
def test_an_unknown_cluster_is_exit_code_2_with_the_nearest_name(imported, words):
    assert "Did you mean 'alpha'?" in call(*words, "alhpa", code=2).err


def test_a_cluster_that_does_not_answer_is_exit_code_3(imported):
    assert call("clusters", "test", "local").code == 0
    called = call("clusters", "test", "beta", "local", "--json", code=3)
    answers = {row["name"]: row["reachable"] for row in called.data["clusters"]}
    assert answers == {"beta": False, "local": True}
    out = call("doctor", "beta", code=3).out
    assert "FAIL" in out
    assert "Check hostname and port" in out


def test_doctor_on_this_machine_finds_everything_well(folder):
    found = call("doctor", "local", "--json").data
    assert found["ok"]
    assert {"this machine", "local"} == {row["about"] for row in found["findings"]}


def test_a_submission_to_a_cluster_that_is_away_is_exit_code_3_and_can_be_resumed(imported):
    called = call("submit", "hello.yml", "--cluster", "beta", "--fallback", "never", code=3)
    assert called.out == ""
    assert "resubmit --resume" in called.err
    uuid = call("ls", "--state", "BLOCKED", "-q", "--limit", "1").out.strip()
    assert "resubmit --resume" in call("why", uuid).out
    listed = call("ls")
    assert uuid in listed.out
    assert "warning: The newest state of jobs on beta is not known" in listed.err
    assert call("cancel", uuid).err.count(uuid[:8]) == 1
    assert call("status", uuid, "--json").data["state"] == "CANCELLED"
    assert "`--force` forgets" in call("rm", uuid, code=3).err
    assert "stays" in call("rm", uuid, "--force").err
    assert call("ls", "-q").out == ""
