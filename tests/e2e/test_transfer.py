"""Folders with hostile names arrive as they were, and output comes back whole, beside what is there."""

import os
import stat
from pathlib import Path

import pytest

from helpers.inputs import write_input
from helpers.live import Bed, Cli

HOSTILE = [
    "a b.txt",
    "a'; touch pwned #",
    '"$(touch pwned)".txt',
    "line\nbreak",
    "-rf",
    "größe-名前.txt",
    "tab\there",
    "back\\slash",
    "*",
    "`touch pwned`",
]


def tree(folder: Path) -> dict[str, tuple[str, str]]:
    """Every entry below a folder: its kind and mode, its content or target."""
    found = {}
    for base, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(base) / name
            mode = stat.S_IMODE(path.lstat().st_mode) & 0o700
            key = str(path.relative_to(folder))
            if path.is_symlink():
                found[key] = ("link", os.readlink(path))
            elif path.is_dir():
                found[key] = (f"folder {mode:o}", "")
            else:
                found[key] = (f"file {mode:o}", path.read_bytes().hex())
    return found


def test_a_folder_with_hostile_names_arrives_as_it_was_and_comes_back(cli: Cli, testbed: Bed, tmp_path: Path) -> None:
    source = tmp_path / "it's a `source` $HOME"
    (source / "data" / "empty").mkdir(parents=True)
    for name in HOSTILE:
        (source / "data" / name).write_text(f"content of {name}")
    (source / "run.sh").write_text("#!/bin/sh\necho ran > data/ran.txt\n")
    (source / "run.sh").chmod(0o755)
    (source / "data" / "bytes").write_bytes(bytes(range(256)))
    (source / "data" / "link").symlink_to("bytes")
    (source / ".git").mkdir()
    (source / ".git" / "config").write_text("left behind")
    (source / "big.tmp").write_text("left behind")
    (source / ".jobferryignore").write_text("*.tmp\n")
    path = write_input(tmp_path, testbed, job=source.name, execution="srun ./run.sh", output=["data"])
    uuid = cli.run("submit", path, "-q", cwd=tmp_path).last
    document = cli.until(uuid)
    assert document["state"] == "FINISHED", document
    there = testbed.alpha.here(document["working_directory"])
    assert not (there / ".git").exists()
    assert not (there / "big.tmp").exists()
    expected = tree(source / "data")
    followed = {**expected, "link": expected["bytes"]}
    arrived = tree(there / "data")
    assert arrived.pop("ran.txt")
    assert arrived == expected
    assert list(testbed.alpha.home().rglob("pwned")) == []

    cli.run("retrieve", uuid, "-o", tmp_path / "back")
    back = tree(tmp_path / "back" / "data")
    assert back.pop("ran.txt")
    assert back == followed, "a link to a file comes back as the file"


def test_a_link_that_leaves_the_folder_is_refused_by_name(cli: Cli, testbed: Bed, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "way out").symlink_to("../../secret")
    path = write_input(tmp_path, testbed, job="source", execution="true")
    assert "way out" in cli.run("submit", path, code=2).err


@pytest.fixture(scope="module")
def finished(cli: Cli, testbed: Bed, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A finished job with files, a folder, and an output that it did not write."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "job.sh").write_text(
        "mkdir -p out/deep; for n in 1 2 3; do echo $n > out/deep/$n.dat; done\n"
        "head -c 3000000 /dev/zero > large.bin; echo one > 'with space.txt'\n"
    )
    path = write_input(
        folder,
        testbed,
        job="job.sh",
        execution="sh job.sh",
        output=["out", "*.bin", "with space.txt", "missing.txt"],
    )
    uuid = cli.run("submit", "-q", path).last
    assert cli.until(uuid)["state"] == "FINISHED"
    return uuid


def test_a_missing_output_is_named_with_what_is_there_and_the_rest_arrives(
    cli: Cli, tmp_path: Path, finished: str
) -> None:
    ran = cli.run("retrieve", finished, "-o", tmp_path / "out", code=None)
    assert ran.code != 0
    assert "missing.txt" in ran.err
    assert "large.bin" in ran.err, "what is there instead is named"
    assert (tmp_path / "out" / "large.bin").stat().st_size == 3_000_000
    assert (tmp_path / "out" / "with space.txt").read_text() == "one\n"
    assert [path.read_text() for path in sorted((tmp_path / "out" / "out" / "deep").iterdir())] == ["1\n", "2\n", "3\n"]


def test_nothing_is_overwritten_unless_forced(cli: Cli, tmp_path: Path, finished: str) -> None:
    (tmp_path / "with space.txt").write_text("mine\n")
    ran = cli.run("retrieve", finished, "-o", tmp_path, code=None)
    assert ran.code != 0
    assert "with space.txt" in ran.err
    assert (tmp_path / "with space.txt").read_text() == "mine\n"
    cli.run("retrieve", finished, "-o", tmp_path, "--force", code=None)
    assert (tmp_path / "with space.txt").read_text() == "one\n"


def test_another_machine_with_the_same_api_and_key_retrieves(
    cli: Cli, testbed: Bed, tmp_path: Path, finished: str
) -> None:
    other = Cli(tmp_path / "other", testbed.folder / "known_hosts", cli.env)
    login = ["--username", "jdoe", "--private-key", testbed.key("rsa")]
    other.run("retrieve", finished, "-o", tmp_path / "out", *login, code=None)
    assert (tmp_path / "out" / "out" / "deep" / "3.dat").read_text() == "3\n"
