"""The API over HTTP: every line of the table of endpoints as a Flask route, every refusal as problem+json."""

import binascii
import json
from base64 import b64decode
from collections.abc import Callable
from typing import Any

from flask import Flask, Request, current_app, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from api_srv import endpoints
from api_srv.endpoints import ENDPOINTS, OPEN, Endpoint
from api_srv.problems import CONTENT_TYPE, RefusedError
from api_srv.services import checks
from api_srv.services.accounts import Authenticator
from api_srv.services.context import Account, Services
from api_srv.store.base import StoreError

NOBODY = Account("")


def register(app: Flask) -> None:
    """Add the API to the app."""
    for endpoint in ENDPOINTS:
        rule = endpoint.path.replace("{", "<").replace("}", ">")
        name = f"api.{endpoint.handler.__name__}"
        app.add_url_rule(rule, name, _view(endpoint), methods=[endpoint.method], strict_slashes=False)
    app.register_error_handler(RefusedError, refused)
    app.register_error_handler(StoreError, lambda error: refused(endpoints.unavailable(error)))
    app.register_error_handler(HTTPException, _http_error)


def _view(endpoint: Endpoint) -> Callable[..., Response]:
    def view(**params: str) -> Response:
        services: Services = current_app.extensions["jobferry"][0]
        account = NOBODY if endpoint.who == OPEN else account_of(request, current_app.extensions["jobferry"][1])
        body = _body(request) if endpoint.body else {}
        answer = endpoints.call(endpoint, services, account, params, request.args.to_dict(), body)
        text = answer.text or json.dumps(answer.body)
        response = Response(text, answer.status, content_type=answer.content_type)
        response.headers["Cache-Control"] = "no-store"
        return response

    return view


def account_of(call: Request, authenticator: Authenticator) -> Account:
    """Who calls, by the Authorization header alone (a cookie would let other sites call). Raises RefusedError 401, 429."""
    scheme, _, value = call.headers.get("Authorization", "").partition(" ")
    address = call.remote_addr or ""
    if scheme.lower() == "bearer" and value.strip():
        return authenticator.bearer(value.strip(), address)
    if scheme.lower() == "basic":
        try:
            name, colon, password = b64decode(value.strip(), validate=True).decode("utf-8").partition(":")
        except (ValueError, binascii.Error):
            colon = ""
        if colon:
            return authenticator.basic(name, password, address)
    raise RefusedError(401, "Sign in with a user name and password, or with a token.")


def _body(call: Request) -> dict[str, Any]:
    # A body without a Content-Type is what simple clients send; they mean JSON.
    if call.mimetype and call.mimetype != "application/json" and not call.mimetype.endswith("+json"):
        raise RefusedError(415, f"The body is {call.mimetype[:80]}; only application/json is taken.")
    if call.content_length is not None and call.content_length > checks.MAX_BODY:
        raise RefusedError(413, f"The body has {call.content_length} bytes; at most {checks.MAX_BODY} are taken.")
    return checks.parse(call.get_data(cache=False))


def refused(refusal: RefusedError) -> Response:
    """A refusal as problem+json."""
    response = Response(json.dumps(refusal.body()), refusal.status, content_type=CONTENT_TYPE)
    if refusal.status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="jobferry", charset="UTF-8"'
    if refusal.retry_after:
        response.headers["Retry-After"] = str(refusal.retry_after)
    return response


def _http_error(error: HTTPException) -> Response:
    """Flask's own refusals (no such path, method not allowed, …); a page's redirect or response goes through."""
    status = error.code or 500
    if status < 400:
        return error.get_response()
    response = refused(RefusedError(status, error.description or error.name))
    for name, value in error.get_headers():
        if name.lower() in {"allow", "retry-after"}:
            response.headers[name] = value
    return response
