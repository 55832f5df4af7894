"""psik's configuration: where jobs get their folders, and which workload managers they go to. And psik's files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from project.core.errors import InputError, Problem, UserError
from project.psikapi.models import BackendConfig, JobSpec, Model

DEFAULT = "default"
Backend = str | BackendConfig | Mapping[str, Any]


class Config(Model):
    """Where jobs go.

    :param prefix: the folder for the jobs of backends that are this machine; made when it is missing.
    :param backend: the one backend (psik 1.2): a BackendConfig, its fields, or the name of a cluster of the inventory.
    :param backends: named backends (psik 3); JobSpec.backend names one, "default" when it says nothing.
    :param psik_path: given to jobs as `psik`; `rc_path` as `rc`, as psik 1.2 does.

    Raises InputError.
    """

    _known: ClassVar[tuple[str, ...]] = ("prefix", "backend", "backends", "psik_path", "rc_path")
    prefix: Path
    backends: dict[str, BackendConfig]
    psik_path: Path | None
    rc_path: str | None

    def __init__(
        self,
        *,
        prefix: str | os.PathLike[str],
        backend: Backend | None = None,
        backends: Mapping[str, Backend] | None = None,
        psik_path: str | os.PathLike[str] | None = None,
        rc_path: str | None = None,
    ) -> None:
        if backend is not None and backends is not None:
            message = "does not go with backend: psik 1.2 has the one, psik 3 the other."
            raise InputError([Problem("backends", message)], "Config")
        if backends is not None and not backends:
            raise InputError([Problem("backends", "is empty.")], "Config")
        named = {DEFAULT: backend} if backends is None else backends
        given = {
            "prefix": Path(prefix).expanduser().absolute(),
            "backends": {name: _backend(value) for name, value in named.items()},
            "psik_path": None if psik_path is None else Path(psik_path),
            "rc_path": rc_path,
        }
        super().__init__(given, {"prefix": None, "backends": {}, "psik_path": None, "rc_path": None})

    @property
    def backend(self) -> BackendConfig:
        """The backend that is meant when none is named (psik 1.2's only one)."""
        return self.find(DEFAULT)

    def find(self, name: str) -> BackendConfig:
        """A backend by its name. Raises UserError; the only one there is also answers to "default"."""
        if name in self.backends:
            return self.backends[name]
        if name == DEFAULT and len(self.backends) == 1:
            return next(iter(self.backends.values()))
        known = ", ".join(sorted(self.backends))
        raise UserError(f"There is no backend called {name!r}.", f"The configuration has: {known}.")

    def model_dump(self) -> dict[str, Any]:
        """As plain data."""
        found = super().model_dump()
        found["prefix"] = str(self.prefix)
        found["backends"] = {name: value.model_dump() for name, value in self.backends.items()}
        return {key: str(value) if isinstance(value, Path) else value for key, value in found.items()}


def _backend(value: Backend | None) -> BackendConfig:
    if isinstance(value, str):
        return BackendConfig(cluster=value)
    return BackendConfig() if value is None else BackendConfig.model_validate(value)


def load_config(path: str | os.PathLike[str] | None = None) -> Config:
    """psik's configuration file: `path`, else PSIK_CONFIG, else ~/.config/psik.json. Raises UserError, InputError."""
    from project.spec import specfile

    chosen = os.fspath(path) if path is not None else os.environ.get("PSIK_CONFIG") or ""
    loaded = specfile.read(chosen or os.path.expanduser("~/.config/psik.json"))
    try:
        return Config.model_validate(loaded.data)
    except InputError as error:
        raise InputError(loaded.placed(error.problems), "psik configuration") from None


def load_jobspec(path: str | os.PathLike[str]) -> JobSpec:
    """A specification of a file, JSON or YAML. Raises InputError with the places of its problems, UserError."""
    from project.spec import specfile

    found = specfile.load(os.fspath(path))
    if found.kind != specfile.PSIK:
        raise UserError(
            f"{os.fspath(path)} is a specification of {found.kind}, not of psik.", "`jobferry run` takes it."
        )
    return JobSpec.model_validate(found.loaded.data)
