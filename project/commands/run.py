"""Run SPEC, a job specification of psik (its versions 1.2 and 3.1) or of
PSI/J, as JSON or YAML, as it is.

An input file of jobferry is taken too. The cluster is --cluster, else the one
that the specification's backend names, else the only one there is. With
--config (or PSIK_CONFIG) psik's configuration file is imported first.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from project.commands import clusters as inventory_verbs
from project.commands import submit
from project.commands.base import Answer, Document, Session, program, tags
from project.core import schedulers
from project.core.errors import InputError, Problem, UserError
from project.core.words import did_you_mean
from project.engine import inventory
from project.render.text import clean

if TYPE_CHECKING:
    from project.engine.submission import Request
    from project.spec.loader import Loaded
    from project.spec.specfile import SpecFile

EXAMPLES = """\
examples:
  {prog} run jobspec.json --cluster lemaitre3
  {prog} run jobspec.yaml --no-submit    then: start
  {prog} run jobspec.json --config psik.json
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """SPEC and the options of `run`."""
    parser.add_argument("file", metavar="SPEC", help="the job specification (JSON or YAML)")
    parser.add_argument("-m", "--module", "--modules", metavar="MODULES", dest="module", help="a modules file (YAML)")
    parser.add_argument("--config", metavar="FILE", help="psik's configuration file (also: PSIK_CONFIG)")
    parser.add_argument(
        "--submit",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="submit it; --no-submit only records it (then `start` submits it)",
    )
    parser.add_argument(
        "--here", action="store_true", help="let it run in the current folder (a cluster on this machine)"
    )
    submit.choices(parser)


def run(session: Session) -> Answer:
    """Submit what the specification says, or record it."""
    from project.engine import creating, submission

    wanted = request(session)
    if session.args.submit:
        work = submission.submit
        return submit.submitted(session, submit.carried_out(session, lambda: work(session.context, wanted)))
    if session.args.wait:
        raise UserError("--wait waits for a job that is submitted.", "Leave --no-submit out.")
    document = creating.create(session.context, wanted)
    session.output.current = ""
    uuid = str(document["job_uuid"])
    aside = f"Created {uuid}. Submit it: `{program()} start {uuid[:8]}`."
    return Answer(data=document, aside=aside, ids=[uuid], last=f"Your submission ID = {uuid}")


def request(session: Session) -> "Request":
    """The request that the specification makes. Raises InputError with the places of its problems, UserError."""
    from project import spec
    from project.engine.submission import Request
    from project.spec import specfile

    args = session.args
    found = specfile.load(args.file)
    names = _configured(session)
    if found.kind == specfile.OWN:
        wanted = submit.request(session)
        return replace(wanted, loaded=_here(session, wanted.loaded, inventory_verbs.everyone(session)))
    known = inventory.clusters(session.api)
    cluster = choose(found, known, args.cluster or "", names)
    loaded, notes = found.convert(
        str(cluster["name"]), schedulers.get(str(cluster["workload_manager"])), args.overrides or ()
    )
    for note in notes:
        session.output.aside(note)
    session.output.aside(f"{clean(args.file)} is a specification of {found.kind}; it goes to {clean(cluster['name'])}.")
    return Request(
        loaded=_here(session, loaded, known),
        modules=spec.load_modules(args.module) if args.module else None,
        fallback=args.fallback,
        tags=tags(args.tag),
        modules_file=os.path.abspath(args.module) if args.module else "",
    )


def _configured(session: Session) -> list[str]:
    """Import the clusters of psik's configuration file, if there is one; their names."""
    path = session.args.config or os.environ.get("PSIK_CONFIG") or ""
    if not path:
        return []
    from project.spec import psikconfig, specfile

    loaded = specfile.read(path)
    if not psikconfig.is_config(loaded.data):
        raise InputError([Problem("", "is no configuration of psik: it has no prefix.", None, "", path)])
    found, notes = psikconfig.convert(loaded)
    for note in notes:
        session.output.warn(note)
    for cluster in found:
        done = inventory_verbs.put(session, cluster)
        if done != "as it was":
            session.output.aside(f"Cluster {clean(cluster['name'])} of {clean(path)}: {done}.")
    return [str(cluster["name"]) for cluster in found]


def choose(found: "SpecFile", known: list[Document], named: str, configured: list[str]) -> Document:
    """The cluster of a specification that does not name one as jobferry's input does. Raises UserError.

    `named` is --cluster; `configured` are the clusters of psik's configuration file.
    """
    if named:
        return inventory.find(named, known)
    names = [str(cluster["name"]) for cluster in known]
    if found.backend:
        if found.backend in names:
            return inventory.find(found.backend, known)
        message = f"There is no cluster called {found.backend!r}, which the specification names as its backend."
        hint = did_you_mean(found.backend, names) or f"Known clusters: {', '.join(sorted(names))}."
        raise UserError(message, f"{hint} Or choose one with --cluster NAME.")
    among = [cluster for cluster in known if not configured or cluster["name"] in configured]
    if found.manager:
        among = [cluster for cluster in among if cluster.get("workload_manager") == found.manager]
    default = [cluster for cluster in among if cluster["name"] == _DEFAULT]
    others = [cluster for cluster in among if not inventory.is_built_in(cluster)]
    for group in (default, others, among):
        if len(group) == 1:
            return group[0]
    if not among:
        raise UserError(
            f"No cluster has the workload manager {found.manager}, which the specification's backend.type asks for.",
            "Choose a cluster with --cluster NAME.",
        )
    several = ", ".join(sorted(str(cluster["name"]) for cluster in others or among))
    raise UserError(f"The specification does not say on which cluster: {several}.", "Choose with --cluster NAME.")


# psik 3's backend when none is named; a cluster of that name comes from its configuration file.
_DEFAULT = "default"


def _here(session: Session, loaded: "Loaded", known: list[Document]) -> "Loaded":
    if not session.args.here:
        return loaded
    cluster = inventory.find(str(loaded.data["destination_cluster"]), known)
    if not inventory.is_here(cluster):
        raise UserError(
            f"--here means a folder of this machine, and the job runs on {clean(cluster['name'])}.",
            "Set `directory` to a folder of the cluster.",
        )
    data: dict[str, Any] = {**loaded.data, "directory": str(Path.cwd())}
    if loaded.data.get("directory"):
        session.output.warn(f"--here: it runs in {data['directory']}, not in {loaded.data['directory']}.")
    return replace(loaded, data=data)
