"""Check an input file, a modules file, a clusters file or a specification of psik or PSI/J.

Every problem is named with its file, line, column and key.
"""

import argparse
from typing import TYPE_CHECKING

from project.commands.base import Answer, Session
from project.core.errors import ApiError, UserError
from project.render.text import clean

if TYPE_CHECKING:
    from project.spec.loader import Loaded

EXAMPLES = """\
examples:
  {prog} validate input.yml
  {prog} validate modules.yml
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `validate`."""
    parser.add_argument("file", metavar="FILE", help="an input, modules or clusters file (YAML)")
    parser.add_argument("-m", "--module", metavar="MODULES", help="check this modules file too")
    parser.add_argument(
        "--set", action="append", metavar="KEY=VALUE", dest="overrides", help="change a key of the input (repeatable)"
    )


def run(session: Session) -> Answer:
    """Check; raises InputError with every problem."""
    from project import spec
    from project.spec import files, specfile

    args = session.args
    checked = []
    kind = files.sniff(args.file)
    foreign = specfile.foreign(args.file) if kind == "input" else None
    if foreign is not None:
        kind = f"{foreign.kind} specification"
        foreign.convert("local", None, list(args.overrides or ()))
    elif kind == "input":
        _expressible(session, spec.load_input(args.file, list(args.overrides or ())))
    elif kind == "modules":
        spec.load_modules(args.file)
    else:
        spec.load_clusters_or_config(args.file)
    checked.append({"file": args.file, "kind": kind})
    if args.module:
        spec.load_modules(args.module)
        checked.append({"file": args.module, "kind": "modules"})
    text = "\n".join(f"{clean(entry['file'])}: a valid {entry['kind']} file" for entry in checked)
    return Answer(data={"valid": True, "files": checked}, text=text, ids=[entry["file"] for entry in checked])


def _expressible(session: Session, loaded: "Loaded") -> None:
    """Check the job against its cluster's workload manager, if the cluster is known; an API that is away says nothing."""
    from project.core import jobspec
    from project.engine import expressible, inventory

    job = jobspec.parse(loaded.data)
    if not expressible.asks(job):
        return
    known = [inventory.local()]
    if job.destination_cluster != inventory.LOCAL:
        try:
            known = inventory.clusters(session.api)
        except (ApiError, OSError):
            return
    try:
        cluster = inventory.find(job.destination_cluster, known)
    except UserError:
        # A submission says so; the file may be meant for another inventory.
        return
    expressible.check(loaded, job, cluster)
