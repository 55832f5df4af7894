"""What `Client` and `AsyncClient` answer: jobs and events as they were when they were asked for, and an end of patience."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from project.core.errors import JobferryError
from project.core.states import FINAL, FINISHED

State = Literal[
    "PENDING",
    "AWAITING_PARENTS",
    "STAGING_INPUTS",
    "PREPROCESSING",
    "SUBMITTING",
    "QUEUED",
    "RUNNING",
    "POSTPROCESSING",
    "ARCHIVING",
    "FINISHED",
    "FAILED",
    "CANCELLED",
    "BLOCKED",
    "PAUSED",
]


@dataclass(frozen=True)
class JobRecord:
    """A job as it was when it was asked for. Reading it asks nobody anything: `Client.get` gives a newer one.

    `state` is one of `project.core.states.STATES`; `condition` says why (`ok`, `exit_code`, `timeout`, …), None as long as
    there is nothing to say. `native_id` is the workload manager's. `job_directory` is the job's folder on its cluster.
    `document` is all that is known, as `jobferry status --json` prints it.
    """

    uuid: str
    state: State
    condition: str | None = None
    exit_code: int | None = None
    message: str = ""
    name: str = ""
    cluster: str = ""
    native_id: str | None = None
    job_directory: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    document: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> JobRecord:
        """The record of a job document."""
        return cls(
            uuid=str(document["job_uuid"]),
            state=document["state"],
            condition=document.get("condition"),
            exit_code=document.get("exit_code"),
            message=str(document.get("message") or ""),
            name=str(document.get("name") or ""),
            cluster=str(document.get("cluster") or ""),
            native_id=None if document.get("native_id") is None else str(document["native_id"]),
            job_directory=document.get("job_directory"),
            tags=dict(document.get("tags") or {}),
            document=document,
        )

    @property
    def ended(self) -> bool:
        """True in a final state, which never changes."""
        return self.state in FINAL

    @property
    def ok(self) -> bool:
        """True when it ended well."""
        return self.state == FINISHED


@dataclass(frozen=True)
class Event:
    """One thing that happened to a job. `n` counts a job's events as they reached the API, from 1.

    `time` is ISO 8601 in UTC. `kind` is one of `project.core.history.KINDS`; `state`, `condition` and `exit_code` are None when
    the event did not change them. `data` is what else there is to know.
    """

    n: int
    time: str
    kind: str
    source: str
    state: State | None = None
    condition: str | None = None
    exit_code: int | None = None
    message: str = ""
    data: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Event:
        """The event of an API answer."""
        return cls(
            n=int(event.get("n") or 0),
            time=str(event.get("time") or ""),
            kind=str(event.get("kind") or ""),
            source=str(event.get("source") or ""),
            state=event.get("state"),
            condition=event.get("condition"),
            exit_code=event.get("exit_code"),
            message=str(event.get("message") or ""),
            data=dict(event.get("data") or {}),
        )


class Progress(NamedTuple):
    """What a client's `progress` callback is told.

    `kind`: `step` (something begins), `info`, `warning`, or `bytes` (`done` of `total` bytes of the present step are moved; 0:
    how many is not known).
    """

    kind: Literal["step", "info", "warning", "bytes"]
    text: str = ""
    done: int = 0
    total: int = 0


class WaitTimeout(JobferryError, TimeoutError):
    """A job did not end in the time that was given to it; it goes on. `job` is the job as it was last seen."""

    exit_code = 5

    def __init__(self, job: JobRecord, seconds: float) -> None:
        super().__init__(f"Job {job.uuid} has not ended within {seconds:g} s: it is {job.state}.", transient=True)
        self.job = job
        self.job_uuid = job.uuid
