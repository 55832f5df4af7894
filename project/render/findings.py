"""What `doctor` found, as text."""

from collections.abc import Mapping, Sequence
from typing import Any

from project.render.output import Output
from project.render.text import clean, wrap


def page(rows: Sequence[Mapping[str, Any]], output: Output) -> str:
    """One line a finding, by what it is about; what to do stands below those that are not well."""
    palette = output.palette()
    lines: list[str] = []
    about = None
    for row in rows:
        if row["about"] != about:
            about = row["about"]
            lines += ([""] if lines else []) + [palette.paint("bold", clean(about))]
        mark = palette.paint("green", "ok  ") if row["ok"] else palette.paint("red", "FAIL")
        told = f"{clean(row['what'])}: {clean(row['text'])}" if row["text"] else clean(row["what"])
        first, *rest = wrap(told, output.columns - 7)
        lines.append(f"  {mark} {first}")
        lines += [" " * 7 + line for line in rest]
        if not row["ok"] and row["hint"]:
            lines += [" " * 7 + line for line in wrap(clean(row["hint"]), output.columns - 7)]
    return "\n".join(lines)
