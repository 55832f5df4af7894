"""The verbs on real jobs of the built-in cluster, called in this process without a terminal."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.calling import ROOT, call, until


@pytest.fixture(scope="module")
def good(submit):
    return submit("hello", "--tag", "year=2026", ended=True)


@pytest.fixture(scope="module")
def bad(submit):
    return submit("bad", ended=True)


@pytest.fixture(scope="module")
def array(submit):
    return submit("array", ended=True)


def test_a_submission_ends_with_its_id_and_keeps_the_rest_off_stdout(folder):
    called = call("-u", "hello.yml", "--wait")
    uuid = called.last.removeprefix("Your submission ID = ")
    assert called.out == f"Your submission ID = {uuid}\n"
    assert len(uuid) == 36
    for piece in ("Connecting to local", "FINISHED", f"retrieve {uuid[:8]}"):
        assert piece in called.err


def test_a_submission_as_json_is_the_document(folder):
    found = call("--json", "submit", "hello.yml").data
    assert {"job_uuid", "state", "cluster", "native_id", "job_directory"} <= set(found)
    assert (found["cluster"], found["name"]) == ("local", "hello")


def test_waiting_for_a_job_that_fails_is_exit_code_5(folder):
    called = call("submit", "bad.yml", "--wait", code=5)
    assert called.last.startswith("Your submission ID = ")
    assert "  | boom" in called.err
    assert " why " in called.err


def test_overrides_cluster_and_tags(folder):
    words = (
        "--set",
        "execution=echo changed > result.txt",
        "--set",
        "name=other",
        "--cluster",
        "local",
        "--tag",
        "a=b=c",
    )
    found = call("submit", "hello.yml", *words, "--json").data
    assert found["user_input"]["execution"] in ("echo changed > result.txt", ["echo changed > result.txt"])
    assert found["name"] == "other"
    assert found["tags"] == {"kind": "good", "a": "b=c"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("submit", "absent.yml"), "There is no file absent.yml"),
        (("submit", "hello.yml", "--cluster", "locla"), "Did you mean 'local'?"),
        (("submit", "hello.yml", "--tag", "novalue"), "is not a tag"),
        (("submit", "hello.yml", "--set", "executoin=x"), "execution"),
        (("submit", "hello.yml", "-m", "absent.yml"), "absent.yml"),
        (("submit", "hello.yml", "--set", "job=absent.sh"), "absent.sh"),
    ],
)
def test_bad_input_sends_nothing(folder, words, said):
    before = call("ls", "-q", "--limit", "0").out
    called = call(*words, code=2)
    assert said in called.err
    assert called.out == ""
    assert call("ls", "-q", "--limit", "0").out == before


def test_every_problem_of_an_input_is_told_with_its_place(folder):
    (folder / "wrong.yml").write_text(
        "destination_cluster: local\njbo: x\nexecution: []\nresources:\n  duration: 5 parsecs\n"
    )
    called = call("validate", "wrong.yml", "--json", code=2)
    keys = {problem["key"] for problem in called.data["problems"]}
    assert {"jbo", "resources.duration"} <= keys
    assert all(problem["file"] == "wrong.yml" for problem in called.data["problems"])
    assert "wrong.yml:2:1" in called.err
    assert "wrong.yml:5:" in called.err


def test_status_in_its_three_forms(good):
    document = call("status", good, "--json").data
    wanted = {"job_uuid", "state", "cluster", "native_id", "job_directory", "condition", "exit_code", "message"}
    assert wanted | {"job_status", "user_input", "tags"} <= set(document)
    assert (document["state"], document["condition"], document["exit_code"]) == ("FINISHED", "ok", 0)
    assert good in call("status", good[:6]).out
    assert call("status", good[:8].upper(), "-q").out == good + "\n"


@pytest.mark.parametrize("name", ["00000000", "00000000-0000-4000-8000-000000000000"])
@pytest.mark.parametrize("verb", ["status", "history", "logs", "why", "retrieve", "cancel", "resubmit", "rm", "watch"])
def test_an_unknown_uuid_is_exit_code_2_with_a_hint(folder, verb, name):
    called = call(verb, name, code=2)
    assert f"There is no job {name}." in called.err
    assert "ls` lists the jobs" in called.err


def test_a_prefix_of_two_jobs_is_ambiguous(good, monkeypatch):
    from api_srv.embedded import EmbeddedApi
    from project.core.api_client import ApiClient
    from project.core.history import new_document

    api = ApiClient(EmbeddedApi(os.environ["JOBFERRY_HOME"]).call)
    for last in "12":
        user_input = {"destination_cluster": "local", "job": "x", "execution": ["true"]}
        api.create(new_document(f"abcdef00-0000-4000-8000-00000000000{last}", user_input))
    called = call("status", "abcdef", code=2)
    assert "abcdef00-0000-4000-8000-000000000001" in called.err
    call("cancel", "abcdef00-0000-4000-8000-000000000001", "abcdef00-0000-4000-8000-000000000002", code=None)


def test_ls_newest_first_by_selector_state_and_limit(good, bad, array):
    found = [document["job_uuid"] for document in call("ls", "--json").data["jobs"]]
    assert found.index(bad) < found.index(good)
    assert call("ls", "-l", "year=2026", "-q").out == good + "\n"
    assert call("ls", "-l", "year=2026,kind=good", "--state", "finished", "-q").out == good + "\n"
    assert call("ls", "-l", "year=1999", "--json").data == {"jobs": []}
    assert set(call("ls", "--state", "FAILED", "-q").out.split()) >= {bad, array}
    assert good not in call("ls", "--state", "FAILED,LIVE", "-q").out
    assert len(call("ls", "-q", "--limit", "1").out.split()) == 1
    assert len(call("ls", "-q", "--limit", "0").out.split()) == len(found)


def test_ls_fits_80_columns_and_names_whole_uuids(good):
    out = call("ls").out
    assert max(len(line) for line in out.splitlines()) <= 80
    assert good in out


def test_history_has_the_states_in_order(good):
    events = call("history", good, "--json").data["events"]
    states = [event["state"] for event in events if event.get("state")]
    assert states[0] == "PENDING"
    assert states[-1] == "FINISHED"
    assert "QUEUED" in call("history", good).out


def test_logs_of_a_job(good):
    assert call("logs", good).out == "hello\n"
    assert call("logs", good, "--stderr").out == "oops\n"
    assert call("logs", good, "-f").out == "hello\n"
    assert call("logs", good, "-n", "1", "--run", "1").out == "hello\n"
    found = call("logs", good, "--json").data
    assert (found["stream"], found["text"]) == ("stdout", "hello\n")
    assert "has no run 7" in call("logs", good, "--run", "7", code=2).err
    assert "It is not an array" in call("logs", good, "--index", "0", code=2).err


def test_logs_of_an_array(array):
    assert call("logs", array, "--index", "2").out == "element 2\n"
    assert call("logs", array, "--index", "2", "--stderr").out == "err 2\n"
    out = call("logs", array).out
    assert "`--index N` shows one: 0 to 2." in out
    assert "element 1 (FAILED" in out
    assert "element 2\n" not in out
    assert "has no element 3" in call("logs", array, "--index", "3", code=2).err
    elements = call("logs", array, "--json").data["elements"]
    assert [element["index"] for element in elements] == [0, 1, 2]


def test_why_explains_a_failure(bad):
    out = call("why", bad).out
    for piece in ("FAILED", "Exit code 3", "| boom", f"resubmit {bad[:8]}"):
        assert piece in out
    found = call("why", bad, "--json").data
    assert (found["condition"], found["exit_code"], found["stderr"]) == ("exit_code", 3, ["boom"])


def test_retrieve_with_its_two_calls(good, tmp_path, monkeypatch):
    call("retrieve", good[:8], "-o", tmp_path / "out")
    assert (tmp_path / "out" / "result.txt").read_text() == "made\n"
    monkeypatch.chdir(tmp_path)
    called = call("-r", good)
    assert (tmp_path / "result.txt").read_text() == "made\n"
    assert "result.txt" in called.out
    (tmp_path / "result.txt").write_text("mine\n")
    assert "result.txt" in call("-r", good, code=2).err
    assert (tmp_path / "result.txt").read_text() == "mine\n"
    found = call("-r", good, "--force", "--json").data
    assert [entry["path"] for entry in found["files"]] == ["result.txt"]
    assert (tmp_path / "result.txt").read_text() == "made\n"


def test_retrieving_from_a_failed_job_is_exit_code_5(bad, submit, tmp_path):
    assert "none.txt" in call("retrieve", bad, "-o", tmp_path, code=5).err
    partly = submit("bad", "--set", "output=job.sh", ended=True)
    call("retrieve", partly, "-o", tmp_path, code=5)
    assert (tmp_path / "job.sh").exists()


def test_watch_ends_with_the_jobs_exit_code(good, bad):
    assert call("watch", good).code == 0
    assert "FAILED" in call("watch", good, bad, code=5).err
    assert call("watch", "-l", "year=2026", "--json").data["jobs"][0]["job_uuid"] == good


def test_tags_are_set_and_taken_away(good):
    call("tag", good, "colour=blue", "x=1")
    assert call("status", good, "--json").data["tags"]["colour"] == "blue"
    call("tag", good, "x-")
    assert "x" not in call("status", good, "--json").data["tags"]
    # As in the input file: nothing that a selector could not ask for.
    assert "is not a possible name" in call("tag", good, "a b=c", code=2).err
    assert call("ls", "-l", "colour=blue", "-q").out == good + "\n"


def test_resubmit_makes_a_new_job_of_the_same_input(good):
    called = call("resubmit", good, "--wait")
    again = called.last.removeprefix("Your submission ID = ")
    assert again != good
    old, new = (call("status", uuid, "--json").data for uuid in (good, again))
    assert new["user_input"]["execution"] == old["user_input"]["execution"]


def test_resuming_what_has_ended_submits_nothing(good, bad):
    assert call("resubmit", "--resume", good).last == f"Your submission ID = {good}"
    assert "nothing to resume" in call("resubmit", "--resume", bad, code=2).err


def test_a_live_job_is_cancelled_and_cannot_be_twice(submit):
    uuid = submit("long")
    assert "cancel it first" in call("rm", uuid, code=2).err
    found = call("cancel", uuid, "--json").data
    assert found["changed"] == [uuid]
    until(lambda: call("status", uuid, "--json").data["state"] == "CANCELLED", "the cancellation")
    assert "already cancelled" in call("cancel", uuid).err


def test_a_bulk_action_without_a_terminal_needs_yes_and_reports(submit):
    # First: the two that do not end may take every core of this machine.
    done = submit("hello", "--tag", "bulk=1", ended=True)
    uuids = [submit("long", "--tag", "bulk=1") for _ in range(2)]
    called = call("cancel", "-l", "bulk=1", code=2)
    assert "--yes" in called.err
    assert "Cancel 3 jobs?" in called.err
    found = call("cancel", "-l", "bulk=1", "--yes", "--json").data
    assert found["matched"] == 3
    assert sorted(found["changed"]) == sorted(uuids)
    assert [entry["job_uuid"] for entry in found["skipped"]] == [done]
    for uuid in uuids:
        until(lambda uuid=uuid: call("status", uuid, "--json").data["state"] == "CANCELLED", "the cancellation")
    called = call("rm", "-l", "bulk=1", "--yes")
    assert "3 jobs matched, 3 removed, 0 skipped." in called.err
    assert call("ls", "-l", "bulk=1", "-q").out == ""


def test_plan_shows_the_script_and_submits_nothing(folder):
    before = call("ls", "-q", "--limit", "0").out
    out = call("plan", "hello.yml").out
    for piece in ("local", "job.sh", "echo made > result.txt", "#!/bin/sh"):
        assert piece in out
    assert call("plan", "hello.yml", "--json").data["cluster"] == "local"
    assert call("ls", "-q", "--limit", "0").out == before


def test_validate_knows_each_kind_of_file(folder):
    (folder / "modules.yml").write_text(
        "staging:\n  1: {module: resource_estimator.py, execution: python resource_estimator.py}\n"
    )
    (folder / "clusters.yml").write_text("- {name: c, hostname: h, workload_manager: slurm}\n")
    for name, kind in (("hello", "input"), ("modules", "modules"), ("clusters", "clusters")):
        assert call("validate", f"{name}.yml", "--json").data["files"] == [{"file": f"{name}.yml", "kind": kind}]


def test_init_writes_a_file_that_is_valid_and_runs(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "input.yml" in call("init", "--no-input").err
    call("validate", "input.yml")
    assert "exists already" in call("init", code=2).err
    call("init", "--force")
    call("-u", "input.yml", "--wait")


def start(*words):
    return subprocess.Popen(
        [sys.executable, "-m", "project", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("words", [("submit", "long.yml", "--wait"), ("watch",)])
def test_ctrl_c_is_130_and_says_how_to_go_on(submit, words):
    if words == ("watch",):
        submit("long")
    process = start(*words)
    line = ""
    while " is " not in line:
        line = process.stderr.readline()
        assert line, "ended without showing a state"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert " watch " in err
    assert "Traceback" not in err
    call("cancel", "--state", "LIVE", "--yes")


def test_a_wrong_database_is_exit_code_4(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JOBFERRY_HOME", str(tmp_path / "file"))
    assert call("ls", code=4).err.startswith("error: ")


def test_an_api_that_is_away_is_exit_code_4(folder, monkeypatch):
    monkeypatch.setenv("JOBFERRY_API_URL", "http://127.0.0.1:9")
    for words in (("ls",), ("submit", "hello.yml"), ("clusters", "ls"), ("doctor",)):
        called = call(*words, "--json", code=4)
        json.loads(called.out)
    monkeypatch.setenv("JOBFERRY_API_URL", "nonsense")
    assert "http://" in call("ls", code=4).err


def test_nothing_is_left_in_the_folder_of_the_input(folder):
    names = {path.name for path in Path(folder).iterdir()}
    assert not [name for name in names if name.startswith(".") or name.endswith((".tmp", ".pyz"))]
