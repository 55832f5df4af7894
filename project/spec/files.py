"""The files people write: the input, the modules file, the clusters file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from project.core import clusters, jobspec, modulesfile, schema
from project.core.errors import InputError, Problem
from project.core.modulesfile import Modules, Step
from project.core.words import did_you_mean, near
from project.spec import share
from project.spec.loader import Loaded, load
from project.spec.marks import Mark


def load_input(path: str | Path, overrides: Iterable[str] = ()) -> Loaded:
    """A valid input. `data` is what the user wrote: keys without a value are left out, texts are as written.

    Raises InputError with every problem, each with file, line, column, key, value and hint; UserError for an unreadable file.
    """
    loaded = _tidy(load(path, overrides), schema.load("input"))
    _refuse(loaded, jobspec.problems(loaded.data), "input")
    return loaded


def load_modules(path: str | Path) -> Modules:
    """The modules of a modules file, each step with the path of its file. Raises InputError with every problem."""
    loaded = load(path)
    if loaded.data is None:
        return Modules()
    loaded = _tidy(loaded, schema.load("modules"))
    _refuse(loaded, modulesfile.problems(loaded.data), "modules file")
    modules = modulesfile.parse(loaded.data)
    folders = [loaded.folder / "modules", share.folder("modules")]
    missing: list[Problem] = []
    stages = []
    for name in modulesfile.STAGES:
        found = []
        for place, step in (
            zip(_places(name, loaded.data[name]), modules.stage(name), strict=True) if loaded.data.get(name) else ()
        ):
            where = _find(step, folders)
            if where is None:
                missing.append(_missing(f"{place}.module", step, folders))
            else:
                found.append(step._replace(path=str(where)))
        stages.append(found)
    _refuse(loaded, missing, "modules file")
    return Modules(*stages)


def load_clusters(path: str | Path) -> list[dict[str, Any]]:
    """The cluster documents of a clusters file, with their defaults. Raises InputError with every problem."""
    return _clusters(load(path))


def load_clusters_or_config(path: str | Path) -> tuple[list[dict[str, Any]], list[str]]:
    """As `load_clusters`, also from psik's configuration file; and notes for people."""
    # A submission needs none of the readers of other programs' files.
    from project.spec import psikconfig, specfile

    loaded = specfile.read(path)
    return psikconfig.convert(loaded) if psikconfig.is_config(loaded.data) else (_clusters(loaded), [])


def _clusters(loaded: Loaded) -> list[dict[str, Any]]:
    wanted = schema.load("cluster")
    several: dict[str, Any] = {"type": "array", "items": wanted, "$defs": wanted["$defs"], "minItems": 1}
    if isinstance(loaded.data, dict):
        loaded = replace(
            loaded,
            data=[loaded.data],
            marks={"[0]" + ("." if key else "") + key: mark for key, mark in loaded.marks.items()},
        )
    loaded = _tidy(loaded, several)
    _refuse(loaded, schema.problems(loaded.data, several), "clusters file")
    unmeant = [
        problem._replace(key=f"[{number}].{problem.key}")
        for number, document in enumerate(loaded.data)
        for problem in clusters.meaning(document)
    ]
    _refuse(loaded, unmeant, "clusters file")
    seen: dict[str, int] = {}
    twice = []
    for number, document in enumerate(loaded.data):
        if document["name"] in seen:
            twice.append(Problem(f"[{number}].name", f"is given twice: '{document['name']}'.", document["name"]))
        seen[document["name"]] = number
    _refuse(loaded, twice, "clusters file")
    return [clusters.normalise(document) for document in loaded.data]


def sniff(path: str | Path) -> str:
    """What kind of file it is: `input`, `modules` or `clusters`. Raises as `load`."""
    data = load(path).data
    if isinstance(data, list):
        return "clusters"
    if isinstance(data, dict):
        if any(near(stage, data) for stage in modulesfile.STAGES) and not {"execution", "script"} & set(data):
            return "modules"
        # `prefix` is psik's configuration.
        if {"workload_manager", "hostname", "prefix"} & set(data):
            return "clusters"
    return "input"


def _refuse(loaded: Loaded, problems: list[Problem], what: str) -> None:
    if problems:
        raise InputError(loaded.placed(problems), what)


def _tidy(loaded: Loaded, wanted: dict[str, Any]) -> Loaded:
    """The data with texts as they were written where the schema wants text, and without keys that have no value."""
    if loaded.data is None:
        raise InputError([Problem("", "is empty.", None, "", loaded.file)])
    return replace(loaded, data=_as_written(loaded.data, wanted, (), loaded, wanted))


def _as_written(value: Any, wanted: schema.Schema, path: schema.Path, loaded: Loaded, root: dict[str, Any]) -> Any:
    wanted = schema.resolve(wanted, root)
    if not isinstance(wanted, dict):
        return value
    if isinstance(value, dict):
        return _mapping_as_written(value, _branch(wanted, "object", root), path, loaded, root)
    if isinstance(value, list):
        items = _branch(wanted, "array", root).get("items", True)
        return [_as_written(item, items, (*path, number), loaded, root) for number, item in enumerate(value)]
    mark: Mark | None = loaded.marks.get(schema.key_text(path))
    known = wanted.get("type", "any")
    text = _branch(wanted, "string", root).get("type") == "string" and known in {"any", "string"}
    if text and isinstance(value, (bool, int, float)) and mark is not None and mark.text is not None:
        return mark.text
    return value


def _mapping_as_written(
    value: dict[str, Any], wanted: dict[str, Any], path: schema.Path, loaded: Loaded, root: dict[str, Any]
) -> dict[str, Any]:
    known = wanted.get("properties", {})
    extra = wanted.get("additionalProperties", True)
    return {
        key: _as_written(item, known.get(key, extra), (*path, key), loaded, root)
        for key, item in value.items()
        if item is not None or key not in known
    }


def _branch(wanted: dict[str, Any], kind: str, root: dict[str, Any]) -> dict[str, Any]:
    """The alternative (anyOf) of a schema for values of one type; the schema itself when it has none."""
    for branch in wanted.get("anyOf", ()):
        resolved = schema.resolve(branch, root)
        if isinstance(resolved, dict) and resolved.get("type") == kind:
            return resolved
    return wanted


def _places(stage: str, data: Any) -> list[str]:
    """The keys of a stage's modules, in the order they run."""
    if isinstance(data, list):
        return [f"{stage}[{number}]" for number in range(len(data))]
    return [f"{stage}.{number}" for number in sorted(data, key=int)]


def _find(step: Step, folders: list[Path]) -> Path | None:
    for folder in folders:
        try:
            if (folder / step.module).exists():
                return (folder / step.module).absolute()
        except OSError:
            continue
    return None


def _missing(key: str, step: Step, folders: list[Path]) -> Problem:
    names = sorted({item.name for folder in folders if folder.is_dir() for item in folder.iterdir()})
    looked = " and ".join(str(folder) for folder in folders)
    hint = did_you_mean(step.module, names) or f"Looked in {looked}."
    return Problem(key, f"there is no module '{step.module}'.", step.module, hint)
