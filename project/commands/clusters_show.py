"""Show one cluster: how it is reached, its load, and an optional crontab line for its login node."""

import argparse

from project.commands import clusters
from project.commands.base import Answer, Session
from project.render import clusters as render


def arguments(parser: argparse.ArgumentParser) -> None:
    """NAME."""
    clusters.name_argument(parser)


def run(session: Session) -> Answer:
    """Ask the API."""
    cluster = clusters.named(session, session.args.name)
    crontab = render.crontab(cluster)
    return Answer(
        data={**cluster, "crontab": crontab}, text=render.page(cluster, session.output), ids=[str(cluster["name"])]
    )
