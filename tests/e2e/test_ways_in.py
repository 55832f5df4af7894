"""Keys, host keys, clusters that are down, and what a submission leaves behind."""

import json
from pathlib import Path

import pytest

from helpers.inputs import write_input
from helpers.live import Bed, Cli, Server, eventually


@pytest.mark.parametrize("key", ["rsa", "rsa_pass", "ecdsa"])
def test_every_kind_of_key(cli: Cli, testbed: Bed, tmp_path: Path, key: str) -> None:
    (tmp_path / "job.sh").write_text("true\n")
    passphrase = testbed.passphrase if key == "rsa_pass" else None
    path = write_input(
        tmp_path, testbed, private_key=str(testbed.key(key)), passphrase=passphrase, job="job.sh", execution="true"
    )
    document = cli.json("submit", path)
    assert document["native_id"]
    # While it runs, files there come and go.
    cli.run("watch", document["job_uuid"])
    kept = testbed.alpha.here(document["job_directory"])
    for file in [path for path in kept.rglob("*") if path.is_file()]:
        assert testbed.passphrase.encode() not in file.read_bytes(), file
        assert str(testbed.key()).encode() not in file.read_bytes(), file
    assert "private_key" not in json.dumps(cli.json("status", document["job_uuid"]))


def test_a_wrong_passphrase_is_an_error_that_does_not_repeat_it(cli: Cli, testbed: Bed, tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text("true\n")
    path = write_input(
        tmp_path, testbed, private_key=str(testbed.key("rsa_pass")), passphrase="not it at all", job="job.sh"
    )
    ran = cli.run("submit", path, "-vv", code=2)
    assert "not it at all" not in ran.out + ran.err
    assert "passphrase" in ran.err


def test_an_unknown_host_key_is_refused_and_accepted_when_told_to(testbed: Bed, tmp_path: Path) -> None:
    stranger = Cli(tmp_path / "stranger")
    stranger.run("clusters", "import", testbed.clusters)
    (tmp_path / "job.sh").write_text("true\n")
    path = write_input(tmp_path, testbed, job="job.sh")
    ran = stranger.run("submit", path, "--fallback", "never", code=3)
    assert "host key" in ran.err.lower()
    stranger.run("submit", path, "--fallback", "never", "--accept-new-host-key")
    assert str(testbed.alpha.port) in (stranger.folder / ".ssh" / "known_hosts").read_text()


def test_a_changed_host_key_is_always_refused(testbed: Bed, tmp_path: Path) -> None:
    alpha, beta = (testbed.folder / "known_hosts").read_text().splitlines()[:2]
    swapped = alpha.split()[0] + " " + " ".join(beta.split()[1:]) + "\n"
    (tmp_path / "known_hosts").write_text(swapped)
    wary = Cli(tmp_path / "wary", tmp_path / "known_hosts")
    wary.run("clusters", "import", testbed.clusters)
    (tmp_path / "job.sh").write_text("true\n")
    path = write_input(tmp_path, testbed, job="job.sh")
    ran = wary.run("submit", path, "--accept-new-host-key", "--fallback", "never", code=3)
    assert "changed" in ran.err.lower()
    assert (wary.folder / ".ssh" / "known_hosts").read_text() == swapped


def test_a_cluster_that_is_down_gives_way_to_a_peer_and_says_why(cli: Cli, testbed: Bed, tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text("hostname > result.txt\n")
    path = write_input(
        tmp_path, testbed, destination_cluster="gamma", job="job.sh", execution="sh job.sh", output="result.txt"
    )
    refused = cli.run("submit", path, "--fallback", "never", code=3)
    assert "gamma" in refused.err
    document = cli.json("submit", path, "--fallback", "auto")
    assert document["cluster"] == "beta", "the only peer that shares smp with gamma"
    uuid = document["job_uuid"]
    assert cli.until(uuid)["state"] == "FINISHED"
    assert testbed.beta.native_jobs(uuid) == [document["native_id"]]
    history = cli.run("history", uuid).out
    assert "gamma" in history
    assert "beta" in history


def test_a_submission_takes_one_connection_and_leaves_one_watcher(testbed: Bed, tmp_path: Path) -> None:
    alone = Cli(tmp_path / "alone", testbed.folder / "known_hosts")
    alone.run("clusters", "import", testbed.clusters)
    (tmp_path / "job.sh").write_text("sleep 5\n")
    path = write_input(tmp_path, testbed, username="loner", job="job.sh", execution="sleep 3")
    log = testbed.folder / "log" / "alpha.sshd"

    def accepted() -> int:
        return log.read_text().count("Accepted publickey for loner")

    before = accepted()
    document = alone.json("submit", path)
    assert accepted() - before == 1
    watchers = [line for line in testbed.alpha.processes("loner") if "watch" in line]
    assert len(watchers) <= 1, watchers
    assert all(size < 30 * 1024 for size in testbed.alpha.memory("loner", "watch")), "30 MB for the watcher at most"
    # A short-lived child of the watcher may still be at its work (it unpacks the agent's file, once).
    eventually(
        lambda: len([line for line in testbed.alpha.processes("loner") if "agent" in line]) <= 1,
        "nothing but the watcher is left",
    )
    assert alone.until(document["job_uuid"])["state"] == "FINISHED"
    eventually(
        lambda: not [line for line in testbed.alpha.processes("loner") if "watch" in line],
        "a watcher that has nothing left to watch ends",
    )


def test_hostile_values_stay_text(cli: Cli, testbed: Bed, tmp_path: Path) -> None:
    bait = "'; touch $HOME/pwned; echo $(touch $HOME/pwned) `touch $HOME/pwned` \" #\\"
    (tmp_path / "show.py").write_text("import os\nprint(os.environ['BAIT'])\n")
    path = write_input(
        tmp_path,
        testbed,
        name=bait,
        job="show.py",
        env={"BAIT": bait},
        kwargs={bait: bait},
        tags={"bait": bait},
        execution="python3 show.py > shown.txt",
        output="shown.txt",
    )
    uuid = cli.run("submit", "-q", path).last
    document = cli.until(uuid)
    assert document["state"] == "FINISHED", document
    cli.run("retrieve", uuid, "-o", tmp_path / "out")
    assert (tmp_path / "out" / "shown.txt").read_text() == bait + "\n"
    assert document["user_input"]["kwargs"] == {bait: bait}
    assert not (testbed.alpha.home() / "pwned").exists()


def test_a_hostile_partition_and_mail_address_are_refused_or_stay_text(cli: Cli, testbed: Bed, tmp_path: Path) -> None:
    bait = "batch; touch /home/jdoe/pwned2 #\n#SBATCH --wrap=x"
    inventory = tmp_path / "clusters.yml"
    cluster = {"hostname": "127.0.0.1", "port": testbed.alpha.port, "workload_manager": "slurm", "preferred_jobs": []}
    inventory.write_text(json.dumps([{"name": "bait", "partition": bait, **cluster}]))
    imported = cli.run("clusters", "import", inventory, code=None)
    assert imported.code in {0, 2}, str(imported)
    (tmp_path / "job.sh").write_text("true\n")
    if imported.code == 0:
        path = write_input(tmp_path, testbed, destination_cluster="bait", job="job.sh", fallback="never")
        assert cli.run("submit", path, code=None).code in {2, 3}
        cli.run("clusters", "rm", "bait", code=None)
    path = write_input(tmp_path, testbed, user_mail="a@b.c\r\nBcc: d@e.f", job="job.sh")
    assert cli.run("submit", path, code=2).err
    assert not (testbed.alpha.home() / "pwned2").exists()


def test_without_a_server_the_command_line_fetches_what_happened(alone: Cli, testbed: Bed, tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text("echo hello; echo done > result.txt\n")
    path = write_input(tmp_path, testbed, job="job.sh", execution="sh job.sh", output="result.txt")
    ran = alone.run("submit", path, "--wait", "-q")
    uuid = ran.last
    document = alone.json("status", uuid)
    assert (document["state"], document["exit_code"]) == ("FINISHED", 0)
    assert [job["job_uuid"] for job in alone.json("ls")["jobs"]] == [uuid]
    assert alone.run("logs", uuid[:6]).out == "hello\n"
    alone.run("retrieve", uuid, "-o", tmp_path / "out")
    assert (tmp_path / "out" / "result.txt").read_text() == "done\n"


def test_a_cancelled_job_is_gone_from_slurm(cli: Cli, testbed: Bed, tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text("sleep 600\n")
    path = write_input(tmp_path, testbed, job="job.sh", execution="sleep 600", tags={"kind": "long"})
    uuid = cli.run("submit", "-q", path).last
    cli.until(uuid, "RUNNING")
    cli.run("cancel", uuid)
    document = cli.until(uuid)
    assert (document["state"], document["condition"]) == ("CANCELLED", "cancelled_by_user")
    assert "RUNNING" not in testbed.alpha.slurm(f"squeue -h -t all -j {document['native_id']} -o %T", code=None)
    assert cli.run("cancel", uuid, code=None).code == 0, "cancelling twice is no error"


def test_hold_and_release_are_the_schedulers_own(cli: Cli, testbed: Bed, tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text("true\n")
    path = write_input(tmp_path, testbed, job="job.sh", scheduler_options=["--partition=closed"])
    document = cli.json("submit", path)
    uuid, native = document["job_uuid"], document["native_id"]
    cli.run("hold", uuid)
    cli.until(uuid, "PAUSED")
    assert "JobHeld" in testbed.alpha.slurm(f"squeue -h -j {native} -o %r")
    cli.run("release", uuid)
    cli.until(uuid, "QUEUED")
    assert "JobHeld" not in testbed.alpha.slurm(f"squeue -h -j {native} -o %r")
    cli.run("cancel", uuid)
    assert cli.until(uuid)["state"] == "CANCELLED"


def test_a_submission_tells_the_clusters_load(cli: Cli, testbed: Bed, tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text("true\n")
    cli.run("submit", write_input(tmp_path, testbed, destination_cluster="beta", job="job.sh"))
    status = cli.json("clusters", "show", "beta")["status"]
    assert status["nodes"] == 2
    assert status["cpus"] == 128


def test_an_api_that_is_away_or_refuses_is_said_and_nothing_is_sent(
    testbed: Bed, tmp_path: Path, server: Server
) -> None:
    (tmp_path / "job.sh").write_text("true\n")
    path = write_input(tmp_path, testbed, job="job.sh")
    nobody = Cli(tmp_path / "nobody", env={"JOBFERRY_API_URL": f"http://127.0.0.1:{testbed.bed.ports['gamma']}"})
    assert nobody.run("submit", path, code=4).err
    wrong = Cli(tmp_path / "wrong", env={**server.client_env, "JOBFERRY_API_PASSWORD": "wrong mare"})
    ran = wrong.run("submit", path, code=4)
    assert "wrong mare" not in ran.err
