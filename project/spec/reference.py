"""Writes docs/input.md, the reference of every key, from the schemas, and docs/workload-managers.md: `python -m project.spec.reference`.

A test fails when a file is not what this writes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from project.core import schema
from project.spec import managers

TARGET = Path(__file__).resolve().parent.parent.parent / "docs" / "input.md"

_HEAD = """\
# The files you write: every key

*Written from the schemas in `project/core/schemas/` by `python -m project.spec.reference`; change them there.*

All are YAML. Plain words are what they look like: decimal numbers, `true`, `false` and `null` are those; everything else is text, also
`no`, `1:30`, `010` and `2024-01-01`. Where a key wants text, a number is taken as it was written (`version: 1.10` stays `1.10`). A key without
a value is as good as left out. A key twice, an unknown key, a second document are errors. All errors are shown at once, each with
file, line, column, key, value and what to do. `jobferry validate FILE` checks a file and sends nothing.

The schemas (JSON Schema, draft 2020-12) are served by the API at `/schemas/input.json`, `/schemas/modules.json`, `/schemas/cluster.json` and
`/schemas/job.json`.
"""
_INPUT = """
## The input

`--set key.path=value` changes one key on the command line: `--set resources.duration=2h`, `--set execution.0=./other`,
`--set 'output=[a.txt, b.txt]'`; an empty value takes the key out.
"""
_UNITS = """
### Durations and memory

| you write | it means |
|---|---|
| `1d2h30m`, `90s` | days, hours, minutes, seconds; each at most once, largest first |
| `1:30` | 1 minute 30 seconds (`MM:SS`, as sbatch reads it) |
| `02:30:00` | 2 hours 30 minutes (`HH:MM:SS`) |
| `1-12`, `1-12:30`, `1-12:30:00` | 1 day 12 hours and so on (sbatch's `D-HH:MM:SS`) |
| `30` | an error: sbatch would take it for minutes, other programs for seconds |
| `2625M`, `4G`, `512K`, `1T` | memory; all units are powers of 1024, as in sbatch |
| `4GB`, `4GiB` | the same as `4G` |
| `100` | an error: it has no unit |
"""
_MODULES = """
## The modules file

Each stage is a mapping `{1: …, 2: …}`, run in the order of its numbers, or a plain list. [modules.md](modules.md) tells how a module is
written.
"""
_STEP = """
### A module
"""
_CLUSTERS = """
## The clusters file

A list of clusters, or one. `jobferry clusters import FILE` adds them, or brings them up to date by `name`.
"""


def render() -> str:
    """The text of docs/input.md."""
    document = schema.load("input")
    modules = schema.load("modules")
    cluster = schema.load("cluster")
    keys = document["properties"]
    now = {name: sub for name, sub in keys.items() if not sub.get("x-later")}
    later = {name: sub for name, sub in keys.items() if sub.get("x-later")}
    resources = keys["resources"]
    parts = [
        _HEAD,
        _INPUT,
        _table(now, document.get("required", []), document),
        "\n### `resources`\n",
        _table(resources["properties"], resources.get("required", []), document),
        _UNITS,
        "\n### Keys of later versions\n\nThey are known by name and refused as not built yet.\n",
        "\n" + ", ".join(f"`{name}`" for name in later) + "\n",
        _MODULES,
        _table(modules["properties"], [], modules),
        _STEP,
        _table(modules["$defs"]["module"]["properties"], modules["$defs"]["module"]["required"], modules),
        _CLUSTERS,
        _table({key: sub for key, sub in cluster["properties"].items() if key != "_id"}, cluster["required"], cluster),
    ]
    return "".join(parts)


def _table(keys: dict[str, Any], required: list[str], root: dict[str, Any]) -> str:
    lines = ["", "| key | value | meaning |", "|---|---|---|"]
    for name, raw in keys.items():
        sub = schema.resolve(raw, root)
        assert isinstance(sub, dict)
        bold = f"**`{name}`**" if name in required else f"`{name}`"
        lines.append(f"| {bold} | {_kind(sub, root)} | {_cell(_meaning(sub, name in required))} |")
    return "\n".join(lines) + "\n"


def _meaning(sub: dict[str, Any], required: bool) -> str:
    text = str(sub["description"])
    examples = [f"`{_example(example)}`" for example in sub.get("examples", [])]
    if examples:
        text += " Example: " + ", ".join(examples) + "."
    return ("Required. " if required else "") + text


def _example(value: Any) -> str:
    return value.replace("\n", "\\n") if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _kind(sub: dict[str, Any], root: dict[str, Any]) -> str:
    if "enum" in sub:
        return " or ".join(f"`{value}`" for value in sub["enum"])
    if "anyOf" in sub:
        kinds = [_kind(branch, root) for raw in sub["anyOf"] if isinstance(branch := schema.resolve(raw, root), dict)]
        return " or ".join(kind for kind in kinds if kind != "nothing")
    words = {
        "string": "text",
        "integer": "whole number",
        "array": "list",
        "object": "mapping",
        "null": "nothing",
        "boolean": "`true` or `false`",
    }
    kind = words.get(str(sub.get("type")), "anything")
    if kind == "whole number" and sub.get("minimum", -1) >= 0:
        kind += f" from {sub['minimum']}"
    return kind


def _cell(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|")


def main() -> None:
    """Write the files."""
    for target, text in ((TARGET, render()), (managers.TARGET, managers.render())):
        target.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{target}\n")


if __name__ == "__main__":
    main()
