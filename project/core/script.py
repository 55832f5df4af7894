"""The batch script: plain POSIX sh, from the job's spec. Pure: text out.

What it leaves in the job's folder, for element I of an array each name with `.I` appended (N = run number, from 1):

`log/stdout.N`, `log/stderr.N`   what the execution lines print
`facts/started.N`                lines `time 2026-11-21T10:00:00Z`, `node NAME`, `native_id ID`
`facts/ended.N`                  lines `exit_code C`, `command K` (the K-th execution line was the last one run, from 1),
                                 `signal TERM` (only after a signal), `told C` (the workload manager was told another exit
                                 code: `Scheduler.meaningful_exits`), `time …`
`status.csv`                     a row `epoch,jobndx,active,0` at the start, `…,completed|failed,C` at the end; jobndx is
                                 the run number, in an array the index + 1 (psik counts from 1)
the bell file                    is touched at the start and at the end, so that the watcher looks at once

Execution lines run one after the other in one shell, so that `cd`, `export` and `module load` hold for the next line; the
first that fails ends the job with its exit code. A line is given to `eval`, so that one with a syntax error fails as a
line. Nothing that goes wrong in this bookkeeping (a full disk) changes how the job ends.
"""

import os
import re
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, NamedTuple, Optional

from project.core import lines as lines_module
from project.core import payload, profiles
from project.core.errors import UserError
from project.core.lines import Line, ours
from project.core.process import quote

if TYPE_CHECKING:
    from project.core.arrays import Part
    from project.core.jobspec import JobSpec
    from project.core.paths import JobPaths
    from project.core.schedulers.base import Scheduler

_RUN = "jobferry_run=$(( ${{{restarts}:-0}} + {first} ))"
# For a manager that does not tell how often it has started the job: each start left a fact.
_COUNTED = """
while [ -e "$jobferry_folder/facts/started.$jobferry_run${jobferry_index:+.$jobferry_index}" ]; do
  jobferry_run=$(( jobferry_run + 1 ))
done"""
# {placeholders} are filled by _HEAD.format: braces of the shell are doubled.
_HEAD = r"""
# jobferry: job {uuid}
jobferry_folder={folder}
jobferry_index=${{{index}:-}}
# A job that is no array has no index; some managers say 0 or a word then.
case $jobferry_index in *[!0-9]*) jobferry_index= ;; esac
[ "${{jobferry_index:-{lowest}}}" -ge {lowest} ] || jobferry_index={shift}
{run}
jobferry_native=${{{native}:-}}
jobferry_name=$jobferry_run${{jobferry_index:+.$jobferry_index}}
jobferry_row=$jobferry_run
[ -z "$jobferry_index" ] || jobferry_row=$(( jobferry_index + 1 ))
jobferry_path=$PATH
jobferry_command=0
jobferry_signal=
jobferry_stop=0

# The text on stdin becomes facts/NAME, whole or not at all.
jobferry_fact() {{
  cat > "$jobferry_folder/facts/.$1.$$" && mv -f "$jobferry_folder/facts/.$1.$$" "$jobferry_folder/facts/$1"
}}
jobferry_tell() {{
  printf '%s,%s,%s,%s\n' "$(date +%s)" "$jobferry_row" "$1" "$2" >> "$jobferry_folder/status.csv"
  : >> {bell} && touch {bell}
}}
jobferry_start() {{
  {{
    echo "time $(date -u +%Y-%m-%dT%H:%M:%SZ)"
    echo "node $(hostname 2>/dev/null || uname -n)"
    echo "native_id $jobferry_native"
  }} | jobferry_fact "started.$jobferry_name"
  jobferry_tell active 0
}}
jobferry_end() {{
  {{
    echo "exit_code $1"
    echo "command $jobferry_command"
    [ -z "$jobferry_signal" ] || echo "signal $jobferry_signal"
    [ "$jobferry_told" -eq "$1" ] || echo "told $jobferry_told"
    echo "time $(date -u +%Y-%m-%dT%H:%M:%SZ)"
  }} | jobferry_fact "ended.$jobferry_name"
  if [ "$1" -eq 0 ]; then jobferry_tell completed 0; else jobferry_tell failed "$1"; fi
}}
jobferry_epilogue() {{ :; }}
jobferry_exit() {{
  jobferry_code=$?
  trap - EXIT
  trap '' HUP INT TERM
  set +eux
  PATH=$jobferry_path
  [ "$jobferry_code" -ne 0 ] || jobferry_code=$jobferry_stop
  jobferry_epilogue
  jobferry_told=$jobferry_code{told}
  ( jobferry_end "$jobferry_code" ) > /dev/null 2>&1 < /dev/null
  exit "$jobferry_told"
}}
# A signal is handled when the program that runs has ended: it gets the same signal and may tidy up.
trap jobferry_exit EXIT
trap 'jobferry_signal=TERM jobferry_stop=143' TERM
trap 'jobferry_signal=INT jobferry_stop=130' INT
trap 'jobferry_signal=HUP jobferry_stop=129' HUP
trap 'jobferry_signal=XCPU jobferry_stop=152' XCPU
# A warning (sbatch --signal=B:USR1@60) ends nothing; an execution line may set a trap of its own.
trap : USR1 USR2

if ( : >> "$jobferry_folder/log/stdout.$jobferry_name" && : >> "$jobferry_folder/log/stderr.$jobferry_name" ) 2>/dev/null; then
  exec >> "$jobferry_folder/log/stdout.$jobferry_name" 2>> "$jobferry_folder/log/stderr.$jobferry_name"
fi
( jobferry_start ) > /dev/null 2>&1 < /dev/null
"""
# The manager would start the job again, or stop it for good: it is told of a plain failure, the fact keeps the true code.
_TOLD = "\n  case $jobferry_code in {codes}) jobferry_told=1 ;; esac"
# The manager's indices of this part are not the user's; the programs see the user's alone.
_SHIFT = (
    '\n[ -z "$jobferry_index" ] || jobferry_index=$(( jobferry_index + {offset} ))\nexport {index}="$jobferry_index"'
)


def job_name(uuid: str, name: str = "") -> str:
    """The batch job's name: the UUID is in it, so that the job is found by it. At most 120 harmless characters."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60]
    return "{}.{}".format(plain, uuid) if plain else "jobferry.{}".format(uuid)


def render(
    spec: "JobSpec",
    cluster: Mapping[str, Any],
    scheduler: "Scheduler",
    paths: "JobPaths",
    uuid: str,
    work: str = "",
    bell: str = "",
    part: Optional["Part"] = None,
    label: str = "",
    elements: int = 0,
    first_run: int = 1,
) -> str:
    """The batch script of a job.

    :param work: the directory the job runs in, absolute; default `paths.work`.
    :param bell: the root's bell file (`Root.bell`); default `bell` beside the workdir.
    :param part: the part of a split array that it is for (`core.arrays`); `spec` is then the part's.
    :param label: what stands for the UUID in the batch job's name (`arrays.part_name`); default the UUID.
    :param elements: how many elements the whole array has; default those of `spec`.
    :param first_run: the run number of its first start; above 1 for a job that goes on with the count of another one.

    Raises UserError for a value that cannot stand in a script, InputError for a profile that is none.
    """
    where = _Where(cluster, scheduler, paths, uuid, work or paths.work, bell or _bell(paths), part, elements, first_run)
    spec = profiles.applied(spec, cluster, scheduler)
    header = [Line(text) for text in scheduler.directives(spec, cluster, paths, label or uuid)]
    header += [Line(text) for text in scheduler.preamble(spec)]
    return _text(_lines(spec, header, where))


def explain(
    spec: "JobSpec",
    cluster: Mapping[str, Any],
    scheduler: "Scheduler",
    paths: "JobPaths",
    uuid: str,
    work: str = "",
    bell: str = "",
    part: Optional["Part"] = None,
    label: str = "",
    elements: int = 0,
) -> List[Line]:
    """The same batch script line by line, each with where it comes from; parameters and errors as for `render`."""
    where = _Where(cluster, scheduler, paths, uuid, work or paths.work, bell or _bell(paths), part, elements)
    site = profiles.site_options(spec, cluster, scheduler)
    spec = profiles.applied(spec, cluster, scheduler)
    header = lines_module.explained(
        lambda job, place: scheduler.directives(job, place, paths, label or uuid), spec, cluster, site
    )
    header += lines_module.explained(lambda job, _: scheduler.preamble(job), spec, cluster, site)
    found = _lines(spec, header, where)
    _text(found)
    return [Line(text, line.origin) for line in found for text in line.text.split("\n")]


class _Where(NamedTuple):
    """Where a script is for."""

    cluster: Mapping[str, Any]
    scheduler: "Scheduler"
    paths: "JobPaths"
    uuid: str
    work: str
    bell: str
    part: Optional["Part"] = None
    elements: int = 0
    first: int = 1


def _bell(paths: "JobPaths") -> str:
    return os.path.join(os.path.dirname(paths.workdir.rstrip("/")), "bell")


def _text(found: List[Line]) -> str:
    text = "\n".join(line.text for line in found) + "\n"
    if "\0" in text:
        raise UserError(
            "the batch script would hold a NUL character.", hint="Take it out of execution, env or the job's name."
        )
    return text


def _lines(spec: "JobSpec", header: List[Line], where: _Where) -> List[Line]:
    cluster, scheduler = where.cluster, where.scheduler
    profile = profiles.parse(cluster, scheduler)
    array = spec.resources.array
    elements = where.elements or (len(array.indices()) if array else 0)
    found = [Line("#!/bin/sh")]
    # The site's first: of two equal options most managers take the last.
    found += [Line(line, "profile.directives[{}]".format(number)) for number, line in enumerate(profile.directives)]
    found += header + ours(_head(where)) + [Line("")]
    if not spec.inherit_environment:
        found += payload.emptied()
    found += _entry(spec, where.work) + [Line("")]
    found += payload.psik_variables(spec, cluster, scheduler)
    found += payload.exports(profile.env, "profile.env") + payload.exports(spec.env)
    found += payload.own_variables(spec, cluster, scheduler, where.uuid, where.work, elements)
    if profile.first:
        found += [Line(""), Line("# from the cluster's profile", "profile")] + profiles.evaluated(
            profile.first, "profile"
        )
    blocks: Dict[str, List[Line]] = {
        "modules": profiles.modules(profile),
        "prologue": profiles.prologue(profile),
        "execution": payload.execution(spec, where.paths),
        "epilogue": [Line("jobferry_epilogue", "profile.epilogue")],
    }
    if profile.body:
        return found + profiles.epilogue(profile) + [Line("")] + profiles.filled(profile.body, blocks)
    return found + blocks["modules"] + blocks["prologue"] + profiles.epilogue(profile) + blocks["execution"]


def _head(where: _Where) -> str:
    scheduler, part = where.scheduler, where.part
    index = scheduler.array_index_variable
    return _HEAD.format(
        uuid=re.sub(r"[^A-Za-z0-9-]", "", where.uuid),
        folder=quote(where.paths.folder),
        bell=quote(where.bell),
        run=_run(where),
        index=index,
        lowest=scheduler.lowest_index,
        shift=_SHIFT.format(offset=part.offset, index=index) if part and part.offset else "",
        native=scheduler.job_id_variable,
        told=_TOLD.format(codes="|".join(map(str, scheduler.meaningful_exits))) if scheduler.meaningful_exits else "",
    )


def _run(where: _Where) -> str:
    restarts = where.scheduler.restart_variable
    if restarts:
        return _RUN.format(restarts=restarts, first=where.first)
    return "jobferry_run={}{}".format(where.first, _COUNTED)


def _entry(spec: "JobSpec", work: str) -> List[Line]:
    """Go to where the job runs. A `directory` of the node's own is made here: the login node's is another one."""
    enter = "cd -- {} || exit".format(quote(work))
    if not spec.directory:
        return [Line(enter)]
    return [Line("[ -d {0} ] || mkdir -p -- {0}".format(quote(work)), "directory"), Line(enter, "directory")]
