"""Going on with a submission that was cut off: nothing that is done is done again, and never a second native job."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from project.core import jobspec, states
from project.core.errors import ApiError, JobferryError, UserError
from project.core.modulesfile import Modules
from project.engine import credentials, ending, inventory, remembered, sync, unfinished
from project.engine.context import Context
from project.engine.submission import Request, Submission

Json = dict[str, Any]


def resume(context: Context, uuid: str, patience: float = unfinished.PATIENCE, unattended: bool = False) -> Json:
    """The document of job `uuid` after its submission went on where it stopped.

    :param patience: seconds to wait for another process of this machine that goes on with it.
    :param unattended: nobody called; a cluster that cannot be reached is told by the job's plan.

    Raises UserError (nothing to resume, its files are elsewhere), ClusterError, ApiError.
    """
    uuid = str(context.api.job(uuid)["job_uuid"])
    if unattended and remembered.load(context.home, uuid).get("accept_new_host_key"):
        context = replace(context, accept_new_host_key=True)
    mark = unfinished.take(context.home, uuid, patience)
    over = False
    try:
        # As it is now that nobody else works on it.
        document = context.api.job(uuid)
        over = document["state"] in states.FINAL
        if document["state"] == states.FINISHED:
            return document
        if over:
            raise UserError(f"Job {uuid} is {document['state'].lower()}: there is nothing to resume.")
        submission, events = _submission(context, document, mark)
        try:
            _go_on(submission, document, events, unattended)
        finally:
            over = submission.over
        return context.api.job(uuid)
    finally:
        if over:
            mark.clear()
        else:
            mark.keep()


def _submission(context: Context, document: Json, mark: unfinished.Mark) -> tuple[Submission, list[Json]]:
    known = remembered.load(context.home, document["job_uuid"])
    events = context.api.events(document["job_uuid"])
    last = max((int(event["seq"]) for event in events if event.get("source") == "client"), default=0)
    submission = Submission(context, _request(document, known), document["job_uuid"], last)
    submission.again, submission.mark, submission.plan = True, mark, document.get("plan")
    return submission, events


def _go_on(submission: Submission, document: Json, events: list[Json], unattended: bool) -> None:
    try:
        if ending.never_sent(document, events):
            _begin(submission, document, events)
        else:
            _continue(submission, document, events, unattended)
    except KeyboardInterrupt:
        ending.stopped(submission)
        raise
    except Unreached as error:
        raise error.reason from None
    except JobferryError as error:
        ending.failed(submission, error)
        raise
    submission.over = True


class Unreached(JobferryError):
    """Not being able to look says nothing of the job, which may run there: its state stays as it is."""

    def __init__(self, reason: JobferryError) -> None:
        super().__init__(reason.message)
        self.reason = reason


def _begin(submission: Submission, document: Json, events: list[Json]) -> None:
    """Nothing was sent: choose a cluster again."""
    context = submission.context
    clusters = inventory.clusters(context.api)
    if not _staged(events):
        submission.stage()
    wanted = inventory.find(submission.data["destination_cluster"], clusters)
    login = credentials.resolve(context, wanted, document)
    probes = submission.probe(clusters, wanted, login)
    files = submission.collect()
    submission.journal.created = _token(context, submission.uuid)
    submission.place(clusters, wanted, probes.result(), login, files)


def _continue(submission: Submission, document: Json, events: list[Json], unattended: bool) -> None:
    """Whatever is there may have arrived by the first attempt."""
    context, uuid = submission.context, submission.uuid
    cluster = inventory.of_job(document, context.api)
    submission.cluster, submission.sent = cluster, True
    try:
        with submission.ui.step(f"Connecting to {cluster['name']}"):
            link = context.open(cluster, credentials.resolve(context, cluster, document))
    except JobferryError as error:
        if unattended and error.transient:
            raise
        raise Unreached(error) from error
    have = link.request("have", workdir=str(cluster.get("workdir") or ""), uuid=uuid)
    if have.get("taken"):
        submission.taken = True
        context.ui.say(f"{cluster['name']} has the job already.")
        sync.collect(context, link, cluster, [document])
        return
    submission.journal.created = _token(context, uuid)
    if not _staged(events):
        submission.stage()
    files = submission.collect()
    submission.journal.flush()
    submission.hand_over(link, files, upload=not have.get("files"))


def _request(document: Json, known: Json) -> Request:
    """The request as it was made, from the record and from the files that are still here."""
    from project.spec import load_modules
    from project.spec.loader import Loaded

    data = dict(document.get("user_input") or {})
    source = str(known.get("input") or "")
    beside = str(known.get("folder") or "")
    if data.get("job") and not (source or beside) and jobspec.job_kind(str(data["job"])) == jobspec.LOCAL:
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
    folder = Path(source).absolute().parent if source else Path(beside or ".").absolute()
    modules_file = str(known.get("modules_file") or "")
    return Request(
        Loaded(data, source, folder),
        modules,
        str(known.get("policy") or "") or None,
        modules_file=modules_file,
        first_run=max(1, int(document.get("run") or 1)),
    )


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
