"""psik's configuration file, of its versions 1.2 and 3.x, as clusters. Pure.

psik/config.py: 1.2 has one `backend` (and the paths of psik and rc), 3.x has named `backends`; `prefix` is where jobs get their
folders. psik runs where the workload manager is, so every backend becomes a cluster that is this machine (`transport: local`).
What cannot take effect is an error that names it, but for the backends `local` and `at`, for which psik itself uses nothing of
it: that is a note.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from project.core import clusters, schedulers
from project.core.errors import InputError
from project.core.schema import shown
from project.core.words import did_you_mean
from project.spec import conversion, psik
from project.spec.conversion import Draft, Fields
from project.spec.loader import Loaded

Cluster = dict[str, Any]

FIELDS = ("prefix", "backend", "backends", "psik_path", "rc_path")
# psik's backends that are workload managers of the machine it runs on. `nersc` and `globus` are services of other sites.
TYPES = ("local", "at", "slurm", "lsf")
# How a workload manager is told the account and the reservation (psik's templates; sbatch(1), bsub(1)).
ACCOUNT: dict[str, Callable[[str], str]] = {"slurm": lambda name: f"--account={name}", "lsf": lambda name: f"-P {name}"}
RESERVATION: dict[str, Callable[[str], str]] = {
    "slurm": lambda name: f"--reservation={name}",
    "lsf": lambda name: f"-U {name}",
}


def is_config(data: Any) -> bool:
    """True for what psik reads as its configuration: a mapping with a `prefix` and nothing of a cluster."""
    return isinstance(data, dict) and "prefix" in data and not {"hostname", "workload_manager", "name"} & set(data)


def convert(loaded: Loaded) -> tuple[list[Cluster], list[str]]:
    """The clusters of a configuration, and notes for people. Raises InputError with the places of every problem."""
    draft = Draft("psik", None)
    try:
        found = _clusters(draft, loaded.data)
        draft.done()
    except InputError as error:
        raise InputError(loaded.placed(error.problems), "psik configuration") from None
    return [_normalised(loaded, cluster) for cluster in found], draft.notes


def _normalised(loaded: Loaded, cluster: Cluster) -> Cluster:
    try:
        return clusters.normalise(cluster)
    except InputError as error:
        # A name that is no cluster's, or a value that no directive can hold: the message names the cluster's key.
        at = "backends" if "backends" in loaded.data else "backend"
        told = [problem._replace(key=at, message=f"{problem.key} {problem.message}") for problem in error.problems]
        raise InputError(loaded.placed(told), "psik configuration") from None


def _clusters(draft: Draft, data: Any) -> list[Cluster]:
    config = Fields(draft, data, FIELDS)
    prefix = config.text("prefix")
    if not prefix.startswith(("/", "~/", "$HOME/")):
        draft.problem("prefix", f"is no absolute path: {shown(prefix)}.", None, "Write it with a leading /.")
    # The job finds both in its environment, as in psik 1.2.
    env = {name: config.text(f"{name}_path") for name in ("psik", "rc")}
    env = {name: value for name, value in env.items() if value}
    if "backend" in config.data and "backends" in config.data:
        draft.problem("backends", "does not go with backend: psik 1.2 has the one, psik 3 the other.")
        return []
    if "backends" in config.data:
        named = config.mapping("backends")
        if not named:
            draft.problem("backends", "is empty.")
        return [_cluster(draft, name, value, f"backends.{name}", prefix, env) for name, value in named.items()]
    value = config.data.get("backend")
    kind = value.get("type") if isinstance(value, dict) else None
    return [_cluster(draft, f"psik-{kind or 'local'}", value, "backend", prefix, env)]


def _cluster(draft: Draft, name: str, value: Any, at: str, prefix: str, env: dict[str, str]) -> Cluster:
    backend = Fields(draft, value, psik.BACKEND, at)
    kind = backend.text("type") or "local"
    if kind not in TYPES:
        hint = did_you_mean(kind, TYPES) or "Add its login node with `clusters add`, to be reached over SSH."
        draft.problem(f"{at}.type", f"is {shown(kind)}, which is no workload manager of this machine.", None, hint)
    options = _options(draft, backend, kind, at)
    profile = {"options": options, "env": env}
    return {
        "name": name,
        "hostname": "localhost",
        "transport": "local",
        "workload_manager": kind if kind in TYPES else "local",
        "workdir": prefix,
        **({"partition": backend.text("queue_name")} if backend.text("queue_name") and _queues(kind) else {}),
        **({"profile": {key: item for key, item in profile.items() if item}} if options or env else {}),
    }


def _queues(kind: str) -> bool:
    return kind in schedulers.SCHEDULERS and "queue" in schedulers.get(kind).expresses


def _options(draft: Draft, backend: Fields, kind: str, at: str) -> list[str]:
    """The site's options; what does not become one is told."""
    options = []
    for name, way in (("project_name", ACCOUNT), ("reservation_id", RESERVATION)):
        value = backend.text(name)
        if value and kind in way:
            options.append(way[kind](value))
        elif value:
            draft.notes.append(f"{at}.{name} is not used: {kind} has no use for it, in psik neither.")
    if backend.text("queue_name") and not _queues(kind):
        draft.notes.append(f"{at}.queue_name is not used: {kind} has no queues, in psik neither.")
    if kind in {"local", "at"}:
        if backend.words("attributes"):
            draft.notes.append(f"{at}.attributes are not used: {kind} takes no options, in psik neither.")
        return options
    own = Draft("psik", None)
    conversion.options_of(own, backend.words("attributes"), f"{at}.attributes")
    draft.problems += own.problems
    return [*options, *own.data.get("scheduler_options", [])]
