"""A fake `at` with its own spool on the PATH, without atd: a job starts as soon as it is given, and says what at 3.2.5 says.

`state/spool` holds a file LETTER.ID for each job; `=` is the letter of one that runs, and stays when the job's process is killed.
A file `hook` in `state` is shell that is sourced when at has done its work; `$PPID` is what called it.
"""

import os
from pathlib import Path

_AT = r"""#!/bin/sh
S={state}
letter=a when= file=
if [ "$1" = -c ]; then
  cat "$S/spool/"?."$2" 2>/dev/null || {{ echo "Cannot find jobid $2" >&2; exit 1; }}
  exit 0
fi
while [ $# -gt 0 ]; do
  case $1 in
    -M) ;;
    -q) letter=$2; shift;;
    -t) when=$2; shift;;
    -f) file=$2; shift;;
    now) ;;
    *) echo "Usage: at [-V] [-q x] [-f file] [-u username] [-mMlbv] timespec ..." >&2; exit 1;;
  esac
  shift
done
case $letter in [a-zA-Z]) ;; *) echo "Usage: at [-V] [-q x] [-f file] [-mMlbv] timespec ..." >&2; exit 1;; esac
if [ -e "$S/deny" ]; then echo "You do not have permission to use at." >&2; exit 1; fi
id=$(( $(cat "$S/next" 2>/dev/null || echo 6) + 1 ))
echo "$id" > "$S/next"
{{ printf '#!/bin/sh\n# atrun uid=1000 gid=1000\n# mail me -1\n'; cat "$file"; }} > "$S/spool/.new"
mv "$S/spool/.new" "$S/spool/$letter.$id"
echo "warning: commands will be executed using /bin/sh" >&2
echo "job $id at Sat Nov 21 14:00:00 2026" >&2
if [ -z "$when" ]; then
  mv "$S/spool/$letter.$id" "$S/spool/=.$id"
  ( sh < "$S/spool/=.$id"; rm -f "$S/spool/=.$id" ) >/dev/null 2>&1 </dev/null &
fi
if [ -e "$S/hook" ]; then . "$S/hook"; fi
exit 0
"""
_ATQ = r"""#!/bin/sh
S={state}
if [ -e "$S/down" ]; then echo "Cannot change to /var/spool/cron/atjobs: No such file or directory" >&2; exit 1; fi
for path in "$S/spool/"?.*; do
  [ -e "$path" ] || continue
  name=${{path##*/}}
  printf '%s\tSat Nov 21 14:00:00 2026 %s me\n' "${{name#*.}}" "${{name%%.*}}"
done
"""
_ATRM = r"""#!/bin/sh
rm {state}/spool/?."$1" 2>/dev/null || {{ echo "Cannot find jobid $1" >&2; exit 1; }}
"""


class FakeAt:
    """The programs in `folder`/bin, their state in `folder`/state."""

    cluster = {"name": "tau", "workload_manager": "at"}

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.bin = folder / "bin"
        (self.state / "spool").mkdir(parents=True)
        self.bin.mkdir()
        for name, text in {"at": _AT, "atq": _ATQ, "atrm": _ATRM}.items():
            (self.bin / name).write_text(text.format(state=f"'{self.state}'"))
            (self.bin / name).chmod(0o755)

    @property
    def env(self) -> dict[str, str]:
        return {"PATH": f"{self.bin}:{os.environ['PATH']}"}

    @property
    def spool(self) -> list[str]:
        """Letter and number of each job, such as `a.7`."""
        return sorted(path.name for path in (self.state / "spool").glob("?.*"))
