"""A site's profile: around every job, and as a template of the batch script's body."""

import os
import subprocess

import pytest

from project.core import clusters, jobspec, profiles, schedulers, script
from project.core.errors import InputError
from project.core.lines import Line, explained
from project.core.paths import JobPaths

UUID = "503d3f77-a21b-4e52-86c4-eec0f0cd9c16"
HOSTILE = ["a'; touch marker #", "$(touch marker)", "`touch marker`", "é 日本", "-n", '"; touch marker; "', "a\\", "%j"]
SHELLS = [["sh"], ["bash", "--posix"], ["bash"]]
every_shell = pytest.mark.parametrize("shell", SHELLS, ids=" ".join)


def spec(**data):
    return jobspec.parse({"destination_cluster": "alpha", "script": "true", **data})


def lines(profile, cluster=None, **data):
    place = {"name": "alpha", "profile": profile, **(cluster or {})}
    work = data.get("directory", "")
    return script.explain(spec(**data), place, schedulers.get("slurm"), JobPaths("/w", UUID), UUID, work=work)


def ran(tmp_path, shell, profile, code=0, allocation=None, **data):
    paths = JobPaths(str(tmp_path / "jobs"), UUID)
    for folder in (paths.work, paths.log, paths.facts, paths.scripts):
        os.makedirs(folder, exist_ok=True)
    job = jobspec.parse({"destination_cluster": "alpha", "job": "x", **data})
    text = script.render(job, {"name": "alpha", "profile": profile}, schedulers.get("slurm"), paths, UUID)
    with open(paths.script, "w", encoding="utf-8") as stream:
        stream.write(text)
    env = {"PATH": os.environ["PATH"], **(allocation or {})}
    done = subprocess.run([*shell, paths.script], env=env, cwd="/", check=False, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == code
    with open(paths.stdout(1), encoding="utf-8") as stream:
        return stream.read()


@every_shell
@pytest.mark.parametrize("code", [0, 3])
def test_what_comes_before_and_after_a_job(tmp_path, shell, code):
    # A fake command `module`, found where Environment Modules keeps its shell functions.
    (tmp_path / "init").mkdir()
    (tmp_path / "init" / "sh").write_text('module() { echo "module $*"; }\n')
    profile = {
        "modules": ["GCC/12.3.0 OpenMPI", "R"],
        "prologue": ["export X=1", "if true", "false"],
        "epilogue": ["echo after $JOBFERRY_EXIT_CODE $X; cd /", "if true", "exit 9", "echo never"],
        "env": {"SITE": "it's", "OWN": "site"},
    }
    said = ran(
        tmp_path,
        shell,
        profile,
        code,
        {"MODULESHOME": str(tmp_path)},
        execution=['echo "$X $SITE $OWN"', "PATH=/nowhere", f"(exit {code})"],
        env={"OWN": "job"},
    )
    assert said == f"module load GCC/12.3.0 OpenMPI\nmodule load R\n1 it's job\nafter {code} 1\n"


BODY = """\
# {{name}} on {{ cluster }}, not a placeholder: {{.Names}} {{print $1}}
{{modules}}
{{prologue}}
echo "begin {{name}} on {{cluster}}: {{ranks}} ranks, {{nodes}} nodes, {{launcher}}"
  {{execution}}
echo done
{{epilogue}}
echo end
"""


@every_shell
@pytest.mark.parametrize("name", HOSTILE)
def test_a_template_of_the_body(tmp_path, shell, name):
    profile = {"body": BODY, "prologue": "echo before", "epilogue": "echo after"}
    fields = {
        "execution": 'printf "%s\\n" "$JOBFERRY_JOB_NAME"',
        "resources": {"ranks": 2, "nodes": 1},
        "launcher": "mpirun",
    }
    said = ran(tmp_path, shell, profile, name=name, **fields)
    assert said == f"before\nbegin {name} on alpha: 2 ranks, 1 nodes, mpirun -n 2\n{name}\ndone\nafter\nend\n"
    assert not list(tmp_path.rglob("marker"))


@every_shell
def test_an_epilogue_in_a_template_runs_after_a_failure_too_and_once(tmp_path, shell):
    said = ran(tmp_path, shell, {"body": BODY, "prologue": "", "epilogue": "echo after"}, 4, execution="exit 4")
    assert said.splitlines()[1:] == ["after"]


@every_shell
@pytest.mark.parametrize("odd", HOSTILE)
def test_hostile_values_stay_text(tmp_path, shell, odd):
    quoted = "'" + odd.replace("'", "'\\''") + "'"
    profile = {"prologue": "printf %s\\\\n " + quoted, "epilogue": ["printf %s\\\\n " + quoted], "env": {"ODD": odd}}
    said = ran(tmp_path, shell, {**profile, "modules": [odd]}, execution='printf "%s\\n" "$ODD"', launcher="none")
    assert said == f"{odd}\n{odd}\n{odd}\n"
    assert not list(tmp_path.rglob("marker"))


@pytest.mark.parametrize(
    ("profile", "key", "words"),
    [
        ({"body": "{{execution}}\n{{exectuion}}"}, "profile.body", "{{exectuion}}"),
        ({"body": "true"}, "profile.body", "{{execution}}"),
        ({"body": "{{execution}}\n{{execution}}"}, "profile.body", "once"),
        ({"body": "if true; then {{execution}}; fi"}, "profile.body", "within a line"),
        ({"body": "{{execution}}", "modules": "x"}, "profile.body", "profile.modules"),
        ({"body": "{{execution}}", "epilogue": "x"}, "profile.body", "profile.epilogue"),
        ({"directives": "--time=1"}, "profile.directives[0]", "does not start with '#SBATCH '"),
        ({"directives": ["#SBATCH --comment=x", "#PBS -q x"]}, "profile.directives[1]", "#SBATCH"),
        ({"directives": ["#SBATCH --job-name=x"]}, "profile.directives[0]", "--job-name"),
        ({"directives": ["#SBATCH --time=1\nrm x"]}, "profile.directives", ""),
        ({"options": ["--output=x"]}, "profile.options[0]", "--output"),
        ({"prolog": ["x"]}, "profile.prolog", "prologue"),
        ({"env": {"A B": "x"}}, "profile.env", ""),
        ({"modules": 3}, "profile.modules", ""),
        (3, "profile", ""),
    ],
)
def test_a_profile_that_is_none(profile, key, words):
    document = {"name": "a", "hostname": "h", "workload_manager": "slurm", "profile": profile}
    found = clusters.problems(document)
    assert found
    assert found[0].key.startswith(key)
    assert words in found[0].text()
    with pytest.raises(InputError):
        clusters.normalise(document)


@pytest.mark.parametrize(("manager", "line"), [("lsf", "#BSUB -n 4"), ("sge", "#$ -N other"), ("flux", "# flux: -N4")])
def test_no_header_line_comes_from_elsewhere_where_the_whole_script_is_read(manager, line):
    def keys(profile, manager=manager):
        place = {"name": "a", "hostname": "h", "workload_manager": manager, "profile": profile}
        return [problem.key for problem in clusters.problems(place)]

    assert keys({"body": line + "\n{{execution}}"}) == ["profile.body"]
    assert keys({"prologue": ["true", "cat <<E\n" + line + "\nE"]}) == ["profile.prologue[1]"]
    assert keys({"env": {"A": "b\n" + line}}) == ["profile.env.A"]
    assert keys("module load gcc\n" + line) == ["profile[0]"]
    assert keys({"body": " " + line + "\n{{execution}}"}) == ([] if manager != "flux" else ["profile.body"])
    assert keys({"body": line + "\n{{execution}}"}, "slurm") == []


def test_an_unknown_placeholder_is_answered_with_the_nearest():
    (problem,) = profiles.problems({"profile": {"body": "{{execution}}\necho {{nodez}}"}})
    assert "nodes" in problem.hint


def test_a_script_is_not_made_of_a_profile_that_is_none():
    with pytest.raises(InputError, match="alpha"):
        lines({"body": "true"})


def test_where_each_line_comes_from():
    profile = {
        "modules": ["GCC"],
        "directives": ["#SBATCH --comment=x"],
        "options": ["--mail-type=NONE"],
        "env": {"S": "1"},
    }
    found = lines(
        {**profile, "prologue": ["true"]},
        {"partition": "batch", "launcher": "mpirun"},
        name="n",
        resources={"walltime": "1h", "ranks": 2, "array": "0-3"},
        scheduler_options=["--nice=3"],
        env={"E": "2"},
        directory="/d",
        inherit_environment=False,
    )
    origin = {line.text: line.origin for line in found}
    for text, key in (
        ("#!/bin/sh", "jobferry"),
        ("#SBATCH --comment=x", "profile.directives[0]"),
        ("#SBATCH --partition=batch", "cluster alpha: partition"),
        ("#SBATCH --time=01:00:00", "resources.duration"),
        ("#SBATCH --ntasks=2", "resources.ranks"),
        ("#SBATCH --array=0-3", "resources.array"),
        ("#SBATCH --mail-type=NONE", "profile.options[0]"),
        ("#SBATCH --nice=3", "scheduler_options[0]"),
        (f"#SBATCH --job-name=n.{UUID}", "name"),
        ("export S=1", "profile.env.S"),
        ("export E=2", "env.E"),
        ("module load GCC", "profile.modules[0]"),
        ("command eval true", "profile.prologue[0]"),
        ("export PATH", "inherit_environment"),
        ("cd -- /d || exit", "directory"),
        ("/w/" + UUID + "/scripts/run", "script"),
        ("export JOBFERRY_ARRAY_SIZE=4", "jobferry"),
        ("export JOBFERRY_LAUNCHER='mpirun -n 2'", "cluster alpha: launcher"),
    ):
        assert origin[text] == key, text


def test_a_line_that_says_several_needs_names_them_all():
    def ask(job, cluster):
        return [f"#SBATCH --all={job.resources.nodes}:{job.resources.ranks}", "#SBATCH --x"]

    found = explained(ask, spec(resources={"nodes": 2, "ranks": 4}), {})
    assert found == [Line("#SBATCH --all=2:4", "resources.nodes, resources.ranks"), Line("#SBATCH --x", "jobferry")]


@pytest.mark.parametrize("manager", sorted(schedulers.SCHEDULERS))
def test_the_lines_are_the_script(manager):
    job = spec(resources={"array": "0-3", "duration": "1h"}, name="x")
    where = ({"name": "a", "profile": ["true"]}, schedulers.get(manager), JobPaths("/w", UUID), UUID)
    found = script.explain(job, *where)
    assert "".join(line.text + "\n" for line in found) == script.render(job, *where)
    assert all("\n" not in line.text and line.origin for line in found)


def test_a_sites_option_is_a_default():
    slurm = schedulers.get("slurm")
    cluster = {"profile": {"options": ["--mail-type=NONE", "--time=5"]}}
    job = spec(resources={"duration": "1h"}, scheduler_options=["--nice=3"])
    wanted = [option for option in cluster["profile"]["options"] if "seconds" not in slurm.option_fields(option)]
    assert profiles.applied(job, cluster, slurm).scheduler_options == [*wanted, "--nice=3"]
    assert profiles.applied(job, {"profile": "true"}, slurm) is job
