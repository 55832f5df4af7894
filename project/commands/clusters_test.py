"""See which clusters answer. Looks from this machine, without logging in; `doctor NAME` goes further."""

import argparse
from typing import Any

from project.commands import clusters
from project.commands.base import Answer, Session
from project.core.errors import ClusterError
from project.render import clusters as render
from project.render.text import plural


def arguments(parser: argparse.ArgumentParser) -> None:
    """NAMEs."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="the clusters (default: all)")


def run(session: Session) -> Answer:
    """Probe all of them at once; exit code 3 when one does not answer."""
    from project.engine import credentials, probing

    credentials.look_at_flag(session.context)
    names = session.args.names
    wanted = [clusters.named(session, name) for name in names] if names else clusters.everyone(session)
    with session.ui.step(f"Probing {plural(len(wanted), 'cluster')}"):
        probes = probing.probe(wanted)
    rows: list[dict[str, Any]] = [
        {"name": name, "reachable": probe.reachable, "reason": probe.reason, "seconds": probe.seconds}
        for name, probe in sorted(probes.items())
    ]
    return Answer(
        data={"clusters": rows},
        text=render.probes(rows, session.output),
        ids=[row["name"] for row in rows if row["reachable"]],
        exit_code=0 if all(row["reachable"] for row in rows) else ClusterError.exit_code,
    )
