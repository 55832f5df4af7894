"""Job specifications that were written for psik and PSI/J, unchanged, on Slurm over SSH."""

import json
from pathlib import Path

import pytest

from helpers.live import Bed, Cli

# As psik's README writes them: version 1.2, its example of a Python interface as JSON, with the shell that psik uses.
PSIK_1_2 = {
    "name": "machine info",
    "script": "#!/usr/bin/env rc\n"
    "$mpirun echo rank\n"
    "echo nodes $nodes jobndx $jobndx jobid $jobid\n"
    "echo base $base\n"
    "echo words $#mpirun\n"
    "test $base/work -ef . && echo at work\n",
    "environment": {"GREETING": "bon jour"},
    "resources": {"duration": "5", "process_count": 2, "cpu_cores_per_process": 1, "exclusive_node_use": False},
    "backend": {"type": "slurm", "queue_name": "batch", "attributes": {"--comment": "from psik", "--mem": "60M"}},
}
# Version 3.1 has the name of its backend, and the attributes beside it.
PSIK_3_1 = """\
name: run
script: |
  #!/usr/bin/env python3
  import os, subprocess
  mpirun = os.environ["mpirun"].split("\\x01")
  print(subprocess.run(mpirun + ["echo", "rank"], stdout=subprocess.PIPE, check=True).stdout.decode(), end="")
  print(os.environ["nodes"], os.environ["jobndx"], os.environ["jobid"], os.environ["base"], os.environ["COLOUR"])
environment: {COLOUR: red}
inherit_environment: false
backend: alpha
attributes: {--mem: 60M}
resources:
  duration: 5
  node_count: 1
  processes_per_node: 2
  exclusive_node_use: false
"""
# As PSI/J's JSONSerializer writes JobSpec(…): psij/serialize.py.
PSIJ = {
    "executable": "/bin/sh",
    "arguments": ["-c", 'echo "$GREETING" from $0; cat', "rank"],
    "name": "/bin/sh",
    "environment": {"GREETING": "it's me"},
    "stdin_path": "in.txt",
    "stdout_path": "out.txt",
    "resources": {"process_count": 2, "cpu_cores_per_process": 1, "memory": 62914560, "__version": 1},
    "attributes": {
        "duration": "300.0 s",
        "queue_name": "batch",
        "custom_attributes": {"slurm.comment": "from psij", "lsf.alloc_flags": "smt4"},
    },
    "pre_launch": "pre.sh",
    "launcher": "srun",
}


@pytest.fixture
def who(testbed: Bed) -> "tuple[str, ...]":
    return ("--username", "jdoe", "--private-key", str(testbed.key()))


def printed(cli: Cli, document: "dict[str, object]") -> "list[str]":
    assert document["state"] == "FINISHED", document
    return cli.run("logs", str(document["job_uuid"])).out.splitlines()


def test_a_psik_1_2_specification_with_rc(cli: Cli, testbed: Bed, tmp_path: Path, who: "tuple[str, ...]") -> None:
    path = tmp_path / "jobspec.json"
    path.write_text(json.dumps(PSIK_1_2))
    uuid = cli.run("run", path, "--cluster", "alpha", "-q", *who).last
    document = cli.until(uuid)
    lines = printed(cli, document)
    native, base = document["native_id"], document["job_directory"]
    assert lines[:2] == ["rank", "rank"]
    assert lines[2:4] == [f"nodes 1 jobndx 1 jobid {native}", f"base {base}"]
    assert int(lines[4].split()[1]) >= 1
    assert lines[5] == "at work"
    assert testbed.alpha.native_jobs(uuid) == [native]
    shown = testbed.alpha.slurm(f"scontrol show job {native}")
    assert "Comment=from psik" in shown
    rows = (testbed.alpha.here(base) / "status.csv").read_text().splitlines()
    assert [row.split(",")[1:3] for row in rows] == [["0", "new"], ["1", "queued"], ["1", "active"], ["1", "completed"]]
    assert rows[1].split(",")[3] == native


def test_a_psik_3_1_specification_with_python(cli: Cli, testbed: Bed, tmp_path: Path, who: "tuple[str, ...]") -> None:
    path = tmp_path / "jobspec.yaml"
    path.write_text(PSIK_3_1)
    uuid = cli.run("run", path, "-q", *who).last
    document = cli.until(uuid)
    assert document["cluster"] == "alpha", "the specification's backend"
    assert printed(cli, document) == ["rank", "rank", f"1 1 {document['native_id']} {document['job_directory']} red"]


def test_a_psij_specification(cli: Cli, testbed: Bed, tmp_path: Path, who: "tuple[str, ...]") -> None:
    path = tmp_path / "spec.json"
    folder = testbed.alpha.ssh(
        "d=$(mktemp -d ~/psij.XXXXXX) && cd $d && echo in > in.txt && echo 'echo before' > pre.sh && pwd"
    )
    # A relative path is one of the job's folder, as in PSI/J.
    path.write_text(json.dumps({**PSIJ, "directory": folder.strip()}))
    ran = cli.run("run", path, "--cluster", "alpha", "-q", "--wait", *who)
    document = cli.json("status", ran.last)
    assert printed(cli, document) == ["before"]
    out = (testbed.alpha.here(folder.strip()) / "out.txt").read_text().splitlines()
    assert out.count("it's me from rank") == 2
    assert "in" in out
    assert "Comment=from psij" in testbed.alpha.slurm(f"scontrol show job {document['native_id']}")


def test_a_job_is_started_again_with_the_next_jobndx(
    cli: Cli, testbed: Bed, tmp_path: Path, who: "tuple[str, ...]"
) -> None:
    path = tmp_path / "jobspec.json"
    script = "echo run $jobndx >> runs; cat runs\n"
    path.write_text(json.dumps({"script": script, **{key: PSIK_1_2[key] for key in ("resources", "backend")}}))
    made = cli.run("run", path, "--cluster", "alpha", "--no-submit", "-q", *who).last
    assert testbed.alpha.native_jobs(made) == []
    assert cli.run("start", made, "-q").last == made
    assert printed(cli, cli.until(made)) == ["run 1"]
    again = cli.run("start", made, "-q").last
    document = cli.until(again)
    assert printed(cli, document) == ["run 1", "run 2"]
    base = testbed.alpha.here(document["job_directory"])
    assert (base / "log" / "stdout.2").is_file()
    assert len(testbed.alpha.native_jobs(made)) == len(testbed.alpha.native_jobs(again)) == 1


def test_psiks_configuration_makes_this_machines_own_slurm_a_cluster(testbed: Bed, tmp_path: Path) -> None:
    """psik runs where the workload manager is: so does a cluster with `transport: local`. No host key is known to this user."""
    (tmp_path / "psik.json").write_text(
        json.dumps(
            {
                "prefix": str(tmp_path / "jobs"),
                "backend": {
                    "type": "slurm",
                    "queue_name": "batch",
                    "attributes": {"--mem": "60M", "--comment": "here"},
                },
            }
        )
    )
    (tmp_path / "spec.json").write_text(
        json.dumps({"script": "echo $jobid", "resources": {"exclusive_node_use": False}})
    )
    here = Cli(tmp_path / "here", env={"SLURM_CONF": str(testbed.folder / "alpha" / "slurm.conf")})
    uuid = here.run("run", tmp_path / "spec.json", "--config", tmp_path / "psik.json", "-q").last
    document = here.until(uuid)
    assert document["cluster"] == "psik-slurm"
    assert printed(here, document) == [document["native_id"]]
    assert Path(document["job_directory"]).parent == tmp_path / "jobs"
    assert testbed.alpha.native_jobs(uuid) == [document["native_id"]]
    assert "Comment=here" in testbed.alpha.slurm(f"scontrol show job {document['native_id']}")


def psik_job(cli: Cli, folder: Path, who: "tuple[str, ...]", script: str, **attributes: str) -> str:
    """Submits a psik 3 specification to alpha; its UUID."""
    path = folder / f"spec{len(list(folder.iterdir()))}.json"
    options = {"--mem": "60M", **{f"--{name}": value for name, value in attributes.items()}}
    path.write_text(
        json.dumps({"script": script, "backend": "alpha", "attributes": options, "resources": RESOURCES_OF_ONE})
    )
    return cli.run("run", path, "-q", *who).last


RESOURCES_OF_ONE = {"duration": 5, "process_count": 1, "exclusive_node_use": False}


def test_a_native_scancel_and_rm_of_a_running_job(
    cli: Cli, testbed: Bed, tmp_path: Path, who: "tuple[str, ...]"
) -> None:
    uuid = psik_job(cli, tmp_path, who, "#!/bin/sh\nsleep 300\n")
    document = cli.until(uuid, "RUNNING")
    refused = cli.run("rm", uuid, code=2)
    assert "cancel it first" in refused.out + refused.err
    base = testbed.alpha.here(document["job_directory"])
    assert (base / "spec.json").exists()
    testbed.alpha.slurm(f"scancel {document['native_id']}")
    ended = cli.until(uuid)
    assert (ended["state"], ended["condition"]) == ("CANCELLED", "cancelled_by_scheduler")
    assert (base / "status.csv").read_text().splitlines()[-1].split(",")[1:3] in (["1", "canceled"], ["1", "failed"])


def test_a_verbatim_dependency_is_kept_by_slurm(cli: Cli, testbed: Bed, tmp_path: Path, who: "tuple[str, ...]") -> None:
    first = psik_job(cli, tmp_path, who, "#!/bin/sh\nsleep 3\n")
    native = cli.json("status", first)["native_id"]
    second = psik_job(cli, tmp_path, who, "#!/bin/sh\necho second\n", dependency=f"afterok:{native}")
    waiting = cli.json("status", second)
    shown = testbed.alpha.slurm(f"scontrol show job {waiting['native_id']}")
    assert f"Dependency=afterok:{native}" in shown or cli.json("status", first)["state"] == "FINISHED"
    assert cli.until(second)["state"] == "FINISHED"
    assert cli.json("status", first)["state"] == "FINISHED"
