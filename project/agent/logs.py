"""The op `logs`: what a job printed, from an offset on."""

import os
import re
from typing import TYPE_CHECKING, Any, Dict, Optional, Set

from project.agent.folder import Folder
from project.core.errors import UserError

if TYPE_CHECKING:
    from project.agent.serve import Session

PIECE = 256 * 1024
STREAMS = ("stdout", "stderr")
_NAME = re.compile(r"(stdout|stderr)\.(\d+)(?:\.(\d+))?\Z")


def logs(session: "Session", request: Dict[str, Any]) -> Dict[str, Any]:
    """Serve `logs`. Without `run` the element's last run, without `index` the first element. Raises UserError for an unknown job."""
    folder = Folder(session.workdir(request), str(request.get("uuid")))
    stream = request.get("stream") or "stdout"
    if stream not in STREAMS:
        raise UserError("There is no log {!r}.".format(stream), "There are stdout and stderr.")
    if not folder.taken():
        raise UserError("The job {} is not known in {}.".format(folder.uuid, folder.paths.workdir))
    found = _there(folder)
    asked = _whole(request.get("run"))
    elements = found.get(asked, set()) if asked else set().union(*found.values())
    index = _whole(request.get("index"))
    if index is None and elements:
        index = min(elements)
    # The elements of an array are started again one by one: the last run of one is not that of another.
    own = [one for one in found if index is None or index in found[one]]
    run = asked or max(own or found or [1])
    path = getattr(folder.paths, stream)(run, index)
    offset = _send(session, path, int(request.get("offset") or 0), _whole(request.get("lines")))
    record = folder.read()
    answer: Dict[str, Any] = {
        "offset": offset,
        "run": run,
        "index": index,
        "state": record.state,
        "runs": sorted(found),
    }
    answer["ended"] = record.final or os.path.exists(folder.paths.ended(run, index))
    if request.get("elements"):
        answer["elements"] = sorted(elements)
    return answer


def _there(folder: Folder) -> Dict[int, Set[int]]:
    """The runs that have a log, each with its elements that have one."""
    found: Dict[int, Set[int]] = {}
    try:
        names = os.listdir(folder.paths.log)
    except FileNotFoundError:
        names = []
    for name in names:
        match = _NAME.match(name)
        if match:
            elements = found.setdefault(int(match.group(2)), set())
            if match.group(3):
                elements.add(int(match.group(3)))
    return found


def _send(session: "Session", path: str, offset: int, lines: Optional[int]) -> int:
    """Send the file from `offset`, or its last `lines` lines; the offset after it."""
    try:
        stream = open(path, "rb")
    except FileNotFoundError:
        return offset
    with stream:
        size = os.fstat(stream.fileno()).st_size
        if lines is not None:
            offset = _tail(stream, size, lines)
        if offset > size:
            # It was cut meanwhile.
            return size
        stream.seek(offset)
        while offset < size:
            piece = stream.read(min(PIECE, size - offset))
            if not piece:
                break
            session.client.send({"type": "data", "offset": offset}, piece)
            offset += len(piece)
    return offset


def _tail(stream: Any, size: int, lines: int) -> int:
    """Where the last `lines` lines begin."""
    if lines <= 0:
        return size
    place = size
    left = lines
    while place > 0:
        start = max(0, place - PIECE)
        stream.seek(start)
        piece: bytes = stream.read(place - start)
        end = len(piece)
        if place == size and piece.endswith(b"\n"):
            end -= 1
        while True:
            newline = piece.rfind(b"\n", 0, end)
            if newline < 0:
                break
            left -= 1
            if left == 0:
                return start + newline + 1
            end = newline
        place = start
    return 0


def _whole(value: Any) -> Optional[int]:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
