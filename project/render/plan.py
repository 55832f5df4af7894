"""What a submission would do, as text."""

from collections.abc import Mapping
from typing import Any

from project.render.output import Output
from project.render.text import clean, clean_block, fields, size

SIMPLE = (str, int, float, bool)


def page(plan: Mapping[str, Any], output: Output) -> str:
    """Everything in the plan; the batch script last, as it will be."""
    palette = output.palette()
    parts = []
    short = [(_name(key), _value(value)) for key, value in plan.items() if key != "script" and _is_short(value)]
    parts.append(fields(short, columns=output.columns, palette=palette))
    for key, value in plan.items():
        if key != "script" and not _is_short(value) and value:
            lines = "\n".join("  " + line for line in _lines(value))
            parts.append(f"{palette.paint('bold', _name(key))}\n{lines}")
    if plan.get("script"):
        script = "\n".join(("  " + line).rstrip() for line in clean_block(plan["script"]).rstrip("\n").split("\n"))
        parts.append(f"{palette.paint('bold', 'batch script')}\n{script}")
    return "\n\n".join(part for part in parts if part)


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
