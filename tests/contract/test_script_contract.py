"""The batch script of every workload manager, really run, with values that would be harmful if they were ever read as shell."""

import os
import subprocess
from pathlib import Path

import pytest

from helpers.voices import UUID, names
from project.agent import tree
from project.core import clusters, jobspec, payload, schedulers, script
from project.core.paths import JobPaths

HOSTILE = ["a'; touch marker #", "$(touch marker)", "`touch marker`", "é 日本", "-n", '"; touch marker; "', "a\\", "%j"]
DEADLINE = 60
every = pytest.mark.parametrize("name", names())
SEEN = """#!/usr/bin/env python3
import os, sys
for name in ("JOBFERRY_JOB_NAME", "JOBFERRY_WORK", "JOBFERRY_CLUSTER", "SITE", "OWN"):
    print(name, ascii(os.environ[name]))
print("mpirun", ascii(os.environ["mpirun"].split("\\x01")))
print("cwd", ascii(os.getcwd()))
print("inherited", os.environ.get("INHERITED"))
"""


@every
@pytest.mark.parametrize("odd", HOSTILE)
def test_no_value_is_ever_read_as_shell(name, odd, tmp_path):
    manager = schedulers.get(name)
    paths = JobPaths(str(tmp_path / "jobs" / odd), UUID)
    place = str(tmp_path / "runs" / odd)
    for folder in (paths.scripts, paths.log, paths.facts):
        os.makedirs(folder)
    word = "'" + odd.replace("'", "'\\''") + "'"
    job = jobspec.parse(
        {
            "destination_cluster": "c",
            "name": odd,
            "script": SEEN,
            "directory": place,
            "launcher": "launch " + word,
            "env": {"OWN": odd},
            "inherit_environment": False,
        }
    )
    profile = {
        "modules": [odd],
        "prologue": ["echo before " + word],
        "epilogue": ["echo after " + word],
        "env": {"SITE": odd},
        "body": '# {{name}}\n{{modules}}\n{{prologue}}\necho "body {{name}}"\n{{execution}}\n{{epilogue}}\n',
    }
    cluster = {"name": odd, "profile": profile}
    assert not clusters.meaning({**cluster, "workload_manager": name})
    tree.write(paths, job, str(tmp_path / odd))
    text = script.render(job, cluster, manager, paths, UUID, work=place)
    Path(paths.script).write_text(text, encoding="utf-8")
    # Each wherever it is started, and as the manager starts it: with an environment of its own.
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "INHERITED": odd}
    done = subprocess.run(["sh", paths.script], cwd=tmp_path, env=env, check=False, timeout=DEADLINE)
    assert done.returncode == 0
    assert Path(paths.stdout(1)).read_text(encoding="utf-8").splitlines() == [
        f"before {odd}",
        f"body {odd}",
        f"JOBFERRY_JOB_NAME {ascii(odd)}",
        f"JOBFERRY_WORK {ascii(place)}",
        f"JOBFERRY_CLUSTER {ascii(odd)}",
        f"SITE {ascii(odd)}",
        f"OWN {ascii(odd)}",
        f"mpirun {ascii(['launch', odd])}",
        f"cwd {ascii(place)}",
        "inherited None",
        f"after {odd}",
    ]
    assert not list(tmp_path.rglob("marker"))
    for path in (paths.script_submit, paths.script_cancel):
        assert subprocess.run(["sh", "-n", path], check=False).returncode == 0


@every
@pytest.mark.parametrize("shell", [["sh"], ["bash", "--posix"], ["bash"]], ids=" ".join)
def test_what_a_manager_says_of_its_nodes_is_shell(name, shell):
    """Outside of an allocation a manager knows no number, and what the job asked for is told."""
    job = jobspec.parse({"destination_cluster": "c", "script": "true", "resources": {"nodes": 1}})
    lines = payload.psik_variables(job, {}, schedulers.get(name))
    text = "\n".join(
        ["jobferry_run=1 jobferry_native= jobferry_folder=/", *(line.text for line in lines), 'echo "$nodes"']
    )
    env = {"PATH": os.environ["PATH"]}
    done = subprocess.run([*shell, "-uc", text], env=env, capture_output=True, text=True, check=True, timeout=DEADLINE)
    assert (done.stdout, done.stderr) == ("1\n", "")


@every
def test_a_header_line_of_a_site_is_one_that_the_manager_reads(name):
    manager = schedulers.get(name)
    document = {"workload_manager": name, "profile": {"directives": ["true"]}}
    (problem,) = clusters.meaning(document)
    assert problem.key == "profile.directives[0]"
    if manager.directive_prefix:
        job = jobspec.parse({"destination_cluster": "c", "script": "true", "resources": {"duration": "1h"}})
        lines = manager.directives(job, {}, JobPaths("/w", UUID), UUID)
        assert any(line.startswith(manager.directive_prefix + " ") for line in lines)
