"""The callback of a new job: taken out of what was sent, checked, its secret sealed before anything is stored."""

from api_srv.problems import unacceptable
from api_srv.services import checks
from api_srv.services.context import Account, Services
from api_srv.store.base import Document, Event
from project.core import callbacks
from project.core.errors import UserError

# Of the stored document; no call shows or takes it (`notify.webhook` says what is in it).
FIELD = "webhook"


def asked(body: Document) -> Document:
    """The callback's keys in a job's document or its input."""
    given: Document = {}
    for where in (body.get("user_input"), body):
        if isinstance(where, dict):
            given.update((key, where[key]) for key in callbacks.KEYS if where.get(key) is not None)
    return given


def prepared(services: Services, account: Account, uuid: str, body: Document) -> Document:
    """The fields `callback` and `webhook` of a new job; empty when it has no callback.

    `callback_of` in the body names a job of the same account whose callback this one takes over, secret and all: who
    submits a job again no longer has the secret. Raises RefusedError 422.
    """
    given = asked(body)
    _check(given)
    if "callback" not in given:
        return _inherited(services, account, uuid, body)
    url = given["callback"]
    _check_address(services, url)
    return _fields(services, uuid, url, given.get("cb_secret", ""), given.get("cb_headers", {}))


def told(document: Document, event: Event, applied: bool) -> Document:
    """The document with what its receiver will have been told after this event."""
    webhook = document.get(FIELD)
    mark = callbacks.mark(document)
    if not webhook or not applied or not event.get("state") or mark in ("", webhook["told"]):
        return document
    return {**document, FIELD: {**webhook, "told": mark}}


def shown(document: Document, account: Account) -> Document:
    """The document as calls show it: to a cluster, which has the job's token, without the address (it may hold a token)."""
    hidden = (FIELD, "callback") if account.job else (FIELD,)
    return {key: value for key, value in document.items() if key not in hidden}


def _check(given: Document) -> None:
    from project.core import schema

    keys = schema.load("input")["properties"]
    wanted = {"type": "object", "properties": {key: keys[key] for key in callbacks.KEYS}}
    checks.refuse(schema.problems(given, wanted) or callbacks.problems(given))


def _check_address(services: Services, url: str) -> None:
    reason = services.callbacks.refusal(url)
    if reason:
        raise unacceptable("callback", f"its host is {reason}")


def _inherited(services: Services, account: Account, uuid: str, body: Document) -> Document:
    origin = str(body.get("callback_of") or "").lower()
    record = services.store.job(origin) if origin else None
    if record is None or record.document["owner"] != account.name or not record.document.get(FIELD):
        return {}
    webhook = record.document[FIELD]
    secret = ""
    headers: dict[str, str] = {}
    if webhook["sealed"]:
        try:
            secret, headers = services.callbacks.unseal(webhook["sealed"], origin, webhook["url"])
        except UserError as error:
            raise unacceptable("callback_of", str(error)) from None
    _check_address(services, webhook["url"])
    made = _fields(services, uuid, webhook["url"], secret, headers)
    run = body.get("run")
    if isinstance(run, int) and run > 1:
        # Its next run, not another job: psik's receivers know the two by one id.
        made[FIELD]["jobid"] = webhook.get("jobid") or callbacks.stamp(record.document)
    return made


def _fields(services: Services, uuid: str, url: str, secret: str, headers: dict[str, str]) -> Document:
    sealed = ""
    if secret or headers:
        try:
            sealed = services.callbacks.seal(uuid, url, secret, headers)
        except (UserError, OSError) as error:
            raise unacceptable("cb_secret", f"this server cannot keep it: {error}") from None
    return {"callback": url, FIELD: {"url": url, "sealed": sealed, "told": ""}}
