"""Unpacks what the client sends, and nothing outside the job's folder.

The stream is a tar: `files/…` becomes work/, `modules/<stage>/…` becomes modules/. It is unpacked aside and moved in place
when it is whole. Names are bytes throughout: they arrive as they were, whatever the locale here.
"""

import contextlib
import os
import posixpath
import shutil
import stat
from typing import TYPE_CHECKING, Any, Callable, List, Tuple

from project.agent import texts, workfolder
from project.core.errors import UserError
from project.core.paths import JobPaths

if TYPE_CHECKING:
    import tarfile

STAGING_FAILED = "input_staging_failed"


class Reader:
    """A file object over pieces: `piece()` gives the next bytes, b"" at the end."""

    def __init__(self, piece: Callable[[], bytes]) -> None:
        self._piece = piece
        self._rest = b""
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        parts = [self._rest]
        have = len(self._rest)
        while not self._ended and (size < 0 or have < size):
            piece = self._piece()
            self._ended = not piece
            parts.append(piece)
            have += len(piece)
        whole = b"".join(parts)
        if size < 0:
            size = len(whole)
        self._rest = whole[size:]
        return whole[:size]


def unpack(paths: JobPaths, piece: Callable[[], bytes]) -> int:
    """Unpack the stream into `paths.incoming`; the number of entries.

    Raises UserError (condition input_staging_failed) for an entry that would leave the folder, by its name; OSError.
    """
    import tarfile

    root = os.fsencode(paths.incoming)
    remove_tree(paths.incoming)
    os.mkdir(root, 0o700)
    # typeshed wants a whole file object; a stream is only ever read.
    source: Any = Reader(piece)
    try:
        with tarfile.open(
            fileobj=source,
            mode="r|*",
            encoding="utf-8",
            errors="surrogateescape",
        ) as archive:
            count = _Unpacker(root).all(archive)
        source.read()
        return count
    except (tarfile.TarError, EOFError) as error:
        raise _refused("The upload is no whole tar stream ({}).".format(error)) from error


def place(paths: JobPaths) -> None:
    """Move what was unpacked to where it belongs."""
    files, modules = (os.path.join(paths.incoming, name) for name in ("files", "modules"))
    if os.path.isdir(files):
        workfolder.settle(paths, files)
    if os.path.isdir(modules):
        remove_tree(paths.modules)
        os.rename(modules, paths.modules)
    remove_tree(paths.incoming)
    with contextlib.suppress(FileExistsError):
        os.mkdir(paths.work)


def remove_tree(path: str) -> None:
    """Remove a folder whatever the modes of the folders in it; nothing happens when there is none. Raises OSError."""
    raw = os.fsencode(path)
    if os.path.lexists(raw):
        _remove(raw)


def _remove(path: bytes) -> None:
    mode = os.lstat(path).st_mode
    if not stat.S_ISDIR(mode):
        os.unlink(path)
        return
    if mode & 0o700 != 0o700:
        os.chmod(path, 0o700)
    for name in os.listdir(path):
        _remove(os.path.join(path, name))
    os.rmdir(path)


class _Unpacker:
    def __init__(self, root: bytes) -> None:
        self._root = root
        self._folders: List[Tuple[bytes, int]] = []
        self._links: List[bytes] = []
        self._made = {root}

    def all(self, archive: "tarfile.TarFile") -> int:
        count = 0
        member = archive.next()
        while member is not None:
            self._one(archive, member)
            # An archive keeps a list of all members it saw; we need none of them.
            archive.members = []  # type: ignore[attr-defined]  # typeshed does not know it
            count += 1
            member = archive.next()
        for path, mode in reversed(self._folders):
            os.chmod(path, mode)
        for link in self._links:
            self._check_link(link)
        return count

    def _one(self, archive: "tarfile.TarFile", member: "tarfile.TarInfo") -> None:
        name = posixpath.normpath(member.name.encode("utf-8", "surrogateescape"))
        parts = name.split(b"/")
        if not texts.inside(name) or parts[0] not in (b"files", b"modules"):
            raise _refused("The upload holds {!r}, which is outside the job's folder.".format(_shown(name)))
        path = os.path.join(self._root, name)
        self._parents(os.path.dirname(path), name)
        if member.isdir():
            self._folder(path, member.mode)
        elif member.issym():
            self._link(path, name, member.linkname.encode("utf-8", "surrogateescape"))
        elif member.isfile() or member.islnk():
            self._file(archive, member, path)
        else:
            raise _refused("{!r} is neither a file, a folder nor a link.".format(_shown(name)))

    def _parents(self, folder: bytes, name: bytes) -> None:
        if folder in self._made:
            return
        self._parents(os.path.dirname(folder), name)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder)
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            raise _refused("{!r} lies behind a link.".format(_shown(name)))
        self._made.add(folder)

    def _folder(self, path: bytes, mode: int) -> None:
        self._parents(path, path)
        # The two top folders must stay ours to write in.
        top = os.path.dirname(path) == self._root
        self._folders.append((path, mode & 0o777 | (0o700 if top else 0)))

    def _link(self, path: bytes, name: bytes, target: bytes) -> None:
        top = name.split(b"/")[0]
        landing = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
        if target.startswith(b"/") or not (landing == top or landing.startswith(top + b"/")):
            raise _out(name, target)
        os.symlink(target, path)
        self._links.append(path)

    def _file(self, archive: "tarfile.TarFile", member: "tarfile.TarInfo", path: bytes) -> None:
        if member.islnk():
            other = posixpath.normpath(member.linkname.encode("utf-8", "surrogateescape"))
            source = os.path.join(self._root, other)
            known = texts.inside(other) and os.path.dirname(source) in self._made and os.path.lexists(source)
            if not known or not stat.S_ISREG(os.lstat(source).st_mode):
                raise _out(path[len(self._root) + 1 :], other)
            os.link(source, path, follow_symlinks=False)
            return
        content = archive.extractfile(member)
        assert content is not None
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as stream:
            shutil.copyfileobj(content, stream, 256 * 1024)
            os.fchmod(stream.fileno(), member.mode & 0o777)
        os.utime(path, (member.mtime, member.mtime))

    def _check_link(self, link: bytes) -> None:
        """A chain of links can leave the folder although each of them looks harmless: see where it really ends."""
        top = os.path.join(self._root, link[len(self._root) + 1 :].split(b"/")[0])
        real = os.path.realpath(link)
        base = os.path.realpath(top)
        if real != base and not real.startswith(base + b"/"):
            raise _out(link[len(self._root) + 1 :], os.readlink(link))


def _out(name: bytes, target: bytes) -> UserError:
    return _refused("The link {!r} points out of the directory, to {!r}.".format(_shown(name), _shown(target)))


def _refused(message: str) -> UserError:
    return UserError(message, "Nothing of it was kept.", condition=STAGING_FAILED)


def _shown(name: bytes) -> str:
    text = name.decode("utf-8", "replace")
    return text[len("files/") :] if text.startswith("files/") else text
