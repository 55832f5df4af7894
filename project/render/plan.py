"""What a submission would do, as text."""

from collections.abc import Mapping
from typing import Any

from project.render.output import Output
from project.render.text import NARROWEST, Palette, clean, clean_block, fields, folded, size

# Shown below everything else, in a form of their own.
TEXTS = ("script", "script_lines", "program")
# Characters of the column of origins.
MOST_ORIGIN = 40
SIMPLE = (str, int, float, bool)


def page(plan: Mapping[str, Any], output: Output) -> str:
    """Everything in the plan; the batch script last, as it will be."""
    palette = output.palette()
    parts = []
    short = [(_name(key), _value(value)) for key, value in plan.items() if key not in TEXTS and _is_short(value)]
    parts.append(fields(short, columns=output.columns, palette=palette, below=output.terminal))
    for key, value in plan.items():
        if key not in TEXTS and not _is_short(value) and value:
            lines = "\n".join("  " + line for line in _lines(value))
            parts.append(f"{palette.paint('bold', _name(key))}\n{lines}")
    if plan.get("program"):
        parts.append(f"{palette.paint('bold', 'program (scripts/run)')}\n{_indented(plan['program'])}")
    if plan.get("script_lines"):
        columns = output.columns if output.terminal else 0
        parts.append(f"{palette.paint('bold', 'batch script')}\n{_explained(plan['script_lines'], palette, columns)}")
    elif plan.get("script"):
        parts.append(f"{palette.paint('bold', 'batch script')}\n{_indented(plan['script'])}")
    return "\n\n".join(part for part in parts if part)


def _indented(text: Any) -> str:
    return "\n".join(("  " + line).rstrip() for line in clean_block(text).rstrip("\n").split("\n"))


def _explained(lines: Any, palette: Palette, columns: int) -> str:
    """The script with a column that says where each line comes from; said once for lines that follow one another.

    :param columns: of the terminal: a longer line goes on below, behind `┊`. 0: no terminal, lines stay whole.
    """
    origins = [clean(line["origin"]) for line in lines]
    width = min(MOST_ORIGIN, max(map(len, origins)))
    shown, before = [], ""
    for line, origin in zip(lines, origins, strict=True):
        label = "" if origin == before else origin if len(origin) <= width else origin[: width - 1] + "…"
        before = origin
        # A line break within is not ours to make: the lines came apart before.
        text = clean_block(line["text"]).replace("\n", " ")
        first, *rest = folded(text, max(NARROWEST // 2, columns - width - 5)) if columns else [text]
        shown.append((palette.paint("dim", f"  {label:<{width}} │ ") + first).rstrip())
        shown += [palette.paint("dim", f"  {'':<{width}} ┊ ") + piece for piece in rest]
    return "\n".join(shown)


def _name(key: object) -> str:
    return clean(key).replace("_", " ")


def _value(value: object) -> str:
    if isinstance(value, dict):
        return clean(value.get("name") or ", ".join(f"{key} {item}" for key, item in value.items()))
    return "" if value is None else clean(value)


def _is_short(value: object) -> bool:
    return value is None or (isinstance(value, SIMPLE) and "\n" not in str(value))


def _lines(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{_name(key)}: {_inner(item)}" for key, item in value.items() if item not in (None, "", [], {})]
    if isinstance(value, (list, tuple)):
        return [_inner(item) for item in value]
    return [clean(line) for line in str(value).split("\n")]


def _inner(item: Any) -> str:
    if isinstance(item, Mapping):
        if "path" in item and "size" in item:
            return f"{clean(item['path'])}  {size(float(item['size']))}"
        return ", ".join(f"{_name(key)} {_inner(part)}" for key, part in item.items() if part not in (None, "", [], {}))
    if isinstance(item, (list, tuple)):
        return ", ".join(_inner(part) for part in item)
    return clean(item)
