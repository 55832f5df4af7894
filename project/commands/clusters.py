"""What the verbs about clusters share."""

import argparse
from typing import Any

from project.commands.base import Document, Session
from project.core import clusters, schema
from project.engine import inventory

FIELDS = tuple(key for key in schema.load("cluster")["properties"] if key not in {"_id", "name", "status"})


def named(session: Session, name: str) -> Document:
    """The cluster of that name. Raises UserError with the nearest names."""
    return inventory.find(name, everyone(session))


def everyone(session: Session) -> list[Document]:
    """Every cluster by name, `local` among them."""
    return sorted(inventory.clusters(session.api), key=lambda cluster: str(cluster.get("name")))


def put(session: Session, cluster: Document) -> str:
    """Add or change a cluster; "added", "changed" or "as it was"."""
    before = {str(known["name"]): known for known in everyone(session)}.get(str(cluster["name"]))
    # An empty text is a default that the file left open; the schema knows it as a missing key.
    given = {key: value for key, value in cluster.items() if key not in ("_id", "status") and value != ""}
    session.api.put_cluster(given)
    if before is None:
        return "added"
    same = all(before.get(key) == cluster.get(key) for key in FIELDS if before.get(key) or cluster.get(key))
    return "as it was" if same else "changed"


def checked(document: dict[str, Any]) -> Document:
    """The cluster with its defaults. Raises InputError with every problem."""
    return clusters.normalise(document)


def name_argument(parser: argparse.ArgumentParser) -> None:
    """NAME."""
    parser.add_argument("name", metavar="NAME", help="the name of the cluster")
