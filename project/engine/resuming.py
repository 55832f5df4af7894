"""Going on with a submission that was cut off: nothing that is done is done again, and never a second native job."""

from pathlib import Path
from typing import Any

from project.core import jobspec, states
from project.core.errors import ApiError, JobferryError, UserError
from project.core.modulesfile import Modules
from project.engine import credentials, inventory, remembered, sync
from project.engine.context import Context
from project.engine.submission import Request, Submission

Json = dict[str, Any]


def resume(context: Context, uuid: str) -> Json:
    """The document of job `uuid` after its submission went on where it stopped.

    Raises UserError (nothing to resume, its files are elsewhere), ClusterError, ApiError.
    """
    document = context.api.job(uuid)
    uuid = str(document["job_uuid"])
    if document["state"] in states.FINAL:
        raise UserError(f"Job {uuid} is {document['state'].lower()}: there is nothing to resume.")
    known = remembered.load(context.home, uuid)
    cluster = inventory.of_job(document, context.api)
    login = credentials.resolve(context, cluster, document)
    history = context.api.events(uuid)
    request = _request(document, known)
    last = max((int(event["seq"]) for event in history if event.get("source") == "client"), default=0)
    submission = Submission(context, request, uuid, last)
    submission.cluster = cluster
    # Not being able to look says nothing of the job, which may run there: its state stays as it is.
    with submission.ui.step(f"Connecting to {cluster['name']}"):
        link = context.open(cluster, login)
    try:
        # Whatever is there may have arrived by the first attempt.
        submission.sent = True
        have = link.request("have", workdir=str(cluster.get("workdir") or ""), uuid=uuid)
        if have.get("taken"):
            submission.taken = True
            context.ui.say(f"{cluster['name']} has the job already.")
            sync.collect(context, link, cluster, [document])
            return context.api.job(uuid)
        submission.journal.created = _token(context, uuid)
        if not _staged(history):
            submission.stage()
        files = submission.collect()
        submission.journal.flush()
        submission.hand_over(link, files, upload=not have.get("files"))
    except KeyboardInterrupt:
        submission.stopped()
        raise
    except JobferryError as error:
        submission.failed(error)
        raise
    return submission.document()


def _request(document: Json, known: Json) -> Request:
    """The request as it was made, from the record and from the files that are still here."""
    from project.spec import load_modules
    from project.spec.loader import Loaded

    data = dict(document.get("user_input") or {})
    source = str(known.get("input") or "")
    if not source and jobspec.job_kind(str(data.get("job") or "")) == jobspec.LOCAL:
        raise UserError(
            f"Job {document['job_uuid']} was submitted from another machine, where its files are.",
            "Resume it there.",
        )
    modules: Modules | None = None
    if document.get("modules"):
        name = str(known.get("modules_file") or "")
        if not name:
            raise UserError(f"The modules file of job {document['job_uuid']} is not known here.", "Resume it there.")
        modules = load_modules(name)
    folder = Path(source).absolute().parent if source else Path.cwd()
    return Request(Loaded(data, source, folder), modules, modules_file=str(known.get("modules_file") or ""))


def _staged(history: list[Json]) -> bool:
    """True when the staging modules ran to their end: what they changed is in the record."""
    return any(event.get("kind") == "input" and event.get("source") == "client" for event in history)


def _token(context: Context, uuid: str) -> Json:
    """A token for the agent: the first one is known to nobody any more."""
    try:
        return context.api.token(uuid)
    except ApiError as error:
        if error.status in {404, 405}:
            # A server without tokens: the events wait on the cluster until they are fetched.
            return {}
        raise
