"""Paths whose operations are awaited: of this machine, and of a cluster over the client's own connection.

They have what programs for psik use of anyio.Path, and nothing that jobferry would have to depend on it for.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from project.core.process import quote

if TYPE_CHECKING:
    from project.aclient import AsyncClient

# Runs a shell line on the path's cluster: exit status and what it printed.
Shell = Callable[[str], Awaitable[tuple[int, bytes]]]


class AsyncPath:
    """A path of this machine. `client` travels along, so that a Job made of a path has its manager's."""

    def __init__(self, *parts: str | os.PathLike[str], client: AsyncClient | None = None) -> None:
        self._path = Path(*parts)
        self.client = client

    def __fspath__(self) -> str:
        return str(self._path)

    def __str__(self) -> str:
        return str(self._path)

    def __repr__(self) -> str:
        return f"AsyncPath({str(self._path)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsyncPath | Path) and os.fspath(other) == str(self._path)

    def __lt__(self, other: AsyncPath) -> bool:
        return self._path < other._path

    def __hash__(self) -> int:
        return hash(self._path)

    def __truediv__(self, other: str | os.PathLike[str]) -> AsyncPath:
        return AsyncPath(self._path / other, client=self.client)

    @property
    def name(self) -> str:
        """The last part."""
        return self._path.name

    @property
    def parent(self) -> AsyncPath:
        """The folder that holds it."""
        return AsyncPath(self._path.parent, client=self.client)

    async def exists(self) -> bool:
        """True when something is there."""
        return await asyncio.to_thread(self._path.exists)

    async def is_dir(self) -> bool:
        """True for a folder."""
        return await asyncio.to_thread(self._path.is_dir)

    async def is_file(self) -> bool:
        """True for a file."""
        return await asyncio.to_thread(self._path.is_file)

    async def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The text of a file. Raises OSError."""
        return await asyncio.to_thread(self._path.read_text, encoding, errors)

    async def read_bytes(self) -> bytes:
        """The bytes of a file. Raises OSError."""
        return await asyncio.to_thread(self._path.read_bytes)

    async def write_text(self, data: str, encoding: str = "utf-8") -> int:
        """Write a file anew; how many characters. Raises OSError."""
        return await asyncio.to_thread(self._path.write_text, data, encoding)

    async def write_bytes(self, data: bytes) -> int:
        """Write a file anew; how many bytes. Raises OSError."""
        return await asyncio.to_thread(self._path.write_bytes, data)

    async def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Make a folder. Raises OSError."""
        await asyncio.to_thread(self._path.mkdir, mode, parents, exist_ok)

    async def iterdir(self) -> AsyncIterator[AsyncPath]:
        """What a folder holds. Raises OSError."""
        for name in await asyncio.to_thread(os.listdir, self._path):
            yield self / name


class RemotePath:
    """A path of a cluster; `$HOME/…` is a path below the home folder there."""

    def __init__(self, path: str | PurePosixPath, shell: Shell, client: AsyncClient | None = None) -> None:
        self._path = PurePosixPath(path)
        self._shell = shell
        self.client = client

    def __str__(self) -> str:
        return str(self._path)

    def __repr__(self) -> str:
        return f"RemotePath({str(self._path)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and other._path == self._path

    def __hash__(self) -> int:
        return hash(self._path)

    def __truediv__(self, other: str) -> RemotePath:
        return RemotePath(self._path / other, self._shell, self.client)

    @property
    def name(self) -> str:
        """The last part."""
        return self._path.name

    @property
    def parent(self) -> RemotePath:
        """The folder that holds it."""
        return RemotePath(self._path.parent, self._shell, self.client)

    @property
    def _word(self) -> str:
        text = str(self._path)
        if text == "$HOME" or text.startswith("$HOME/"):
            return '"$HOME"' + quote(text[len("$HOME") :] or "/")
        return quote(text)

    async def exists(self) -> bool:
        """True when something is there. Raises ClusterError, as everything here."""
        return (await self._shell(f"test -e {self._word}"))[0] == 0

    async def is_dir(self) -> bool:
        """True for a folder."""
        return (await self._shell(f"test -d {self._word}"))[0] == 0

    async def is_file(self) -> bool:
        """True for a file."""
        return (await self._shell(f"test -f {self._word}"))[0] == 0

    async def read_bytes(self) -> bytes:
        """The bytes of a file. Raises FileNotFoundError."""
        status, printed = await self._shell(f"cat {self._word}")
        if status != 0:
            raise FileNotFoundError(2, "cannot be read on the cluster", str(self))
        return printed

    async def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The text of a file. Raises FileNotFoundError."""
        return (await self.read_bytes()).decode(encoding, errors)

    async def iterdir(self) -> AsyncIterator[RemotePath]:
        """What a folder holds. Raises FileNotFoundError."""
        line = f"cd {self._word} && find . ! -name . -prune -exec printf '%s\\0' {{}} +"
        status, printed = await self._shell(line)
        if status != 0:
            raise FileNotFoundError(2, "cannot be read on the cluster", str(self))
        for name in printed.split(b"\0"):
            if name:
                yield self / os.fsdecode(name).removeprefix("./")
