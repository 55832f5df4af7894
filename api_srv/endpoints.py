"""The one table of endpoints. The Flask app, the API in process and the OpenAPI document are made from it."""

from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import unquote

from api_srv import handlers
from api_srv.handlers import Answer
from api_srv.problems import RefusedError
from api_srv.services.context import Account, Services
from api_srv.store.base import Document, StoreError

Handler = Callable[[Services, Account, Mapping[str, str], Mapping[str, str], Document], Answer]

# Who may call: nobody signed in at all, an account, or also the token of the job in the address.
OPEN = "open"
ACCOUNT = "account"
JOB = "job"


class Endpoint(NamedTuple):
    """One call. `body`: what its JSON object is, a schema's name or words; "" when none is read."""

    method: str
    path: str
    handler: Handler
    summary: str
    who: str = ACCOUNT
    body: str = ""
    query: tuple[str, ...] = ()
    answer: str = ""
    status: int = 200


_FILTERS = ("state", "selector", "cluster", "name", "owner", "limit", "cursor")

ENDPOINTS = (
    Endpoint(
        "GET",
        "/clusters",
        handlers.get_clusters,
        "The clusters these credentials see.",
        answer='{"result": {id: cluster}}',
    ),
    Endpoint(
        "PUT",
        "/clusters",
        handlers.put_clusters,
        "Report a cluster's load.",
        JOB,
        body='{"cluster": name or host name, "status": {…}}',
        answer='{"success": true}',
    ),
    Endpoint("GET", "/clusters/{name}", handlers.get_cluster, "One cluster.", answer='{"result": {id: cluster}}'),
    Endpoint(
        "PUT",
        "/clusters/{name}",
        handlers.put_cluster,
        "Add or replace a cluster.",
        body="cluster",
        answer="the cluster",
    ),
    Endpoint("DELETE", "/clusters/{name}", handlers.delete_cluster, "Take a cluster out.", answer='{"success": true}'),
    Endpoint(
        "GET",
        "/jobs",
        handlers.get_jobs,
        "Jobs, newest first.",
        query=_FILTERS,
        answer='{"jobs": [job, …], "cursor": of the next page or null}',
    ),
    Endpoint("POST", "/jobs", handlers.post_jobs, "Record a new job.", body="job", answer="job", status=201),
    Endpoint("GET", "/jobs/{uuid}", handlers.get_job, "One job.", JOB, answer='{"result": {uuid: job}}'),
    Endpoint(
        "POST",
        "/jobs/{uuid}",
        handlers.post_job,
        "Record a new job under this UUID.",
        body="job",
        answer='{"job_uuid": …, "token": may only report on this job, "report_url": where, or null}',
    ),
    Endpoint(
        "PUT",
        "/jobs/{uuid}",
        handlers.put_job,
        "Merge fields into a job.",
        JOB,
        body="some fields of a job",
        answer='{"success": true}',
    ),
    Endpoint(
        "DELETE",
        "/jobs/{uuid}",
        handlers.delete_job,
        "Forget an ended job.",
        query=("force",),
        answer='{"success": true}',
    ),
    Endpoint(
        "GET",
        "/jobs/{uuid}/state",
        handlers.get_state,
        "The native states, one an array element.",
        JOB,
        answer='{"result": [native state, …]}',
    ),
    Endpoint(
        "PUT",
        "/jobs/{uuid}/state",
        handlers.put_state,
        "Mail the native state to the owner.",
        JOB,
        body='{"state": native state or list of them}',
        answer='{"success": true}',
    ),
    Endpoint(
        "PUT",
        "/jobs/{uuid}/notify",
        handlers.put_notify,
        "Mail an error to the owner.",
        JOB,
        body='{"message": text}',
        answer='{"success": true}',
    ),
    Endpoint(
        "GET",
        "/jobs/{uuid}/events",
        handlers.get_events,
        "The history, in order of arrival.",
        JOB,
        query=("after", "limit"),
        answer='{"events": [event with its number n, …]}',
    ),
    Endpoint(
        "POST",
        "/jobs/{uuid}/events",
        handlers.post_events,
        "Deliver events; twice is the same as once.",
        JOB,
        body='{"events": [event, …], "status"?: the cluster\'s load}',
        answer='{"applied": how many were new, "cancel": the owner wants it cancelled, "state": …}',
    ),
    Endpoint(
        "POST",
        "/jobs/{uuid}/cancel",
        handlers.post_cancel,
        "Wish that the job be cancelled.",
        answer='{"job_uuid": …, "state": …, "cancel_requested": …}',
    ),
    Endpoint(
        "POST",
        "/jobs/{uuid}/token",
        handlers.post_token,
        "One more token for the job, for who resumes its submission.",
        answer='{"job_uuid": …, "token": …, "report_url": …}',
        status=201,
    ),
    Endpoint(
        "GET",
        "/jobs/{uuid}/deliveries",
        handlers.get_deliveries,
        "The callbacks of the job, with every attempt.",
        answer='{"deliveries": [{"id": …, "state": psik\'s word, "delivery": waiting, sent or undeliverable, "attempts": […], …}]}',
    ),
    Endpoint(
        "POST",
        "/jobs/{uuid}/deliveries/{id}/replay",
        handlers.post_replay,
        "Send a callback again, with the same body and id.",
        answer='{"id": …, "delivery": "waiting"}',
    ),
    Endpoint(
        "GET", "/healthz", handlers.get_health, "Whether server and database answer.", OPEN, answer='{"status": "ok"}'
    ),
    Endpoint("GET", "/metrics", handlers.get_metrics, "Counts for Prometheus.", answer="text"),
    Endpoint("GET", "/openapi.json", handlers.get_openapi, "This description.", OPEN, answer="OpenAPI 3.1"),
    Endpoint("GET", "/schemas/{name}", handlers.get_schema, "A JSON Schema.", OPEN, answer="JSON Schema 2020-12"),
)


def match(method: str, path: str) -> tuple[Endpoint, dict[str, str]]:
    """The endpoint of a call and what stands in the address. Raises RefusedError 404, 405."""
    parts = path.rstrip("/").split("/")
    allowed = []
    for endpoint in ENDPOINTS:
        pattern = endpoint.path.split("/")
        if len(pattern) != len(parts):
            continue
        if all(one[:1] == "{" or one == part for one, part in zip(pattern, parts, strict=True)):
            if endpoint.method == method:
                pairs = zip(pattern, parts, strict=True)
                return endpoint, {one[1:-1]: unquote(part) for one, part in pairs if one[:1] == "{"}
            allowed.append(endpoint.method)
    if allowed:
        raise RefusedError(405, f"{path} takes {', '.join(allowed)}, not {method}.")
    raise RefusedError(404, f"There is no {path}.")


def call(
    endpoint: Endpoint,
    services: Services,
    account: Account,
    params: Mapping[str, str],
    query: Mapping[str, str],
    body: Document,
) -> Answer:
    """Carry out one call. Raises RefusedError; a database that cannot be used is 503."""
    if account.job and endpoint.who == ACCOUNT:
        raise RefusedError(403, "A job's token may only report on its job.")
    for key in query:
        if key not in endpoint.query:
            raise RefusedError(422, f"{key}: {endpoint.method} {endpoint.path} has no such parameter.", key)
    try:
        return endpoint.handler(services, account, params, query, body)
    except StoreError as error:
        raise unavailable(error) from error


def unavailable(error: StoreError) -> RefusedError:
    """503: the database cannot be used now."""
    return RefusedError(503, str(error), retry_after=5)
