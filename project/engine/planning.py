"""Everything that a submission would do, doing none of it."""

import re
import uuid as uuid_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from project.core import arrays, jobspec, launchers, payload, profiles, schedulers, script
from project.core.lines import Line
from project.core.paths import JobPaths, Root
from project.core.schedulers.base import LOCAL, Limit, Scheduler
from project.engine import bundle, credentials, expressible, inventory, placement, probing
from project.engine.bundle import shown
from project.engine.context import Context
from project.engine.submission import Request

Json = dict[str, Any]
# How a job that is not sent from here comes to its cluster.
TRANSFERS = {jobspec.GIT: "cloned there", jobspec.URL: "downloaded there"}
DEFAULT_ROOT = "$HOME/.jobferry"


def plan(context: Context, request: Request) -> Json:
    """The cluster and why, what would be sent, what would be run there, the batch script as it would be submitted.

    `script_lines` are the lines of `script`, each with its `origin` (`lines.Line`); `program` is the text of `scripts/run`.

    The UUID in it is an example: a submission makes its own. Clusters are probed, none is logged in to. Raises UserError,
    ApiError.
    """
    data = request.data()
    spec = jobspec.parse(data)
    clusters = inventory.clusters(context.api)
    with request.loaded.blame("destination_cluster", "There is no cluster"):
        wanted = inventory.find(spec.destination_cluster, clusters)
    modules = request.modules
    stages = {stage: modules.stage(stage) for stage in bundle.STAGES_THERE} if modules else {}
    with request.loaded.blame("job"):
        files = bundle.collect(spec.job, request.loaded.folder, stages)
    policy = request.policy(context.asks.interactive)
    probes = probing.probe(placement.candidates(wanted, clusters, policy))
    found = placement.choose(wanted, clusters, probes, policy, spec)
    cluster = found.chosen or wanted
    expressible.check(request.loaded, spec, cluster)
    uuid = str(uuid_module.uuid4())
    root = str(context.home / "local") if inventory.is_here(cluster) else DEFAULT_ROOT
    paths = JobPaths(str(cluster.get("workdir") or Root(root).jobs), uuid)
    scheduler = schedulers.of_cluster(cluster)
    work = _directory(spec.directory, inventory.is_here(cluster)) or paths.work
    parts = _parts(spec, cluster, scheduler)
    lines = _script(spec, cluster, scheduler, paths, work, Root(root).bell, parts)
    spec = profiles.applied(spec, cluster, scheduler)
    there = [step.execution for stage in ("preprocessing",) for step in stages.get(stage, ())]
    return {
        "cluster": cluster["name"] if found.chosen else None,
        "reason": found.reason or "would be asked about",
        "rejected": [rejected._asdict() for rejected in found.rejected],
        "proposals": [{"name": peer.cluster["name"], "reason": peer.reason} for peer in found.peers],
        "reached_by": _way(cluster),
        "login": _login(context, request, data, cluster),
        "workload_manager": cluster["workload_manager"],
        "job_directory": paths.folder,
        "working_directory": work,
        "source": files.source.get("url") or shown(spec.job),
        "transfer": TRANSFERS.get(jobspec.job_kind(spec.job), "sent over the connection") if spec.job else "",
        "bytes": files.total,
        "files": [{"path": shown(entry.name), "size": entry.size} for entry in files.entries],
        "left_behind": list(files.warnings),
        "staging_modules": [step.execution for step in modules.staging] if modules else [],
        "commands": [*spec.requirements, *spec.compilation, *there],
        "parts": [_part(part) for part in parts] if len(parts) > 1 else [],
        "submit": " ".join(scheduler.submit(paths.script, spec, cluster)).replace(LOCAL, "(built in)"),
        "launcher": _launcher(spec, cluster, scheduler),
        "postprocessing_modules": [step.execution for step in stages.get("postprocessing", ())],
        "output": list(spec.output),
        "mail": f"{spec.user_mail}: {', '.join(spec.notify) or 'none'}" if spec.user_mail else "nobody (no user_mail)",
        "callback": _callback(data),
        "program": payload.run_text(spec.script) if spec.script else "",
        "script": _plain("".join(line.text + "\n" for line in lines)),
        "script_lines": [{"text": _plain(line.text), "origin": line.origin} for line in lines],
    }


def _launcher(spec: jobspec.JobSpec, cluster: Json, scheduler: Scheduler) -> str:
    """The command line; one that is of no launcher known here may be a mistyped one, so that is said."""
    command = launchers.text(launchers.words(spec, cluster, scheduler)) or "none"
    own = launchers.chosen(spec, cluster, scheduler)
    return command if " ".join(own.split()) in launchers.LAUNCHERS else f"{command} (taken as it is)"


def _part(part: arrays.Part) -> str:
    """The indices that the job sees, and those of the workload manager where they are others."""
    # Steps (`:3`) stay as they are.
    own = re.sub(r"(?<![:\d])\d+", lambda found: str(int(found.group()) + part.offset), part.span)
    return f"elements {own}" + (f" (there {part.span})" if part.offset else "")


def _callback(data: Json) -> str:
    """Who is told, without the path: it may be a secret."""
    if "callback" not in data:
        return "nobody (no callback)"
    parts = urlsplit(data["callback"])
    return f"{parts.scheme}://{parts.netloc}, " + ("signed" if data.get("cb_secret") else "not signed (no cb_secret)")


def _parts(spec: jobspec.JobSpec, cluster: Json, scheduler: Scheduler) -> list[arrays.Part]:
    """The parts of an array, by the limit that the cluster's entry has; where it has none, the manager is asked there."""
    if spec.resources.array is None:
        return []
    return arrays.split(spec.resources.array, arrays.limit_of(scheduler, cluster) or Limit(), scheduler)


def _script(
    spec: jobspec.JobSpec,
    cluster: Json,
    scheduler: Scheduler,
    paths: JobPaths,
    work: str,
    bell: str,
    parts: list[arrays.Part],
) -> list[Line]:
    """The batch script; of an array in parts that of the first one."""
    uuid = paths.uuid
    if not parts:
        return script.explain(spec, cluster, scheduler, paths, uuid, work=work, bell=bell)
    own = spec._replace(resources=arrays.for_part(spec.resources, parts[0]))
    label = arrays.part_name(uuid, 1) if len(parts) > 1 else uuid
    elements = len(spec.resources.array.indices()) if spec.resources.array else 0
    return script.explain(own, cluster, scheduler, paths, uuid, work, bell, parts[0], label, elements)


def _directory(directory: str, here: bool) -> str:
    """Where the job runs if not in its own folder; a home folder elsewhere is not known here."""
    path = re.sub(r"\A~(?=/|\Z)", "$HOME", directory)
    return re.sub(r"\A\$HOME(?=/|\Z)", lambda _: str(Path.home()), path) if here else path


def _login(context: Context, request: Request, data: Json, cluster: Json) -> str:
    if inventory.is_here(cluster):
        return ""
    login = credentials.from_input(context, data, request.loaded.folder)
    name = login.username or cluster.get("username") or "as your ssh configuration says"
    return (
        f"{name}, key {shown(login.private_key)}"
        if login.private_key
        else f"{name}, key of your SSH agent or configuration"
    )


def _way(cluster: Json) -> str:
    if inventory.is_here(cluster):
        return "this machine, without a connection"
    return f"ssh to {cluster.get('hostname')}, port {cluster.get('port') or 22}"


def _plain(text: str) -> str:
    # A home folder is known only there; everything else is exact.
    return re.sub(r"'\$HOME(/[^']*)?'", lambda match: '"$HOME' + (match.group(1) or "") + '"', text)
