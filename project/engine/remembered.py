"""How a job's cluster was reached, on this machine only: user, path of the key, path of the input. Never a secret."""

import contextlib
import os
from pathlib import Path
from typing import Any

from project.core.files import read_json, write_json


def _path(home: Path, uuid: str) -> Path:
    return home / "remembered" / f"{os.path.basename(uuid)}.json"


def save(home: Path, uuid: str, **fields: Any) -> None:
    """Add `fields` to what is remembered of a job. Raises OSError."""
    path = _path(home, uuid)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(str(path), {**load(home, uuid), **fields}, sync=False)


def load(home: Path, uuid: str) -> dict[str, Any]:
    """What is remembered of a job; {} when nothing is, as on another machine."""
    try:
        value = read_json(str(_path(home, uuid)))
    except (ValueError, OSError):
        return {}
    return value if isinstance(value, dict) else {}


def forget(home: Path, uuid: str) -> None:
    """Forget a job."""
    with contextlib.suppress(FileNotFoundError):
        _path(home, uuid).unlink()
