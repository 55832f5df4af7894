"""One job as its owner described it: checked, normalised, frozen.

The input travels as a dictionary in the user's own words (modules read and change it; the job document shows it);
`parse` makes the JobSpec that everything else works with. Checking reads no file and no network: it gives the same
answer on the laptop, on the cluster and in the server.
"""

import itertools
import re
import shlex
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple

from project.core import callbacks, plain, resources, schema, states
from project.core.errors import InputError, Problem
from project.core.options import text_problem
from project.core.resources import Resources
from project.core.words import did_you_mean

# What only this machine and the API know; the API keeps the last three apart from the input, sealed.
SECRETS = ("private_key", "passphrase", *callbacks.KEYS)
LATER = (
    "app",
    "inputs",
    "archive",
    "after",
    "matrix",
    "pack",
    "on_error",
    "on_timeout",
    "data",
)
NOTIFY_DEFAULT = (states.QUEUED, states.RUNNING, states.FINISHED, states.FAILED, states.CANCELLED, states.BLOCKED)

LOCAL, GIT, URL = "file|directory", "git", "url"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# git-clone(1), "GIT URLS": the scp-like form has no slash before its first colon.
_SCP = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+:(?!//)")
_GIT_SCHEMES = ("git", "ssh", "git+ssh", "ssh+git", "file")
_URL_SCHEMES = ("http", "https", "ftp")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Setting one of these ends bash, which is /bin/sh on many clusters (man bash, "Shell Variables").
_READ_ONLY = ("UID", "EUID", "PPID", "BASHOPTS", "SHELLOPTS", "BASH_VERSINFO")


class JobSpec(NamedTuple):
    """A checked input. Secrets are not in it: `spec` loads them, the transport alone uses them.

    With a `script` there is no `execution`, and `job` may be "". `directory` is as it was written: `~` and `$HOME` are the
    cluster's. `launcher` "" = the cluster's or the workload manager's own.
    """

    destination_cluster: str
    job: str
    execution: List[str]
    name: str = ""
    username: str = ""
    user_mail: str = ""
    requirements: List[str] = []
    compilation: List[str] = []
    output: List[str] = []
    resources: Resources = Resources()
    kwargs: Dict[str, Any] = {}
    env: Dict[str, str] = {}
    tags: Dict[str, str] = {}
    notify: List[str] = list(NOTIFY_DEFAULT)
    fallback: Optional[str] = None
    scheduler_options: List[str] = []
    script: str = ""
    directory: str = ""
    inherit_environment: bool = True
    launcher: str = ""


def parse(data: Dict[str, Any]) -> JobSpec:
    """The JobSpec of an input. Raises InputError with every problem (`problems`)."""
    found = problems(data)
    if found:
        raise InputError(found)
    return JobSpec(
        destination_cluster=data["destination_cluster"],
        job=data.get("job", ""),
        execution=_commands(data.get("execution")),
        name=data.get("name", ""),
        username=data.get("username", ""),
        user_mail=data.get("user_mail", ""),
        requirements=_commands(data.get("requirements")),
        compilation=_commands(data.get("compilation")),
        output=texts(data.get("output")),
        resources=resources.parse(data.get("resources", {})),
        kwargs=dict(data.get("kwargs", {})),
        env=dict(data.get("env", {})),
        tags=dict(data.get("tags", {})),
        notify=notify_states(data.get("notify")),
        fallback=data.get("fallback"),
        scheduler_options=texts(data.get("scheduler_options")),
        script=data.get("script", ""),
        directory=data.get("directory", ""),
        inherit_environment=data.get("inherit_environment", True),
        launcher=data.get("launcher", "").strip(),
    )


def public(data: Dict[str, Any]) -> Dict[str, Any]:
    """The input without the key, the passphrase and the callback: what modules, clusters and the API's documents have."""
    return {key: value for key, value in data.items() if key not in SECRETS}


def problems(data: Any) -> List[Problem]:
    """Everything that is wrong with an input, in the order of its keys; file, line and column are left open."""
    found = list(itertools.islice(plain.problems(data), schema.MOST))
    if found:
        return found
    # What runs is said better below than by the schema's alternatives.
    document = {key: value for key, value in schema.load("input").items() if key not in ("anyOf", "not")}
    found = schema.problems(data, document)
    if not isinstance(data, dict) or len(found) >= schema.MOST:
        return found
    better = _semantic(data, {problem.key for problem in found})
    keys = {problem.key for problem in better}
    order = {name: number for number, name in enumerate(data)}
    every = [problem for problem in found if problem.key not in keys] + better
    return sorted(every, key=lambda problem: order.get(re.split(r"[.\[]", problem.key)[0], -1))


def _semantic(data: Dict[str, Any], bad: Set[str]) -> List[Problem]:
    """What the schema cannot say. Keys in `bad` are wrong already, only units say it better than the schema."""
    found: List[Problem] = []

    def good(key: str) -> bool:
        return key in data and not any(re.match(re.escape(key) + r"(\Z|[.\[])", name) for name in bad)

    found += _payload_problems(data)
    if good("launcher"):
        found += _launcher_problems(data["launcher"])
    if good("job"):
        found += _job_problems(data["job"])
    for key, check in (("output", _output_problem), ("scheduler_options", text_problem)):
        if key in data and key not in bad:
            found += _each(key, data[key], check, bad)
    if "partition" in data:
        # Clusters have this key, so it is looked for here too.
        found.append(
            Problem(
                "partition",
                "is not a key of this file.",
                None,
                "Write scheduler_options: [--partition=NAME], or set partition of the cluster.",
            )
        )
    if good("notify"):
        found += _notify_problems(data["notify"])
    if isinstance(data.get("env"), dict):
        found += _env_problems(data["env"])
    found += callbacks.problems({key: data[key] for key in callbacks.KEYS if good(key)})
    if isinstance(data.get("resources"), dict):
        found += resources.problems(data["resources"])
    return found


def _payload_problems(data: Dict[str, Any]) -> List[Problem]:
    """What the schema's `anyOf` and `not` say: `job` and `execution`, or a `script` that takes their place."""
    if "script" not in data:
        wanted = {
            "job": "It is a file, a directory, a Git URL or a URL",
            "execution": "It is a shell line or a list of them",
        }
        return [
            Problem(key, "is missing.", None, "{}. A script can stand instead.".format(hint))
            for key, hint in wanted.items()
            if key not in data
        ]
    if "execution" in data:
        return [Problem("script", "does not go with execution.", None, "Leave one of the two out.")]
    return []


def _launcher_problems(launcher: str) -> List[Problem]:
    try:
        words = shlex.split(launcher)
    except ValueError:
        return [Problem("launcher", "has a quote that is not closed.", launcher)]
    return [] if words else [Problem("launcher", "is empty.", launcher, "Write none for no launcher.")]


def _each(key: str, value: Any, check: Callable[[str], Tuple[str, str]], bad: Set[str]) -> List[Problem]:
    found: List[Problem] = []
    for number, item in enumerate(texts(value)):
        place = "{}[{}]".format(key, number) if isinstance(value, list) else key
        message, hint = ("", "") if place in bad else check(item)
        if message:
            found.append(Problem(place, message, item, hint))
            if len(found) >= schema.MOST:
                break
    return found


def _output_problem(pattern: str) -> Tuple[str, str]:
    shown = schema.shown(pattern)
    below = "Give a file, a folder or a glob relative to the job's folder."
    if pattern.startswith("/"):
        return "can never match {}: it is an absolute path.".format(shown), below
    if pattern.startswith("~"):
        return "can never match {}: ~ is not expanded.".format(shown), below
    if ".." in pattern.split("/"):
        return "can never match {}: .. leads out of the job's folder.".format(shown), below
    if re.search(r"\$[A-Za-z_{(]|`", pattern):
        return "can never match {}: variables are not expanded.".format(shown), below
    return "", ""


def _notify_problems(value: Any) -> List[Problem]:
    found: List[Problem] = []
    names = texts(value)
    for number, name in enumerate(names):
        if len(found) >= schema.MOST:
            break
        place = "notify[{}]".format(number) if isinstance(value, list) else "notify"
        if name.upper() not in states.STATES and name.lower() not in ("all", "none"):
            hint = did_you_mean(name, states.STATES) or "It is all, none or a list of {}.".format(
                ", ".join(states.STATES)
            )
            found.append(Problem(place, "there is no state {}.".format(schema.shown(name)), name, hint))
        elif name.lower() in ("all", "none") and len(names) > 1:
            found.append(Problem(place, "'{}' stands alone.".format(name.lower()), name, "Or list the states."))
    return found


def _env_problems(env: Dict[Any, Any]) -> List[Problem]:
    found = []
    for name, value in env.items():
        place = schema.key_text(("env", str(name)))
        if str(name).upper().startswith(("JOBFERRY_", "SLURM_")):
            found.append(Problem(place, "is set by jobferry or Slurm itself.", value, "Choose another name."))
        elif name in _READ_ONLY:
            found.append(Problem(place, "is read-only in the shell.", value, "Choose another name."))
    return found


def _job_problems(job: str) -> List[Problem]:
    scheme = _SCHEME.match(job)
    if not scheme and not _SCP.match(job):
        return []
    if _CONTROL.search(job):
        return [Problem("job", "is a URL with a line break or another control character in it.", job)]
    if scheme and job_kind(job) == LOCAL:
        known = _GIT_SCHEMES + _URL_SCHEMES
        hint = did_you_mean(scheme.group(1), known) or "Known are {}.".format(", ".join(known))
        return [Problem("job", "has a scheme '{}' that is unknown.".format(scheme.group(1)), job, hint)]
    if scheme and re.match(r"[^/?#]*:[^/?#@]*@", job[scheme.end() :]):
        # The value is left out: it holds the password.
        hint = "It would be stored with the job. Let the cluster's own git credentials or an ssh key give access."
        return [Problem("job", "is a URL with a password in it.", None, hint)]
    reference = git_url(job)[1] if job_kind(job) == GIT else ""
    if reference.startswith("-") or re.search(r"[\s~^:?*\[\\]|\.\.", reference):
        return [Problem("job", "has no branch or tag after the '#' that git would take.", job)]
    return []


def job_kind(job: str) -> str:
    """GIT, URL or LOCAL (a file or a directory: who can see the disk decides)."""
    scheme = _SCHEME.match(job)
    if not scheme:
        return GIT if _SCP.match(job) else LOCAL
    name = scheme.group(1).lower()
    if name in _GIT_SCHEMES:
        return GIT
    if name in _URL_SCHEMES:
        path = re.split(r"[?#]", job)[0].rstrip("/")
        return GIT if path.endswith(".git") else URL
    return LOCAL


def git_url(job: str) -> Tuple[str, str]:
    """The address and the branch or tag ("" = the default branch) of a Git job."""
    address, _, reference = job.partition("#")
    return address, reference


def git_folder(job: str) -> str:
    """The folder that `git clone` makes for a Git job: the last part of its address without `.git`."""
    name = re.split(r"[/:]", git_url(job)[0].rstrip("/"))[-1]
    name = name[: -len(".git")] if name.endswith(".git") and len(name) > len(".git") else name
    return name if name not in ("", ".", "..") else "repository"


def texts(value: Any) -> List[str]:
    """A list where one text or nothing may stand for it."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def notify_states(value: Any) -> List[str]:
    """The states that `notify` asks for; the default ones when it is None."""
    if value is None:
        return list(NOTIFY_DEFAULT)
    names = texts(value)
    if [name.lower() for name in names] == ["all"]:
        return list(states.STATES)
    return [state for state in states.STATES if state in [name.upper() for name in names]]


def _commands(value: Any) -> List[str]:
    return [line.strip() for line in texts(value)]
