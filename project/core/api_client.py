"""The only file that speaks HTTP to the API: for the command line, the agent and the tests.

`ApiClient` names the calls; how a call travels is given to it: `http_call` over HTTP, or the server's own services in
process (`api_srv.embedded`). Both raise ApiError with the HTTP status.
"""

import json
from typing import Any, Callable, Dict, List, Optional
from urllib.parse import quote, urlencode, urlsplit

from project.core.errors import ApiError

Json = Dict[str, Any]
# call(method, path, body, query) -> the answer's JSON object
Call = Callable[[str, str, Optional[Json], Optional[Dict[str, str]]], Json]

TIMEOUT = 10.0
MAX_ANSWER = 64 * 1024 * 1024


class ApiClient:
    """The calls of the API by name. Every method raises ApiError (`status` 0: no answer at all)."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def clusters(self) -> List[Json]:
        """The inventory that these credentials see."""
        result = self._call("GET", "/clusters", None, None)["result"]
        return list(result.values())

    def put_cluster(self, document: Json) -> Json:
        """Add or replace a cluster by its name."""
        return self._call("PUT", "/clusters/" + quote(str(document["name"]), safe=""), document, None)

    def delete_cluster(self, name: str) -> Json:
        """Take a cluster out of the inventory."""
        return self._call("DELETE", "/clusters/" + quote(name, safe=""), None, None)

    def put_status(self, name: str, status: Json) -> Json:
        """Report a cluster's load (MASI-TFE's `PUT /clusters`)."""
        return self._call("PUT", "/clusters", {"cluster": name, "status": status}, None)

    def create(self, document: Json) -> Json:
        """Record a new job. The answer has `job_uuid`, `token` (may only report on this job) and `report_url` (or None)."""
        return self._call("POST", _job(document["job_uuid"]), document, None)

    def token(self, uuid: str) -> Json:
        """A new token for a job that is recorded already: as `create` answers."""
        return self._call("POST", _job(uuid) + "/token", {}, None)

    def job(self, name: str) -> Json:
        """The document of the job whose UUID is, or begins with, `name`."""
        result = self._call("GET", _job(name), None, None)["result"]
        return dict(next(iter(result.values())))

    def jobs(self, **filters: str) -> List[Json]:
        """Documents, newest first. Filters: state, selector, limit, cursor."""
        query = {key: value for key, value in filters.items() if value not in ("", None)}
        return list(self._call("GET", "/jobs", None, query)["jobs"])

    def jobs_page(self, **filters: str) -> Json:
        """As `jobs`: {"jobs": documents, "cursor": of the next page, or None}."""
        query = {key: value for key, value in filters.items() if value not in ("", None)}
        return self._call("GET", "/jobs", None, query)

    def patch(self, uuid: str, fields: Json) -> Json:
        """Merge `fields` into the document (MASI-TFE's `PUT /jobs/<uuid>`)."""
        return self._call("PUT", _job(uuid), fields, None)

    def report(self, uuid: str, events: List[Json], status: Optional[Json] = None) -> Json:
        """Deliver events; once or many times is the same. `status`: the cluster's load. Answer: {applied, cancel}."""
        body: Json = {"events": events}
        if status:
            body["status"] = status
        return self._call("POST", _job(uuid) + "/events", body, None)

    def events(self, uuid: str, after: int = 0) -> List[Json]:
        """The history in the order of arrival; each event has `n`; only those with n > `after`."""
        return list(self._call("GET", _job(uuid) + "/events", None, {"after": str(after)})["events"])

    def cancel(self, uuid: str) -> Json:
        """Wish that the job be cancelled; the cluster's side does it."""
        return self._call("POST", _job(uuid) + "/cancel", {}, None)

    def deliveries(self, uuid: str) -> List[Json]:
        """The job's callbacks, oldest first, each with its attempts."""
        return list(self._call("GET", _job(uuid) + "/deliveries", None, None)["deliveries"])

    def replay(self, uuid: str, delivery: str) -> Json:
        """Send a callback again, with the same body and id."""
        return self._call("POST", _job(uuid) + "/deliveries/" + quote(delivery, safe="") + "/replay", {}, None)

    def delete(self, uuid: str) -> Json:
        """Forget a job."""
        return self._call("DELETE", _job(uuid), None, None)

    def health(self) -> Json:
        """`GET /healthz`."""
        return self._call("GET", "/healthz", None, None)


def _job(uuid: str) -> str:
    return "/jobs/" + quote(str(uuid), safe="")


def http_call(url: str, user: str = "", password: str = "", token: str = "", timeout: float = TIMEOUT) -> Call:
    """A `call` over HTTP with a bearer token or Basic credentials (none: no Authorization header).

    :param url: the server's address, `http://host:port` or with a path.
    :param timeout: seconds for connecting and for each read.
    """
    base = _checked(url)
    authorization = _authorization(user, password, token)

    def call(method: str, path: str, body: Optional[Json] = None, query: Optional[Dict[str, str]] = None) -> Json:
        address = base + path + ("?" + urlencode(query) if query else "")
        return _exchange(method, address, body, authorization, timeout)

    return call


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        # Reading the port checks it.
        usable = parts.port != 0 and parts.scheme in ("http", "https") and bool(parts.hostname) and _plain(url)
    except ValueError:
        usable = False
    if not usable:
        message = "The API address {!r} is not an http:// or https:// address.".format(url.rpartition("@")[2])
        raise ApiError(message, "Set JOBFERRY_API_URL to an address like http://127.0.0.1:7676.")
    if parts.username or parts.password:
        message = "The API address holds credentials."
        raise ApiError(message, "Put them in JOBFERRY_API_USER and JOBFERRY_API_PASSWORD.")
    return url.rstrip("/")


def _plain(text: str) -> bool:
    """Only what an address or a header can hold: printable ASCII without a blank."""
    return all("!" <= character <= "~" for character in text)


def _authorization(user: str, password: str, token: str) -> str:
    if token:
        if not _plain(token):
            # Not shown: it is a secret all the same.
            message = "The API token has a blank, a line break or another character that no token has."
            raise ApiError(message, "Set JOBFERRY_API_TOKEN to the token alone.")
        return "Bearer " + token
    if not user:
        return ""
    import base64

    return "Basic " + base64.b64encode("{}:{}".format(user, password).encode("utf-8")).decode("ascii")


def _exchange(method: str, address: str, body: Optional[Json], authorization: str, timeout: float) -> Json:
    import http.client
    import urllib.error
    import urllib.request

    headers = {"Accept": "application/json"}
    raw = None
    if body is not None:
        raw = json.dumps(body).encode("ascii")
        headers["Content-Type"] = "application/json"
    if authorization:
        headers["Authorization"] = authorization
    request = urllib.request.Request(address, data=raw, headers=headers, method=method)
    try:
        with _opener(address).open(request, timeout=timeout) as answer:
            return _decoded(answer.read(MAX_ANSWER), address)
    except urllib.error.HTTPError as error:
        raise _refusal(error, method, address) from None
    except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        message = "The API at {} does not answer ({}).".format(_host(address), reason)
        raise ApiError(message, "Is the server running, and is JOBFERRY_API_URL right?", transient=True) from error


def _opener(address: str) -> Any:
    import urllib.request

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        """A redirect would carry the credentials to another place; it is an answer like any other refusal."""

        def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
            return None

    handlers: List[Any] = [NoRedirect()]
    if urlsplit(address).hostname in ("localhost", "127.0.0.1", "::1"):
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


def _decoded(raw: bytes, address: str) -> Json:
    try:
        value = json.loads(raw.decode("utf-8"))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        message = "The server at {} answered something that is not the API's JSON.".format(_host(address))
        raise ApiError(message, "Is JOBFERRY_API_URL the address of a jobferry server?", transient=True)
    return value


def _refusal(error: Any, method: str, address: str) -> ApiError:
    import http.client

    status = int(error.code)
    text = ""
    try:
        value = json.loads(error.read(1024 * 1024).decode("utf-8"))
        if isinstance(value, dict):
            text = str(value.get("error") or value.get("detail") or value.get("title") or "")
    except (ValueError, OSError, http.client.HTTPException):
        text = ""
    finally:
        error.close()
    hint = {
        401: "Set JOBFERRY_API_USER and JOBFERRY_API_PASSWORD, or JOBFERRY_API_TOKEN.",
        403: "These credentials may not do that.",
        429: "Wait a minute and try again.",
    }.get(status, "")
    path = urlsplit(address).path
    message = "The API at {} refused {} {}: {} {}".format(_host(address), method, path, status, text).rstrip()
    return ApiError(message, hint, transient=status >= 500 or status == 429, status=status)


def _host(address: str) -> str:
    parts = urlsplit(address)
    return "{}://{}".format(parts.scheme, parts.netloc.rpartition("@")[2])
