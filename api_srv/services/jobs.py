"""Jobs: recorded, found, changed, cancelled, forgotten."""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from api_srv.problems import RefusedError, not_found, unacceptable
from api_srv.services import callbacks, checks, clusters, reports, selectors, tokens
from api_srv.services.context import Account, Services
from api_srv.store.base import Change, Document, DuplicateError, Event, JobRecord, TooLargeError
from project.core import history, states

MIN_PREFIX = 6
NOT_SUBMITTED = "NOT_SUBMITTED"
_STATE_FIELDS = ("state", "condition", "exit_code", "message")
# The server's own; a document that is sent back whole may hold them unchanged.
_FIXED = ("job_uuid", "owner", "cancel_requested")
_IGNORED = ("_id", "created", "updated", "callback_of", callbacks.FIELD)
# What a job's token may change with `PUT /jobs/<uuid>`.
_OF_TOKEN = frozenset((*_STATE_FIELDS, *history.SETTABLE)) - {"cluster", "destination_cluster"}


def create(services: Services, account: Account, uuid: str, body: Document) -> Document:
    """Record a new job. Answer: {"job_uuid", "token", "report_url"}. Raises RefusedError 422, 409, 413."""
    uuid = checks.whole_uuid(uuid)
    callback = callbacks.prepared(services, account, uuid, body)
    body = checks.without_secrets(body)
    if "user_input" in body:
        body = {**body, "user_input": checks.without_secrets(body["user_input"])}
    if body.get("job_uuid") is not None and str(body["job_uuid"]).lower() != uuid:
        raise unacceptable("job_uuid", "it is not the one in the address")
    if "appId" in body and "user_input" not in body:
        raise unacceptable("appId", "applications are not built yet; send a job document with `user_input` instead")
    checks.job_document(body, whole=True)
    if body.get("state") not in (None, states.PENDING, states.AWAITING_PARENTS):
        raise unacceptable("state", "a new job is PENDING")
    document = {**_new(services, account, uuid, body), **callback}
    token = tokens.for_job(uuid)
    record = JobRecord(document, 0, 0, 0, ())
    first = reports.own_event(record, "state", state=document["state"])
    mails = services.notifier({**document, "state": None}, document, first)
    events = [{**first, "applied": True, "received": first["time"]}]
    try:
        services.store.create(document, tokens.hashed(token), events, mails)
    except DuplicateError:
        raise RefusedError(409, f"There is a job {uuid} already.", "job_uuid") from None
    except TooLargeError as error:
        raise RefusedError(413, str(error)) from None
    return {"job_uuid": uuid, "token": token, "report_url": services.public_url or None}


def _new(services: Services, account: Account, uuid: str, body: Document) -> Document:
    given = {key: value for key, value in body.items() if key not in _IGNORED and value is not None}
    document = history.new_document(uuid, body["user_input"])
    document.update(given, job_uuid=uuid, owner=account.name, cancel_requested=False)
    destination = document.get("destination_cluster")
    if destination:
        document["destination_cluster"] = {
            key: value for key, value in destination.items() if key not in clusters.ADDED
        }
        if "cluster" not in given and isinstance(destination.get("name"), str):
            document["cluster"] = destination["name"]
    else:
        document["destination_cluster"] = clusters.copy_for_job(services, account.name, str(document["cluster"]))
    return document


def found(services: Services, account: Account, name: str) -> JobRecord:
    """The job whose UUID is, or begins with, `name`, if this account may see it.

    Raises RefusedError 404, 403 (a token of another job), 409 (several begin so).
    """
    name = name.lower()
    if account.job:
        if name != account.job:
            raise RefusedError(403, "A job's token is good for that job only.")
    elif not checks.is_uuid(name):
        name = _whole(services, account, name)
    record = services.store.job(name)
    if record is None or (account.scope is not None and record.document["owner"] != account.scope):
        raise not_found(f"job {name[:60]}")
    return record


def _whole(services: Services, account: Account, prefix: str) -> str:
    if len(prefix) < MIN_PREFIX or not re.fullmatch(r"[0-9a-f-]{1,36}", prefix):
        raise not_found(f"job {prefix[:60]}")
    several = services.store.find(prefix, account.scope)
    if not several:
        raise not_found(f"job {prefix}")
    if len(several) > 1:
        raise RefusedError(409, f"Several jobs begin with {prefix}: {', '.join(several)}. Give more of the UUID.")
    return several[0]


def listing(services: Services, account: Account, parameters: Mapping[str, str]) -> Document:
    """`GET /jobs`: {"jobs": [document, …] newest first, "cursor": of the next page or None}."""
    query = selectors.query_of(account, parameters)
    page = services.store.jobs(query._replace(limit=query.limit + 1))
    jobs = [callbacks.shown(document, account) for document in page[: query.limit]]
    return {"jobs": jobs, "cursor": selectors.cursor_after(jobs[-1]) if len(page) > query.limit else None}


def patch(services: Services, account: Account, record: JobRecord, body: Document) -> Document:
    """MASI-TFE's `PUT /jobs/<uuid>`: the fields replace those of the document. Raises RefusedError 422, 403, 409."""
    if callbacks.asked(body).get("callback") not in (None, record.document.get("callback")):
        raise unacceptable("callback", "it cannot be changed")
    fields = {key: value for key, value in checks.without_secrets(body).items() if key not in _IGNORED}
    if "user_input" in fields:
        fields["user_input"] = checks.without_secrets(fields["user_input"])
    checks.job_document(fields, whole=False)

    def decide(present: JobRecord, known: AbstractSet[str]) -> Change | None:
        del known
        changed = {key: value for key, value in fields.items() if _differs(present.document, key, value)}
        _check_patch(present.document, account, changed)
        if not changed:
            return None
        plain = {key: value for key, value in changed.items() if "state" not in changed or key not in _STATE_FIELDS}
        if account.job and "user_input" in plain:
            plain["user_input"] = reports.protected_input(present.document, plain["user_input"])
        document = {**present.document, **plain, "updated": history.now()}
        return reports.folded(services, document, [_patch_event(present, changed)])

    reports.change(services, record, (), decide)
    return {"success": True}


def _differs(document: Document, key: str, value: Any) -> bool:
    return document.get(key) != value or key not in document


def _check_patch(document: Document, account: Account, changed: Document) -> None:
    for key in changed:
        if account.job and key not in _OF_TOKEN:
            raise RefusedError(403, f"A job's token may not change {key}.", key)
        if key in _FIXED:
            raise unacceptable(key, "it cannot be changed")
    if not any(key in changed for key in _STATE_FIELDS):
        return
    state = changed.get("state")
    if state is None and document["state"] not in states.FINAL:
        return
    if state is None or not states.may_follow(document["state"], state):
        new = f"{state} may not follow {document['state']}" if state else f"{document['state']} is final"
        raise RefusedError(409, f"state: {new}.", "state")


def _patch_event(record: JobRecord, changed: Document) -> Event:
    names = sorted(changed)
    data = {"changed": names}
    if "state" in changed:
        state = {key: changed[key] for key in _STATE_FIELDS if key in changed}
        return reports.own_event(record, "state", **state, data=data)
    return reports.own_event(record, "note", message=f"Changed: {', '.join(names)}.", data=data)


def native(document: Document) -> list[str]:
    """The native states, one an array element; `["NOT_SUBMITTED"]` before there are any."""
    words = (document.get("job_status") or {}).get("State")
    if isinstance(words, str):
        return [words]
    return list(words) if isinstance(words, list) and words else [NOT_SUBMITTED]


def events(services: Services, record: JobRecord, parameters: Mapping[str, str]) -> Document:
    """`GET /jobs/<uuid>/events`: {"events": [event with `n`, …]}; `after` and `limit` (0: all) choose."""
    after = checks.whole_number(parameters, "after", 0, 0, 10**9)
    limit = checks.whole_number(parameters, "limit", 0, 0, 10**6)
    return {"events": services.store.events(str(record.document["job_uuid"]), after, limit)}


def cancel(services: Services, account: Account, record: JobRecord) -> Document:
    """Wish that the job be cancelled; asking again, or for an ended job, changes nothing."""

    def decide(present: JobRecord, known: AbstractSet[str]) -> Change | None:
        del known
        document = present.document
        if document["state"] in states.FINAL or document.get("cancel_requested"):
            return None
        event = reports.own_event(present, "note", message=f"{account.name} asked to cancel the job.")
        return reports.folded(services, {**document, "cancel_requested": True}, [event])

    after = reports.change(services, record, (), decide).document
    return {key: after.get(key) for key in ("job_uuid", "state", "cancel_requested")}


def new_token(services: Services, record: JobRecord) -> Document:
    """One more token for the job: who resumes a submission no longer has the first one."""
    uuid = str(record.document["job_uuid"])
    token = tokens.for_job(uuid)
    change = Change(record.document, token_hash=tokens.hashed(token))
    reports.change(services, record, (), lambda present, _known: change._replace(document=present.document))
    return {"job_uuid": uuid, "token": token, "report_url": services.public_url or None}


def delete(services: Services, record: JobRecord, parameters: Mapping[str, str]) -> Document:
    """Forget a job that has ended, or was asked to end. Raises RefusedError 409 for another, unless `force=1`."""
    document = record.document
    ending = document["state"] in states.FINAL or document.get("cancel_requested")
    if not ending and parameters.get("force") != "1":
        raise RefusedError(409, f"The job is {document['state']}. Cancel it first, or delete it with force=1.")
    if not services.store.delete(str(document["job_uuid"])):
        raise not_found(f"job {document['job_uuid']}")
    return {"success": True}
