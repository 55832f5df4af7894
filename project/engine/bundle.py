"""What is sent: the job's files and its modules, as one tar stream that is made while it is sent.

`files/…` becomes the job's work folder, `modules/<stage>/…` holds the modules. Modes, links inside, empty folders and
any name arrive as they were. `.git` and what `.jobferryignore` names stay behind, private keys too.
"""

import os
import stat
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from project.core import jobspec
from project.core.errors import UserError
from project.engine import ignore

PIECE = 256 * 1024
_KEY_MARK = b"PRIVATE KEY-----"
# A key is small; larger files are not looked into.
_KEY_SIZE = 64 * 1024
STAGES_THERE = ("preprocessing", "postprocessing")


class Entry(NamedTuple):
    """One thing to send: its name in the stream, where it is here, `link` is the target of a symbolic link."""

    name: str
    path: str
    mode: int
    size: int
    mtime: float
    kind: str
    link: str = ""


class Bundle(NamedTuple):
    """What a submission sends. `source` is the protocol's; `total` is in bytes."""

    source: dict[str, Any]
    entries: list[Entry]
    warnings: list[str]

    @property
    def total(self) -> int:
        return sum(entry.size for entry in self.entries)

    def stream(self) -> Iterator[bytes]:
        """The tar stream in pieces. Raises UserError when a file changes or vanishes while it is read."""
        pending = bytearray()
        for entry in self.entries:
            pending += _header(entry)
            if entry.kind == "file":
                for piece in _content(entry):
                    pending += piece
                    while len(pending) >= PIECE:
                        yield bytes(pending[:PIECE])
                        del pending[:PIECE]
                pending += b"\0" * (-entry.size % tarfile.BLOCKSIZE)
        pending += b"\0" * (2 * tarfile.BLOCKSIZE)
        for start in range(0, len(pending), PIECE):
            yield bytes(pending[start : start + PIECE])


def collect(job: str, folder: str | Path, modules: Mapping[str, Sequence[Any]] | None = None) -> Bundle:
    """What `job` (as in the input, relative to `folder`; "" = none) and the modules that run on the cluster need.

    Raises UserError: no such file, a link that points out of the directory, something that cannot be read.
    """
    warnings: list[str] = []
    entries: list[Entry] = []
    kind = jobspec.job_kind(job)
    if not job:
        source: dict[str, Any] = {"kind": "none"}
    elif kind == jobspec.GIT:
        address, reference = jobspec.git_url(job)
        source = {"kind": "git", "url": address, "ref": reference, "name": jobspec.git_folder(job)}
    elif kind == jobspec.URL:
        source = {"kind": "url", "url": job}
    else:
        path = os.path.join(folder, os.path.expanduser(job))
        source = _local(job, path, entries, warnings)
    for stage in STAGES_THERE:
        entries.extend(_modules(stage, (modules or {}).get(stage) or ()))
    return Bundle(source, entries, warnings)


def _local(job: str, path: str, entries: list[Entry], warnings: list[str]) -> dict[str, Any]:
    try:
        found = os.stat(path)
    except OSError as error:
        hint = "The path is relative to the folder of the input file."
        raise UserError(f"job: {job} cannot be read ({error.strerror}): {os.path.abspath(path)}.", hint) from error
    if stat.S_ISDIR(found.st_mode):
        entries.extend(_Walk(path, warnings).all())
        return {"kind": "directory", "name": os.path.basename(os.path.abspath(path))}
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"job: {job} is neither a file nor a directory.")
    name = os.path.basename(os.path.abspath(path))
    _readable(path, job)
    entries.append(Entry("files/" + name, path, found.st_mode & 0o777, found.st_size, found.st_mtime, "file"))
    return {"kind": "file", "name": name}


def _modules(stage: str, steps: Sequence[Any]) -> Iterator[Entry]:
    seen = set()
    for step in steps:
        if step.module in seen:
            continue
        seen.add(step.module)
        name = f"modules/{stage}/{step.module}"
        if os.path.isdir(step.path):
            yield from _Walk(str(step.path), [], name + "/").all()
            continue
        _readable(str(step.path), f"module {step.module}")
        found = os.stat(step.path)
        mode = found.st_mode & 0o777 | 0o600
        yield Entry(name, str(step.path), mode, found.st_size, found.st_mtime, "file")


def _readable(path: str, what: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise UserError(f"{what} cannot be read ({error.strerror}): {os.path.abspath(path)}.") from error


class _Walk:
    """Goes through the job's directory, folders before what is in them, names in order."""

    def __init__(self, top: str, warnings: list[str], prefix: str = "files/") -> None:
        self._top = top
        self._prefix = prefix
        self._real = os.path.realpath(top)
        self._warnings = warnings

    def all(self) -> Iterator[Entry]:
        yield from self._folder("", [])

    def _folder(self, relative: str, rules: list[ignore.Rule]) -> Iterator[Entry]:
        path = os.path.join(self._top, relative) if relative else self._top
        rules = rules + self._own_rules(path, relative)
        try:
            found = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}).") from error
        for item in found:
            name = relative + "/" + item.name if relative else item.name
            is_folder = item.is_dir(follow_symlinks=False)
            if item.name in ignore.ALWAYS or ignore.ignored(name, is_folder, rules):
                continue
            if is_folder:
                status = item.stat(follow_symlinks=False)
                yield Entry(self._prefix + name, item.path, status.st_mode & 0o777, 0, status.st_mtime, "folder")
                yield from self._folder(name, rules)
            else:
                yield from self._other(name, item)

    def _own_rules(self, path: str, relative: str) -> list[ignore.Rule]:
        try:
            with open(os.path.join(path, ignore.NAME), encoding="utf-8", errors="surrogateescape") as stream:
                return ignore.parse(stream.read(), relative + "/" if relative else "")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"{os.path.join(path, ignore.NAME)} cannot be read ({error.strerror}).") from error

    def _other(self, name: str, item: "os.DirEntry[str]") -> Iterator[Entry]:
        status = item.stat(follow_symlinks=False)
        mode = status.st_mode & 0o777
        if item.is_symlink():
            yield Entry(self._prefix + name, item.path, mode, 0, status.st_mtime, "link", self._target(name, item.path))
        elif not stat.S_ISREG(status.st_mode):
            self._warnings.append(f"{shown(name)} is neither a file, a folder nor a link; it stays behind.")
        elif _is_key(item.path, status.st_size, name):
            self._warnings.append(f"{shown(name)} holds a private key; it stays behind.")
        else:
            yield Entry(self._prefix + name, item.path, mode, status.st_size, status.st_mtime, "file")

    def _target(self, name: str, path: str) -> str:
        target = os.readlink(path)
        end = os.path.realpath(path)
        lexical = os.path.normpath(os.path.join(os.path.dirname(name), target))
        inside = end == self._real or end.startswith(self._real + os.sep)
        if not inside or (not os.path.isabs(target) and lexical.split(os.sep)[0] == ".."):
            raise UserError(
                f"job: the link {shown(name)} points out of the directory, to {shown(target)}.",
                "Put what it points to into the directory, or name the link in .jobferryignore.",
            )
        if os.path.isabs(target):
            return os.path.relpath(end, os.path.join(self._real, os.path.dirname(name)))
        return target


def _is_key(path: str, size: int, name: str) -> bool:
    if size > _KEY_SIZE:
        return False
    try:
        with open(path, "rb") as stream:
            return _KEY_MARK in stream.read(128)
    except OSError as error:
        raise UserError(f"job: {shown(name)} cannot be read ({error.strerror}).") from error


def shown(name: str) -> str:
    """A file name for a message: control characters and undecodable bytes made visible."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in name)


def _header(entry: Entry) -> bytes:
    info = tarfile.TarInfo(entry.name)
    info.mode = entry.mode
    info.mtime = int(entry.mtime)
    if entry.kind == "folder":
        info.type = tarfile.DIRTYPE
    elif entry.kind == "link":
        info.type = tarfile.SYMTYPE
        info.linkname = entry.link
    else:
        info.size = entry.size
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _content(entry: Entry) -> Iterator[bytes]:
    left = entry.size
    try:
        with open(entry.path, "rb") as stream:
            while left:
                piece = stream.read(min(left, PIECE))
                if not piece:
                    raise UserError(f"{shown(entry.path)} became shorter while it was sent.", "Submit again.")
                left -= len(piece)
                yield piece
    except OSError as error:
        raise UserError(f"{shown(entry.path)} cannot be read ({error.strerror}).") from error
