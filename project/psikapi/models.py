"""psik's data: job specifications, resources, backends, states. Checked when they are made, without pydantic.

The fields are those of psik/models.py in its versions 1.2 and 3.x. A field that was not given keeps psik's default and is not
written down: the workload manager's own default then stands where it cannot express psik's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from project.core.errors import InputError, Problem
from project.core.words import did_you_mean

if TYPE_CHECKING:
    from typing_extensions import Self


class JobState(str, Enum):
    """psik's states, as they stand in status.csv."""

    new = "new"
    queued = "queued"
    active = "active"
    completed = "completed"
    failed = "failed"
    canceled = "canceled"

    def is_final(self) -> bool:
        """True for completed, failed and canceled."""
        return self in {JobState.completed, JobState.failed, JobState.canceled}


class Transition(NamedTuple):
    """One row of a job's history. `time` is in seconds since the epoch; `info` is the native id or an exit code."""

    time: float
    jobndx: int
    state: JobState
    info: str

    def fields(self) -> tuple[float, int, str, str]:
        """The row as status.csv has it."""
        return self.time, self.jobndx, self.state.value, self.info


class Secret:
    """A text that is never shown by accident."""

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        """The text."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('**********')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class Model:
    """Fields with defaults; `model_dump` tells those that were given or changed."""

    _known: ClassVar[tuple[str, ...]] = ()

    def __init__(self, fields: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self._defaults = dict(defaults)
        for name, default in defaults.items():
            value = fields.get(name)
            setattr(self, name, default if value is None else value)
        self._given = {name for name, value in fields.items() if value is not None}

    @classmethod
    def model_validate(cls, data: object) -> Self:
        """Made of a mapping; one that is of this class already stays as it is. Raises InputError."""
        if isinstance(data, cls):
            return data
        if not isinstance(data, Mapping):
            raise InputError([Problem("", f"is not a mapping but {type(data).__name__}.")], cls.__name__)
        strange = [str(key) for key in data if key not in cls._known]
        if strange:
            hints = [did_you_mean(key, cls._known) or f"It has: {', '.join(cls._known)}." for key in strange]
            problems = [
                Problem(key, "is not a field of it.", None, hint) for key, hint in zip(strange, hints, strict=True)
            ]
            raise InputError(problems, cls.__name__)
        return cls(**data)

    @classmethod
    def model_validate_json(cls, text: str | bytes) -> Self:
        """Made of JSON. Raises InputError."""
        try:
            return cls.model_validate(json.loads(text))
        except ValueError as error:
            raise InputError([Problem("", f"is no JSON ({error}).")], cls.__name__) from None

    def model_dump(self) -> dict[str, Any]:
        """What was given or differs from its default, as plain data; secrets as they are."""
        found = {}
        for name, default in self._defaults.items():
            value = getattr(self, name)
            if name in self._given or value != default:
                found[name] = _data(value)
        return found

    def model_dump_json(self, indent: int | None = None) -> str:
        """As JSON. It holds the secrets."""
        return json.dumps(self.model_dump(), indent=indent)

    def model_copy(self) -> Self:
        """A copy of its own."""
        return self.model_validate(self.model_dump())

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(getattr(self, name) == getattr(other, name) for name in self._defaults)

    __hash__ = None  # type: ignore[assignment]  # its fields may change

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={self._shown(name)!r}' for name in self._defaults)})"

    def _shown(self, name: str) -> Any:
        """A field as `repr` shows it."""
        return getattr(self, name)


def _data(value: Any) -> Any:
    if isinstance(value, Model):
        return value.model_dump()
    if isinstance(value, Secret):
        return value.get_secret_value()
    return dict(value) if isinstance(value, Mapping) else value


class ResourceSpec(Model):
    """What a job needs.

    :param duration: minutes; psik's default is 10.
    :param node_count: nodes; with `processes_per_node`.
    :param process_count: ranks in all, in place of the two.
    :param cpu_cores_per_process: threads a rank.
    :param gpu_cores_per_process: GPUs a rank.
    :param exclusive_node_use: no other job on the nodes.

    Whole numbers may be given as text. Raises InputError.
    """

    _known: ClassVar[tuple[str, ...]] = (
        "duration",
        "node_count",
        "process_count",
        "processes_per_node",
        "cpu_cores_per_process",
        "gpu_cores_per_process",
        "exclusive_node_use",
    )
    duration: int
    node_count: int | None
    process_count: int | None
    processes_per_node: int | None
    cpu_cores_per_process: int
    gpu_cores_per_process: int
    exclusive_node_use: bool

    def __init__(
        self,
        *,
        duration: int | str | None = None,
        node_count: int | str | None = None,
        process_count: int | str | None = None,
        processes_per_node: int | str | None = None,
        cpu_cores_per_process: int | str | None = None,
        gpu_cores_per_process: int | str | None = None,
        exclusive_node_use: bool | None = None,
    ) -> None:
        given = {
            "duration": duration,
            "node_count": node_count,
            "process_count": process_count,
            "processes_per_node": processes_per_node,
            "cpu_cores_per_process": cpu_cores_per_process,
            "gpu_cores_per_process": gpu_cores_per_process,
            "exclusive_node_use": exclusive_node_use,
        }
        check({"script": ":", "resources": {key: value for key, value in given.items() if value is not None}})
        whole = {
            key: int(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else value
            for key, value in given.items()
        }
        super().__init__(
            whole,
            {
                "duration": 10,
                "node_count": None,
                "process_count": None,
                "processes_per_node": None,
                "cpu_cores_per_process": 1,
                "gpu_cores_per_process": 0,
                "exclusive_node_use": True,
            },
        )


class JobAttributes(Model):
    """What psik's README calls so: where a job is queued and to whom it is charged. `attributes` are options (`{"--qos": "x"}`)."""

    _known: ClassVar[tuple[str, ...]] = ("queue_name", "project_name", "reservation_id", "attributes")
    queue_name: str | None
    project_name: str | None
    reservation_id: str | None
    attributes: dict[str, str]

    def __init__(
        self,
        *,
        queue_name: str | None = None,
        project_name: str | None = None,
        reservation_id: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        given = {
            "queue_name": queue_name,
            "project_name": project_name,
            "reservation_id": reservation_id,
            "attributes": attributes,
        }
        self._take(given, {})

    def _take(self, given: dict[str, Any], more: dict[str, Any]) -> None:
        check({"script": ":", "backend": {key: value for key, value in given.items() if value is not None}})
        if given["attributes"] is not None:
            given["attributes"] = {str(key): str(value) for key, value in given["attributes"].items()}
        defaults: dict[str, Any] = {"queue_name": None, "project_name": None, "reservation_id": None, "attributes": {}}
        super().__init__({**given, **more}, {**dict.fromkeys(more), **defaults})


class BackendConfig(JobAttributes):
    """A backend of a Config.

    :param type: the workload manager of this machine (`slurm`, `lsf`, `at`, `local`, …).
    :param cluster: instead of it a cluster of the inventory by name, over SSH.
    """

    _known: ClassVar[tuple[str, ...]] = ("type", "cluster", *JobAttributes._known)
    type: str
    cluster: str | None

    def __init__(
        self,
        *,
        type: str | None = None,
        cluster: str | None = None,
        queue_name: str | None = None,
        project_name: str | None = None,
        reservation_id: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        given = {
            "queue_name": queue_name,
            "project_name": project_name,
            "reservation_id": reservation_id,
            "attributes": attributes,
        }
        self._take(given, {"type": type, "cluster": cluster})
        self._defaults["type"] = "local"
        self.type = type or "local"


class JobSpec(Model):
    """A job. `script` alone is required; without a shebang it is bash's.

    :param backend: the name of a backend of the Config (psik 3), or a BackendConfig (psik 1.2).
    :param attributes: options for the workload manager (psik 3), or a JobAttributes.
    :param callback: a URL that is told of every change of state, signed with `cb_secret`.

    Raises InputError with every problem.
    """

    _known: ClassVar[tuple[str, ...]] = (
        "script",
        "name",
        "directory",
        "environment",
        "inherit_environment",
        "resources",
        "backend",
        "attributes",
        "callback",
        "cb_headers",
        "cb_secret",
        "client_secret",
    )
    script: str
    name: str | None
    directory: str | None
    environment: dict[str, str]
    inherit_environment: bool
    resources: ResourceSpec
    backend: str | BackendConfig
    attributes: dict[str, str]
    callback: str | None
    cb_headers: dict[str, str]
    cb_secret: Secret | None
    client_secret: Secret | None

    def __init__(
        self,
        *,
        script: str,
        name: str | None = None,
        directory: str | os.PathLike[str] | None = None,
        environment: Mapping[str, str] | None = None,
        inherit_environment: bool | None = None,
        resources: ResourceSpec | Mapping[str, Any] | None = None,
        backend: str | BackendConfig | Mapping[str, Any] | None = None,
        attributes: Mapping[str, str] | JobAttributes | None = None,
        callback: str | None = None,
        cb_headers: Mapping[str, str] | None = None,
        cb_secret: str | Secret | None = None,
        client_secret: str | Secret | None = None,
    ) -> None:
        if isinstance(attributes, JobAttributes):
            # All that it says is a backend's in psik 1.2.
            if backend is not None:
                message = "JobAttributes do not go with a backend."
                raise InputError([Problem("attributes", message, None, "Put them into the BackendConfig.")], "JobSpec")
            backend, attributes = BackendConfig(**attributes.model_dump()), None
        given = {
            "script": script,
            "name": name,
            "directory": None if directory is None else os.fspath(directory),
            "environment": environment,
            "inherit_environment": inherit_environment,
            "resources": None if resources is None else ResourceSpec.model_validate(resources),
            "backend": backend
            if backend is None or isinstance(backend, str)
            else BackendConfig.model_validate(backend),
            "attributes": attributes,
            "callback": callback,
            "cb_headers": cb_headers,
            "cb_secret": Secret(cb_secret) if isinstance(cb_secret, str) else cb_secret,
            "client_secret": Secret(client_secret) if isinstance(client_secret, str) else client_secret,
        }
        check({key: _data(value) for key, value in given.items() if value is not None})
        for key in ("environment", "attributes", "cb_headers"):
            if given[key] is not None:
                given[key] = {str(name): str(value) for name, value in given[key].items()}  # type: ignore[union-attr]  # `check` saw it
        defaults: dict[str, Any] = dict.fromkeys(self._known)
        defaults.update(
            script="",
            environment={},
            inherit_environment=True,
            resources=ResourceSpec(),
            backend="default",
            attributes={},
            cb_headers={},
        )
        super().__init__(given, defaults)

    def _shown(self, name: str) -> Any:
        return dict.fromkeys(self.cb_headers, "**********") if name == "cb_headers" else super()._shown(name)


class Callback(NamedTuple):
    """What a callback's body says; `jobid` is the job's stamp (its UUID)."""

    jobid: str
    jobndx: int
    state: JobState
    info: str = ""

    @classmethod
    def model_validate(cls, data: Mapping[str, Any]) -> Callback:
        """Of a body's JSON; what else jobferry's bodies say is left out. Raises KeyError, ValueError."""
        return cls(str(data["jobid"]), int(data["jobndx"]), JobState(data["state"]), str(data.get("info", "")))

    @classmethod
    def model_validate_json(cls, body: str | bytes) -> Callback:
        """Of a body, whose signature is verified already. Raises KeyError, ValueError."""
        return cls.model_validate(json.loads(body))


def check(data: dict[str, Any]) -> None:
    """See that a specification is one. Raises InputError with every problem."""
    from project.spec import psik

    backend = data.get("backend")
    if isinstance(backend, dict) and "cluster" in backend:
        data = {**data, "backend": {key: value for key, value in backend.items() if key != "cluster"}}
    psik.convert(data)
