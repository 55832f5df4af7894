"""The op `outputs`: the declared files, globs and folders of a job, as a stream that can be resumed and verified.

Nothing outside work/ is ever sent: a link that leads out is named instead.
"""

import fnmatch
import hashlib
import os
import stat
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Set, Tuple

from project.agent import texts, workfolder
from project.agent.folder import Folder
from project.core.errors import UserError

if TYPE_CHECKING:
    from project.agent.serve import Session

PIECE = 256 * 1024
NAMED = 200
_MAGIC = frozenset(b"*?[")


class Trouble(Exception):
    """One pattern, or one file of it, that cannot be had."""


def outputs(session: "Session", request: Dict[str, Any]) -> Dict[str, Any]:
    """Serve `outputs`. Raises UserError for an unknown job."""
    folder = Folder(session.workdir(request), str(request.get("uuid")))
    if not folder.taken():
        raise UserError("The job {} is not known in {}.".format(folder.uuid, folder.paths.workdir))
    work = os.fsencode(workfolder.real(folder.paths))
    sender = _Sender(session, work, request.get("have") or {})
    missing = []
    for pattern in request.get("patterns") or []:
        try:
            sender.pattern(str(pattern))
        except Trouble as error:
            missing.append({"pattern": pattern, "message": str(error)})
        except OSError as error:
            missing.append({"pattern": pattern, "message": error.strerror or str(error)})
    for name, message in sender.troubles:
        missing.append({"pattern": name, "message": message})
    there = _names(work) if missing else []
    return {"files": sender.count, "missing": missing, "there": there}


class _Sender:
    def __init__(self, session: "Session", work: bytes, have: Dict[str, Any]) -> None:
        self._session = session
        self._work = work
        self._real = os.path.realpath(work)
        self._have = have
        self._sent: Set[bytes] = set()
        self.count = 0
        self.troubles: List[Any] = []

    def pattern(self, text: str) -> None:
        """Send all that one pattern names. Raises Trouble when that is nothing."""
        pattern = text.encode("utf-8", "surrogateescape").rstrip(b"/")
        parts = [part for part in pattern.split(b"/") if part not in (b"", b".")]
        if not texts.inside(pattern) or b".." in parts:
            raise Trouble("it lies outside the job's folder")
        # A file whose very name has a star in it is meant before a glob.
        found = [b"/".join(parts)] if os.path.lexists(os.path.join(self._work, *parts)) else []
        if not found and _MAGIC & set(pattern):
            found = sorted(self._glob(b"", parts))
        if not found:
            raise Trouble("nothing of that name is there")
        for path in found:
            self._any(path)

    def _glob(self, base: bytes, parts: List[bytes]) -> Iterator[bytes]:
        if not parts:
            if base:
                yield base
            return
        part, rest = parts[0], parts[1:]
        if part == b"**":
            yield from self._glob(base, rest)
        if not _MAGIC & set(part):
            path = _joined(base, part)
            if os.path.lexists(os.path.join(self._work, path)):
                yield from self._glob(path, rest)
            return
        for name in self._list(base):
            path = _joined(base, name)
            is_folder = stat.S_ISDIR(os.lstat(os.path.join(self._work, path)).st_mode)
            if part == b"**":
                if is_folder and not name.startswith(b"."):
                    yield from self._glob(path, parts)
                elif not rest:
                    yield path
            elif fnmatch.fnmatchcase(name, part) and (part.startswith(b".") or not name.startswith(b".")):
                if is_folder or not rest:
                    yield from self._glob(path, rest)

    def _list(self, base: bytes) -> List[bytes]:
        place = os.path.join(self._work, base)
        if not os.path.isdir(place) or not self._inside(place):
            return []
        return sorted(os.listdir(place))

    def _inside(self, place: bytes) -> bool:
        real = os.path.realpath(place)
        return real == self._real or real.startswith(self._real + b"/")

    def _any(self, path: bytes) -> None:
        if path in self._sent:
            return
        self._sent.add(path)
        place = os.path.join(self._work, path) if path else self._work
        try:
            self._one(path, place)
        except Trouble as error:
            self.troubles.append((texts.from_path(os.fsdecode(path)), str(error)))
        except OSError as error:
            self.troubles.append((texts.from_path(os.fsdecode(path)), error.strerror or str(error)))

    def _one(self, path: bytes, place: bytes) -> None:
        if not self._inside(place):
            raise Trouble("it is a link out of the job's folder")
        status = os.lstat(place)
        if stat.S_ISLNK(status.st_mode):
            if not os.path.exists(place):
                raise Trouble("it is a link to nothing")
            if os.path.isdir(place):
                self._link(path, place, status)
                return
            status = os.stat(place)
        if stat.S_ISDIR(status.st_mode):
            names = sorted(os.listdir(place))
            if not names and path:
                self._head(path, status, 0, folder=True)
            for name in names:
                self._any(_joined(path, name))
        elif stat.S_ISREG(status.st_mode):
            self._file(path, place)
        else:
            raise Trouble("it is neither a file nor a folder")

    def _link(self, path: bytes, place: bytes, status: os.stat_result) -> None:
        target = os.readlink(place)
        if target.startswith(b"/"):
            target = os.path.relpath(
                os.path.realpath(place), os.path.dirname(os.path.realpath(self._work) + b"/" + path)
            )
        self._head(path, status, 0, link=target.decode("utf-8", "surrogateescape"))

    def _file(self, path: bytes, place: bytes) -> None:
        # Opened by its real path without following links: it cannot become a way out between look and open.
        handle = os.open(os.path.realpath(place), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as stream:
            status = os.fstat(stream.fileno())
            offset, digest = self._known(stream, path, status.st_size)
            self._head(path, status, offset)
            while offset < status.st_size:
                piece = stream.read(min(PIECE, status.st_size - offset))
                if not piece:
                    break
                digest.update(piece)
                self._session.client.send({"type": "data", "offset": offset}, piece)
                offset += len(piece)
        self._session.client.send(
            {"type": "file_end", "path": _shown(path), "size": offset, "sha256": digest.hexdigest()}
        )

    def _known(self, stream: Any, path: bytes, size: int) -> Tuple[int, Any]:
        """How many bytes from the start the client has, and has right, and their digest; the stream stands after them."""
        have = self._have.get(_shown(path)) or {}
        offset = have.get("offset")
        digest = hashlib.sha256()
        if isinstance(offset, int) and 0 < offset <= size:
            left = offset
            while left:
                piece = stream.read(min(PIECE, left))
                if not piece:
                    break
                digest.update(piece)
                left -= len(piece)
            if not left and digest.hexdigest() == have.get("sha256"):
                return offset, digest
            stream.seek(0)
        return 0, hashlib.sha256()

    def _head(self, path: bytes, status: os.stat_result, offset: int, **more: Any) -> None:
        header: Dict[str, Any] = {
            "type": "file",
            "path": _shown(path),
            "size": status.st_size if not more else 0,
            "mode": stat.S_IMODE(status.st_mode),
            "mtime": status.st_mtime,
            "offset": offset,
        }
        self._session.client.send(dict(header, **more))
        self.count += 1


def _joined(base: bytes, name: bytes) -> bytes:
    return base + b"/" + name if base else name


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def _names(work: bytes) -> List[str]:
    """What is in work/, for a user whose pattern found nothing."""
    found: List[str] = []
    for base, folders, names in os.walk(work):
        relative = os.path.relpath(base, work)
        for name in sorted(names) + sorted(one + b"/" for one in folders):
            found.append(_shown(name if relative == b"." else relative + b"/" + name))
            if len(found) >= NAMED:
                return found
    return found
