"""Add or change every cluster of FILE, a YAML list of clusters. Importing again updates by name."""

import argparse

from project.commands import clusters
from project.commands.base import Answer, Session
from project.render.text import clean

EXAMPLES = """\
examples:
  {prog} clusters import clusters.yml
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """FILE."""
    parser.add_argument("file", metavar="FILE", help="a YAML list of clusters")


def run(session: Session) -> Answer:
    """Check the whole file first, then import it."""
    from project import spec

    found = spec.load_clusters(session.args.file)
    rows = [{"name": str(cluster["name"]), "result": clusters.put(session, cluster)} for cluster in found]
    text = "\n".join(f"{clean(row['name'])}: {row['result']}" for row in rows)
    return Answer(data={"clusters": rows}, text=text, ids=[row["name"] for row in rows])
