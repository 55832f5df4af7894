"""Fetching a job's declared output: by stream, resumed after a drop, verified, one bad pattern not blocking the rest."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from project.core import jobspec
from project.core.errors import ClusterError, UserError
from project.engine import credentials, inventory
from project.engine.bundle import shown
from project.engine.context import Context
from project.engine.landing import Arrival, Landing, Refused, Retrieved

Json = dict[str, Any]
# Connections that one retrieval may use up.
TRIES = 4
_SHOWN = 20

__all__ = ["Retrieved", "retrieve"]


class Incomplete(ClusterError):
    """Some declared output is missing or could not land; `retrieved` is what did."""

    def __init__(self, message: str, hint: str, retrieved: list[Retrieved]) -> None:
        super().__init__(message, hint, condition="archiving_failed")
        self.retrieved = retrieved


def retrieve(context: Context, document: Json, target: Path, force: bool = False) -> list[Retrieved]:
    """Fetch the output that the job declares into `target`.

    Raises UserError (nothing declared, files in the way), ClusterError (unreachable, output missing; what could be
    fetched is there).
    """
    patterns = jobspec.texts((document.get("user_input") or {}).get("output"))
    if not patterns:
        raise UserError(
            f"Job {document['job_uuid'][:8]} declares no output.",
            "Add `output:` to its input before the next submission. What it printed is shown by `logs`.",
        )
    landing = Landing(target, str(document["job_uuid"]), force)
    landing.open()
    whole = False
    try:
        answer = _fetch(context, document, patterns, landing)
        whole = True
    finally:
        landing.close(whole)
    _judge(landing, answer)
    return landing.done


def _fetch(context: Context, document: Json, patterns: Sequence[str], landing: Landing) -> Json:
    cluster = inventory.of_job(document, context.api)
    login = credentials.resolve(context, cluster, document)
    for attempt in range(TRIES):
        try:
            link = context.open(cluster, login)
            landing.done.clear()
            landing.refused.clear()
            catcher = _Catcher(context, landing)
            with context.ui.step(f"Retrieving from {cluster['name']}"):
                try:
                    return link.request(
                        "outputs",
                        on_message=catcher.hear,
                        workdir=str(cluster.get("workdir") or ""),
                        uuid=document["job_uuid"],
                        patterns=list(patterns),
                        have=landing.have(patterns),
                    )
                finally:
                    catcher.drop()
        except ClusterError as error:
            if not error.transient or attempt + 1 == TRIES:
                raise
            context.ui.warn(f"{error.message} Going on where it stopped.")
            context.forget(str(cluster["name"]))
    raise AssertionError("unreachable")  # the loop returns or raises


class _Catcher:
    """Takes the agent's messages apart."""

    def __init__(self, context: Context, landing: Landing) -> None:
        self._ui = context.ui
        self._landing = landing
        self._arrival: Arrival | None = None
        self._done = 0
        self._total = 0

    def hear(self, header: Json, payload: bytes) -> None:
        kind = header.get("type")
        try:
            if kind == "file":
                self._begin(header)
            elif kind == "data" and self._arrival is not None:
                self._arrival.write(payload)
                self._done += len(payload)
                self._ui.progress(self._done, self._total)
            elif kind == "file_end" and self._arrival is not None:
                arrival, self._arrival = self._arrival, None
                self._landing.land(arrival, str(header.get("sha256")))
            elif kind == "progress" and header.get("total"):
                self._total = int(header["total"])
        except Refused as error:
            self._landing.refused.append(error.message)

    def _begin(self, header: Json) -> None:
        self.drop()
        if header.get("link"):
            self._landing.link(header)
        elif header.get("folder"):
            self._landing.folder(header)
        else:
            offset = int(header.get("offset") or 0)
            self._arrival = self._landing.receive(header)
            self._done = offset
            self._total = int(header.get("size") or 0)

    def drop(self) -> None:
        """Nothing more comes for the present file."""
        if self._arrival is not None:
            self._arrival.drop()
            self._arrival = None


def _judge(landing: Landing, answer: Json) -> None:
    """Say what did not come. Raises Incomplete, UserError."""
    missing = list(answer.get("missing") or [])
    if missing:
        told = "; ".join(f"{shown(str(item['pattern']))}: {item.get('message') or 'not there'}" for item in missing)
        there = [shown(str(name)) for name in answer.get("there") or []]
        listed = ", ".join(there[:_SHOWN]) + (f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else "")
        hint = f"The job's folder holds: {listed}." if there else "The job's folder is empty."
        more = " ".join(landing.refused)
        if more:
            hint += " To overwrite what differs, add --force."
        raise Incomplete(f"Output is missing: {told}. {more}".rstrip(), hint, list(landing.done))
    if landing.refused:
        raise Refused(" ".join(landing.refused), "Nothing was overwritten; use another folder (-o), or --force.")
