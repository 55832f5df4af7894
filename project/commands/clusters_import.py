"""Add or change every cluster of FILE, a YAML list of clusters or psik's
configuration file. Importing again updates by name.

Every backend of a psik.json becomes a cluster of that name (of version 1.2:
psik-slurm, psik-local, ...) that is this machine, whose own workload manager
is used without a connection.
"""

import argparse

from project.commands import clusters
from project.commands.base import Answer, Session
from project.render.text import clean

EXAMPLES = """\
examples:
  {prog} clusters import clusters.yml
  {prog} clusters import ~/.config/psik.json
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """FILE."""
    parser.add_argument("file", metavar="FILE", help="a YAML list of clusters, or psik's psik.json")


def run(session: Session) -> Answer:
    """Check the whole file first, then import it."""
    from project import spec

    found, notes = spec.load_clusters_or_config(session.args.file)
    for note in notes:
        session.output.warn(note)
    rows = [{"name": str(cluster["name"]), "result": clusters.put(session, cluster)} for cluster in found]
    text = "\n".join(f"{clean(row['name'])}: {row['result']}" for row in rows)
    return Answer(data={"clusters": rows}, text=text, ids=[row["name"] for row in rows])
