import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from helpers.agent_client import new_uuid, tar
from project.agent import unpack
from project.agent.folder import Folder
from project.core.errors import UserError


@pytest.fixture
def paths(tmp_path):
    folder = Folder(str(tmp_path / "jobs"), new_uuid())
    folder.create()
    return folder.paths


def feed(paths, stream, size=1000):
    pieces = iter([stream[start : start + size] for start in range(0, len(stream), size)])
    unpack.unpack(paths, lambda: next(pieces, b""))
    unpack.place(paths)


def test_everything_arrives_as_it_was(paths):
    hostile = 'files/it\'s "a"\n; touch x # é\udcff'
    stream = tar(
        {
            "files/sub": None,
            "files/sub/empty": None,
            "files/run.sh": (b"#!/bin/sh\n", 0o755),
            "files/secret": (b"x", 0o600),
            "files/sub/up": "->../run.sh",
            "files/sub/here": "->.",
            hostile: b"hostile",
            "files/big": b"0123456789" * 100000,
            "modules/preprocessing/m.py": (b"pass", 0o755),
            "modules/postprocessing/deep/m.py": b"pass",
        }
    )
    feed(paths, stream)
    work = paths.work
    assert Path(os.path.join(work, "sub", "up")).read_text() == "#!/bin/sh\n"
    assert os.listdir(os.path.join(work, "sub", "empty")) == []
    assert stat.S_IMODE(os.stat(os.path.join(work, "run.sh")).st_mode) == 0o755
    assert stat.S_IMODE(os.stat(os.path.join(work, "secret")).st_mode) == 0o600
    assert os.path.getsize(os.path.join(work, "big")) == 1000000
    assert hostile[6:].encode("utf-8", "surrogateescape") in os.listdir(os.fsencode(work))
    assert os.path.exists(os.path.join(paths.modules, "preprocessing", "m.py"))
    assert os.path.exists(os.path.join(paths.modules, "postprocessing", "deep", "m.py"))
    assert not os.path.exists(paths.incoming)


def test_a_folder_that_may_not_be_written_keeps_its_mode_and_can_be_removed(paths):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, mode in (("files/ro", tarfile.DIRTYPE, 0o555), ("files/ro/x", tarfile.REGTYPE, 0o444)):
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, mode
            archive.addfile(info)
    feed(paths, buffer.getvalue())
    assert stat.S_IMODE(os.stat(os.path.join(paths.work, "ro")).st_mode) == 0o555
    unpack.remove_tree(paths.folder)
    assert not os.path.exists(paths.folder)


@pytest.mark.parametrize(
    "entries, named",
    [
        ({"../evil": b"x"}, "evil"),
        ({"/etc/evil": b"x"}, "evil"),
        ({"files/../../evil": b"x"}, "evil"),
        ({"elsewhere/evil": b"x"}, "elsewhere"),
        ({"files/out": "->../../../etc"}, "out"),
        ({"files/abs": "->/etc/passwd"}, "abs"),
        ({"files/side": "->../modules"}, "side"),
        ({"files/d": "->.", "files/e": "->d/../.."}, "e"),
        ({"files/d": "->.", "files/f": "->d/d/../x"}, "f"),
        ({"files/link": "->sub", "files/sub": None, "files/link/x": b"x"}, "link"),
    ],
)
def test_what_would_leave_the_folder_is_refused_by_name(paths, tmp_path, entries, named):
    with pytest.raises(UserError) as caught:
        feed(paths, tar(entries))
    assert named in caught.value.message
    assert caught.value.condition == "input_staging_failed"
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "jobs" / "evil").exists()


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.LNKTYPE])
def test_devices_pipes_and_foreign_hard_links_are_refused(paths, kind):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("files/thing")
        info.type, info.linkname = kind, "files/../../../etc/passwd"
        archive.addfile(info)
    with pytest.raises(UserError, match="thing"):
        feed(paths, buffer.getvalue())


def test_hard_links_inside_arrive(paths):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("files/a")
        info.size = 2
        archive.addfile(info, io.BytesIO(b"hi"))
        link = tarfile.TarInfo("files/b")
        link.type, link.linkname = tarfile.LNKTYPE, "files/a"
        archive.addfile(link)
    feed(paths, buffer.getvalue())
    assert Path(os.path.join(paths.work, "b")).read_text() == "hi"


@pytest.mark.parametrize(
    "stream", [b"no tar at all" * 100, b"\x1f\x8b broken gzip", tar({"files/a": b"x" * 5000})[:2000]]
)
def test_a_stream_that_is_no_whole_tar_is_refused(paths, stream):
    with pytest.raises(UserError, match="tar"):
        feed(paths, stream)
