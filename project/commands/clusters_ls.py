"""List the clusters with their load as last reported."""

import argparse

from project.commands import clusters
from project.commands.base import Answer, Session
from project.render import clusters as render


def arguments(parser: argparse.ArgumentParser) -> None:
    """No options of its own."""


def run(session: Session) -> Answer:
    """Ask the API."""
    found = clusters.everyone(session)
    return Answer(
        data={"clusters": found},
        text=render.listing(found, session.output),
        ids=[str(cluster["name"]) for cluster in found],
    )
