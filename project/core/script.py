"""The batch script: plain POSIX sh, from the job's spec. Pure: text out.

What it leaves in the job's folder, for element I of an array each name with `.I` appended (N = run number, from 1):

`log/stdout.N`, `log/stderr.N`   what the execution lines print
`facts/started.N`                lines `time 2026-11-21T10:00:00Z`, `node NAME`, `native_id ID`
`facts/ended.N`                  lines `exit_code C`, `command K` (the K-th execution line was the last one run, from 1),
                                 `signal TERM` (only after a signal), `time …`
`status.csv`                     a row `epoch,jobndx,active,0` at the start, `…,completed|failed,C` at the end; jobndx is
                                 the run number, in an array the index + 1 (psik counts from 1)
the bell file                    is touched at the start and at the end, so that the watcher looks at once

Execution lines run one after the other in one shell, so that `cd`, `export` and `module load` hold for the next line; the
first that fails ends the job with its exit code. A line is given to `eval`, so that one with a syntax error fails as a
line. Nothing that goes wrong in this bookkeeping (a full disk) changes how the job ends.
"""

import os
import re
from typing import TYPE_CHECKING, Any, List, Mapping, Optional

from project.core.errors import UserError
from project.core.process import quote

if TYPE_CHECKING:
    from project.core.arrays import Part
    from project.core.jobspec import JobSpec
    from project.core.paths import JobPaths
    from project.core.schedulers.base import Scheduler

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")

# {placeholders} are filled by _HEAD.format: braces of the shell are doubled.
_HEAD = r"""
# jobferry: job {uuid}
jobferry_folder={folder}
jobferry_run=$(( ${{{restarts}:-0}} + 1 ))
jobferry_index=${{{index}:-}}{shift}
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
    echo "time $(date -u +%Y-%m-%dT%H:%M:%SZ)"
  }} | jobferry_fact "ended.$jobferry_name"
  if [ "$1" -eq 0 ]; then jobferry_tell completed 0; else jobferry_tell failed "$1"; fi
}}
jobferry_exit() {{
  jobferry_code=$?
  trap - EXIT
  trap '' HUP INT TERM
  set +eux
  PATH=$jobferry_path
  [ "$jobferry_code" -ne 0 ] || jobferry_code=$jobferry_stop
  ( jobferry_end "$jobferry_code" ) > /dev/null 2>&1 < /dev/null
  exit "$jobferry_code"
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
cd -- {work} || exit

export JOBFERRY_JOB={quoted_uuid}
export JOBFERRY_RUN="$jobferry_run"
export JOBFERRY_INDEX="$jobferry_index"
"""
# The manager's indices of this part are not the user's; the programs see the user's alone.
_SHIFT = (
    '\n[ -z "$jobferry_index" ] || jobferry_index=$(( jobferry_index + {offset} ))\nexport {index}="$jobferry_index"'
)
_LINE = r"""
jobferry_command={number}
eval {line}
jobferry_code=$?
[ "$jobferry_code" -eq 0 ] && [ "$jobferry_stop" -eq 0 ] || exit "$jobferry_code"
"""


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
) -> str:
    """The batch script of a job.

    :param work: the directory the job runs in; default `paths.work`.
    :param bell: the root's bell file (`Root.bell`); default `bell` beside the workdir.
    :param part: the part of a split array that it is for (`core.arrays`); `spec` is then the part's.
    :param label: what stands for the UUID in the batch job's name (`arrays.part_name`); default the UUID.

    Raises UserError for a value that cannot stand in a script.
    """
    bell = bell or os.path.join(os.path.dirname(paths.workdir.rstrip("/")), "bell")
    directives = scheduler.directives(spec, cluster, paths, label or uuid)
    head = _HEAD.format(
        uuid=re.sub(r"[^A-Za-z0-9-]", "", uuid),
        quoted_uuid=quote(uuid),
        folder=quote(paths.folder),
        work=quote(work or paths.work),
        bell=quote(bell),
        restarts=scheduler.restart_variable,
        index=scheduler.array_index_variable,
        shift=_SHIFT.format(offset=part.offset, index=scheduler.array_index_variable) if part and part.offset else "",
        native=scheduler.job_id_variable,
    )
    parts = ["#!/bin/sh"] + directives + [head.rstrip("\n")]
    parts += _exports(spec.env)
    parts += _profile(cluster)
    parts += [
        _LINE.format(number=number, line=quote(line)).rstrip("\n") for number, line in enumerate(spec.execution, 1)
    ]
    text = "\n".join(parts) + "\n"
    if "\0" in text:
        raise UserError(
            "the batch script would hold a NUL character.", hint="Take it out of execution, env or the job's name."
        )
    return text


def _exports(env: Mapping[str, str]) -> List[str]:
    for name in env:
        if not _VARIABLE.match(name):
            raise UserError("env: {!r} is no name of a variable.".format(name))
    return ["export {}={}".format(name, quote(value)) for name, value in env.items()]


def _profile(cluster: Mapping[str, Any]) -> List[str]:
    """The cluster's own lines (`module load …`); one that fails does not end the job, its lines need what it gives."""
    profile = cluster.get("profile") or []
    lines = [profile] if isinstance(profile, str) else list(profile)
    return ["", "# from the cluster's profile"] + ["eval " + quote(line) for line in lines] if lines else []
