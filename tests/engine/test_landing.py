"""Where retrieved files land, and where they never do."""

import hashlib
import os

import pytest

from project.core.errors import ClusterError, UserError
from project.engine.landing import Landing, Refused

UUID = "11111111-2222-3333-4444-555555555555"


def sha(data):
    return hashlib.sha256(data).hexdigest()


def land(target, path, data, force=False, pieces=3, mode=0o644, claimed=None):
    landing = Landing(target, UUID, force)
    landing.open()
    header = {"path": path, "size": len(data), "mode": mode, "mtime": 1_700_000_000, "offset": 0}
    arrival = landing.receive(header)
    step = max(1, len(data) // pieces)
    for start in range(0, len(data), step):
        arrival.write(data[start : start + step])
    try:
        landing.land(arrival, claimed or sha(data))
    finally:
        landing.close(True)
    return landing.done[-1]


@pytest.mark.parametrize("name", ["result.txt", "a/b/c", "a'; touch x #", "new\nline", "n" * 255, "é\udcff", "-rf"])
def test_it_arrives_as_it_was(tmp_path, name):
    done = land(tmp_path, name, b"data" * 1000, mode=0o751)
    path = os.path.join(tmp_path, name)
    with open(path, "rb") as stream:
        assert stream.read() == b"data" * 1000
    assert os.stat(path).st_mode & 0o777 == 0o751
    assert int(os.stat(path).st_mtime) == 1_700_000_000
    assert done == (name, 4000, "new")
    assert sorted(os.listdir(tmp_path)) == [name.split("/")[0]]


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "", ".", "a//b", "a/./b", "a\0b"])
def test_never_outside(tmp_path, name):
    target = tmp_path / "target"
    with pytest.raises(Refused, match="outside"):
        land(target, name, b"x")
    assert os.listdir(tmp_path) == ["target"]


def test_not_through_a_link_that_is_there(tmp_path):
    target = tmp_path / "target"
    (tmp_path / "elsewhere").mkdir()
    target.mkdir()
    (target / "way").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="by way of a link"):
        land(target, "way/x", b"x")
    assert os.listdir(tmp_path / "elsewhere") == []


def test_an_existing_file(tmp_path):
    (tmp_path / "out").write_bytes(b"mine")
    assert land(tmp_path, "out", b"mine").how == "identical"
    with pytest.raises(Refused, match="differs"):
        land(tmp_path, "out", b"theirs")
    assert (tmp_path / "out").read_bytes() == b"mine"
    assert land(tmp_path, "out", b"theirs", force=True).how == "replaced"
    assert (tmp_path / "out").read_bytes() == b"theirs"


def test_a_link_in_the_place_is_not_followed(tmp_path):
    (tmp_path / "precious").write_bytes(b"precious")
    target = tmp_path / "target"
    target.mkdir()
    (target / "out").symlink_to("../precious")
    with pytest.raises(Refused):
        land(target, "out", b"x")
    land(target, "out", b"x", force=True)
    assert (tmp_path / "precious").read_bytes() == b"precious"


@pytest.mark.parametrize("claimed", [sha(b"other"), "0" * 64])
def test_what_did_not_arrive_whole_is_not_kept(tmp_path, claimed):
    with pytest.raises(ClusterError, match="did not arrive"):
        land(tmp_path, "out", b"data", claimed=claimed)
    assert os.listdir(tmp_path) == []


def test_links(tmp_path):
    landing = Landing(tmp_path, UUID, False)
    landing.open()
    landing.link({"path": "sub/l", "link": "../out"})
    landing.link({"path": "sub/l", "link": "../out"})
    assert [done.how for done in landing.done] == ["link", "identical"]
    for target in ("/etc/passwd", "../../x", "a/../../../x"):
        with pytest.raises(Refused, match="points out"):
            landing.link({"path": "sub/m", "link": target})
    with pytest.raises(Refused, match="differs"):
        landing.link({"path": "sub/l", "link": "other"})


def test_a_drop_is_resumed(tmp_path):
    data = os.urandom(10_000)
    first = Landing(tmp_path, UUID, False)
    first.open()
    header = {"path": "big", "size": len(data), "mode": 0o600, "offset": 0}
    arrival = first.receive(header)
    arrival.write(data[:6000])
    arrival.drop()
    first.close(False)
    second = Landing(tmp_path, UUID, False)
    second.open()
    assert second.have(["big"]) == {"big": {"size": 6000, "offset": 6000, "sha256": sha(data[:6000])}}
    arrival = second.receive({**header, "offset": 6000})
    arrival.write(data[6000:])
    second.land(arrival, sha(data))
    second.close(True)
    assert (tmp_path / "big").read_bytes() == data
    assert os.listdir(tmp_path) == ["big"]


def test_an_identical_file_is_not_sent_again(tmp_path):
    (tmp_path / "out").write_bytes(b"same")
    landing = Landing(tmp_path, UUID, False)
    landing.open()
    assert landing.have(["*"]) == {"out": {"size": 4, "offset": 4, "sha256": sha(b"same")}}
    arrival = landing.receive({"path": "out", "size": 4, "mode": 0o600, "offset": 4})
    landing.land(arrival, sha(b"same"))
    assert landing.done[-1].how == "identical"


def test_a_target_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be written"):
        Landing(tmp_path / "file", UUID, False).open()
