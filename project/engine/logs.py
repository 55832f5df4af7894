"""A job's standard output and error, as far as they are written, or as they grow."""

import time
from collections.abc import Iterator
from typing import Any

from project.core import states
from project.engine import credentials, inventory
from project.engine.context import Context

Json = dict[str, Any]
# Seconds between two looks while following.
INTERVAL = 1.0


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
    :param run: the run number from 1; default the last one.
    :param follow: go on until the job has ended.
    :param lines: begin with the last `lines` lines.

    Raises ClusterError, UserError (no such log).
    """
    cluster = inventory.of_job(document, context.api)
    link = context.open(cluster, credentials.resolve(context, cluster, document))
    offset = 0
    wanted = lines
    while True:
        parts: list[bytes] = []

        def keep(header: Json, payload: bytes, parts: list[bytes] = parts) -> None:
            if header.get("type") == "data":
                parts.append(payload)

        answer = link.request(
            "logs",
            on_message=keep,
            workdir=str(cluster.get("workdir") or ""),
            uuid=document["job_uuid"],
            stream=stream,
            run=run,
            index=index,
            offset=offset,
            lines=wanted,
            elements=index is None,
        )
        yield from parts
        run = answer.get("run") or run
        grown = int(answer.get("offset") or 0) > offset
        offset, wanted = int(answer.get("offset") or offset), None
        ended = bool(answer.get("ended")) or answer.get("state") in states.FINAL
        if not follow or (ended and not grown):
            return
        if not grown:
            time.sleep(INTERVAL)
