"""The program's frame: finding the verb, options before and after it, help, errors and exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import project
from project import cli, commands
from project.core.errors import ApiError, Bug, ClusterError, JobEnded, JobferryError, UserError

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "yaml",
    "fabric",
    "paramiko",
    "flask",
    "rich",
    "urllib.request",
    "sqlite3",
    "jsonschema",
    "pymongo",
    "platformdirs",
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("JOBFERRY_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("JOBFERRY_API_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


def python(code, **more):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT, timeout=60, **more
    )


def test_help_is_cold():
    code = (
        "import sys\nfrom project.cli import main\n"
        "assert main(['--help']) == 0 and main(['submit', '--help']) == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    ran = python(code)
    assert ran.stderr.strip() == "[]"
    assert ran.returncode == 0


def test_the_version_is_one_everywhere(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"jobferry {project.__version__}\n"
    assert f'version = "{project.__version__}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("verb", [verb.name for verb in commands.VERBS])
def test_every_verb_has_a_help_of_80_columns_with_its_options(verb, capsys):
    assert cli.main([*verb.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "usage:" in shown
    assert "--json" in shown


def test_the_overview_names_every_verb_and_form(capsys):
    assert cli.main(["-h"]) == 0
    shown = capsys.readouterr().out
    for verb in commands.VERBS:
        assert f"\n  {verb.name} " in shown
    for form in ("-u FILE", "-m MODULES", "-r UUID", "--version"):
        assert form in shown


def test_a_family_has_a_help_of_its_own(capsys):
    assert cli.main(["clusters", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "clusters import" in shown
    assert "submit " not in shown


@pytest.mark.parametrize(
    ("words", "verb", "rest"),
    [
        (["ls", "--json"], "ls", ["--json"]),
        (["--json", "-v", "ls", "-q"], "ls", ["--json", "-v", "-q"]),
        (["--username", "ls", "ls"], "ls", ["--username", "ls"]),
        (["--private-key=k", "ls"], "ls", ["--private-key=k"]),
        (["-qv", "status", "abc"], "status", ["-qv", "abc"]),
        (["clusters"], "clusters ls", []),
        (["clusters", "--json", "show", "x"], "clusters show", ["--json", "x"]),
        (["--json", "clusters", "rm", "ls"], "clusters rm", ["--json", "ls"]),
        (["-u", "ls"], "", ["-u", "ls"]),
        (["--json", "--user=f"], "", ["--json", "--user=f"]),
        (["--wait", "-u", "f"], "", ["--wait", "-u", "f"]),
    ],
)
def test_the_verb_is_found(words, verb, rest):
    call = cli.locate(words)
    assert call is not None
    assert (call.verb.name, call.words) == (verb, rest)


def test_options_may_stand_before_and_after_a_verb():
    call = cli.locate(["-v", "--username", "me", "cancel", "abcdef", "--json", "bcdefa", "-v"])
    args, _ = cli.parse(call)
    assert (args.verbose, args.username, args.json, args.jobs) == (2, "me", True, ["abcdef", "bcdefa"])


def test_the_short_form_takes_the_options_of_submit_and_retrieve():
    args, _ = cli.parse(cli.locate(["-u", "f.yml", "-m", "m.yml", "--wait", "--tag", "a=b", "--set", "c=d"]))
    assert (args.file, args.module, args.wait, args.tag, args.overrides) == ("f.yml", "m.yml", True, ["a=b"], ["c=d"])
    args, _ = cli.parse(cli.locate(["-r", "abcdef", "-o", "out", "--force"]))
    assert (args.job, args.output, args.force) == ("abcdef", "out", True)
    args, _ = cli.parse(cli.locate(["--retrieve", "abcdef"]))
    assert args.job == "abcdef"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Nothing to do. `"),
        (["rum"], "Did you mean 'rm' or 'run'?"),
        (["lss"], "There is no verb 'lss'. Did you mean 'ls'?"),
        (["clusters", "shw"], "Did you mean 'show'?"),
        (["clusters", "frobnicate"], "There are: ls, show, add"),
        (["submit"], "FILE"),
        (["submit", "f", "--wiat"], "--wiat"),
        (["submit", "f", "--fallback", "maybe"], "invalid choice"),
        (["-u", "a", "-r", "abcdef"], "two different things"),
        (["-m", "x"], "no -u and no -r"),
        (["submit", "f", "--wa"], "--wa"),
        (["ls", "--limit", "x"], "--limit"),
        (["ls", "--limit", "-1"], "negative"),
        (["ls", "-l", ","], "selector is empty"),
        (["ls", "-l", "a b==="], "is none of key=value"),
        (["ls", "--state", ""], "`--state` is empty"),
        (["ls", "--state", "RUNING"], "Did you mean 'RUNNING'?"),
        (["cancel"], "No job is named"),
        (["cancel", "abcdef", "-l", "a=b"], "not both"),
        (["status", "abc"], "at least 6"),
        (["status", "nonsense"], "is not the UUID of a job"),
        (["status", "../../../etc"], "is not the UUID of a job"),
        (["tag", "abcdef"], "No tag is given"),
        (["logs", "abcdef", "--run", "0"], "--run 0"),
        (["submit", "absent.yml", "--tag", "x"], ""),
        (["validate", "absent.yml"], "absent.yml"),
    ],
)
def test_bad_usage_is_exit_code_2_and_one_paragraph(words, said, capsys):
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_an_error_is_a_json_document_too(capsys):
    assert cli.main(["ls", "--state", "RUNING", "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": "'RUNING' is not a state.", "hint": "Did you mean 'RUNNING'?", "exit_code": 2}
    assert err.startswith("error: ")


@pytest.fixture
def failing(monkeypatch):
    """`ls` raises what the test wants."""
    from project.commands import ls

    def set_error(error):
        def run(_session):
            raise error

        monkeypatch.setattr(ls, "run", run)

    return set_error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("x", "y"), 2),
        (ClusterError("x", "y"), 3),
        (ApiError("x", "y"), 4),
        (JobEnded("x", "y"), 5),
        (Bug("x", "y"), 70),
        (JobferryError("x", "y"), 70),
        (ValueError("x"), 70),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_has_its_exit_code_and_no_traceback(failing, error, code, capsys):
    failing(error)
    assert cli.main(["ls"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert "Traceback" not in err


def test_a_bug_asks_to_be_reported(failing, capsys):
    failing(ZeroDivisionError("division by zero"))
    assert cli.main(["ls"]) == 70
    assert "ZeroDivisionError: division by zero. Please report it" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["-vv", "ls"], ["ls", "-v", "-v"]])
def test_a_traceback_is_shown_with_vv_only(failing, words, capsys):
    failing(UserError("x"))
    assert cli.main(words) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_hostile_message_cannot_command_the_terminal(failing, capsys):
    failing(UserError("no job \x1b[2J\x07 [red]"))
    assert cli.main(["ls"]) == 2
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert "no job \\x1b[2J\\x07 [red]" in err


def test_python_m_project_is_the_program(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "project", "frob"]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path, env=env, timeout=60)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: There is no verb 'frob'.")


def test_a_reader_that_leaves_is_no_error(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = f"'{sys.executable}' -m project --help | true; exit ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, env=env, timeout=60)
    assert "Traceback" not in ran.stderr
