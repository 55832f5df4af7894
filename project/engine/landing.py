"""Where retrieved files land: inside the target folder, whole and verified, never over a file that differs.

A file grows in a folder of partial files under a short name (a hash of its path: a name of 255 bytes leaves no room for an
ending), and gets its own name when its size and SHA-256 are right. What a dropped connection left there is used again.
"""

import contextlib
import hashlib
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from project.core.errors import ClusterError, JobferryError, UserError
from project.core.files import read_json, write_json
from project.engine.bundle import shown

Json = dict[str, Any]
_BLOCK = 1024 * 1024


class Retrieved(NamedTuple):
    """One output. `path` is relative to the target; `size` in bytes; `how`: new, replaced, identical, link or folder."""

    path: str
    size: int
    how: str


class Refused(UserError):
    """One file that may not land; the others do."""


class Landing:
    """The target folder of one retrieval."""

    def __init__(self, target: Path, uuid: str, force: bool) -> None:
        self._target = os.path.realpath(target)
        self._partial = os.path.join(self._target, f".jobferry-{uuid[:8]}.part")
        self._force = force
        self._index: dict[str, str] = {}
        self.done: list[Retrieved] = []
        self.refused: list[str] = []

    def open(self) -> None:
        """Make the folders. Raises UserError."""
        try:
            os.makedirs(self._partial, mode=0o700, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self._target} cannot be written to ({error.strerror}).") from error
        index = read_json(os.path.join(self._partial, "index.json"))
        self._index = index if isinstance(index, dict) else {}

    def close(self, whole: bool) -> None:
        """Take the folder of partial files away when nothing in it is needed any more."""
        if whole:
            shutil.rmtree(self._partial, ignore_errors=True)

    def have(self, patterns: Sequence[str]) -> Json:
        """What is here already, as the agent wants to know it: partial files and files of the same names."""
        found: Json = {}
        for path in self._present(patterns):
            size = os.path.getsize(self._place(path))
            found[path] = {"size": size, "offset": size, "sha256": file_hash(self._place(path))}
        for name, path in self._index.items():
            part = os.path.join(self._partial, name)
            if path not in found and os.path.exists(part):
                size = os.path.getsize(part)
                found[path] = {"size": size, "offset": size, "sha256": file_hash(part)}
        return found

    def _present(self, patterns: Sequence[str]) -> list[str]:
        found = []
        base = Path(self._target)
        for pattern in patterns:
            with contextlib.suppress(ValueError, NotImplementedError, OSError):
                for path in base.glob(pattern):
                    inner = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
                    found += [str(one.relative_to(base)) for one in inner if one.is_file() and not one.is_symlink()]
        return [path for path in sorted(set(found)) if not path.startswith(".jobferry-")]

    def _place(self, path: str) -> str:
        return os.path.join(self._target, path)

    def receive(self, header: Json) -> "Arrival":
        """A file begins. Raises Refused when it may not land; its bytes are then to be dropped."""
        path = str(header["path"])
        self._check(path)
        name = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:24]
        if self._index.get(name) != path:
            self._index[name] = path
            write_json(os.path.join(self._partial, "index.json"), self._index, sync=False)
        return Arrival(os.path.join(self._partial, name), self._place(path), header)

    def link(self, header: Json) -> None:
        """A symbolic link. Raises Refused."""
        path, target = str(header["path"]), str(header["link"])
        self._check(path)
        end = os.path.normpath(os.path.join(os.path.dirname(path), target))
        if os.path.isabs(target) or end.split(os.sep)[0] == "..":
            raise Refused(f"{shown(path)} is a link that points out of the folder, to {shown(target)}.")
        place = self._place(path)
        if os.path.lexists(place):
            if os.path.islink(place) and os.readlink(place) == target:
                self.done.append(Retrieved(path, 0, "identical"))
                return
            if not self._force or (os.path.isdir(place) and not os.path.islink(place)):
                raise _exists(path)
            os.unlink(place)
        self._parents(path)
        os.symlink(target, place)
        self.done.append(Retrieved(path, 0, "link"))

    def folder(self, header: Json) -> None:
        """An empty folder. Raises Refused."""
        path = str(header["path"])
        self._check(path)
        place = self._place(path)
        if os.path.lexists(place) and not os.path.isdir(place):
            raise _exists(path)
        self._parents(path)
        os.makedirs(place, exist_ok=True)
        self.done.append(Retrieved(path, 0, "folder"))

    def land(self, arrival: "Arrival", sha256: str) -> None:
        """A file is complete. Raises Refused (another file is there), ClusterError (it did not arrive as it was)."""
        path, place = str(arrival.header["path"]), arrival.place
        arrival.finish(sha256)
        size = int(arrival.header.get("size") or 0)
        how = "new"
        if os.path.lexists(place):
            same = os.path.isfile(place) and not os.path.islink(place) and file_hash(place) == sha256
            if same:
                os.unlink(arrival.part)
                self.done.append(Retrieved(path, size, "identical"))
                return
            if not self._force or os.path.isdir(place):
                raise _exists(path)
            how = "replaced"
        self._parents(path)
        if how == "new":
            _name(arrival.part, place, path)
        else:
            os.replace(arrival.part, place)
        _sync_folder(os.path.dirname(place))
        self.done.append(Retrieved(path, size, how))

    def _check(self, path: str) -> None:
        """Only a plain relative path that stays inside, also through the links that are here already."""
        parts = path.split("/")
        if not path or os.path.isabs(path) or "\0" in path or any(part in {"", ".", ".."} for part in parts):
            raise Refused(f"The cluster offered {shown(path)!r}, which lies outside the target folder.")
        parent = os.path.realpath(os.path.dirname(self._place(path)))
        if parent != self._target and not parent.startswith(self._target.rstrip(os.sep) + os.sep):
            raise Refused(f"{shown(path)} would land outside the target folder, by way of a link that is there.")

    def _parents(self, path: str) -> None:
        try:
            os.makedirs(os.path.dirname(self._place(path)), exist_ok=True)
        except FileExistsError as error:
            raise Refused(f"{shown(os.path.dirname(path))} is there and is no folder.") from error


class Arrival:
    """A file on its way."""

    def __init__(self, part: str, place: str, header: Json) -> None:
        self.part = part
        self.place = place
        self.header = header
        offset = int(header.get("offset") or 0)
        self._whole_here = bool(offset) and not (os.path.exists(part) and os.path.getsize(part) >= offset)
        self._hash = hashlib.sha256()
        if self._whole_here:
            # The agent goes on from the file of that name that is here already.
            shutil.copyfile(place, part)
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        self._stream = os.fdopen(handle, "r+b")
        self._stream.truncate(offset)
        while piece := self._stream.read(_BLOCK):
            self._hash.update(piece)

    def write(self, data: bytes) -> None:
        """More bytes."""
        self._stream.write(data)
        self._hash.update(data)

    def drop(self) -> None:
        """The connection broke: keep what came."""
        with contextlib.suppress(OSError):
            self._stream.close()

    def finish(self, sha256: str) -> None:
        """Check and sync. Raises ClusterError."""
        size = self._stream.tell()
        self._stream.flush()
        mode = stat.S_IMODE(int(self.header.get("mode") or 0o600)) & 0o777
        os.fchmod(self._stream.fileno(), mode)
        os.fsync(self._stream.fileno())
        self._stream.close()
        expected = int(self.header.get("size") or 0)
        if size != expected or self._hash.hexdigest() != sha256:
            os.unlink(self.part)
            path = shown(str(self.header["path"]))
            raise ClusterError(
                f"{path} did not arrive as it is on the cluster ({size} of {expected} bytes).",
                "Is a program still writing it? Retrieve again.",
                transient=True,
            )
        if self.header.get("mtime"):
            os.utime(self.part, (float(self.header["mtime"]), float(self.header["mtime"])))


def file_hash(path: str) -> str:
    """The SHA-256 of a file, in hex. Raises OSError."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while piece := stream.read(_BLOCK):
            digest.update(piece)
    return digest.hexdigest()


def _name(part: str, place: str, path: str) -> None:
    """Give it its name, unless something got that name meanwhile."""
    try:
        os.link(part, place)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:
        # A file system without hard links.
        if os.path.lexists(place):
            raise _exists(path) from None
        os.rename(part, place)
        return
    os.unlink(part)


def _exists(path: str) -> JobferryError:
    return Refused(f"{shown(path)} is there already and differs.")


def _sync_folder(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
