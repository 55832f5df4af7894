"""What is sent, seen through Python's own tar reader."""

import io
import os
import stat
import tarfile

import pytest

from project.core.errors import UserError
from project.core.modulesfile import Step
from project.engine import bundle

HOSTILE = 'a\'; touch x #\n"$(id)" é\udcff'


def unpacked(sent):
    return tarfile.open(fileobj=io.BytesIO(b"".join(sent.stream())), errors="surrogateescape", encoding="utf-8")


def test_a_directory_arrives_as_it_was(tmp_path):
    job = tmp_path / "job"
    (job / "empty").mkdir(parents=True)
    (job / "sub").mkdir()
    (job / "run.sh").write_text("#!/bin/sh\n")
    (job / "run.sh").chmod(0o755)
    (job / "secret").write_bytes(b"x" * 300_000)
    (job / "secret").chmod(0o400)
    (job / HOSTILE).write_text("hostile")
    (job / "sub" / "link").symlink_to("../run.sh")
    (job / "sub" / "whole").symlink_to(job / "run.sh")
    (job / ("n" * 255)).write_text("long")
    (job / ".git").mkdir()
    (job / ".git" / "config").write_text("x")
    sent = bundle.collect("job", tmp_path)
    tar = unpacked(sent)
    members = {member.name: member for member in tar.getmembers()}
    assert set(members) == {
        "files/empty",
        "files/sub",
        "files/run.sh",
        "files/secret",
        "files/" + HOSTILE,
        "files/sub/link",
        "files/sub/whole",
        "files/" + "n" * 255,
    }
    assert members["files/empty"].isdir()
    assert members["files/run.sh"].mode == 0o755
    assert members["files/secret"].mode == 0o400
    assert tar.extractfile("files/secret").read() == b"x" * 300_000
    assert members["files/sub/link"].linkname == "../run.sh"
    assert members["files/sub/whole"].linkname == "../run.sh"
    assert sent.source == {"kind": "directory", "name": "job"}
    assert sent.total == 300_000 + len("#!/bin/sh\nhostilelong")


def test_one_file(tmp_path):
    (tmp_path / HOSTILE).write_text("body")
    sent = bundle.collect(HOSTILE, tmp_path)
    assert unpacked(sent).extractfile("files/" + HOSTILE).read() == b"body"
    assert sent.source["kind"] == "file"


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "sub/../../outside", "loop"])
def test_a_link_out_is_refused_by_name(tmp_path, target):
    (tmp_path / "outside").write_text("x")
    job = tmp_path / "job"
    (job / "sub").mkdir(parents=True)
    if target == "loop":
        (job / "first").symlink_to("..")
        target = "first/outside"
    (job / "my link").symlink_to(target)
    with pytest.raises(UserError, match="(my link|first) points out"):
        bundle.collect("job", tmp_path)


def test_what_stays_behind(tmp_path):
    job = tmp_path / "job"
    (job / "sub").mkdir(parents=True)
    (job / ".jobferryignore").write_text("*.o\ntmp/\n")
    (job / "tmp").mkdir()
    (job / "tmp" / "x").write_text("x")
    (job / "a.o").write_text("x")
    (job / "id_rsa").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nx\n")
    (job / "sub" / ".jobferryignore").write_text("!b.o\n")
    (job / "sub" / "b.o").write_text("x")
    os.mkfifo(job / "pipe")
    sent = bundle.collect("job", tmp_path)
    names = {entry.name for entry in sent.entries}
    assert names == {"files/.jobferryignore", "files/sub", "files/sub/.jobferryignore", "files/sub/b.o"}
    assert ["id_rsa" in line or "pipe" in line for line in sent.warnings] == [True, True]


def test_a_missing_job_is_named(tmp_path):
    with pytest.raises(UserError, match="nothing-here"):
        bundle.collect("nothing-here", tmp_path)


@pytest.mark.parametrize(
    ("job", "kind"), [("https://example.org/x.git#v1", "git"), ("https://example.org/x.tar", "url")]
)
def test_an_address_sends_no_files(tmp_path, job, kind):
    sent = bundle.collect(job, tmp_path)
    assert sent.source["kind"] == kind
    assert sent.entries == []


def test_modules_go_along(tmp_path):
    (tmp_path / "job").write_text("x")
    (tmp_path / "check.py").write_text("print()")
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "main.c").write_text("int main;")
    steps = [
        Step(1, "check.py", "", "python check.py", str(tmp_path / "check.py")),
        Step(2, "pack", "", "pack/x", str(tmp_path / "pack")),
        Step(3, "check.py", "", "python check.py 2", str(tmp_path / "check.py")),
    ]
    sent = bundle.collect("job", tmp_path, {"preprocessing": steps})
    names = [entry.name for entry in sent.entries]
    assert names == ["files/job", "modules/preprocessing/check.py", "modules/preprocessing/pack/main.c"]


def test_a_file_that_shrinks_is_an_error(tmp_path):
    (tmp_path / "job").write_bytes(b"x" * 1000)
    sent = bundle.collect("job", tmp_path)
    (tmp_path / "job").write_bytes(b"x")
    with pytest.raises(UserError, match="shorter"):
        b"".join(sent.stream())


def test_the_stream_comes_in_pieces_a_frame_can_carry(tmp_path):
    (tmp_path / "job").write_bytes(os.urandom(3_000_000))
    sent = bundle.collect("job", tmp_path)
    assert max(len(piece) for piece in sent.stream()) <= bundle.PIECE
    assert stat.S_IMODE(sent.entries[0].mode) == sent.entries[0].mode
