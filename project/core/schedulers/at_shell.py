r"""The shell of the workload manager at: what is given to at(1), the keeper of a running job, and the questions. Pure texts.

at(1) neither tells how a job ended nor ends one that runs, and has no time limit. So the job's script is run by a keeper
(`scripts/keeper`), which is what at really runs:

- it puts the script into a session of its own, with the variable JOBFERRY_AT_JOB (`NAME ID`): by session and variable all
  of the job's processes are known, and no other one is taken for one of them (proc(5), /proc/PID/stat and environ);
- it is itself known by the variable JOBFERRY_AT_KEEPER (`NAME ID`): a job runs as long as its keeper lives. The letter `=`
  of atq(1) tells less: it stays for ever when the machine was restarted (atd(8));
- at the end of `duration`, or when it gets a signal (USR1: cancelled), it writes `facts/stopped.N` with the line
  `condition timeout`, ends all of the job's processes by TERM, and by KILL three seconds later;
- when the script was killed and could not write `facts/ended.N` (`core.script`), the keeper writes it.

What at is given (`scripts/job.at`) has the job's name and, in octal, its folder in comments: `at -c` shows them again.
Needs /proc, setsid(1) and a grep with -z, as every Linux has.
"""

from typing import Optional

from project.core.process import quote

NAME = "# jobferry-name "
FOLDER = "# jobferry-folder "

_INPUT = r"""{name_line}{name}
{folder_line}{octal}
exec /bin/sh -- {keeper} </dev/null >>{log} 2>&1
"""

# {placeholders} are filled by format: braces of the shell are doubled.
_KEEPER = r"""#!/bin/sh
# jobferry: runs the job's script under at, and ends it
jobferry_folder={folder}
jobferry_name={name}
jobferry_limit={limit}

if [ -z "$JOBFERRY_AT_KEEPER" ]; then
  # Who am I? The job of this name that at runs.
  JOBFERRY_AT_ID=
  for jobferry_try in 1 2 3 4 5; do
    for jobferry_id in $(LC_ALL=C atq | sed -n 's/^\([0-9][0-9]*\)[[:space:]].* = .*/\1/p'); do
      at -c "$jobferry_id" 2>/dev/null | grep -qxF {name_line}"$jobferry_name" && JOBFERRY_AT_ID=$jobferry_id
    done
    [ -z "$JOBFERRY_AT_ID" ] || break
    sleep 0.1
  done
  export JOBFERRY_AT_ID
  exec env "JOBFERRY_AT_KEEPER=$jobferry_name $JOBFERRY_AT_ID" /bin/sh -- "$0"
fi
jobferry_mark=$JOBFERRY_AT_KEEPER
unset JOBFERRY_AT_KEEPER
# at was told /bin/sh, for some have the login's shell read what they are given.
jobferry_shell=$(getent passwd "$(id -un)" 2>/dev/null | cut -d: -f7)
if [ -n "$jobferry_shell" ]; then export SHELL="$jobferry_shell"; fi

jobferry_why=
trap 'jobferry_why=${{jobferry_why:-cancelled_by_user}}' USR1
trap 'jobferry_why=${{jobferry_why:-timeout}}' USR2
trap 'jobferry_why=${{jobferry_why:-cancelled_by_scheduler}}' TERM INT HUP

{members}
# The text on stdin becomes facts/NAME, whole or not at all.
jobferry_fact() {{
  cat > "$jobferry_folder/facts/.$1.$$" && mv -f "$jobferry_folder/facts/.$1.$$" "$jobferry_folder/facts/$1"
}}
# The number of the last run.
jobferry_run() {{
  jobferry_last=0
  for jobferry_path in "$jobferry_folder"/facts/started.*; do
    jobferry_number=${{jobferry_path##*.}}
    case $jobferry_number in *[!0-9]*) continue;; esac
    [ "$jobferry_number" -le "$jobferry_last" ] || jobferry_last=$jobferry_number
  done
  [ "$jobferry_last" -gt 0 ] || jobferry_last=1
  echo "$jobferry_last"
}}

jobferry_begun=$(date +%s)
JOBFERRY_AT_JOB=$jobferry_mark setsid /bin/sh -- "$jobferry_folder/scripts/job" &
jobferry_job=$!
jobferry_dog=
if [ -n "$jobferry_limit" ]; then
  # Ends with the keeper, and signals nobody else who got its number.
  /bin/sh -c '
    trap "kill \$nap; exit 0" TERM
    sleep "$1" & nap=$!
    wait "$nap"
    grep -qzxF "JOBFERRY_AT_KEEPER=$3" "/proc/$2/environ" && kill -USR2 "$2"
  ' sh "$jobferry_limit" "$$" "$jobferry_mark" &
  jobferry_dog=$!
fi
jobferry_code=0
wait "$jobferry_job" || jobferry_code=$?

# A signal that came when it was over already means nothing.
[ -z "$jobferry_why" ] || kill -0 "$jobferry_job" 2>/dev/null || jobferry_why=
if [ -n "$jobferry_why" ]; then
  echo "condition $jobferry_why" | jobferry_fact "stopped.$(jobferry_run)"
fi
if [ -n "$jobferry_why" ] || [ ! -e "$jobferry_folder/facts/ended.$(jobferry_run)" ]; then
  jobferry_stop "$jobferry_job" "$jobferry_mark"
  [ -z "$jobferry_why" ] || wait "$jobferry_job" || jobferry_code=$?
fi
[ -z "$jobferry_dog" ] || kill "$jobferry_dog" 2>/dev/null
if [ ! -e "$jobferry_folder/facts/ended.$(jobferry_run)" ]; then
  [ "$jobferry_code" -ne 0 ] || jobferry_code=1
  {{
    echo "exit_code $jobferry_code"
    [ "$jobferry_code" -ne 137 ] || echo "signal KILL"
    echo "time $(date -u +%Y-%m-%dT%H:%M:%SZ)"
  }} | jobferry_fact "ended.$(jobferry_run)"
fi
# The watcher shall look when the keeper is gone: only then the job is over.
/bin/sh -c 'sleep 0.2; for bell; do [ ! -e "$bell" ] || touch "$bell"; done' sh {bell} "$HOME/.jobferry/bell" </dev/null >/dev/null 2>&1 &
exit 0
"""

# $1 the session, $2 the mark. Signals are sent to what is found at that very moment.
_MEMBERS = r"""
jobferry_members() {
  # pid (name) state parent group session …; a name may hold anything.
  cat /proc/[0-9]*/stat 2>/dev/null | sed -n "s/^\([0-9]*\) (.*) [^ Z] [0-9-]* [0-9-]* $1 .*/\1/p"
  grep -lzxF "JOBFERRY_AT_JOB=$2" /proc/[0-9]*/environ 2>/dev/null | sed 's|/proc/||; s|/environ||'
}
jobferry_stop() {
  jobferry_try=0
  jobferry_signal=TERM
  while [ "$jobferry_try" -lt 60 ]; do
    jobferry_found=$(jobferry_members "$1" "$2")
    [ -n "$jobferry_found" ] || break
    if [ "$jobferry_try" -ge 30 ]; then jobferry_signal=KILL; fi
    if [ "$jobferry_try" -eq 0 ] || [ "$jobferry_try" -ge 30 ]; then
      kill -s "$jobferry_signal" $jobferry_found 2>/dev/null
    fi
    sleep 0.1
    jobferry_try=$(( jobferry_try + 1 ))
  done
}
"""

# Rows `job ID LETTER NAME` of what at has, and `keeper 0ID NAME` of what really runs; without ID when the keeper could not learn it.
QUEUE = r"""
list=$(LC_ALL=C atq) || exit
printf '%s\n' "$list" | sed -n 's/^\([0-9][0-9]*\)[[:space:]].* \([^ ][^ ]*\) [^ ][^ ]*$/\1 \2/p' | while read -r id letter; do
  name=$(at -c "$id" 2>/dev/null | sed -n 's/^# jobferry-name //p' | tail -n 1)
  echo "job $id $letter $name"
done
for place in $(grep -lza '^JOBFERRY_AT_KEEPER=' /proc/[0-9]*/environ 2>/dev/null); do
  tr '\0' '\n' < "$place" 2>/dev/null | sed -n 's/^JOBFERRY_AT_KEEPER=\([^ ]*\) \([0-9]*\)$/keeper 0\2 \1/p'
done
exit 0
"""

# $1 the name. Rows `found ID`.
FIND = r"""
list=$(LC_ALL=C atq) || exit
for id in $(printf '%s\n' "$list" | sed -n 's/^\([0-9][0-9]*\)[[:space:]].*/\1/p'); do
  at -c "$id" 2>/dev/null | grep -qxF "# jobferry-name $1" && echo "found $id"
done
exit 0
"""

# $1 the name ("" = any), $2 the id. Prints `cancelled` or `gone`.
CANCEL = (
    _MEMBERS
    + r"""
name=$1 id=$2
keepers() {
  for place in $(grep -lza "^JOBFERRY_AT_KEEPER=[^ ]* $id\$" /proc/[0-9]*/environ 2>/dev/null); do
    [ -z "$name" ] || grep -qzxF "JOBFERRY_AT_KEEPER=$name $id" "$place" 2>/dev/null || continue
    place=${place#/proc/}
    echo "${place%/environ}"
  done
}
# What at has under this id may be another job by now.
known() {
  text=$(at -c "$id" 2>/dev/null) || return 1
  [ -z "$name" ] || printf '%s\n' "$text" | grep -qxF "# jobferry-name $name"
}
LC_ALL=C atq >/dev/null || exit
try=0
while [ "$try" -lt 20 ]; do
  found=$(keepers)
  if [ -n "$found" ]; then kill -s USR1 $found && echo cancelled && exit 0; fi
  if known; then
    # A job that at is just starting has no keeper yet; one that lost its keeper will never get one.
    letter=$(LC_ALL=C atq | sed -n "s/^$id[[:space:]].* \([^ ][^ ]*\) [^ ][^ ]*\$/\1/p")
    if [ "$letter" != "=" ] || [ "$try" -eq 19 ]; then
      if atrm "$id" 2>/dev/null && [ -z "$(keepers)" ]; then
        folder=$(printf '%b' "$(printf '%s\n' "$text" | sed -n 's/^# jobferry-folder //p')")
        break
      fi
    fi
  elif [ "$try" -ge 2 ]; then
    # Processes that lost their keeper are the job's all the same.
    [ -n "$name" ] && [ -n "$(jobferry_members none "$name $id")" ] || { echo gone; exit 0; }
    jobferry_stop none "$name $id"
    echo cancelled
    exit 0
  fi
  try=$(( try + 1 ))
  sleep 0.1
done
[ -d "$folder/facts" ] || { echo cancelled; exit 0; }
# Run 0: it never began.
echo "condition cancelled_by_user" > "$folder/facts/stopped.0"
echo "exit_code 143" > "$folder/facts/.ended.$$" && mv -f "$folder/facts/.ended.$$" "$folder/facts/ended.0"
jobferry_stop none "$name $id"
echo cancelled
"""
)

# $1 what it is asked for.
REFUSE = r"""
echo "at cannot $1 a job; it can be cancelled and submitted again" >&2
exit 1
"""

# Rows of /proc and the number of jobs that wait and run.
FACTS = r"""
getconf _NPROCESSORS_ONLN | sed 's/^/cpus /'
sed -n 's/^\(MemTotal\|MemAvailable\):[[:space:]]*\([0-9]*\) kB/\1 \2/p' /proc/meminfo
sed 's/^/load /' /proc/loadavg
LC_ALL=C atq | sed -n 's/^[0-9][0-9]*[[:space:]].* \([^ ][^ ]*\) [^ ][^ ]*$/queue \1/p'
"""


def given(name: str, folder: str) -> str:
    """What at is given: `scripts/job.at`."""
    octal = "".join("\\0{:03o}".format(byte) for byte in folder.encode("utf-8", "surrogateescape"))
    return _INPUT.format(
        name_line=NAME,
        name=name,
        folder_line=FOLDER,
        octal=octal,
        keeper=quote(folder + "/scripts/keeper"),
        log=quote(folder + "/log/scheduler"),
    )


def keeper(name: str, folder: str, bell: str, limit: Optional[int]) -> str:
    """What at runs: `scripts/keeper`. `limit` is in seconds, None = none."""
    return _KEEPER.format(
        name=quote(name),
        folder=quote(folder),
        bell=quote(bell),
        limit="" if limit is None else limit,
        members=_MEMBERS,
        name_line=quote(NAME),
    )
