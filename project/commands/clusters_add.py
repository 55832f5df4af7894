"""Add a cluster to the inventory, or change one."""

import argparse
from typing import Any

from project.commands import clusters
from project.commands.base import Answer, Session, program
from project.render.text import clean

EXAMPLES = """\
examples:
  {prog} clusters add lemaitre3 --partition batch \\
      --hostname lemaitre3.cism.ucl.ac.be --preferred-jobs mpi
  {prog} clusters add desk --hostname 192.0.2.7 --port 2222
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """NAME and the fields of a cluster."""
    clusters.name_argument(parser)
    parser.add_argument(
        "--hostname", metavar="HOST", help="its login node: a name, an address, an ssh alias (default: NAME)"
    )
    parser.add_argument("--port", type=int, metavar="N", help="the port of its sshd (default: 22)")
    parser.add_argument("--workload-manager", metavar="WM", help="slurm (default), local")
    parser.add_argument("--partition", metavar="NAME", help="the partition that jobs go to")
    parser.add_argument("--preferred-jobs", action="append", metavar="WORD", help="what it is good at (repeatable)")
    parser.add_argument("--login", metavar="NAME", help="your user name there, kept in the inventory")
    parser.add_argument("--workdir", metavar="DIR", help="where jobs get their folders (default: $HOME/.jobferry/jobs)")
    parser.add_argument("--python", metavar="PATH", help="its Python, when python3 is not found there")
    parser.add_argument(
        "--profile", action="append", metavar="LINE", help="a shell line that begins every job (repeatable)"
    )


def run(session: Session) -> Answer:
    """Add or change; fields that are not given stay as they are."""
    args = session.args
    known = {str(cluster["name"]): cluster for cluster in clusters.everyone(session)}.get(args.name, {})
    given: dict[str, Any] = {
        "hostname": args.hostname,
        "port": args.port,
        "workload_manager": args.workload_manager,
        "partition": args.partition,
        "preferred_jobs": args.preferred_jobs,
        "username": args.login,
        "workdir": args.workdir,
        "python": args.python,
        "profile": args.profile,
    }
    document = {key: known[key] for key in clusters.FIELDS if known.get(key) not in (None, "", [])}
    document.update({key: value for key, value in given.items() if value is not None})
    document.setdefault("hostname", args.name)
    document.setdefault("workload_manager", "slurm")
    cluster = clusters.checked({"name": args.name, **document})
    done = clusters.put(session, cluster)
    aside = f"Cluster {clean(args.name)}: {done}. Try it: `{program()} clusters test {clean(args.name)}`."
    return Answer(data={**cluster, "result": done}, aside=aside, ids=[args.name])
