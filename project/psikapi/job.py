"""psik's Job: a job by its folder. Awaiting it reads what the folder says."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import time
from collections.abc import AsyncIterator, Generator
from typing import TYPE_CHECKING, Any

from project.core import files, psikrows
from project.core.errors import InputError, Problem, UserError
from project.psikapi.models import JobSpec, JobState, Transition
from project.psikapi.paths import AsyncPath, RemotePath

if TYPE_CHECKING:
    from project.aclient import AsyncClient

# psik's specification beside jobferry's own spec.json; it holds no secret.
SPEC = "jobspec.json"
STATUS = "status.csv"
_SECRETS = ("cb_secret", "cb_headers", "client_secret")


class Job:
    """A job by its folder, as `JobManager.create` makes it or as `Job(path)`; `await` it to read its metadata.

    `base` is the folder, `stamp` its name (the job's UUID), `spec` the specification, `history` the rows of status.csv,
    `valid` is False until it was read.
    """

    def __init__(self, base: str | os.PathLike[str] | AsyncPath | RemotePath) -> None:
        self.base = base if isinstance(base, AsyncPath | RemotePath) else AsyncPath(base)
        self.stamp = self.base.name
        self.valid = False
        self.spec = JobSpec(script=":")
        self.history: list[Transition] = []
        # Of the runs before the one whose folder `base` is.
        self._before: list[Transition] = []

    def __await__(self) -> Generator[Any, None, Job]:
        return self.read_info().__await__()

    def __repr__(self) -> str:
        return f"Job({str(self.base)!r})"

    async def read_info(self) -> Job:
        """Read specification and history from the job's folder. Raises UserError when there is none, ClusterError."""
        try:
            rows = await (self.base / STATUS).read_text(errors="replace")
        except FileNotFoundError:
            if isinstance(self.base, RemotePath) and self.base.client is not None:
                # Created, not submitted: its cluster has not heard of it.
                self.valid = True
                return self
            raise UserError(f"{self.base} is not the folder of a job: it has no {STATUS}.") from None
        self.history = [*self._before, *_history(rows)]
        spec = await self._spec()
        if spec is not None:
            self.spec = spec
        self.valid = True
        return self

    async def _spec(self) -> JobSpec | None:
        for name, read in ((SPEC, JobSpec.model_validate_json), ("spec.json", _of_input)):
            # What anybody may have put there must not keep the history from being read.
            with contextlib.suppress(FileNotFoundError, InputError, ValueError):
                return read(await (self.base / name).read_text())
        return None

    async def submit(self) -> tuple[int, str]:
        """Submit it; of one that has ended make the next run. The run number (jobndx) and the native id.

        The next run has a folder of its own: `base` and `stamp` are then that one's, `history` goes on.

        Raises UserError (it lives), ClusterError, ApiError.
        """
        async with self._client() as client:
            record = await client.start(self.stamp)
        if record.uuid != self.stamp:
            self._before, self.stamp = self.history, record.uuid
            self.base = self.base.parent / record.uuid
        await self.read_info()
        return int(record.document.get("run") or 1), record.native_id or ""

    async def cancel(self) -> None:
        """Cancel it; one that has ended stays as it is. Raises UserError, ClusterError, ApiError."""
        async with self._client() as client:
            record = await client.cancel(self.stamp)
        await self.read_info()
        if record.native_id is None and isinstance(self.base, AsyncPath) and not self._over():
            # No cluster ever had it that could write this down.
            await self.reached(0, JobState.canceled)

    def _over(self) -> bool:
        return any(step.state.is_final() for step in self.history)

    async def poll(self) -> None:
        """Ask the workload manager, then read what is known."""
        async with self._client() as client:
            await client.get(self.stamp)
        await self.read_info()

    async def wait(self, timeout: float | None = None) -> Job:
        """This job once it has ended (psik has nothing like it). Raises WaitTimeout after `timeout` seconds."""
        async with self._client() as client:
            await client.wait(self.stamp, timeout)
        return await self.read_info()

    async def reached(
        self, jobndx: int, state: JobState | str, info: str | int = "", backdate: float | None = None
    ) -> bool:
        """Record that run `jobndx` has reached a state: a row of status.csv and a note in the job's history; True.

        :param info: a native id, an exit code or one line.
        :param backdate: the time of it, in seconds since the epoch: the row alone is written.

        Raises UserError (no such state, a row for another machine), ClusterError, ApiError.
        """
        step = Transition(time.time() if backdate is None else backdate, jobndx, _state(state), str(info))
        psikrows.check(jobndx, step.state.value, step.info)
        if backdate is None and await (self.base / "state").is_dir():
            async with self._client() as client:
                await client.reached(self.stamp, jobndx, step.state.value, step.info)
        elif isinstance(self.base, AsyncPath):
            files.append_line(str(self.base / STATUS), row(step))
        else:
            raise UserError(f"{self.base} is on another machine, and its cluster has not heard of the job.")
        self.history.append(step)
        return True

    def summarize(self) -> tuple[int, dict[JobState, set[int]]]:
        """The next run number, and the run numbers by the state they are in."""
        status: dict[JobState, set[int]] = {state: set() for state in JobState if state is not JobState.new}
        following = 1
        for step in self.history:
            following = max(following, step.jobndx + 1)
            if step.state in status:
                status[step.state].add(step.jobndx)
        over = status[JobState.canceled] | status[JobState.failed] | status[JobState.completed]
        status[JobState.queued] -= status[JobState.active] | over
        status[JobState.active] -= over
        return following, status

    async def live_ids(self) -> list[str]:
        """Native ids of runs that have not ended."""
        if not self.valid:
            await self.read_info()
        _, status = self.summarize()
        live = status[JobState.queued] | status[JobState.active]
        return [step.info for step in self.history if step.state is JobState.queued and step.jobndx in live]

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[AsyncClient]:
        if self.base.client is not None:
            yield self.base.client
            return
        from project.aclient import AsyncClient

        async with AsyncClient() as client:
            yield client


def _state(word: JobState | str) -> JobState:
    try:
        return JobState(word)
    except ValueError:
        psikrows.check(0, str(word), "")
        raise


def row(step: Transition) -> str:
    """A row of status.csv."""
    moment, jobndx, state, info = step.fields()
    return f"{moment:.3f},{jobndx},{state},{info or 0}"


def _history(text: str) -> list[Transition]:
    found = []
    for fields in csv.reader(text.splitlines()):
        with contextlib.suppress(ValueError, IndexError):
            found.append(Transition(float(fields[0]), int(fields[1]), JobState(fields[2]), ",".join(fields[3:])))
    return found


def _of_input(text: str) -> JobSpec:
    """What psik's fields say of an input of jobferry, which the folder of any job holds."""
    data = json.loads(text)
    if not isinstance(data, dict):
        raise InputError([Problem("", "is no mapping.")], SPEC)
    commands = data.get("execution")
    lines = commands if isinstance(commands, list) else [commands or ""]
    script = data.get("script") or "\n".join(line for line in lines if isinstance(line, str))
    return JobSpec(
        script=script or ":",
        name=data.get("name"),
        directory=data.get("directory"),
        environment=data.get("env"),
        inherit_environment=data.get("inherit_environment"),
    )


def without_secrets(spec: JobSpec) -> str:
    """The specification as it is kept in the job's folder."""
    data = {key: value for key, value in spec.model_dump().items() if key not in _SECRETS}
    return json.dumps(data, indent=4) + "\n"
