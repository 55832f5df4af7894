"""Frames: what is written is read; anything else is refused."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from project.core import protocol


@given(st.lists(st.tuples(st.dictionaries(st.sampled_from(["op", "path", "ß"]), st.text()), st.binary()), max_size=5))
def test_frames_come_back_as_they_were(frames):
    stream = io.BytesIO()
    for header, payload in frames:
        protocol.write(stream, {"type": "data", **header}, payload)
    stream.seek(0)
    for header, payload in frames:
        got, data = protocol.read(stream)
        got.pop("size", None)
        assert got == {"type": "data", **header}
        assert data == payload
    with pytest.raises(protocol.StreamEnded) as caught:
        protocol.read(stream)
    assert not caught.value.within


def test_a_size_that_is_not_of_a_payload_is_left_alone():
    stream = io.BytesIO(protocol.frame({"type": "file", "size": 10**12}) + protocol.frame({"type": "end"}))
    assert protocol.read(stream) == ({"type": "file", "size": 10**12}, b"")
    assert protocol.read(stream)[0] == {"type": "end"}


@pytest.mark.parametrize("raw", [b"Welcome to the cluster!\n", b"[1]\n", b'{"type":"data","size":-1}\n', b"\xff\n"])
def test_what_is_no_frame_is_refused(raw):
    with pytest.raises(protocol.ProtocolError):
        protocol.read(io.BytesIO(raw))


@pytest.mark.parametrize("raw", [b'{"type":', b'{"type":"data","size":5}\nabc'])
def test_a_stream_cut_inside_a_frame_says_so(raw):
    with pytest.raises(protocol.StreamEnded) as caught:
        protocol.read(io.BytesIO(raw))
    assert caught.value.within


def test_a_frame_too_large_is_refused():
    size = protocol.MAX_PAYLOAD + 1
    with pytest.raises(protocol.ProtocolError, match="at most"):
        protocol.read(io.BytesIO(b'{"type":"data","size":%d}\n' % size))
