"""The inventory: shared clusters, made by administrators, and each account's own."""

import json
from typing import Any

from api_srv.problems import RefusedError, not_found, unacceptable
from api_srv.services import checks
from api_srv.services.context import Account, Services
from api_srv.store.base import ClusterRecord, Document, Query, TooLargeError
from project.core import history

SHARED = ""
# Everybody who lists the clusters gets it.
MAX_STATUS_BYTES = 1024 * 1024
# What the API adds to a cluster's document; ignored when it comes back.
ADDED = ("_id", "heard", "shared", "status")


def visible(services: Services, account: Account) -> list[Document]:
    """The clusters that this account may use, by name. A shared one comes before an own one of the same name."""
    return [_document(record) for record in _records(services, account.name)]


def one(services: Services, account: Account, name: str) -> Document:
    """The cluster of this name. Raises RefusedError 404."""
    for record in _records(services, account.name):
        if record.document["name"] == name:
            return _document(record)
    raise not_found(f"cluster {name}")


def put(services: Services, account: Account, name: str, body: Document) -> Document:
    """Add or replace: an administrator a shared cluster, anybody else one of their own.

    Raises RefusedError: 422, 403 when a plain account names a shared cluster.
    """
    from project.core.clusters import problems

    document = {key: value for key, value in body.items() if key not in ADDED}
    document.setdefault("name", name)
    checks.refuse(problems(document))
    if document["name"] != name:
        raise unacceptable("name", f"it is {document['name']!r}, but the address says {name!r}")
    if not account.admin and _shared(services, name):
        raise RefusedError(403, f"{name} is a shared cluster; only an administrator changes it.", "name")
    services.store.put_cluster(SHARED if account.admin else account.name, document)
    return one(services, account, name)


def delete(services: Services, account: Account, name: str) -> Document:
    """Take a cluster out. Raises RefusedError 404, 403."""
    if services.store.delete_cluster(SHARED if account.admin else account.name, name):
        return {"success": True}
    if not account.admin and _shared(services, name):
        raise RefusedError(403, f"{name} is a shared cluster; only an administrator removes it.")
    raise not_found(f"cluster {name}")


def put_status(services: Services, account: Account, body: Document) -> Document:
    """MASI-TFE's `PUT /clusters`: {"cluster": name or host name, "status": {…}}.

    For its owner, an administrator, an account that has jobs there, and the token of a job that runs there.
    """
    name, status = body.get("cluster"), body.get("status")
    if not isinstance(name, str) or not name:
        raise unacceptable("cluster", "it must be a cluster's name or host name")
    if not isinstance(status, dict):
        raise unacceptable("status", "it must be an object")
    record = _named(services, account.name, name)
    if record is None:
        raise not_found(f"cluster {name[:80]}")
    if not _may_report(services, account, record):
        raise RefusedError(403, f"These credentials have no job on {record.document['name']}.", "cluster")
    _write_status(services, record, status)
    return {"success": True}


def heard_from_job(services: Services, document: Document, status: Document) -> None:
    """The load that came with a job's events. A cluster that is in no inventory (`local`) is no error."""
    record = _named(services, str(document.get("owner") or ""), str(document.get("cluster") or ""))
    if record is not None:
        _write_status(services, record, status)


def copy_for_job(services: Services, owner: str, name: str) -> Document:
    """The cluster's document as a job keeps it; empty when it is not known here."""
    record = _named(services, owner, name)
    return dict(record.document) if record else {}


def _records(services: Services, owner: str) -> list[ClusterRecord]:
    by_name: dict[str, ClusterRecord] = {}
    for record in services.store.clusters((SHARED, owner)):
        name = record.document["name"]
        if name not in by_name or record.owner == SHARED:
            by_name[name] = record
    return [by_name[name] for name in sorted(by_name)]


def _named(services: Services, owner: str, name: str) -> ClusterRecord | None:
    records = _records(services, owner)
    found = [record for record in records if record.document["name"] == name]
    found += [record for record in records if record.document.get("hostname") == name]
    return found[0] if found else None


def _shared(services: Services, name: str) -> bool:
    return any(record.document["name"] == name for record in services.store.clusters((SHARED,)))


def _may_report(services: Services, account: Account, record: ClusterRecord) -> bool:
    name = record.document["name"]
    if account.job:
        job = services.store.job(account.job)
        return job is not None and job.document.get("cluster") == name
    if account.admin or record.owner == account.name:
        return True
    return bool(services.store.jobs(Query(owner=account.name, cluster=name, limit=1)))


def _write_status(services: Services, record: ClusterRecord, status: dict[str, Any]) -> None:
    size = len(json.dumps(status))
    if size > MAX_STATUS_BYTES:
        raise RefusedError(413, f"The status has {size} bytes; at most {MAX_STATUS_BYTES} are kept.", "status")
    try:
        services.store.put_status(record.owner, record.document["name"], status, history.now())
    except TooLargeError as error:
        raise RefusedError(413, str(error), "status") from None


def _document(record: ClusterRecord) -> Document:
    added = {"status": record.status, "heard": record.heard or None, "shared": record.owner == SHARED}
    return {**record.document, **added}
