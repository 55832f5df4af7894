"""psik's JobManager: makes jobs in a prefix and lists them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from project.core import files, jobspec, schedulers
from project.core.errors import InputError, UserError
from project.core.paths import JobPaths
from project.core.words import did_you_mean
from project.psikapi.config import DEFAULT, Config
from project.psikapi.job import SPEC, Job, row, without_secrets
from project.psikapi.models import BackendConfig, JobSpec, JobState, Transition
from project.psikapi.paths import AsyncPath, RemotePath

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from project.aclient import AsyncClient

Json = dict[str, Any]
# The backends for which psik uses nothing of their configuration.
_PLAIN = ("local", "at")
_JOBS = "$HOME/.jobferry/jobs"


class JobManager:
    """Makes jobs and lists them.

    :param config: where jobs go.
    :param client: the client to work with; None: one of its own with the settings of the machine, closed by `close`.

    Raises UserError: the prefix cannot be made, there is no such workload manager.
    """

    def __init__(self, config: Config, client: AsyncClient | None = None) -> None:
        for name, backend in config.backends.items():
            if backend.cluster is None and backend.type not in schedulers.SCHEDULERS:
                known = tuple(schedulers.SCHEDULERS)
                hint = did_you_mean(backend.type, known) or f"There are: {', '.join(known)}."
                raise UserError(f"The backend {name!r} is of the type {backend.type!r}, which is none.", hint)
        if any(backend.cluster is None for backend in config.backends.values()):
            try:
                config.prefix.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"The prefix {config.prefix} cannot be made ({error.strerror}).") from error
        self.config = config
        self._own = client is None
        self._client = client
        self._known: dict[tuple[str | None, str], Json] = {}

    @property
    def client(self) -> AsyncClient:
        """The client that it works with."""
        if self._client is None:
            from project.aclient import AsyncClient

            self._client = AsyncClient()
        return self._client

    @property
    def prefix(self) -> AsyncPath:
        """The folder of the jobs."""
        return AsyncPath(self.config.prefix, client=self.client)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the client, if it is the manager's own. Jobs go on."""
        if self._own and self._client is not None:
            await self._client.close()
            self._client = None

    async def create(self, jobspec: JobSpec) -> Job:
        """A job of that specification, not submitted yet: its folder (on this machine) and its record are there.

        Raises InputError with the places of every problem, UserError, ApiError.
        """
        backend = _chosen(self.config, jobspec)
        cluster = await self._cluster(backend)
        # What is imported for it would keep the event loop waiting.
        record = await self.client.create(await asyncio.to_thread(_input, jobspec, backend, cluster))
        base = self._there(cluster, record.uuid)
        if isinstance(base, AsyncPath):
            await asyncio.to_thread(_prepare, os.fspath(base.parent), record.uuid, jobspec)
        job = Job(base)
        job.spec = jobspec
        return await job

    async def ls(self) -> AsyncIterator[Job]:
        """Every job: those in the prefix, oldest first, then those on clusters of the inventory that are backends."""
        found = []
        if await self.prefix.is_dir():
            async for base in self.prefix.iterdir():
                if await (base / "spec.json").is_file() or await (base / SPEC).is_file():
                    job = Job(base)
                    try:
                        found.append(await job)
                    except UserError:
                        # A folder that is no job's, or one that is being removed.
                        continue
        for job in sorted(found, key=lambda job: job.history[0].time if job.history else 0.0):
            yield job
        names = {backend.cluster for backend in self.config.backends.values() if backend.cluster is not None}
        if names:
            async for record in self.client.jobs():
                if record.cluster in names:
                    yield await Job(self._there(dict(record.document["destination_cluster"]), record.uuid))

    def _there(self, cluster: Json, uuid: str) -> AsyncPath | RemotePath:
        from project.engine import inventory

        client = self.client
        if inventory.is_here(cluster):
            workdir = str(cluster.get("workdir") or client.home / "local" / "jobs")
            return AsyncPath(workdir, uuid, client=client)
        workdir = str(cluster.get("workdir") or _JOBS)
        return RemotePath(JobPaths(workdir, uuid).folder, lambda line: client.shell(uuid, line), client)

    async def _cluster(self, backend: BackendConfig) -> Json:
        """The cluster of a backend. One that is this machine is added to the inventory under a name that tells what it is."""
        key = (backend.cluster, backend.type)
        if key not in self._known:
            clusters = {str(cluster["name"]): cluster for cluster in await self.client.clusters()}
            if backend.cluster is not None:
                from project.engine import inventory

                self._known[key] = inventory.find(backend.cluster, list(clusters.values()))
            else:
                document = self._here(backend.type)
                if document["name"] not in clusters:
                    await self.client.add_cluster(document)
                self._known[key] = document
        return self._known[key]

    def _here(self, manager: str) -> Json:
        env = {"psik": self.config.psik_path, "rc": self.config.rc_path}
        env = {key: str(value) for key, value in env.items() if value}
        document: Json = {
            "hostname": "localhost",
            "transport": "local",
            "workload_manager": manager,
            "workdir": str(self.config.prefix),
            **({"profile": {"env": env}} if env else {}),
        }
        # A shared inventory may have the same of another machine, or of another prefix.
        told = json.dumps([socket.gethostname(), document], sort_keys=True)
        return {"name": f"psik-{manager}-{hashlib.sha256(told.encode()).hexdigest()[:6]}", **document}


def _chosen(config: Config, spec: JobSpec) -> BackendConfig:
    """The backend of a job, with what the specification itself says of it (psik 1.2) in place of the configuration's."""
    if isinstance(spec.backend, str):
        return config.find(spec.backend)
    found = config.find(DEFAULT)
    own = spec.backend.model_dump()
    kept = {key: value for key, value in own.items() if key != "type" and value}
    return BackendConfig.model_validate({**found.model_dump(), **kept})


def _input(spec: JobSpec, backend: BackendConfig, cluster: Json) -> Json:
    """The input of jobferry. Raises InputError."""
    from project.spec import psik

    manager = str(cluster["workload_manager"])
    settings = {key: value for key, value in backend.model_dump().items() if key not in {"type", "cluster"}}
    if manager in _PLAIN:
        own = {} if isinstance(spec.backend, str) else spec.backend.model_dump()
        settings = {key: value for key, value in settings.items() if own.get(key)}
    data = {**spec.model_dump(), "backend": {"type": manager, **settings}}
    made = psik.convert(data, schedulers.get(manager))
    found = {"destination_cluster": str(cluster["name"]), **made.data}
    problems = jobspec.problems(found)
    if problems:
        named = [problem._replace(key=made.sources.get(problem.key, problem.key)) for problem in problems]
        raise InputError(named, "psik specification")
    return found


def _prepare(prefix: str, uuid: str, spec: JobSpec) -> None:
    """The folder of a job that waits for its submission, as psik makes it: users put files into its work/."""
    paths = JobPaths(prefix, uuid)
    os.makedirs(prefix, exist_ok=True)
    os.mkdir(paths.folder, 0o700)
    for folder in (paths.log, *(() if spec.directory else (paths.work,))):
        os.mkdir(folder)
    files.write_atomic(os.path.join(paths.folder, SPEC), without_secrets(spec))
    files.append_line(paths.status_csv, row(Transition(time.time(), 0, JobState.new, "0")))
