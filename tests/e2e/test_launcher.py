"""Scripts and launchers on the real Slurm, over SSH: psik's own way of starting ranks."""

import json
from pathlib import Path
from typing import Any

from helpers.inputs import write_input
from helpers.live import Bed, Cli

# As psik's documentation has it: the launcher's words are separated by the character 1.
SCRIPT = """#!/usr/bin/env python3
import json, os, subprocess
words = os.environ["mpirun"].split("\\x01")
ranks = subprocess.run(words + ["sh", "-c", 'echo "$SLURM_PROCID of $SLURM_NTASKS"'], stdout=subprocess.PIPE, check=True)
names = "nodes base jobndx jobid JOBFERRY_NODES JOBFERRY_RANKS JOBFERRY_LAUNCHER JOBFERRY_CLUSTER".split()
seen = {name: os.environ[name] for name in names}
seen["ranks"] = sorted(ranks.stdout.decode().splitlines())
seen["words"] = words
seen["cwd"] = os.getcwd()
seen["mine"] = sorted(name for name in os.environ if name in ("LOGIN_ONLY", "SLURM_CONF", "SLURM_JOB_ID", "HOME", "PATH"))
json.dump(seen, open("seen.json", "w"))
"""
RESOURCES = {"duration": "5m", "memory_per_thread": "50M", "ranks": 2, "threads_per_rank": 1}


def seen(cli: Cli, testbed: Bed, folder: Path, **keys: Any) -> "tuple[dict[str, Any], dict[str, Any]]":
    path = write_input(
        folder, testbed, execution=None, script=SCRIPT, output=["seen.json"], resources=RESOURCES, **keys
    )
    document = cli.until(cli.run("submit", path, "-q").last)
    assert document["state"] == "FINISHED", document
    cli.run("retrieve", document["job_uuid"], "-o", folder / "out")
    return document, json.loads((folder / "out" / "seen.json").read_text())


def test_srun_starts_the_ranks_of_a_script_without_files(cli: Cli, testbed: Bed, tmp_path: Path) -> None:
    document, found = seen(cli, testbed, tmp_path, name="psik's way")
    assert found["ranks"] == ["0 of 2", "1 of 2"]
    assert found["words"] == ["srun", "--ntasks=2", "--cpus-per-task=1"]
    assert found["JOBFERRY_LAUNCHER"] == "srun --ntasks=2 --cpus-per-task=1"
    assert (found["jobndx"], found["jobid"]) == ("1", document["native_id"])
    assert found["base"] == document["job_directory"]
    assert found["nodes"] == found["JOBFERRY_NODES"]
    assert int(found["nodes"]) in (1, 2)
    assert (found["JOBFERRY_RANKS"], found["JOBFERRY_CLUSTER"]) == ("2", "alpha")


def test_a_directory_and_an_environment_of_its_own(cli: Cli, testbed: Bed, tmp_path: Path) -> None:
    """srun works in an environment that was emptied: what it needs of Slurm's stays."""
    where = f"~/runs/{tmp_path.name}/it's $(mine)"
    document, found = seen(cli, testbed, tmp_path, directory=where, inherit_environment=False)
    assert found["ranks"] == ["0 of 2", "1 of 2"]
    assert found["cwd"] == f"/home/jdoe{where[1:]}" == document["working_directory"]
    assert {"HOME", "PATH", "SLURM_JOB_ID"} <= set(found["mine"])
    place = testbed.alpha.here(found["cwd"])
    folder = testbed.alpha.here(document["job_directory"])
    assert (folder / "work").is_symlink()
    cli.run("rm", document["job_uuid"], "--yes")
    assert not folder.exists()
    assert (place / "seen.json").is_file()


def test_a_script_that_wants_an_interpreter_that_is_not_there(cli: Cli, testbed: Bed, tmp_path: Path) -> None:
    path = write_input(tmp_path, testbed, execution=None, script="#!/usr/bin/env no-such-rc\necho moo\n")
    document = cli.until(cli.run("submit", path, "-q").last)
    assert (document["state"], document["exit_code"]) == ("FAILED", 127)
    assert "asks for no-such-rc" in cli.run("logs", document["job_uuid"], "--stderr").out
