"""Who looks at the pages: a signed cookie made by the sign-in form, and the tokens that its forms carry."""

import hashlib
import hmac
import secrets
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Request, current_app, request, session
from flask.sessions import SecureCookieSessionInterface

from api_srv.problems import RefusedError
from api_srv.services.accounts import Authenticator
from api_srv.services.context import Account, Services

HOURS = 12


class CookieInterface(SecureCookieSessionInterface):
    """The cookie is for TLS only when the page came by TLS, also through a proxy: one that says so, or the public address."""

    def get_cookie_secure(self, app: Flask) -> bool:
        public = urlsplit(app.extensions["jobferry"][0].public_url)
        through_proxy = public.scheme == "https" and public.netloc.lower() == request.host.lower()
        said = request.headers.get("X-Forwarded-Proto", "").lower() == "https"
        return bool(request.is_secure or said or through_proxy)


def parts() -> tuple[Services, Authenticator]:
    """The services and the authenticator of the app that serves this request."""
    both: tuple[Services, Authenticator] = current_app.extensions["jobferry"]
    return both


def wants_page(call: Request) -> bool:
    """True for a browser's request: HTML before JSON, and no credentials in a header."""
    if call.method not in {"GET", "HEAD"} or "Authorization" in call.headers:
        return False
    accepted = call.accept_mimetypes
    return accepted.best_match(("application/json", "text/html")) == "text/html"


def signed_in() -> Account | None:
    """The account of the cookie as it is now: None without one, when it is gone, and after its password changed."""
    name, mark = session.get("name"), session.get("mark")
    if not isinstance(name, str) or not isinstance(mark, str):
        return None
    services, _ = parts()
    account = services.store.account(name)
    if account is None or not hmac.compare_digest(mark, _mark(account)):
        return None
    return Account(str(account["name"]), bool(account["admin"]))


def sign_in(name: str, password: str) -> Account:
    """Check the form's credentials and begin a session. Raises RefusedError 401 or 429."""
    services, authenticator = parts()
    account = authenticator.basic(name, password, request.remote_addr or "")
    document = services.store.account(account.name)
    if document is None:
        raise RefusedError(401, "The user name or the password is wrong.")
    session.clear()
    session.permanent = True
    session["name"] = account.name
    session["mark"] = _mark(document)
    return account


def sign_out() -> None:
    """End the session in this browser."""
    session.clear()


def form_token() -> str:
    """The token that a form must bring back; it is made with the session."""
    token = session.get("form")
    if not isinstance(token, str):
        token = secrets.token_urlsafe(24)
        session["form"] = token
    return token


def check_form() -> None:
    """Raises RefusedError 403 for a form that this site did not show."""
    expected, given = session.get("form"), request.form.get("form_token", "")
    if not isinstance(expected, str) or not hmac.compare_digest(expected.encode(), given.encode()):
        raise RefusedError(
            403, "The form is too old, or it came from another site. Go back, load the page again and repeat."
        )


def _mark(account: dict[str, Any]) -> str:
    """Changes with the password, so that a changed password ends every session."""
    return hashlib.sha256(b"page session\0" + str(account["password_hash"]).encode()).hexdigest()[:32]
