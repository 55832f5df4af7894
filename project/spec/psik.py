"""psik's JobSpec, of its versions 1.2 and 3.1, as an input of jobferry. Pure.

The fields are those of psik/models.py (v1.2.2 and v3.1.1). The versions differ in `backend`: an object with the
attributes in it in 1.2 (BackendConfig), the name of a configured backend in 3.x with `attributes` beside it.

psik's default of 10 minutes for `duration` is kept where the workload manager can express it, that of `exclusive_node_use`,
true, for Slurm: psik tells no other one of it. A default that nobody wrote is no reason to refuse a job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from project.spec import conversion
from project.spec.conversion import Conversion, Draft, Fields

if TYPE_CHECKING:
    from project.core.schedulers.base import Scheduler

FIELDS = (
    "name",
    "directory",
    "script",
    "environment",
    "inherit_environment",
    "resources",
    "backend",
    "attributes",
    "callback",
    "cb_headers",
    "cb_secret",
    "client_secret",
)
RESOURCES = (
    "duration",
    "node_count",
    "process_count",
    "processes_per_node",
    "cpu_cores_per_process",
    "gpu_cores_per_process",
    "exclusive_node_use",
)
BACKEND = ("type", "queue_name", "project_name", "reservation_id", "attributes")
SECRETS = ("callback", "cb_secret", "cb_headers", "client_secret")
# psik/models.py, ResourceSpec.duration, in minutes.
DURATION = 10
# psik/templates/slurm/job (v1.2.2) and psik/backends/slurm.py (v3.1.1); no other backend reads exclusive_node_use.
EXCLUSIVE_BY_DEFAULT = "slurm"
# psik 3's name of the backend that is meant when none is named.
DEFAULT_BACKEND = "default"


def convert(data: dict[str, Any], scheduler: Scheduler | None = None) -> Conversion:
    """A JobSpec as an input.

    :param data: the specification, as read from JSON or YAML.
    :param scheduler: the workload manager of the cluster it is for; None: no default of psik's is added.

    Raises InputError with every problem; its keys are the specification's.
    """
    draft = Draft("psik", scheduler)
    spec = Fields(draft, data, FIELDS)
    _script(draft, spec)
    for name in ("name", "directory", "callback", "cb_secret"):
        draft.put(name, spec.text(name, secret=name in SECRETS), name)
    if set(str(draft.data.get("cb_secret") or "")) == {"*"}:
        # pydantic writes a SecretStr so, and psik 1.2 its spec.json: whoever knows that could sign.
        draft.problem("cb_secret", "is what stands in place of a secret.", None, "Write the secret itself.")
    draft.put("env", spec.words("environment") or None, "environment")
    draft.put("inherit_environment", spec.truth("inherit_environment"), "inherit_environment")
    draft.put("cb_headers", spec.words("cb_headers", secret=True) or None, "cb_headers")
    if spec.text("client_secret", secret=True):
        draft.notes.append("client_secret is not used: what the job reports is signed with a token of its own.")
    _backend(draft, spec)
    conversion.options_of(draft, spec.words("attributes"), "attributes")
    _resources(draft, Fields(draft, spec.data.get("resources"), RESOURCES, "resources"))
    return draft.done()


def _script(draft: Draft, spec: Fields) -> None:
    script = spec.text("script")
    if not script.strip() and not isinstance(spec.data.get("script"), list | dict | int | float):
        draft.problem("script", "is missing: it holds the text of the program to run.")
        return
    text, added = conversion.with_shebang(script)
    if added:
        old = isinstance(spec.data.get("backend"), dict) or "client_secret" in spec.data
        hint = " psik 1.2 would take rc: begin it with `#!/usr/bin/env rc` if it is for that." if old else ""
        draft.notes.append("The script has no shebang: bash runs it, or sh where there is none." + hint)
    draft.put("script", text, "script")


def _backend(draft: Draft, spec: Fields) -> None:
    value = spec.data.get("backend")
    if isinstance(value, str):
        draft.backend = "" if value == DEFAULT_BACKEND else value
        return
    backend = Fields(draft, value, BACKEND, "backend")
    draft.manager = backend.text("type")
    there = draft.scheduler.name if draft.scheduler is not None else draft.manager
    if draft.manager and draft.manager != there:
        if backend.data.get("attributes"):
            hint = "Choose another cluster with --cluster, or leave them out."
            message = f"are options of {draft.manager}; the cluster's workload manager is {there}."
            draft.problem("backend.attributes", message, None, hint)
        draft.notes.append(f"backend.type is {draft.manager}; the cluster's workload manager is {there}.")
    for name, key in (("queue_name", "queue"), ("project_name", "account"), ("reservation_id", "reservation")):
        draft.put(f"resources.{key}", backend.text(name), f"backend.{name}")
    # psik 3's `attributes` win over the backend's (JobManager.create); 1.2 has only these.
    above = spec.data.get("attributes")
    own = backend.words("attributes")
    kept = {name: text for name, text in own.items() if not (isinstance(above, dict) and name in above)}
    conversion.options_of(draft, kept, "backend.attributes")


def _resources(draft: Draft, resources: Fields) -> None:
    minutes = resources.whole("duration")
    draft.put("resources.duration", f"{minutes}m" if minutes else None, "resources.duration")
    for name, key in (
        ("node_count", "nodes"),
        ("process_count", "ranks"),
        ("processes_per_node", "ranks_per_node"),
        ("cpu_cores_per_process", "threads_per_rank"),
        ("gpu_cores_per_process", "gpus_per_rank"),
    ):
        draft.put(f"resources.{key}", resources.whole(name), f"resources.{name}")
    exclusive = resources.truth("exclusive_node_use")
    draft.put("resources.exclusive", exclusive, "resources.exclusive_node_use")
    if resources.data.get("duration") is None:
        draft.default("seconds", f"{DURATION}m", f"A duration of {DURATION} minutes")
    if exclusive is None and draft.scheduler is not None and draft.scheduler.name == EXCLUSIVE_BY_DEFAULT:
        draft.default("exclusive", True, "Exclusive use of the nodes (exclusive_node_use)")
