"""The table of launchers, and what a job makes of it: fake launchers that check their arguments start real ranks."""

import os
import stat
import subprocess
import sys

import pytest

from project.core import jobspec, launchers, schedulers, script
from project.core.paths import JobPaths

UUID = "503d3f77-a21b-4e52-86c4-eec0f0cd9c16"
FULL = {"nodes": 2, "ranks": 6, "ranks_per_node": 3, "threads_per_rank": 4, "gpus_per_rank": 1}
SHELLS = [["sh"], ["bash", "--posix"], ["bash"]]


def spec(**data):
    return jobspec.parse({"destination_cluster": "alpha", "job": "x", "execution": ["true"], **data})


def words(launcher, **resources):
    return launchers.words(spec(launcher=launcher, resources=resources), {}, schedulers.get("local"))


@pytest.mark.parametrize(
    ("launcher", "full"),
    [
        ("srun", "srun --nodes=2 --ntasks=6 --ntasks-per-node=3 --cpus-per-task=4"),
        ("mpirun", "mpirun -n 6"),
        ("mpiexec", "mpiexec -n 6"),
        ("jsrun", "jsrun -n 6 -r 3 -a 1 -c 4 -g 1"),
        ("aprun", "aprun -n 6 -N 3 -d 4"),
        ("flux run", "flux run --nodes=2 --ntasks=6 --cores-per-task=4 --gpus-per-task=1"),
        ("flux", "flux run --nodes=2 --ntasks=6 --cores-per-task=4 --gpus-per-task=1"),
        ("none", ""),
        ("mpiexec.hydra -bind-to 'a core'", "mpiexec.hydra -bind-to 'a core'"),
        ("mpirun --oversubscribe", "mpirun --oversubscribe"),
    ],
)
def test_each_launcher_says_the_numbers_in_its_own_way(launcher, full):
    assert launchers.text(words(launcher, **FULL)) == full
    bare = "flux run" if launcher == "flux" else "" if launcher == "none" else launcher
    assert launchers.text(words(launcher)) == bare


def test_every_launcher_of_the_table_is_tested():
    assert set(launchers.LAUNCHERS) == {"srun", "mpirun", "mpiexec", "jsrun", "aprun", "flux run", "flux", "none"}


def test_the_number_of_ranks_and_nodes_is_told_when_it_is_known_and_not_otherwise():
    for resources, ranks, nodes in (
        ({}, None, None),
        ({"ranks": 4}, 4, None),
        ({"nodes": 2, "ranks_per_node": 3}, 6, 2),
        ({"nodes": 2}, None, 2),
        ({"ranks": 4, "ranks_per_node": 3}, 4, 2),
        ({"ranks": 4, "distribution": "grouped"}, 4, 1),
        ({"ranks": 4, "distribution": "scattered"}, 4, 4),
        ({"nodes": 3, "distribution": "distributed"}, 3, 3),
    ):
        found = spec(resources=resources).resources
        assert (launchers.ranks(found), launchers.nodes(found)) == (ranks, nodes), resources


def test_the_input_chooses_then_the_cluster_then_the_workload_manager():
    slurm, local = schedulers.get("slurm"), schedulers.get("local")
    site = {"name": "alpha", "launcher": "mpiexec"}
    assert launchers.words(spec(launcher="none"), site, slurm) == []
    assert launchers.words(spec(), site, slurm) == ["mpiexec"]
    assert launchers.words(spec(), {}, slurm) == ["srun"]
    assert launchers.words(spec(), {}, local) == []
    chosen = [
        launchers.origin(one, place) for one, place in ((spec(launcher="srun"), site), (spec(), site), (spec(), {}))
    ]
    assert chosen == ["launcher", "cluster alpha: launcher", "jobferry"]


# Starts as many processes as it is told, as mpirun does, and refuses words that mpirun would not know.
FAKE_MPIRUN = """#!/bin/sh
ranks=1
while :; do
  case $1 in
    -n) ranks=$2; shift 2 ;;
    --bind-to) [ "$2" = "a core" ] || exit 9; shift 2 ;;
    -*) echo "unknown option $1" >&2; exit 9 ;;
    *) break ;;
  esac
done
rank=0
while [ "$rank" -lt "$ranks" ]; do
  RANK=$rank "$@" || exit
  rank=$((rank + 1))
done
"""
# As psik's documentation uses it (README, "Environment during job execution").
FROM_PYTHON = """#!{python}
import os, subprocess, sys
words = os.environ["mpirun"].split("\\x01") + [sys.executable, "-c", "import os; print('rank', os.environ.get('RANK', '-'))"]
sys.exit(subprocess.run(words).returncode)
"""


def ran(tmp_path, shell, allocation=None, **data):
    job = spec(**data)
    paths = JobPaths(str(tmp_path / "it's jobs"), UUID)
    for folder in (paths.work, paths.log, paths.facts, paths.scripts):
        os.makedirs(folder, exist_ok=True)
    tools = tmp_path / "bin"
    tools.mkdir(exist_ok=True)
    for name, text in (("mpirun", FAKE_MPIRUN), ("ask", FROM_PYTHON.format(python=sys.executable))):
        (tools / name).write_text(text)
        (tools / name).chmod(stat.S_IRWXU)
    with open(paths.script, "w", encoding="utf-8") as stream:
        stream.write(script.render(job, {"name": "alpha"}, schedulers.get("slurm"), paths, UUID))
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*shell, paths.script], env={"PATH": path, **(allocation or {})}, cwd="/", check=False, timeout=60
    )
    with open(paths.stdout(1), encoding="utf-8") as stream:
        return done.returncode, stream.read(), paths


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize(
    ("launcher", "ranks"), [("mpirun", "012"), ("mpirun -n 2 --bind-to 'a core'", "01"), ("none", "-")]
)
def test_the_launcher_starts_the_ranks(tmp_path, shell, launcher, ranks):
    code, said, _ = ran(tmp_path, shell, launcher=launcher, execution="ask", resources={"ranks": 3})
    assert (code, said) == (0, "".join(f"rank {rank}\n" for rank in ranks))


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_shell_uses_the_words_as_they_are(tmp_path, shell):
    fields = {"launcher": "mpirun", "resources": {"ranks": 2}}
    assert ran(tmp_path, shell, execution="$JOBFERRY_LAUNCHER sh -c 'echo $RANK'", **fields)[1] == "0\n1\n"


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize(
    ("allocation", "resources", "nodes"),
    [
        ({"SLURM_JOB_NUM_NODES": "7"}, {}, "7"),
        ({"SLURM_JOB_NUM_NODES": "7"}, {"nodes": 2}, "7"),
        ({"SLURM_NNODES": "3"}, {}, "3"),
        ({}, {"nodes": 2}, "2"),
        ({"SLURM_JOB_NUM_NODES": "$(touch marker)"}, {}, ""),
        ({"SLURM_JOB_NUM_NODES": "0"}, {}, ""),
        ({}, {}, ""),
    ],
)
def test_nodes_are_those_of_the_allocation_else_those_asked_for(tmp_path, shell, allocation, resources, nodes):
    code, said, _ = ran(tmp_path, shell, allocation, execution='echo "$nodes|$JOBFERRY_NODES"', resources=resources)
    assert (code, said) == (0, f"{nodes}|{nodes}\n")
    assert not list(tmp_path.rglob("marker"))


def test_a_job_knows_all_of_itself(tmp_path):
    names = "jobndx jobid base JOB JOB_NAME RUN INDEX ARRAY_SIZE NATIVE_ID CLUSTER WORKLOAD_MANAGER JOB_DIRECTORY WORK NODES RANKS"
    names = [*names.split(), "THREADS_PER_RANK", "LAUNCHER"]
    lines = [f'echo "{name}=${{{name if name.islower() else "JOBFERRY_" + name}?}}"' for name in names]
    fields = {"name": "it's $(x)", "resources": {"ranks": 2, "threads_per_rank": 3}, "env": {"nodes": "mine"}}
    _, said, paths = ran(tmp_path, ["sh"], {"SLURM_JOB_ID": "17"}, execution=[*lines, "echo $nodes"], **fields)
    *pairs, own = said.splitlines()
    assert own == "mine"
    assert dict(line.split("=", 1) for line in pairs) == {
        "jobndx": "1",
        "jobid": "17",
        "base": paths.folder,
        "JOB": UUID,
        "JOB_NAME": "it's $(x)",
        "RUN": "1",
        "INDEX": "",
        "ARRAY_SIZE": "",
        "NATIVE_ID": "17",
        "CLUSTER": "alpha",
        "WORKLOAD_MANAGER": "slurm",
        "JOB_DIRECTORY": paths.folder,
        "WORK": paths.work,
        "NODES": "",
        "RANKS": "2",
        "THREADS_PER_RANK": "3",
        "LAUNCHER": "srun --ntasks=2 --cpus-per-task=3",
    }
