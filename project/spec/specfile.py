"""A file that `run` takes: psik's JobSpec, PSI/J's, or an input of jobferry; told apart by its keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from project.core import jobspec, schema
from project.core.errors import InputError, Problem, UserError
from project.core.schema import key_text
from project.core.words import did_you_mean
from project.spec import loader, psij, psik
from project.spec import overrides as overrides_module
from project.spec.conversion import Conversion
from project.spec.loader import Loaded
from project.spec.marks import Mark

if TYPE_CHECKING:
    from project.core.schedulers.base import Scheduler

PSIK, PSIJ, OWN = "psik", "PSI/J", "jobferry"
CONVERT: dict[str, Callable[[dict[str, Any], Scheduler | None], Conversion]] = {
    PSIK: psik.convert,
    PSIJ: psij.convert,
}
# Mappings in them whose values are texts: a plain word of YAML stays as it was written.
_TEXTS = ("environment.", "attributes.", "backend.attributes.", "cb_headers.")
_SECRET = (*psik.SECRETS, *jobspec.SECRETS)


@dataclass(frozen=True)
class SpecFile:
    """A specification as it stands in its file. `kind` is PSIK, PSIJ or OWN."""

    kind: str
    loaded: Loaded

    @property
    def backend(self) -> str:
        """The backend's name that a psik 3 specification chooses, "" when it leaves that open."""
        value = self.loaded.data.get("backend") if self.kind == PSIK else None
        return value if isinstance(value, str) and value != psik.DEFAULT_BACKEND else ""

    @property
    def manager(self) -> str:
        """The workload manager that a psik 1.2 specification is for, "" when it does not say."""
        value = self.loaded.data.get("backend") if self.kind == PSIK else None
        kind = value.get("type") if isinstance(value, dict) else None
        return kind if isinstance(kind, str) else ""

    def own_fields(self) -> set[str]:
        """The keys that no input of jobferry has: with one of them it is the other program's for certain."""
        fields, resources = (psik.FIELDS, psik.RESOURCES) if self.kind == PSIK else (psij.FIELDS, psij.RESOURCES)
        own = schema.load("input")["properties"]
        ours = {*own, *(f"resources.{name}" for name in own["resources"]["properties"])}
        return {*fields, *(f"resources.{name}" for name in resources)} - ours

    def convert(
        self, cluster: str, scheduler: Scheduler | None, overrides: Iterable[str] = ()
    ) -> tuple[Loaded, list[str]]:
        """The input for `cluster`, checked, and notes for people.

        :param overrides: `key.path=value`, as `--set` has them; of the input, not of the specification.

        Raises InputError with the places of every problem.
        """
        try:
            made = CONVERT[self.kind](self.loaded.data, scheduler)
        except InputError as error:
            raise InputError(self.loaded.placed(error.problems), f"{self.kind} specification") from None
        data = {"destination_cluster": cluster, **made.data}
        marks = {key: self.loaded.marks[source] for key, source in made.sources.items() if source in self.loaded.marks}
        marks = _with_parents(marks)
        for override in overrides:
            data = overrides_module.apply(data, marks, override)
        found = jobspec.problems(data)
        if found:
            placed = [problem if _was_set(problem, marks) else _blamed(problem, made, self.loaded) for problem in found]
            raise InputError(replace(self.loaded, marks=marks).placed(placed), f"{self.kind} specification")
        return replace(self.loaded, data=data, marks=marks), made.notes


def load(path: str | Path) -> SpecFile:
    """Read a specification. Raises UserError (cannot be read), InputError (no JSON or YAML, or of no known kind)."""
    loaded = _opened(read(path))
    data = loaded.data
    if not isinstance(data, dict):
        what = "is empty." if data is None else f"is not a mapping but {schema.shown(data)}."
        raise InputError([Problem("", what, None, "", loaded.file)], "specification")
    kind = _kind(loaded)
    if kind == OWN:
        return SpecFile(kind, loaded)
    return SpecFile(kind, replace(loaded, data=_as_written(data, loaded.marks)))


def _opened(loaded: Loaded) -> Loaded:
    """What stands in the envelope that PSI/J's `Export` wrote until 0.9.0 (psij/serialize.py); else the same."""
    envelope = loaded.data
    if not isinstance(envelope, dict) or set(envelope) != {"version", "type", "data"} or envelope["type"] != "JobSpec":
        return loaded
    data = envelope["data"]
    if isinstance(data, dict) and isinstance(data.get("resources"), dict):
        # A field that never was one of ResourceSpecV1's: it is always null there.
        kept = {key: item for key, item in data["resources"].items() if key != "process_per_node" or item is not None}
        data = {**data, "resources": kept}
    inside = "data."
    marks = {key.removeprefix(inside): mark for key, mark in loaded.marks.items() if key.startswith(inside)}
    return replace(loaded, data=data, marks=marks)


def foreign(path: str | Path) -> SpecFile | None:
    """The specification in a file when it is another program's; None for anything else, also for what cannot be read."""
    try:
        found = load(path)
    except UserError:
        return None
    return found if found.kind != OWN else None


def read(path: str | Path) -> Loaded:
    """A file of JSON or YAML; no meaning is looked at. Raises as `load`."""
    text = loader.text(path)
    return _json(text, path) or loader.parse(text, path)


def _json(text: str, path: str | Path) -> Loaded | None:
    """The file read as JSON, None when it is none: JSON has tabs and surrogate pairs, which YAML 1.1 does not know."""
    if not text.lstrip().startswith("{"):
        return None
    twice: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) < len(found):
            names = [name for name, _ in found]
            twice.extend(name for name in made if names.count(name) > 1)
        return made

    try:
        data = json.loads(text, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        # It may still be YAML in its short form; else that reader says where it is wrong.
        return None
    if twice:
        raise InputError([Problem(name, "is given twice.", None, "", str(path)) for name in twice], "specification")
    try:
        marks = dict(loader.parse(text, path).marks)
    except InputError:
        marks = {}
    return Loaded(data, str(path), Path(path).absolute().parent, marks)


def _kind(loaded: Loaded) -> str:
    keys = set(loaded.data)
    own_keys = set(schema.load("input")["properties"])
    theirs = {PSIK: keys & set(psik.FIELDS) - own_keys, PSIJ: keys & set(psij.FIELDS) - own_keys}
    only_psij = theirs[PSIJ] - set(psik.FIELDS)
    own = keys & own_keys - set(psik.FIELDS) - set(psij.FIELDS)
    both = sorted(theirs[PSIK] | theirs[PSIJ])
    if own and both:
        raise _unclear(loaded, min(own), f"is a key of jobferry's own input, but {both[0]} is none.")
    if own:
        return OWN
    if only_psij and "script" in keys:
        raise _unclear(loaded, "script", f"is a field of psik's specification, but {min(only_psij)} is one of PSI/J's.")
    if "script" in keys or theirs[PSIK] - set(psij.FIELDS):
        return PSIK
    if only_psij:
        return PSIJ
    known = ("script", "executable", "destination_cluster")
    near = next((hint for hint in (did_you_mean(str(key), known) for key in keys) if hint), "")
    hint = near or "psik's has a `script`, PSI/J's an `executable`, jobferry's own a `destination_cluster`."
    raise InputError([Problem("", "is no specification of a job.", None, hint, loaded.file)], "specification")


def _unclear(loaded: Loaded, key: str, message: str) -> InputError:
    hint = "Take the form of one of them; `submit` is for jobferry's own."
    return InputError([loaded.problem(key, message, hint)], "specification")


def _as_written(value: Any, marks: Mapping[str, Mark], path: tuple[str, ...] = ()) -> Any:
    """The data, numbers and truths in mappings of texts as they were written in YAML."""
    if isinstance(value, dict):
        return {key: _as_written(item, marks, (*path, str(key))) for key, item in value.items()}
    key = key_text(path) if path else ""
    mark = marks.get(key)
    plain = mark.text if mark is not None else None
    texts = key.startswith(_TEXTS) and not key.startswith("attributes.custom_attributes") and key not in _TYPED
    return plain if texts and plain is not None and isinstance(value, bool | int | float) else value


# PSI/J has fields with a type under `attributes`.
_TYPED = tuple(f"attributes.{name}" for name in psij.ATTRIBUTES)


def _with_parents(marks: dict[str, Mark]) -> dict[str, Mark]:
    """The marks, with one for every mapping that holds some of them."""
    made = dict(marks)
    for key, mark in marks.items():
        made.setdefault(key.partition(".")[0].partition("[")[0], mark)
    return made


def _was_set(problem: Problem, marks: Mapping[str, Mark]) -> bool:
    mark = marks.get(problem.key)
    return mark is not None and mark.source.startswith("--set")


def _blamed(problem: Problem, made: Conversion, loaded: Loaded) -> Problem:
    """A problem of the input as one of the specification's field that it came from."""
    key, rest = problem.key, ""
    while key and key not in made.sources:
        cut = max(key.rfind("."), key.rfind("["))
        key, rest = (key[:cut], key[cut:] + rest) if cut > 0 else ("", rest)
    source = made.sources.get(key)
    if not source:
        return problem
    value = None if source.partition(".")[0] in _SECRET else problem.value
    return loaded.problem(source + rest, problem.message, problem.hint)._replace(value=value)
