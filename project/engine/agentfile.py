"""The agent as one file: `project/core` and `project/agent` in a zip that Python runs, named by its content."""

import hashlib
import io
import os
import zipfile
from pathlib import Path
from typing import NamedTuple

import project
from project.core.files import write_atomic

# Fixed, so that the same sources are the same bytes everywhere.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MAIN = "import sys\n\nfrom project.agent.__main__ import main\n\nif __name__ == '__main__':\n    sys.exit(main())\n"
_PARTS = ("core", "agent")
_ENDINGS = (".py", ".json")


class AgentFile(NamedTuple):
    """The file on this machine, its length in bytes and its SHA-256."""

    path: Path
    size: int
    sha256: str

    def data(self) -> bytes:
        """The file's bytes."""
        return self.path.read_bytes()


def build(home: Path) -> AgentFile:
    """The agent's file, from `home`/cache if its sources are as they were, else made anew. Raises OSError."""
    folder = Path(project.__file__).parent
    sources = _sources(folder)
    signature = hashlib.sha256(repr(_signature(folder, sources)).encode()).hexdigest()[:16]
    cache = home / "cache"
    path = cache / f"agent-{signature}.pyz"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        cache.mkdir(parents=True, exist_ok=True)
        data = archive(folder)
        write_atomic(str(path), data, sync=False)
        _forget_others(cache, path)
    return AgentFile(path, len(data), hashlib.sha256(data).hexdigest())


def archive(folder: Path) -> bytes:
    """The zip of the package in `folder`: the same sources give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as whole:
        _add(whole, "__main__.py", _MAIN.encode())
        _add(whole, "project/__init__.py", f'__version__ = "{project.__version__}"\n'.encode())
        for name in _sources(folder):
            _add(whole, "project/" + name, (folder / name).read_bytes())
    return buffer.getvalue()


def _add(whole: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = 0o644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3
    whole.writestr(entry, data)


def _sources(folder: Path) -> list[str]:
    found: list[str] = []
    for part in _PARTS:
        for base, folders, names in os.walk(folder / part):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            found.extend(os.path.relpath(os.path.join(base, name), folder) for name in names if name.endswith(_ENDINGS))
    return sorted(found)


def _signature(folder: Path, sources: list[str]) -> list[tuple[str, int, int]]:
    result = [(str(folder), len(sources), len(project.__version__))]
    for name in sources:
        entry = os.stat(folder / name)
        result.append((name, entry.st_size, entry.st_mtime_ns))
    return result


def _forget_others(cache: Path, keep: Path) -> None:
    # Old versions are of no use; the newest few stay for other installations with the same home.
    files = sorted(cache.glob("agent-*.pyz"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[4:]:
        if path != keep:
            path.unlink(missing_ok=True)
