"""A job's standard output and error, as far as they are written, or as they grow."""

import time
from collections.abc import Iterator
from typing import Any

from project.core import states
from project.engine import credentials, inventory
from project.engine.context import Context
from project.transports.base import Login

Json = dict[str, Any]
# Seconds between two looks while following.
INTERVAL = 1.0


class Reader:
    """Reads a job's log piece by piece, each time from where it stopped. The arguments are those of `read`."""

    def __init__(
        self,
        context: Context,
        document: Json,
        stream: str = "stdout",
        index: int | None = None,
        run: int | None = None,
        lines: int | None = None,
    ) -> None:
        self._context = context
        self._document = document
        self._stream = stream
        self._index = index
        self._run = run
        self._lines = lines
        self._offset = 0
        self._where: tuple[Json, Login] | None = None
        # True when the last look brought nothing new; True when the job writes nothing any more.
        self.quiet = self.ended = False

    def look(self) -> list[bytes]:
        """What was written since the last look. Raises ClusterError, UserError (no such log)."""
        cluster, login = self._where = self._where or self._place()
        link = self._context.open(cluster, login)
        parts: list[bytes] = []

        def keep(header: Json, payload: bytes) -> None:
            if header.get("type") == "data":
                parts.append(payload)

        answer = link.request(
            "logs",
            on_message=keep,
            workdir=str(cluster.get("workdir") or ""),
            uuid=self._document["job_uuid"],
            stream=self._stream,
            run=self._run,
            index=self._index,
            offset=self._offset,
            lines=self._lines,
            elements=self._index is None,
        )
        self._run = answer.get("run") or self._run
        offset = int(answer.get("offset") or 0)
        self.quiet = offset <= self._offset
        self._offset, self._lines = offset or self._offset, None
        self.ended = bool(answer.get("ended")) or answer.get("state") in states.FINAL
        return parts

    def _place(self) -> tuple[Json, Login]:
        cluster = inventory.of_job(self._document, self._context.api)
        return cluster, credentials.resolve(self._context, cluster, self._document)


def read(
    context: Context,
    document: Json,
    stream: str = "stdout",
    index: int | None = None,
    run: int | None = None,
    follow: bool = False,
    lines: int | None = None,
) -> Iterator[bytes]:
    """The log in pieces.

    :param stream: `stdout` or `stderr`.
    :param index: the array element; default the whole job.
    :param run: the run number from 1; default the last one (of the element).
    :param follow: go on until the job has ended.
    :param lines: begin with the last `lines` lines.

    Raises ClusterError, UserError (no such log).
    """
    reader = Reader(context, document, stream, index, run, lines)
    while True:
        yield from reader.look()
        if not follow or (reader.ended and reader.quiet):
            return
        if reader.quiet:
            time.sleep(INTERVAL)
