import json
import os
import shlex
import sys
import time

import pytest

from project.core import modules
from project.core.errors import ClusterError, InputError, JobEnded, UserError
from project.core.modulesfile import Step

PYTHON = shlex.quote(sys.executable)
DATA = {
    "destination_cluster": "local",
    "job": "job.sh",
    "execution": "./job.sh",
    "private_key": "k3y",
    "passphrase": "s3cret",
    "kwargs": {"a": 1, "it's": '"$(touch x)"; `id` \n'},
    "resources": {"duration": "1h"},
}


class Stage:
    """A folder of modules and what was heard of them."""

    def __init__(self, folder):
        self.files = folder / "files"
        self.folder = folder / "run here; it's odd"
        self.files.mkdir()
        self.steps = []
        self.events = []

    def add(self, text, execution=None, compilation="", name=None):
        name = name or f"m{len(self.steps) + 1}.py"
        (self.files / name).write_text(text)
        line = execution or f"{PYTHON} {name}"
        self.steps.append(Step(len(self.steps) + 1, name, compilation, line, str(self.files / name)))

    def run(self, data=DATA, **options):
        def hear(kind, **fields):
            self.events.append((kind, fields))

        return modules.run_stage(self.steps, data, str(self.folder), hear, **options)

    def facts(self, number=0):
        return self.events[number][1]["data"]


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


SAME = "import sys; sys.stdout.write(sys.stdin.read())"


def test_no_modules_change_nothing(tmp_path):
    assert modules.run_stage([], DATA, str(tmp_path / "x")) is DATA
    assert not (tmp_path / "x").exists()


def test_a_module_changes_the_input_and_the_next_sees_it(stage):
    stage.add("import json,sys; d=json.load(sys.stdin); d['resources']['duration']='2h'; print(json.dumps(d))")
    stage.add(
        "import json,sys; d=json.load(sys.stdin); d['kwargs']={'seen': d['resources']['duration']}; print(json.dumps(d))"
    )
    result = stage.run()
    assert result["resources"] == {"duration": "2h"}
    assert result["kwargs"] == {"seen": "2h"}
    assert [kind for kind, _ in stage.events] == ["module", "module"]
    assert stage.facts()["changed"] == {"resources.duration": {"from": "1h", "to": "2h"}}
    assert stage.facts()["exit_status"] == 0
    assert stage.facts()["duration"] >= 0
    assert stage.facts(1)["module"] == "m2.py"
    assert stage.facts(1)["index"] == 2
    assert "resources.duration" in stage.events[0][1]["message"]


def test_the_input_comes_on_stdin_and_as_the_last_argument(stage):
    stage.add(
        "import sys; a=sys.stdin.read(); assert sys.argv[1:2]==['x'] and sys.argv[2]==a.strip(); print(a)",
        f"{PYTHON} m1.py x",
    )
    assert stage.run() == DATA


def test_a_large_input_comes_on_stdin_only(stage):
    stage.add("import sys; a=sys.stdin.read(); assert len(sys.argv)==1, sys.argv; print(a)")
    data = {**DATA, "kwargs": {"big": "'x" * 40000}}
    assert stage.run(data) == data


def test_an_input_just_below_the_limit_fits_an_argument(stage):
    stage.add("import sys; a=sys.stdin.read(); assert len(sys.argv)==2 and len(a) > 60000; print(a)")
    data = {**DATA, "kwargs": {"big": "'" * 61000}}
    assert stage.run(data) == data


def test_a_module_that_reads_nothing_is_no_error(stage):
    stage.add("import sys; print(sys.argv[-1])")
    assert stage.run() == DATA


def test_secrets_are_kept_from_modules_and_come_back(stage, monkeypatch):
    monkeypatch.setenv("JOBFERRY_API_TOKEN", "t0ken")
    stage.add(
        "import json,os,sys\n"
        "d=json.load(sys.stdin); everything=json.dumps(d)+str(sys.argv)+str(dict(os.environ))\n"
        "assert not any(word in everything for word in ('k3y','s3cret','t0ken'))\n"
        "d['passphrase']='other'; print(json.dumps(d))"
    )
    result = stage.run()
    assert result["private_key"] == "k3y"
    assert result["passphrase"] == "s3cret"


def test_secrets_are_not_made_up(stage):
    stage.add("import json,sys; d=json.load(sys.stdin); d['passphrase']='other'; print(json.dumps(d))")
    data = {key: value for key, value in DATA.items() if key not in ("private_key", "passphrase")}
    assert stage.run(data) == data


def test_hostile_values_stay_text(stage, tmp_path):
    stage.add(SAME)
    result = stage.run({**DATA, "kwargs": {"x": "'; touch INJECTED #", "$(touch INJECTED)": "`touch INJECTED`"}})
    assert result["kwargs"]["x"] == "'; touch INJECTED #"
    assert not [path for path in tmp_path.rglob("INJECTED")]


def test_what_a_module_is_told(stage):
    stage.add(
        "import json,os,sys; d=json.load(sys.stdin);"
        "d['kwargs']={k: os.environ[k] for k in ('JOBFERRY_STAGE','JOBFERRY_MODULE','JOBFERRY_STEP','EXTRA')};"
        "d['kwargs']['cwd']=os.getcwd(); print(json.dumps(d))"
    )
    kwargs = stage.run(stage="preprocessing", environment={"EXTRA": "1"})["kwargs"]
    assert kwargs.pop("cwd") == os.path.realpath(stage.folder)
    assert kwargs == {"JOBFERRY_STAGE": "preprocessing", "JOBFERRY_MODULE": "m1.py", "JOBFERRY_STEP": "1", "EXTRA": "1"}


def test_modules_of_a_stage_lie_in_one_folder(stage):
    (stage.files / "lib").mkdir()
    (stage.files / "lib" / "helper.py").write_text("NAME = 'found'")
    stage.steps.append(Step(1, "lib", "", "sh -c cat", str(stage.files / "lib")))
    stage.add(
        "import sys; sys.path.insert(0, 'lib'); import helper; assert helper.NAME; print(sys.argv[-1])", name="sub.py"
    )
    assert stage.run() == DATA
    assert stage.run() == DATA


def test_a_module_that_is_already_there_is_not_copied(stage):
    stage.folder.mkdir()
    (stage.folder / "m1.py").write_text(SAME)
    stage.steps.append(Step(1, "m1.py", "", f"{PYTHON} m1.py", str(stage.folder / "m1.py")))
    assert stage.run() == DATA


def test_python_is_found_where_only_python3_is(stage, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere:/bin")
    monkeypatch.delenv("PYTHONHOME", raising=False)
    stage.add(SAME, "PATH=${PATH#/nowhere:/bin:}; python m1.py")
    assert stage.run() == DATA


def test_compilation_comes_first(stage):
    stage.add("#!/bin/sh\ncat\n", "./run", "cp m1.sh run && chmod +x run", "m1.sh")
    assert stage.run() == DATA


def test_a_failed_compilation_says_what_the_compiler_said(stage):
    stage.add(SAME, compilation="echo out; echo 'm1.c:3: error: oops' >&2; exit 3")
    with pytest.raises(UserError) as caught:
        stage.run()
    for word in ("staging module 1 (m1.py)", "could not be compiled", "exit status 3", "error: oops", "out"):
        assert word in str(caught.value)
    assert stage.facts()["exit_status"] == 3
    assert caught.value.condition == "input_staging_failed"


@pytest.mark.parametrize(
    ("stage_name", "kind", "condition"),
    [
        ("staging", UserError, "input_staging_failed"),
        ("preprocessing", ClusterError, "preprocessing_failed"),
        ("postprocessing", ClusterError, "postprocessing_failed"),
    ],
)
def test_a_failing_module_fails_the_stage(stage, stage_name, kind, condition):
    stage.add("import sys; sys.stderr.write('the reason\\n'); sys.exit(7)")
    stage.add("raise SystemExit('not reached')")
    with pytest.raises(kind) as caught:
        stage.run(stage=stage_name)
    assert caught.value.condition == condition
    text = str(caught.value)
    assert "m1.py" in text
    assert "exit status 7" in text
    assert "the reason" in text
    assert len(stage.events) == 1
    assert stage.facts()["stderr"] == "the reason"
    assert stage.facts()["exit_status"] == 7


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("print('hello')", ["printed no JSON", "hello", "stderr"]),
        ("pass", ["printed nothing"]),
        ("print([1])", ["not an object"]),
        ("print('{} {}')", ["printed no JSON"]),
        ("import sys; print('note'); print(sys.argv[-1])", ["printed no JSON", "note"]),
        ("print('{\"a\": NaN}')", ["printed no JSON"]),
        ("import sys; sys.stdout.buffer.write(b'\\xff')", ["printed no JSON"]),
        ("print('[' * 100000)", ["printed no JSON"]),
        ('print(\'{"job": "x", "execution": "y"}\')', ["not valid", "destination_cluster: is missing"]),
        (
            "import json,sys; d=json.loads(sys.argv[-1]); d['resources']={'nbr_processes': 0}; print(json.dumps(d))",
            ["not valid", "resources.nbr_processes"],
        ),
    ],
)
def test_output_that_is_no_input(stage, text, words):
    stage.add(text)
    with pytest.raises(UserError) as caught:
        stage.run()
    for word in [*words, "m1.py"]:
        assert word in str(caught.value)
    assert stage.facts()["exit_status"] == 0


def test_a_missing_program(stage):
    stage.add(SAME, "no-such-program m1.py")
    with pytest.raises(UserError) as caught:
        stage.run()
    assert "127" in str(caught.value)
    assert "not found" in str(caught.value)


def test_a_missing_module(stage):
    stage.steps.append(Step(1, "gone.py", "", "python gone.py", str(stage.files / "gone.py")))
    with pytest.raises(UserError, match=r"There is no file for the staging module 1 \(gone.py\)"):
        stage.run()


def test_a_module_killed_by_a_signal(stage):
    stage.add("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(UserError, match="exit status 137|signal 9"):
        stage.run()


def gone(pid):
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as stream:
                if stream.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_a_module_that_hangs_is_killed_with_its_children(stage):
    stage.add("", "sleep 1000 & echo $! > pid; sleep 1000; true")
    with pytest.raises(UserError) as caught:
        stage.run(timeout=3)
    assert "did not end within 3 s" in str(caught.value)
    assert gone(int((stage.folder / "pid").read_text()))
    assert stage.facts()["duration"] >= 3


def test_a_module_can_be_stopped(stage):
    stage.add("", "echo > begun; sleep 1000; true")
    with pytest.raises(JobEnded) as caught:
        stage.run(stop=lambda: (stage.folder / "begun").exists())
    assert caught.value.condition == "cancelled_by_user"
    assert "was stopped" in stage.events[0][1]["message"]


def test_a_long_log_is_cut(stage):
    stage.add("import sys; sys.stderr.write('x' * 100000 + 'end'); print(sys.argv[-1])")
    stage.run()
    assert len(stage.facts()["stderr"]) <= modules.LOG_LIMIT + 1
    assert stage.facts()["stderr"].endswith("end")
    assert json.dumps(stage.facts())


def test_changes_name_dotted_keys():
    before = {"a": 1, "b": {"c": 1, "d": 2}, "e": [1]}
    after = {"a": 1, "b": {"c": 3}, "e": [1, 2], "f": "x" * 2000}
    found = modules.changes(before, after)
    assert found["b.c"] == {"from": 1, "to": 3}
    assert found["b.d"] == {"from": 2}
    assert found["e"] == {"from": [1], "to": [1, 2]}
    assert len(found["f"]["to"]) < 1100
    assert set(found) == {"b.c", "b.d", "e", "f"}


def test_an_error_of_a_module_is_no_error_of_the_input_file(stage):
    stage.add("print('{}')")
    with pytest.raises(UserError) as caught:
        stage.run()
    assert not isinstance(caught.value, InputError)
