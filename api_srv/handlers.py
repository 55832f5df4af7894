"""One small function an endpoint: from parameters and body to a service and back. `endpoints.ENDPOINTS` names them."""

from collections.abc import Mapping
from typing import NamedTuple
from uuid import uuid4

from api_srv.problems import not_found
from api_srv.services import callbacks, clusters, deliveries, jobs, reports
from api_srv.services.context import Account, Services
from api_srv.store.base import Document
from project import __version__

Params = Mapping[str, str]


class Answer(NamedTuple):
    """What goes back: a JSON object, or a text when `content_type` says so."""

    body: Document
    status: int = 200
    text: str = ""
    content_type: str = "application/json"


def get_clusters(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del params, query, body
    return Answer({"result": {one["name"]: one for one in clusters.visible(services, account)}})


def put_clusters(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del params, query
    return Answer(clusters.put_status(services, account, body))


def get_cluster(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del query, body
    found = clusters.one(services, account, params["name"])
    return Answer({"result": {found["name"]: found}})


def put_cluster(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del query
    return Answer(clusters.put(services, account, params["name"], body))


def delete_cluster(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del query, body
    return Answer(clusters.delete(services, account, params["name"]))


def get_jobs(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del params, body
    return Answer(jobs.listing(services, account, query))


def post_jobs(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del params, query
    uuid = str(body.get("job_uuid") or uuid4())
    made = jobs.create(services, account, uuid, body)
    return Answer(callbacks.shown(jobs.found(services, account, made["job_uuid"]).document, account), 201)


def get_job(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del query, body
    document = callbacks.shown(jobs.found(services, account, params["uuid"]).document, account)
    return Answer({"result": {document["job_uuid"]: document}})


def post_job(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del query
    return Answer(jobs.create(services, account, params["uuid"], body))


def put_job(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del query
    return Answer(jobs.patch(services, account, jobs.found(services, account, params["uuid"]), body))


def delete_job(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del body
    return Answer(jobs.delete(services, jobs.found(services, account, params["uuid"]), query))


def get_state(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del query, body
    return Answer({"result": jobs.native(jobs.found(services, account, params["uuid"]).document)})


def put_state(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del query
    record = jobs.found(services, account, params["uuid"])
    return Answer(reports.native_states(services, record, body))


def put_notify(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del query
    return Answer(reports.notify(services, jobs.found(services, account, params["uuid"]), body))


def get_events(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del body
    return Answer(jobs.events(services, jobs.found(services, account, params["uuid"]), query))


def post_events(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del query
    return Answer(reports.report(services, account, jobs.found(services, account, params["uuid"]), body))


def post_cancel(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del query, body
    return Answer(jobs.cancel(services, account, jobs.found(services, account, params["uuid"])))


def post_token(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del query, body
    return Answer(jobs.new_token(services, jobs.found(services, account, params["uuid"])), 201)


def get_deliveries(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del query, body
    return Answer(deliveries.listing(services, jobs.found(services, account, params["uuid"])))


def post_replay(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del query, body
    record = jobs.found(services, account, params["uuid"])
    return Answer(deliveries.replay(services, account, record, params["id"]))


def get_health(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del account, params, query, body
    services.store.ping()
    return Answer({"status": "ok", "version": __version__})


def get_metrics(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    """Prometheus' text format (prometheus.io/docs/instrumenting/exposition_formats)."""
    del account, params, query, body
    lines = []
    for name, what, counts in (
        ("jobferry_jobs", "Jobs by state.", services.store.counts()),
        ("jobferry_outbox", "Mails by state.", services.store.outbox_counts("mail")),
        ("jobferry_webhooks", "Callbacks by state.", services.store.outbox_counts("webhook")),
    ):
        lines += [f"# HELP {name} {what}", f"# TYPE {name} gauge"]
        lines += [f'{name}{{state="{state}"}} {count}' for state, count in sorted(counts.items())]
    text = "\n".join(lines) + "\n"
    return Answer({"text": text}, text=text, content_type="text/plain; version=0.0.4; charset=utf-8")


def get_openapi(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del account, params, query, body
    from api_srv import openapi

    return Answer(openapi.document(services.public_url))


def get_schema(services: Services, account: Account, params: Params, query: Params, body: Document) -> Answer:
    del services, account, query, body
    from project.core import schema

    name = params["name"].removesuffix(".json")
    if name not in schema.NAMES or not params["name"].endswith(".json"):
        raise not_found(f"schema {params['name'][:60]}")
    return Answer(schema.load(name))
