"""Input files for tests."""

import json
from pathlib import Path
from typing import Any

from helpers.live import Bed


def write_input(folder: Path, testbed: Bed, name: Any = None, **keys: Any) -> Path:
    """Writes input.yml (JSON is YAML) for user jdoe on alpha; `keys` win, a key that is None is left out."""
    data = {
        "name": name,
        "username": "jdoe",
        "private_key": str(testbed.key()),
        "destination_cluster": "alpha",
        "execution": ["true"],
        "resources": {"duration": "5m", "memory_per_thread": "50M"},
        **keys,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "input.yml"
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not None}, indent=1))
    return path
