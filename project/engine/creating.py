"""psik's `run --no-submit` and `start`: a job that is recorded now and submitted later, and a job that is run once more.

A final state never changes, so another run of a job that ended is a job of its own, with its own UUID and folder. It is the next
run all the same: its run number (psik's jobndx) goes on, it runs in the same work folder, and both histories name the other.
"""

import uuid as uuid_module
from dataclasses import replace
from pathlib import Path
from typing import Any

from project.core import jobspec, states
from project.core.errors import UserError
from project.engine import credentials, remembered, resuming, rhythm, sync
from project.engine.context import Context
from project.engine.journal import Journal
from project.engine.submission import Request, Submission, submit

Json = dict[str, Any]
CREATED = "it was created without being submitted"
# Keys of the data of the notes in both histories.
STARTED_AS, STARTED_FROM, FIRST = "started_as", "started_from", "first_run_was"


def create(context: Context, request: Request) -> Json:
    """Record a job: everything that a submission looks at here is looked at, no cluster is asked. Its document.

    Raises UserError, ApiError.
    """
    submission = Submission(context, request, str(uuid_module.uuid4()))
    _, wanted = submission.look()
    login = credentials.from_input(context, submission.data, submission.folder)
    submission.collect()
    submission.record(wanted, login)
    plan = {**rhythm.by_hand(CREATED, f"the user: `start {submission.uuid}`", None), "tries": 0}
    submission.journal.add("note", message="created, not submitted", set={"plan": plan})
    submission.journal.flush()
    return submission.document()


def is_created(document: Json) -> bool:
    """True for a job that waits for its `start`."""
    return document["state"] == states.PENDING and (document.get("plan") or {}).get("cause") == CREATED


def start(context: Context, document: Json) -> Json:
    """Submit a job that was created; its document. Two calls at once submit it once. Raises UserError, ClusterError, ApiError."""
    return resuming.resume(context, str(document["job_uuid"]))


def request_again(context: Context, document: Json, cluster: str = "", fallback: str | None = None) -> Request:
    """A request of the same input. Raises UserError when its files cannot be found any more."""
    from project import spec

    known = remembered.load(context.home, document["job_uuid"])
    data = dict(document.get("user_input") or {})
    source, beside = str(known.get("input") or ""), str(known.get("folder") or "")
    if data.get("job") and not (source or beside) and jobspec.job_kind(str(data["job"])) == jobspec.LOCAL:
        message = f"Job {document['job_uuid']} was submitted from another machine, where its files are."
        raise UserError(message, "Submit its input file there, or here as a new job.")
    if known.get("private_key"):
        data["private_key"] = known["private_key"]
    if known.get("username") and known.get("cluster") == (cluster or document["cluster"]):
        # Of the call that submitted it: `--username`.
        data.setdefault("username", known["username"])
    if cluster:
        data["destination_cluster"] = cluster
    modules_file = str(known.get("modules_file") or "")
    return Request(
        loaded=spec.Loaded(data, source, Path(source).absolute().parent if source else Path(beside or ".").absolute()),
        modules=spec.load_modules(modules_file) if modules_file else None,
        fallback=fallback,
        modules_file=modules_file,
        origin=str(document["job_uuid"]),
    )


def run_again(context: Context, document: Json) -> Json:
    """The document of the next run of a job that has ended. Raises UserError, ClusterError, ApiError."""
    # It stays where its work folder is.
    wanted = request_again(context, document, str(document["cluster"]), "never")
    data = dict(wanted.loaded.data)
    if document.get("working_directory"):
        data["directory"] = str(document["working_directory"])
    number = next_run(context, document)
    made = submit(context, replace(wanted, loaded=replace(wanted.loaded, data=data), first_run=number))
    link(context, document, made)
    return context.api.job(str(made["job_uuid"]))


def next_run(context: Context, document: Json) -> int:
    """psik's next jobndx: one more than the highest number of this job and of those that it was started as again."""
    highest = max(1, int(document.get("run") or 1))
    for uuid in dict.fromkeys((str(document["job_uuid"]), first_of(context, document))):
        for event in context.api.events(uuid):
            data = event.get("data") or {}
            if data.get(STARTED_AS):
                highest = max(highest, int(data.get("jobndx") or 1))
    return highest + 1


def first_of(context: Context, document: Json) -> str:
    """The UUID of the job whose runs this one and others are; its history names them all."""
    for event in context.api.events(document["job_uuid"]):
        found = (event.get("data") or {}).get(FIRST)
        if found:
            return str(found)
    return str(document["job_uuid"])


def link(context: Context, document: Json, made: Json) -> None:
    """Write into both histories that `made` is the next run of `document`. Raises ApiError."""
    old, new, run = str(document["job_uuid"]), str(made["job_uuid"]), int(made.get("run") or 1)
    first = first_of(context, document)
    for uuid in dict.fromkeys((old, first)):
        _note(context, uuid, f"started again as job {new}, run {run}", {STARTED_AS: new, "jobndx": run})
    _note(context, new, f"run {run} of job {first}", {STARTED_FROM: old, FIRST: first, "jobndx": run})


def _note(context: Context, uuid: str, message: str, data: Json) -> None:
    journal = Journal(context.api, uuid, sync.last_seq(context, uuid, "client"))
    journal.add("note", message=message, data=data)
    journal.flush()
