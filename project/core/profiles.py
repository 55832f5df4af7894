"""A cluster's `profile`: what its site puts around every job there. Pure.

A text or a list of shell lines comes first in every job. A mapping tells more: `modules` to load, `prologue` and `epilogue`
lines, `directives` (header lines as they are), `options` (scheduler options of the site), `env`, and `body`, a template of
the whole part of the batch script that runs the job, with placeholders (`BLOCKS`, `VALUES`).
"""

import re
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Match, NamedTuple, Optional, Tuple

from project.core.errors import InputError, Problem
from project.core.lines import Line
from project.core.process import quote
from project.core.words import did_you_mean

if TYPE_CHECKING:
    from project.core.jobspec import JobSpec
    from project.core.schedulers.base import Scheduler

# Placeholders that stand for lines, each alone on its line.
BLOCKS = ("modules", "prologue", "execution", "epilogue")
# Placeholders that stand for a value: the shell variable of the job that holds it. A reference to it, so that no value is
# ever read as shell, wherever in the template it stands.
VALUES = {
    "name": "JOBFERRY_JOB_NAME",
    "job": "JOBFERRY_JOB",
    "run": "JOBFERRY_RUN",
    "index": "JOBFERRY_INDEX",
    "array_size": "JOBFERRY_ARRAY_SIZE",
    "native_id": "JOBFERRY_NATIVE_ID",
    "cluster": "JOBFERRY_CLUSTER",
    "workload_manager": "JOBFERRY_WORKLOAD_MANAGER",
    "job_directory": "JOBFERRY_JOB_DIRECTORY",
    "work": "JOBFERRY_WORK",
    "nodes": "JOBFERRY_NODES",
    "ranks": "JOBFERRY_RANKS",
    "threads_per_rank": "JOBFERRY_THREADS_PER_RANK",
    "launcher": "JOBFERRY_LAUNCHER",
}
_PLACEHOLDER = re.compile(r"\{\{ *([A-Za-z_][A-Za-z0-9_]*) *\}\}")
_ALONE = re.compile(r"\s*\{\{ *([A-Za-z_][A-Za-z0-9_]*) *\}\}\s*\Z")
# Where the command `module` comes from; a shell without a terminal often has not read these. MODULESHOME is set by
# Environment Modules (module(1), ENVIRONMENT), LMOD_PKG by Lmod.
_MODULE_COMMAND = """\
for jobferry_file in "${MODULESHOME:-}/init/sh" "${LMOD_PKG:-}/init/sh" /etc/profile.d/modules.sh /etc/profile.d/lmod.sh \\
  /usr/share/modules/init/sh /usr/share/lmod/lmod/init/sh; do
  command -v module > /dev/null 2>&1 || [ ! -r "$jobferry_file" ] || . "$jobferry_file"
done"""


class Profile(NamedTuple):
    """`first` are the lines of a profile that is a text or a list; `body` "" = jobferry's own."""

    first: List[str] = []
    modules: List[str] = []
    prologue: List[str] = []
    epilogue: List[str] = []
    directives: List[str] = []
    options: List[str] = []
    env: Dict[str, str] = {}
    body: str = ""


def parse(cluster: Mapping[str, Any], scheduler: Optional["Scheduler"] = None) -> Profile:
    """The cluster's profile. Raises InputError with every problem (`problems`)."""
    found = problems(cluster, scheduler)
    if found:
        where = "cluster {}".format(cluster.get("name", ""))
        raise InputError([problem._replace(key="{}: {}".format(where, problem.key)) for problem in found], where)
    return _read(cluster.get("profile"))


def applied(spec: "JobSpec", cluster: Mapping[str, Any], scheduler: "Scheduler") -> "JobSpec":
    """The job with the site's `options` before its own. One that says what the job says itself is left out: it is a default."""
    options = site_options(spec, cluster, scheduler)
    return spec._replace(scheduler_options=options + spec.scheduler_options) if options else spec


def site_options(spec: "JobSpec", cluster: Mapping[str, Any], scheduler: "Scheduler") -> List[str]:
    """The site's `options` that hold for this job."""
    said = set(spec.resources.asked())
    for option in spec.scheduler_options:
        said.update(scheduler.option_fields(option))
    return [
        option for option in _read(cluster.get("profile")).options if not said & set(scheduler.option_fields(option))
    ]


def problems(cluster: Mapping[str, Any], scheduler: Optional["Scheduler"] = None) -> List[Problem]:
    """What the schema cannot say of a profile; without `scheduler` its directives and options are not looked at."""
    profile = _read(cluster.get("profile"))
    found = _body_problems(profile)
    if scheduler is None:
        return found
    prefix = scheduler.directive_prefix
    for number, line in enumerate(profile.directives):
        message, hint = _directive_problem(line, prefix, scheduler)
        if message:
            found.append(Problem("profile.directives[{}]".format(number), message, line, hint))
    for number, option in enumerate(profile.options):
        message, hint = scheduler.option_problem(option)
        if message:
            found.append(Problem("profile.options[{}]".format(number), message, option, hint))
    return found + _stray_problems(profile, scheduler)


def _stray_problems(profile: Profile, scheduler: "Scheduler") -> List[Problem]:
    """Lines that a program that reads header lines in the whole script would take for its own. Only a body starts a line."""
    if not scheduler.stray_line:
        return []
    texts = [("profile.body", "\n" + profile.body)]
    texts += [("profile.env." + name, value) for name, value in profile.env.items()]
    for name in ("first", "modules", "prologue", "epilogue"):
        key = "profile" if name == "first" else "profile." + name
        texts += [("{}[{}]".format(key, number), line) for number, line in enumerate(getattr(profile, name))]
    message = "has a line that {} would take for a header line.".format(scheduler.program)
    hint = "Header lines go into profile.directives; put a space before one that is none."
    stray = re.compile(r"\n" + scheduler.stray_line)
    return [Problem(key, message, None, hint) for key, text in texts if stray.search(text)]


def _read(value: Any) -> Profile:
    if isinstance(value, dict):
        fields = {key: _texts(value.get(key)) for key in ("modules", "prologue", "epilogue", "directives", "options")}
        return Profile(env=dict(value.get("env") or {}), body=value.get("body") or "", **fields)
    return Profile(first=_texts(value))


def _texts(value: Any) -> List[str]:
    return [value] if isinstance(value, str) else list(value or [])


def _directive_problem(line: str, prefix: str, scheduler: "Scheduler") -> Tuple[str, str]:
    if not prefix:
        message = "cannot stand in a batch script: the workload manager {} reads none.".format(scheduler.name)
        return message, "Take profile.options or profile.prologue."
    if not re.match(re.escape(prefix) + r"[ \t]+\S", line):
        return "does not start with '{} '.".format(prefix), "Only header lines of {} go here.".format(scheduler.name)
    return scheduler.option_problem(line[len(prefix) :].strip())


def _body_problems(profile: Profile) -> List[Problem]:
    if not profile.body:
        return []
    found = []
    names = _PLACEHOLDER.findall(profile.body)
    for name in sorted(set(names) - set(BLOCKS) - set(VALUES)):
        known = [*BLOCKS, *VALUES]
        hint = did_you_mean(name, known) or "There are {}.".format(", ".join(known))
        found.append(Problem("profile.body", "has a placeholder {{{{{}}}}} that is unknown.".format(name), None, hint))
    for line in profile.body.splitlines():
        for name in _PLACEHOLDER.findall(line):
            if name in BLOCKS and not _ALONE.match(line):
                hint = "It stands for lines, so it has a line of its own."
                found.append(Problem("profile.body", "has {{{{{}}}}} within a line.".format(name), line, hint))
    if names.count("execution") != 1:
        message = "must hold {{execution}} once: that is what runs the job."
        found.append(Problem("profile.body", message, None, "Write it on a line of its own."))
    for name in ("modules", "prologue", "epilogue"):
        if getattr(profile, name) and name not in names:
            message = "has no {{{{{}}}}}, so profile.{} would be lost.".format(name, name)
            found.append(Problem("profile.body", message, None, "Write {{{{{}}}}} where it belongs.".format(name)))
    return found


def modules(profile: Profile) -> List[Line]:
    """The lines that load the modules. One that fails is no end: the lines of the job need what it gives."""
    if not profile.modules:
        return []
    found = [Line(_MODULE_COMMAND, "profile.modules")]
    for number, entry in enumerate(profile.modules):
        names = " ".join(quote(name) for name in entry.split())
        found.append(Line("module load " + names, "profile.modules[{}]".format(number)))
    return found


def prologue(profile: Profile) -> List[Line]:
    """The lines before the job. One that fails is no end, nor is one with a syntax error."""
    return evaluated(profile.prologue, "profile.prologue")


def epilogue(profile: Profile) -> List[Line]:
    """A function that runs the lines after the job, once, in a subshell: nothing they do changes how the job ends."""
    if not profile.epilogue:
        return []
    key = "profile.epilogue"
    head = "jobferry_epilogue() {\n  jobferry_epilogue() { :; }\n  ("
    tail = "  ) < /dev/null || :\n}"
    path = Line('    PATH=$jobferry_payload_path; export JOBFERRY_EXIT_CODE="$jobferry_code"', key)
    return [
        Line(head, key),
        path,
        *evaluated(profile.epilogue, key, "    "),
        Line(tail, key),
        Line("jobferry_payload_path=$PATH", key),
    ]


def evaluated(lines: List[str], key: str, indent: str = "") -> List[Line]:
    """Shell lines, each given to `eval`; `command` keeps one with a syntax error from ending the shell (POSIX, command)."""
    return [
        Line(indent + "command eval " + quote(line), "{}[{}]".format(key, number)) for number, line in enumerate(lines)
    ]


def filled(body: str, blocks: Mapping[str, List[Line]]) -> List[Line]:
    """The template with the lines of `blocks` in it. It has no problems (`problems`)."""
    found: List[Line] = []
    for text in body.rstrip("\n").split("\n"):
        alone = _ALONE.match(text)
        if alone and alone.group(1) in BLOCKS:
            found += blocks.get(alone.group(1), [])
        else:
            found.append(Line(_PLACEHOLDER.sub(_reference, text), "profile.body"))
    return found


def _reference(match: Match[str]) -> str:
    return "${" + VALUES[match.group(1)] + "}"
