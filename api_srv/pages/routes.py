"""The addresses of the pages."""

import datetime
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, make_response, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException

from api_srv.pages import load, session, shown, times, tones
from api_srv.problems import RefusedError
from api_srv.services import clusters, deliveries, jobs
from api_srv.services.context import Account

PAGE = 50
MAX_FORM = 64 * 1024
MAX_MAILS = 200
# Everything from this server, no script but its one file, no frame around a page, no form to elsewhere.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

pages = Blueprint("pages", __name__)


def register(app: Flask) -> None:
    """Add the pages to the app (its templates and static files lie beside it)."""
    app.session_interface = session.CookieInterface()
    app.config.update(
        SESSION_COOKIE_NAME="jobferry",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=datetime.timedelta(hours=session.HOURS),
    )
    app.jinja_env.filters.update(ago=times.ago, moment=times.moment, seconds=times.duration, size=load.size)
    app.jinja_env.globals.update(form_token=session.form_token, tone=tones.tone, mark=tones.mark)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.register_blueprint(pages)
    app.before_request(_negotiate)
    app.after_request(_vary)


def _negotiate() -> Response | None:
    """The page instead of the API's answer, where both have the address and a browser asks."""
    if not session.wants_page(request):
        return None
    path = [part for part in request.path.split("/") if part]
    if path == ["jobs"]:
        return _answer(lambda: redirect(url_for("pages.overview") + _query()))
    if path == ["clusters"]:
        return _answer(_clusters)
    if len(path) == 2 and path[0] == "jobs":
        return _answer(_job, path[1])
    return None


def _vary(response: Response) -> Response:
    if request.path.rstrip("/") == "/clusters" or request.path.startswith("/jobs"):
        response.vary.add("Accept")
    return response


def _answer(view: Callable[..., Any], *parameters: str) -> Response:
    """What the view answers, with the headers of a page; a refusal as a page."""
    try:
        response = make_response(view(*parameters))
    except RefusedError as refusal:
        response = _refused(refusal)
    except _Elsewhere as elsewhere:
        response = make_response(redirect(elsewhere.address, 303))
    except HTTPException as error:
        response = _refused(RefusedError(error.code or 500, error.description or error.name))
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cache-Control"] = "no-store"
    return response


def _refused(refusal: RefusedError) -> Response:
    page = render_template("error.html", refusal=refusal, account=session.signed_in())
    response = make_response(page, refusal.status)
    if refusal.retry_after:
        response.headers["Retry-After"] = str(refusal.retry_after)
    return response


def _query() -> str:
    text = request.query_string.decode("ascii", "replace")
    return "?" + text if text else ""


def _reader() -> Account:
    """Who reads; others are sent to the sign-in form."""
    account = session.signed_in()
    if account is None:
        wanted = request.full_path.rstrip("?") if request.method == "GET" else "/"
        raise _Elsewhere(url_for("pages.sign_in_form", next=wanted) if wanted != "/" else url_for("pages.sign_in_form"))
    return account


class _Elsewhere(Exception):
    """The page is at another address."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


# -- addresses ------------------------------------------------------------------------------------------------------


@pages.get("/")
def overview() -> Response:
    return _answer(_overview)


@pages.get("/mails")
def mails() -> Response:
    return _answer(_mails)


@pages.post("/pages/jobs/<uuid>/cancel")
def cancel(uuid: str) -> Response:
    return _answer(_cancel, uuid)


@pages.post("/pages/jobs/<uuid>/deliveries/<delivery>/replay")
def replay(uuid: str, delivery: str) -> Response:
    return _answer(_replay, uuid, delivery)


@pages.get("/sign-in")
def sign_in_form() -> Response:
    return _answer(lambda: render_template("signin.html", next=_local(request.args.get("next", ""))))


@pages.post("/sign-in")
def sign_in() -> Response:
    return _answer(_sign_in)


@pages.post("/sign-out")
def sign_out() -> Response:
    return _answer(_sign_out)


# -- views ----------------------------------------------------------------------------------------------------------


def _overview() -> Any:
    account = _reader()
    services, _ = session.parts()
    asked = shown.Asked.of(request.args)
    uuid = _searched_job(account, asked)
    if uuid:
        return redirect(url_for("pages.overview") + f"jobs/{uuid}", 303)
    listing: dict[str, Any] = {"jobs": [], "cursor": None}
    problem = ""
    try:
        listing = jobs.listing(services, account, {**asked.parameters(), "limit": str(PAGE)})
    except RefusedError as refusal:
        problem = refusal.error
    return render_template(
        "jobs.html",
        account=account,
        jobs=[shown.brief(document) for document in listing["jobs"]],
        asked=asked,
        choices=shown.CHOICES,
        older=asked.query(cursor=listing["cursor"]) if listing["cursor"] else "",
        problem=problem,
        undeliverable=len(_undeliverable(account)),
    )


def _searched_job(account: Account, asked: shown.Asked) -> str:
    """The UUID of the one job that was searched for by the beginning of its UUID."""
    if not asked.is_uuid():
        return ""
    services, _ = session.parts()
    found = services.store.find(asked.search.lower(), account.scope, 2)
    return found[0] if len(found) == 1 else ""


def _job(name: str) -> Any:
    account = _reader()
    services, _ = session.parts()
    record = jobs.found(services, account, name)
    uuid = str(record.document["job_uuid"])
    if uuid != name.lower():
        return redirect(f"/jobs/{uuid}", 303)
    events = services.store.events(uuid)
    # Rows outlive a job, whose UUID somebody else may take then.
    owner = str(record.document["owner"])
    rows = services.store.outbox_rows(job_uuid=uuid, owner=owner, kind="mail", newest=True, limit=MAX_MAILS)
    return render_template(
        "job.html",
        account=account,
        job=shown.whole(record.document, events),
        mails=[shown.mail(row) for row in rows],
        callbacks=[shown.callback(one) for one in deliveries.listing(services, record)["deliveries"][-MAX_MAILS:]],
        all_events=request.args.get("history") == "all",
    )


def _clusters() -> Any:
    account = _reader()
    services, _ = session.parts()
    return render_template(
        "clusters.html", account=account, clusters=[load.cluster(one) for one in clusters.visible(services, account)]
    )


def _mails() -> Any:
    account = _reader()
    services, _ = session.parts()
    state = request.args.get("state", "")
    if state not in {"", "waiting", "sent", "undeliverable"}:
        raise RefusedError(422, "state is waiting, sent or undeliverable.", "state")
    owner = account.scope or ""
    rows = services.store.outbox_rows(owner=owner, state=state, kind="mail", newest=True, limit=MAX_MAILS)
    return render_template(
        "mails.html", account=account, mails=[shown.mail(row) for row in rows], state=state, most=MAX_MAILS
    )


def _undeliverable(account: Account) -> list[dict[str, Any]]:
    services, _ = session.parts()
    return services.store.outbox_rows(
        owner=account.scope or "", state="undeliverable", kind="mail", newest=True, limit=100
    )


def _cancel(uuid: str) -> Any:
    _limit_form()
    account = _reader()
    session.check_form()
    services, _ = session.parts()
    record = jobs.found(services, account, uuid)
    jobs.cancel(services, account, record)
    return redirect(f"/jobs/{record.document['job_uuid']}", 303)


def _replay(uuid: str, delivery: str) -> Any:
    _limit_form()
    account = _reader()
    session.check_form()
    services, _ = session.parts()
    record = jobs.found(services, account, uuid)
    deliveries.replay(services, account, record, delivery)
    return redirect(f"/jobs/{record.document['job_uuid']}#callbacks", 303)


def _sign_in() -> Any:
    _limit_form()
    target = _local(request.form.get("next", ""))
    name = request.form.get("username", "").strip()
    try:
        session.check_form()
        session.sign_in(name, request.form.get("password", ""))
    except RefusedError as refusal:
        page = render_template("signin.html", next=target, name=name[:64], problem=refusal.error)
        return page, refusal.status
    return redirect(target or "/", 303)


def _sign_out() -> Any:
    _limit_form()
    session.check_form()
    session.sign_out()
    return redirect(url_for("pages.sign_in_form"), 303)


def _limit_form() -> None:
    if (request.content_length or 0) > MAX_FORM:
        raise RefusedError(413, "The form is too large.")


def _local(target: str) -> str:
    """The path to go on to, if it is one of this server's; a browser reads `//` and a backslash as another host."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return ""
    good = target.startswith("/") and not target.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return target if good and "\\" not in target and target.isprintable() else ""
