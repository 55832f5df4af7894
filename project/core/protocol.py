r"""What client and agent say to each other: frames on a byte stream.

A frame is one line of JSON (an object, ASCII, ended by \n) and then exactly `size` bytes (default 0).

The agent's first frame is ``{"type": "hello", "version": …, "root": …, "workdir": …, "host": …, "user": …}``.
The client then sends requests, one after the other; the agent serves them until the client closes the stream.

Client → agent
    ``{"op": OP, …}``; an op that uploads is followed by ``{"type": "data", "size": n}`` + n bytes, any number of times,
    and ``{"type": "end"}``.
Agent → client
    any number of ``progress`` {text, stage?}, ``event`` {event}, ``data`` {path?, offset?, size} + bytes, ``file`` {…};
    then exactly one ``result`` {…} or ``error`` {error, message, hint, transient, condition} (`errors.to_wire`).

Ops (every one has `workdir`, absolute or starting with `$HOME`/`~`; "" = the root's `jobs`):

submit    {uuid, spec: public input, cluster: cluster document, modules: {stage: [{index, module, compilation, execution}]},
           source: {kind: file|directory|git|url, ref?, name?}, upload: bool, report: {url, token} | null, tags}
          uploads a tar stream (format: `files/…` lands in work/, `modules/<stage>/…` in modules/) when `upload` is true.
          Sends `{"type": "taken"}` once everything has arrived and is safe: from here the agent goes on by itself.
          result {native_id, state, condition, message, job_directory, working_directory, events: […], last_seq,
          status: cluster load | null}. A job that fails or is BLOCKED after it was taken is a result (look at its state);
          an error means that the request could not be served and the job is not (yet) the agent's.
          A job that is already taken is not taken again: its upload is read and thrown away, and the agent goes on.
have      {uuid} → result {known: bool, files: bool, taken: bool, state, native_id, last_seq}: what a resumed submission need
          not send again.
sync      {jobs: {uuid: last seq known}} → result {jobs: {uuid: {known, state, events: […], last_seq}}, more: bool}
cancel    {uuids: […]} → result {jobs: {uuid: {ok: bool, state, message}}}; `hold`, `release` alike.
remove    {uuids, force} → result {jobs: {uuid: {ok, message}}}: the folder is gone.
logs      {uuid, stream: stdout|stderr, run: n|null, index: n|null, offset: n, lines: n|null, elements: bool}
          → data frames, result {offset: next, run, index, ended: bool, state, runs: […], elements: […]}
outputs   {uuid, patterns: […], have: {path: {size, offset, sha256}}} → per file `{"type": "file", path, size, mode, mtime,
          offset, link?}` then its data frames from `offset`, then `{"type": "file_end", path, sha256}`;
          result {files: n, missing: [{pattern, message}], there: [names in work/]}
facts     {cluster} → result {status}
check     {cluster} → result {findings: [{what, ok, text, hint}]}
"""

import json
from typing import Any, BinaryIO, Dict, Tuple

VERSION = 1
MAX_HEADER = 16 * 1024 * 1024
MAX_PAYLOAD = 1024 * 1024

Header = Dict[str, Any]


class ProtocolError(Exception):
    """The other side sent something that is no frame."""


class StreamEnded(ProtocolError):
    """The stream ended; `within` is True when it ended inside a frame."""

    def __init__(self, message: str, within: bool) -> None:
        super().__init__(message)
        self.within = within


def frame(header: Header, payload: bytes = b"") -> bytes:
    """The bytes of one frame."""
    if payload:
        header = dict(header, size=len(payload))
    return json.dumps(header, separators=(",", ":")).encode("ascii") + b"\n" + payload


def write(stream: BinaryIO, header: Header, payload: bytes = b"") -> None:
    """Write one frame and flush. Raises OSError (BrokenPipeError when the other side is gone)."""
    stream.write(frame(header, payload))
    stream.flush()


def read(stream: BinaryIO) -> Tuple[Header, bytes]:
    """The next frame. Raises StreamEnded at the end of the stream, ProtocolError for anything that is no frame."""
    line = stream.readline(MAX_HEADER)
    if not line:
        raise StreamEnded("the stream ended", False)
    if not line.endswith(b"\n"):
        if len(line) >= MAX_HEADER:
            raise ProtocolError("a header line is longer than {} bytes".format(MAX_HEADER))
        raise StreamEnded("the stream ended inside a header", True)
    try:
        header = json.loads(line.decode("utf-8"))
    except ValueError as error:
        raise ProtocolError("no frame: {!r}".format(line[:200])) from error
    if not isinstance(header, dict):
        raise ProtocolError("no frame: {!r}".format(line[:200]))
    size = header.get("size", 0)
    if header.get("type") not in ("data", None) and "payload" not in header:
        # Other frames may use the word size for their own ends (`file`).
        return header, b""
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= MAX_PAYLOAD:
        raise ProtocolError("a frame of {!r} bytes; at most {}".format(size, MAX_PAYLOAD))
    return header, _exactly(stream, size)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    parts = []
    left = size
    while left:
        piece = stream.read(left)
        if not piece:
            raise StreamEnded("the stream ended inside a frame", True)
        parts.append(piece)
        left -= len(piece)
    return b"".join(parts)
