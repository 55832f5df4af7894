"""The modules file: which programs run before, around and after a job, in which order."""

from typing import Any, Dict, List, NamedTuple

from project.core import schema
from project.core.errors import InputError, Problem

STAGES = ("staging", "preprocessing", "postprocessing")


class Step(NamedTuple):
    """One module of a stage. `path` is where its file (or folder) lies, "" when nobody has looked yet."""

    index: int  # type: ignore[assignment]  # a number here, although tuples have a method of this name
    module: str
    compilation: str
    execution: str
    path: str = ""

    def public(self) -> Dict[str, Any]:
        """What a job's document and the agent need to know: all but the path on this machine."""
        return {key: value for key, value in self._asdict().items() if key != "path"}


class Modules(NamedTuple):
    """The three stages, each in the order it runs."""

    staging: List[Step] = []
    preprocessing: List[Step] = []
    postprocessing: List[Step] = []

    def stage(self, name: str) -> List[Step]:
        """The steps of one of STAGES."""
        return list(getattr(self, name))

    def public(self) -> Dict[str, List[Dict[str, Any]]]:
        """Every stage that has steps, as JSON."""
        return {name: [step.public() for step in self.stage(name)] for name in STAGES if self.stage(name)}


def problems(data: Any) -> List[Problem]:
    """Everything wrong with the content of a modules file; whether the modules exist is not looked at."""
    return schema.problems(data, schema.load("modules"))


def parse(data: Dict[str, Any]) -> Modules:
    """The Modules in the content of a modules file. Raises InputError with every problem."""
    found = problems(data)
    if found:
        raise InputError(found, "modules file")
    return Modules(*[_stage(data.get(name) or []) for name in STAGES])


def from_public(data: Dict[str, List[Dict[str, Any]]], paths: Dict[str, str]) -> Modules:
    """The Modules of `Modules.public()`, their files below the folder `paths[stage]`."""
    stages = []
    for name in STAGES:
        folder = paths.get(name, "")
        stages.append([_step(item["index"], item, folder) for item in data.get(name) or []])
    return Modules(*stages)


def _stage(data: Any) -> List[Step]:
    if isinstance(data, list):
        numbered = list(enumerate(data, start=1))
    else:
        numbered = sorted((int(number), item) for number, item in data.items())
    return [_step(number, item) for number, item in numbered]


def _step(number: int, item: Dict[str, Any], folder: str = "") -> Step:
    path = "{}/{}".format(folder, item["module"]) if folder else ""
    return Step(number, item["module"], (item.get("compilation") or "").strip(), item["execution"].strip(), path)
