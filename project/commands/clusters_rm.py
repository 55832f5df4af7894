"""Take a cluster out of the inventory. Its jobs and their folders stay as they are."""

import argparse

from project.commands import clusters
from project.commands.base import Answer, Session
from project.core.errors import UserError
from project.engine import inventory
from project.render.text import clean


def arguments(parser: argparse.ArgumentParser) -> None:
    """NAME."""
    clusters.name_argument(parser)


def run(session: Session) -> Answer:
    """Remove it."""
    cluster = clusters.named(session, session.args.name)
    if inventory.is_built_in(cluster):
        raise UserError("local is this machine; it is always there.", "There is nothing to remove.")
    session.api.delete_cluster(str(cluster["name"]))
    return Answer(
        data={"name": cluster["name"], "result": "removed"},
        aside=f"Cluster {clean(cluster['name'])}: removed.",
        ids=[str(cluster["name"])],
    )
