"""Connecting: keys and passphrases, host keys, jump hosts, and connections that break, on a real sshd."""

import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

import pytest

from helpers.inputs import write_input
from helpers.live import Bed, Cli, eventually
from helpers.proxy import Proxy


def job(tmp_path: Path, testbed: Bed, size: int = 0, **keys: object) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "body").write_bytes(os.urandom(size))
    return write_input(
        tmp_path, testbed, job="data", execution=["wc -c < body > result.txt"], output="result.txt", **keys
    )


def behind(alone: Cli, testbed: Bed, proxy: Proxy, name: str = "proxied") -> None:
    """A cluster that is alpha, reached by way of the proxy."""
    (alone.folder / "proxied.yml").write_text(
        f"- {{name: {name}, hostname: 127.0.0.1, port: {proxy.port}, workload_manager: slurm, partition: batch}}\n"
    )
    alone.run("clusters", "import", alone.folder / "proxied.yml")
    known = (testbed.folder / "known_hosts").read_text()
    key = re.search(rf"^\[127.0.0.1\]:{testbed.alpha.port} (.*)$", known, re.MULTILINE)
    assert key
    with (alone.folder / ".ssh" / "known_hosts").open("a") as stream:
        stream.write(f"[127.0.0.1]:{proxy.port} {key.group(1)}\n")


def the_only_job(alone: Cli) -> dict:
    (document,) = alone.json("ls")["jobs"]
    return document


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_every_kind_of_key(alone: Cli, testbed: Bed, tmp_path: Path, kind: str) -> None:
    before = testbed.alpha.connections()
    path = job(tmp_path, testbed, private_key=str(testbed.key(kind)))
    document = alone.json("submit", path)
    assert document["native_id"]
    assert testbed.alpha.connections() - before == 1


def test_a_passphrase_from_the_input(alone: Cli, testbed: Bed, tmp_path: Path) -> None:
    path = job(tmp_path, testbed, private_key=str(testbed.key("rsa_pass")), passphrase=testbed.passphrase)
    uuid = alone.json("submit", path)["job_uuid"]
    assert alone.until(uuid)["state"] == "FINISHED"
    for file in (alone.folder / "data").rglob("*"):
        assert not file.is_file() or testbed.passphrase.encode() not in file.read_bytes(), file
    there = testbed.alpha.ssh(f"grep -rl {testbed.passphrase} .jobferry/jobs/{uuid} || true")
    assert there == ""


@pytest.mark.parametrize("passphrase", ["not it", None], ids=["wrong", "missing"])
def test_without_the_right_passphrase_nothing_happens(
    alone: Cli, testbed: Bed, tmp_path: Path, passphrase: "str | None"
) -> None:
    path = job(tmp_path, testbed, private_key=str(testbed.key("rsa_pass")), passphrase=passphrase)
    ran = alone.run("submit", path, code=2)
    assert "rsa_pass" in ran.err
    assert "not it" not in ran.err
    assert alone.json("ls")["jobs"] == []


def test_three_tries_on_a_terminal(alone: Cli, testbed: Bed, tmp_path: Path) -> None:
    path = job(tmp_path, testbed, private_key=str(testbed.key("rsa_pass")))
    said, code = on_a_terminal(alone, ["submit", str(path)], ["one", "two", testbed.passphrase])
    assert code == 0, said
    assert "Your submission ID = " in said
    assert testbed.passphrase not in said
    said, code = on_a_terminal(alone, ["submit", str(path)], ["one", "two", "three"])
    assert code == 2, said
    assert "Three wrong passphrases" in said


def on_a_terminal(alone: Cli, words: "list[str]", answers: "list[str]") -> "tuple[str, int]":
    """Run a verb on a terminal and type an answer at each prompt that ends in a colon."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        alone.argv(*words),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**alone.environment, "TERM": "dumb"},
        cwd=alone.folder,
        start_new_session=True,
    )
    os.close(slave)
    said, heard, waiting = "", 0, list(answers)
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            if select.select([master], [], [], 0.2)[0]:
                try:
                    piece = os.read(master, 4096).decode("utf-8", "replace")
                except OSError:
                    break
                if not piece:
                    break
                said += piece
            elif process.poll() is not None:
                break
            if waiting and re.search(r": ?\Z", said[heard:]):
                heard = len(said)
                os.write(master, waiting.pop(0).encode() + b"\n")
        return said, process.wait(30)
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_an_unknown_host_key(alone: Cli, testbed: Bed, tmp_path: Path) -> None:
    path = job(tmp_path, testbed)
    known = alone.folder / ".ssh" / "known_hosts"
    known.unlink()
    ran = alone.run("submit", path, code=3)
    assert "SHA256:" in ran.err
    assert "--accept-new-host-key" in ran.err
    assert not known.exists()
    alone.run("submit", path, "--accept-new-host-key")
    assert f"[127.0.0.1]:{testbed.alpha.port} ssh-ed25519 " in known.read_text()
    alone.run("submit", path)


def test_a_changed_host_key_is_always_refused(alone: Cli, testbed: Bed, tmp_path: Path) -> None:
    known = alone.folder / ".ssh" / "known_hosts"
    lines = known.read_text().splitlines()
    other = next(line.split(None, 1)[1] for line in lines if f":{testbed.beta.port} " in line)
    known.write_text(f"[127.0.0.1]:{testbed.alpha.port} {other}\n")
    path = job(tmp_path, testbed, fallback="never")
    for more in ([], ["--accept-new-host-key"]):
        ran = alone.run("submit", path, *more, code=3)
        assert "CHANGED" in ran.err
    assert {document["state"] for document in alone.json("ls")["jobs"]} == {"FAILED"}


def test_a_refused_login_names_user_and_key(alone: Cli, testbed: Bed, tmp_path: Path) -> None:
    path = job(tmp_path, testbed, username="nobody-of-that-name")
    ran = alone.run("submit", path, code=3)
    assert "nobody-of-that-name" in ran.err
    assert str(testbed.key()) in ran.err


def test_an_alias_and_a_jump_host(alone: Cli, testbed: Bed, tmp_path: Path) -> None:
    (alone.folder / ".ssh" / "config").write_text(
        f"""
Host gate
  HostName 127.0.0.1
  Port {testbed.beta.port}
  User jdoe
  IdentityFile {testbed.key()}
Host inner
  HostName 127.0.0.1
  Port {testbed.alpha.port}
  User jdoe
  IdentityFile {testbed.key()}
  ProxyJump gate
"""
    )
    (alone.folder / "inner.yml").write_text("- {name: deep, hostname: inner, workload_manager: slurm}\n")
    alone.run("clusters", "import", alone.folder / "inner.yml")
    before = testbed.beta.connections()
    path = job(tmp_path, testbed, destination_cluster="deep", username=None, private_key=None)
    uuid = alone.json("submit", path)["job_uuid"]
    assert testbed.beta.connections() > before
    assert alone.until(uuid)["state"] == "FINISHED"
    alone.run("retrieve", uuid, "-o", tmp_path / "out")
    assert (tmp_path / "out" / "result.txt").read_text().strip() == "0"


@pytest.mark.parametrize("bytes_sent", [1000, 3000, 60_000, 400_000, 1_500_000])
def test_a_dropped_connection_is_resumed_to_exactly_one_job(
    alone: Cli, testbed: Bed, tmp_path: Path, bytes_sent: int
) -> None:
    with Proxy(("127.0.0.1", testbed.alpha.port), cut_after=bytes_sent) as proxy:
        behind(alone, testbed, proxy)
        path = job(tmp_path, testbed, size=2_000_000, destination_cluster="proxied", fallback="never")
        ran = alone.run("submit", path, code=3)
        document = the_only_job(alone)
        uuid = document["job_uuid"]
        assert "resubmit --resume" in ran.err
        assert (document["state"], document["condition"]) == ("BLOCKED", "unreachable")
        proxy.cut_after = None
        assert alone.json("resubmit", "--resume", uuid)["job_uuid"] == uuid
        assert alone.json("resubmit", "--resume", uuid)["job_uuid"] == uuid
        assert alone.until(uuid)["state"] == "FINISHED"
        assert len(testbed.alpha.native_jobs(uuid)) == 1
        alone.run("retrieve", uuid, "-o", tmp_path / "out")
        assert (tmp_path / "out" / "result.txt").read_text().strip() == "2000000"


def test_a_stalled_connection_is_an_error(alone: Cli, testbed: Bed, tmp_path: Path) -> None:
    (alone.folder / ".ssh" / "config").write_text("Host *\n  ServerAliveInterval 1\n  ServerAliveCountMax 3\n")
    with Proxy(("127.0.0.1", testbed.alpha.port), stall_after=300_000) as proxy:
        behind(alone, testbed, proxy)
        path = job(tmp_path, testbed, size=20_000_000, destination_cluster="proxied", fallback="never")
        begin = time.monotonic()
        ran = alone.run("submit", path, code=3)
        assert time.monotonic() - begin < 40
        assert "gives no sign of life" in ran.err
        assert the_only_job(alone)["state"] == "BLOCKED"


def test_a_retrieval_goes_on_after_a_drop(alone: Cli, testbed: Bed, tmp_path: Path) -> None:
    path = job(tmp_path, testbed, size=0)
    (tmp_path / "data" / "body").write_bytes(os.urandom(3_000_000))
    path.write_text(path.read_text().replace('"output": "result.txt"', '"output": "body"'))
    uuid = alone.json("submit", path)["job_uuid"]
    assert alone.until(uuid)["state"] == "FINISHED"

    with Proxy(("127.0.0.1", testbed.alpha.port), cut_first_back=1_000_000) as proxy:
        behind(alone, testbed, proxy, "alpha")
        ran = alone.run("retrieve", uuid, "-o", tmp_path / "out")
        assert "Going on where it stopped" in ran.err
    assert (tmp_path / "out" / "body").read_bytes() == (tmp_path / "data" / "body").read_bytes()
    assert os.listdir(tmp_path / "out") == ["body"]


def test_no_usable_python_is_a_clear_error(alone: Cli, testbed: Bed, tmp_path: Path) -> None:
    home = testbed.alpha.home("asmith")
    rc = home / ".bashrc"
    before = rc.read_text() if rc.exists() else None
    (home / "nopython").mkdir(exist_ok=True)
    rc.write_text("echo welcome to the cluster\nexport PATH=$HOME/nopython\n")
    try:
        path = job(tmp_path, testbed, username="asmith", fallback="never")
        ran = alone.run("submit", path, code=3)
        assert "Python 3.6 or newer" in ran.err
        (alone.folder / "python.yml").write_text(
            testbed.clusters.read_text().replace("- name: alpha\n", "- name: alpha\n  python: /usr/bin/python3\n")
        )
        alone.run("clusters", "import", alone.folder / "python.yml")
        rc.write_text("echo welcome to the cluster\n")
        assert alone.json("submit", path)["native_id"]
    finally:
        if before is None:
            rc.unlink()
        else:
            rc.write_text(before)


def test_one_connection_and_at_most_the_watcher_left(alone: Cli, testbed: Bed, tmp_path: Path) -> None:
    path = job(tmp_path, testbed, username="asmith")
    uuid = alone.json("submit", path)["job_uuid"]
    alone.until(uuid)

    def only_the_watcher() -> bool:
        ours = [line for line in testbed.alpha.processes("asmith") if "agent-" in line]
        return len(ours) <= 1 and all(" watch " in line for line in ours)

    eventually(only_the_watcher, "only the watcher is left")
