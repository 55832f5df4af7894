"""psik's verbs on this machine: run, start, reached, poll, status of several, its configuration; status.csv for its readers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.calling import call, until

ENDED = ("FINISHED", "FAILED", "CANCELLED")
SCRIPT = '#!/bin/sh\necho "$jobndx $nodes $JOBFERRY_RUN $base"\necho again >> kept\nwc -l < kept\n'


@pytest.fixture(autouse=True)
def no_config(monkeypatch):
    monkeypatch.delenv("PSIK_CONFIG", raising=False)


def spec(name, **fields):
    path = Path(name)
    path.write_text(json.dumps({"name": path.stem, "script": SCRIPT, **fields}))
    return name


def ended(uuid):
    return until(lambda: found if (found := document(uuid))["state"] in ENDED else None, f"{uuid} to end")


def document(uuid):
    return call("status", uuid, "--json").data


def rows(uuid):
    text = (Path(document(uuid)["job_directory"]) / "status.csv").read_text()
    return [line.split(",", 3) for line in text.splitlines()]


def test_run_submits_a_specification_and_says_where(folder):
    ran = call("run", spec("first.json"))
    uuid = ran.out.split()[-1]
    assert ran.out.strip().splitlines()[-1] == f"Your submission ID = {uuid}"
    assert "a specification of psik; it goes to local" in ran.err
    found = ended(uuid)
    assert found["state"] == "FINISHED", found
    assert call("logs", uuid).out.startswith(f"1 1 1 {found['job_directory']}\n")


def test_a_key_of_the_input_can_be_set(folder):
    words = ("--set", "resources.duration=2m", "--tag", "kind=psik")
    made = call("run", spec("set.json"), "--no-submit", "--json", *words).data
    assert made["user_input"]["resources"]["duration"] == "2m"
    assert made["tags"] == {"kind": "psik"}
    assert "--set" in call("run", "set.json", "--set", "resources.duration=2", code=2).err


def test_a_job_of_no_submit_waits_for_its_start(folder):
    made = call("run", spec("later.json"), "--no-submit", "--json").data
    uuid = made["job_uuid"]
    assert made["state"] == "PENDING"
    assert "Created" in call("run", spec("other.json"), "--no-submit").err
    why = " ".join(call("why", uuid).out.split())
    assert f"Waits for: the user: `python -m project start {uuid}`." in why
    assert (
        f"Next: Submit it: `python -m project start {uuid[:8]}`." in why
        and "--resume" not in why
        and "Tried" not in why
    )
    assert f"start {uuid[:8]}" in call("logs", uuid, code=2).err
    assert document(uuid)["state"] == "PENDING"
    started = call("start", uuid, "-q").out.strip()
    assert started == uuid
    assert ended(uuid)["state"] == "FINISHED"


def test_start_runs_an_ended_job_again_with_the_next_number_in_the_same_work_folder(folder):
    first = call("run", spec("again.json"), "-q").out.strip()
    ended(first)
    second = call("start", first, "-q").out.strip()
    assert second != first
    found = ended(second)
    assert found["run"] == 2
    assert found["working_directory"] == document(first)["working_directory"]
    assert call("logs", second).out.splitlines() == [f"2 1 2 {found['job_directory']}", "2"]
    assert (Path(found["job_directory"]) / "log" / "stdout.2").is_file()
    assert [row[1:3] for row in rows(second)] == [["0", "new"], ["2", "queued"], ["2", "active"], ["2", "completed"]]
    third = call("start", second, "-q").out.strip()
    assert ended(third)["run"] == 3
    fourth = call("start", first, "-q").out.strip()
    assert ended(fourth)["run"] == 4, "the numbers of all runs are known to the first"
    assert document(first)["state"] == "FINISHED"
    assert all(uuid in call("history", first, "--json").out for uuid in (second, third, fourth))
    assert first in call("history", third, "--json").out


def test_a_job_that_lives_is_not_started_again(folder):
    uuid = call("run", spec("long.json", script="#!/bin/sh\nsleep 60\n"), "-q").out.strip()
    refused = call("start", uuid, code=2)
    assert "when it has ended" in refused.err
    call("cancel", uuid)
    assert ended(uuid)["state"] == "CANCELLED"


def test_reached_is_a_note_and_a_row_and_never_an_end(folder):
    uuid = call("run", spec("steps.json", script="#!/bin/sh\nsleep 60\n"), "-q").out.strip()
    until(lambda: document(uuid)["state"] == "RUNNING", "it runs")
    base = document(uuid)["job_directory"]
    call("reached", base, "1", "completed", "0")
    call("reached", uuid, "1", "failed", "7, the second step")
    assert document(uuid)["state"] == "RUNNING"
    assert [row[1:] for row in rows(uuid)[-2:]] == [["1", "completed", "0"], ["1", "failed", "7, the second step"]]
    story = call("history", uuid).out
    assert "reached completed (run 1)" in story
    call("cancel", uuid)
    assert ended(uuid)["state"] == "CANCELLED"
    assert call("reached", uuid, "1", "active", "--json").data["state"] == "CANCELLED"


@pytest.mark.parametrize("words", [("x", "active"), ("-1", "active"), ("1", "started"), ("1", "active", "a\nb")])
def test_what_is_no_state_is_not_recorded(folder, tmp_path, words):
    (tmp_path / "status.csv").write_text("")
    (tmp_path / "spec.json").write_text("{}")
    # An option's end, so that a negative number is no option.
    assert call("reached", "--", str(tmp_path), *words, code=2).err
    assert (tmp_path / "status.csv").read_text() == ""


def test_reached_writes_the_row_in_a_folder_of_psiks_own(folder, tmp_path):
    (tmp_path / "status.csv").write_text("1.5,0,new,{}\n")
    (tmp_path / "spec.json").write_text('{"script": "x"}')
    call("reached", str(tmp_path), "1", "active", "42")
    stamp, rest = (tmp_path / "status.csv").read_text().splitlines()[1].split(",", 1)
    assert float(stamp) > 0
    assert rest == "1,active,42"
    assert "no folder of a job" in call("reached", str(tmp_path / "nothing"), "1", "active", code=2).err


def test_scripts_of_the_job_can_tell_the_agent(folder):
    uuid = call("run", spec("agent.json"), "-q").out.strip()
    base = Path(ended(uuid)["job_directory"])
    root = base.parent.parent
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    told = [sys.executable, "-m", "project.agent", "reached", root, uuid, "1", "active"]
    done = subprocess.run(told, capture_output=True, text=True, timeout=60, env=env, check=True)
    assert done.stdout == f"{uuid} FINISHED\n"
    assert rows(uuid)[-1][1:] == ["1", "active", "0"]


def test_poll_and_status_take_several_jobs(folder):
    one, two = (call("run", spec(f"{name}.json"), "-q").out.strip() for name in ("one", "two"))
    ended(one), ended(two)
    polled = call("poll", one, two, "--json").data
    assert [found["job_uuid"] for found in polled["jobs"]] == [one, two]
    assert [event["state"] for event in polled["jobs"][0]["events"] if event.get("state")][-1] == "FINISHED"
    assert "FINISHED" in call("poll", one).out
    shown = call("status", one, two, "--json").data
    assert [found["job_uuid"] for found in shown["jobs"]] == [one, two]
    assert call("status", one, "--json").data["job_uuid"] == one


def test_here_means_the_current_folder(folder):
    uuid = call("run", spec("here.json", script="#!/bin/sh\npwd\n"), "--here", "-q").out.strip()
    ended(uuid)
    assert call("logs", uuid).out.strip() == str(Path.cwd().resolve())


def test_every_row_is_one_for_psiks_readers(folder):
    """The rules of psik/statfile.py read_csv and psik/job.py read_info, of v1.2.2 and of v3.1.1."""
    words = {"new", "queued", "active", "completed", "failed", "canceled"}
    uuid = call("run", spec("rows.json", script="#!/bin/sh\nexit 3\n"), "-q").out.strip()
    base = Path(ended(uuid)["job_directory"])
    lines = (base / "status.csv").read_text().splitlines()
    for line in lines:
        step = line.strip().split(",")
        assert (float(step[0]) > 0, int(step[1]) >= 0, step[2] in words, int(step[3]) >= 0) == (True,) * 4, line
        assert len(line.strip().split(",", 3)) == 4
    states = [line.split(",")[2] for line in lines]
    assert states == ["new", "queued", "active", "failed"]
    native, code = (int(lines[number].split(",")[3]) for number in (1, 3))
    assert str(native) == document(uuid)["native_id"]
    assert code == 3


# Configuration.


def config(path, **fields):
    path.write_text(json.dumps({"prefix": str(path.parent / "jobs"), **fields}))
    return str(path)


def test_a_configuration_becomes_clusters_of_this_machine(folder, tmp_path):
    """The example of psik's README (1.2)."""
    backend = {"type": "local", "project_name": "project_automate", "attributes": {"-b": "packed:rs"}}
    done = call("clusters", "import", config(tmp_path / "psik.json", backend=backend))
    assert "psik-local: added" in done.out
    assert "project_name" in done.err
    assert "attributes" in done.err
    shown = call("clusters", "show", "psik-local", "--json").data
    assert (shown["transport"], shown["workload_manager"]) == ("local", "local")
    uuid = call("run", spec("there.json"), "--cluster", "psik-local", "-q").out.strip()
    found = ended(uuid)
    assert found["state"] == "FINISHED"
    assert found["job_directory"] == str(tmp_path / "jobs" / uuid)
    call("clusters", "test", "psik-local")
    call("clusters", "rm", "psik-local")


def test_the_backends_of_a_configuration_are_chosen_by_name(folder, tmp_path, monkeypatch):
    backends = {"default": {"type": "local"}, "other": {"type": "local"}}
    path = config(tmp_path / "psik3.json", backends=backends)
    uuid = call("run", spec("a.json"), "--config", path, "-q").out.strip()
    assert document(uuid)["cluster"] == "default"
    monkeypatch.setenv("PSIK_CONFIG", path)
    uuid = call("run", spec("b.json", backend="other"), "-q").out.strip()
    assert document(uuid)["cluster"] == "other"
    wrong = call("run", spec("c.json", backend="othre"), code=2)
    assert "Did you mean 'other'?" in wrong.err
    for uuid in call("ls", "-q").out.split()[:2]:
        ended(uuid)
    call("clusters", "rm", "default")
    call("clusters", "rm", "other")
    monkeypatch.delenv("PSIK_CONFIG")
    assert "no prefix" in call("run", spec("d.json"), "--config", spec("e.json"), code=2).err


def test_a_backend_of_version_1_asks_for_a_workload_manager(folder):
    assert "slurm" in call("run", spec("f.json", backend={"type": "slurm"}), code=2).err


def test_own_inputs_run_too_and_what_is_neither_is_an_error(folder):
    uuid = call("run", "hello.yml", "-q").out.strip()
    assert ended(uuid)["state"] == "FINISHED"
    Path("odd.json").write_text('{"scrpt": "x"}')
    assert "Did you mean 'script'?" in call("run", "odd.json", code=2).err
    assert "--wait" in call("run", spec("g.json"), "--no-submit", "--wait", code=2).err


def test_a_specification_is_planned_and_checked_as_it_is(folder, tmp_path):
    shown = call("plan", spec("plan.json", resources={"duration": 7})).out
    assert "echo again >> kept" in shown or "scripts/run" in shown
    assert "psik specification" in call("validate", "plan.json").out
    assert "clusters" in call("validate", config(tmp_path / "psik.json")).out
    wrong = call("validate", spec("wrong.json", resources={"duration": "1h"}), code=2)
    assert "resources.duration" in wrong.err
    refused = call("submit", "plan.json", code=2)
    assert "run plan.json" in refused.err
    for fields in ({"resources": {"process_count": 4}}, {"backend": {"type": "slurm"}}):
        refused = call("submit", spec("sure.json", **fields), code=2)
        expected = "sure.json is a specification of psik, no input file. `python -m project run sure.json` takes"
        assert expected in refused.err and "is not a key" not in refused.err


def test_a_psij_specification_runs(folder):
    words = {"executable": "/bin/echo", "arguments": ["a  b"], "stdout_path": "out.txt", "launcher": "single"}
    Path("psij.json").write_text(json.dumps(words))
    uuid = call("run", "psij.json", "-q").out.strip()
    found = ended(uuid)
    assert found["state"] == "FINISHED", found
    assert (Path(found["working_directory"]) / "out.txt").read_text() == "a  b\n"


def test_what_a_configuration_says_to_its_workload_manager_is_shown(folder, tmp_path):
    backend = {"type": "slurm", "project_name": "plaid", "attributes": {"--qos": "low"}}
    call("clusters", "import", config(tmp_path / "psik.json", backend=backend, rc_path="/opt/rc"))
    shown = call("clusters", "show", "psik-slurm").out
    assert all(f"{line}\n" in shown for line in ("options: --account=plaid", "options: --qos=low", "env: rc: /opt/rc"))
    assert "crontab" not in shown
    call("clusters", "rm", "psik-slurm")
