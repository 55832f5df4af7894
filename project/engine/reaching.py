"""Telling a job's cluster that the job has reached a state; and, for a tree of psik's own, writing its row."""

import fcntl
import os
from pathlib import Path
from typing import Any

from project.core import psikrows
from project.core.errors import UserError
from project.engine import credentials, inventory, sync
from project.engine.context import Context

Json = dict[str, Any]


def reached(context: Context, document: Json, jobndx: str, state: str, info: str) -> Json:
    """Record it on the job's cluster and with the API; the job's document. Raises UserError, ClusterError, ApiError."""
    psikrows.check(jobndx, state, info)
    cluster = inventory.of_job(document, context.api)
    link = context.open(cluster, credentials.resolve(context, cluster, document))
    link.request(
        "reached",
        workdir=str(cluster.get("workdir") or ""),
        uuid=document["job_uuid"],
        jobndx=int(jobndx),
        state=state,
        info=info,
    )
    sync.collect(context, link, cluster, [document])
    return context.api.job(document["job_uuid"])


def is_psiks(folder: Path) -> bool:
    """True for the folder of a job of psik's own."""
    return (folder / "status.csv").is_file() and (folder / "spec.json").is_file()


def in_psiks_tree(folder: Path, jobndx: str, state: str, info: str) -> None:
    """Append the row as psik does, under its lock (psik/statfile.py, append_csv). Raises UserError."""
    number = psikrows.check(jobndx, state, info)
    try:
        with (folder / "status.csv").open("a", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.write(psikrows.row(number, state, info) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise UserError(f"{folder}/status.csv cannot be written to: {error.strerror}.") from error
