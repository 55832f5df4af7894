"""Slurm's commands as small programs on the PATH: they keep a list of jobs and say what Slurm 22.05 says.

Files in `state` change what they do: `sbatch.before` and `sbatch.after` (shell, sourced around the accepting), `down`
(slurmctld does not answer), `nosacct` (slurmdbd does not answer), `end.<id>` (the job's state in queue and accounting),
`refuse` (sbatch's words of refusal), `refuse.<name>` (the same for jobs of this name), `maxarray` (MaxArraySize).
"""

import os

_HEAD = "#!/bin/sh\nS={state}\nsep=$(printf '\\037')\n"
_DOWN = 'if [ -e "$S/down" ]; then echo "{name}: error: Unable to contact slurm controller (connect failure)" >&2; exit 1; fi\n'

_SBATCH = r"""
for script in "$@"; do :; done
name=$(sed -n 's/^#SBATCH --job-name=//p' "$script" | head -1)
echo "sbatch $name" >> "$S/calls"
if [ -e "$S/sbatch.before" ]; then . "$S/sbatch.before"; fi
for file in "$S/refuse.$name" "$S/refuse.${name##*.}"; do
  if [ -e "$file" ]; then echo "sbatch: error: $(cat "$file")" >&2; exit 1; fi
done
array=$(sed -n 's/^#SBATCH --array=//p' "$script" | head -1)
highest=$(printf '%s' "${array%%%*}" | tr ',:-' '\n\n\n' | sort -n | tail -1)
if [ -e "$S/maxarray" ] && [ "${highest:-0}" -ge "$(cat "$S/maxarray")" ]; then
  echo "sbatch: error: Batch job submission failed: Invalid job array specification" >&2; exit 1
fi
if [ -e "$S/refuse" ]; then echo "sbatch: error: $(cat "$S/refuse")" >&2; exit 1; fi
until mkdir "$S/numbering" 2>/dev/null; do sleep 0.01; done
id=$(( $(cat "$S/next" 2>/dev/null || echo 100) + 1 ))
echo "$id" > "$S/next"
rmdir "$S/numbering"
echo "$id $name${array:+ ${array%%%*}}" >> "$S/jobs"
if [ -e "$S/sbatch.after" ]; then . "$S/sbatch.after"; fi
echo "$id"
"""
_SQUEUE = r"""
touch "$S/jobs"
for word in "$@"; do
  case $word in --name=*) awk -v name="${word#--name=}" '$2 == name' "$S/jobs" | while read -r id name rest; do printf '%s%s' "$id" "$sep"; done; exit 0;; esac
done
case "$*" in *%T\ %i*) exit 0;; esac
echo "queue" >> "$S/asked"
while read -r id name array; do
  state=PENDING; [ ! -e "$S/end.$id" ] || state=$(cat "$S/end.$id")
  for field in "$id${array:+_[$array]}" "$state" 1 1 0:00 5:00 batch node1 "$name" Priority /tmp; do printf '%s%s' "$field" "$sep"; done
  echo
done < "$S/jobs"
"""
_SACCT = r"""
if [ -e "$S/nosacct" ]; then echo "sacct: error: Problem talking to the database: Connection refused" >&2; exit 1; fi
touch "$S/jobs"
for word in "$@"; do
  case $word in --name=*) awk -v name="${word#--name=}" '$2 == name' "$S/jobs" | while read -r id name rest; do printf '%s%s\n' "$id" "$sep"; done; exit 0;; esac
done
while read -r id name array; do
  [ -e "$S/end.$id" ] || continue
  for field in "$id${array:+_[$array]}" "$(cat "$S/end.$id")" 0:0 00:00:01 00:00:01 1 1 node1 cpu=1 cpu=1 /tmp 0 None "" "$name"; do
    printf '%s%s' "$field" "$sep"
  done
  echo
done < "$S/jobs"
"""
_SCANCEL = r"""
echo "$1" >> "$S/cancelled"
if [ -e "$S/deaf" ]; then exit 0; fi
for word in "$@"; do
  case $word in --name=*) grep -qE "^$1 ${word#--name=}( |\$)" "$S/jobs" || exit 0;; esac
done
echo CANCELLED > "$S/end.$1"
"""
_SCONTROL = r"""
echo "scontrol $*" >> "$S/asked.scontrol"
case "$*" in "show config") echo "MaxArraySize            = $(cat "$S/maxarray" 2>/dev/null || echo 1001)";; esac
"""
_PROGRAMS = {
    "scontrol": _SCONTROL,
    "sbatch": _SBATCH,
    "squeue": _SQUEUE,
    "sacct": _SACCT,
    "scancel": _SCANCEL,
    "sinfo": "exit 0\n",
}


class FakeSlurm:
    """The programs in `folder`/bin, their state in `folder`/state."""

    cluster = {"name": "alpha", "workload_manager": "slurm", "partition": "batch"}

    def __init__(self, folder):
        self.state = folder / "state"
        self.bin = folder / "bin"
        self.state.mkdir()
        self.bin.mkdir()
        for name, text in _PROGRAMS.items():
            down = "" if name == "sacct" else _DOWN.format(name=name)
            if name == "sbatch":
                # It has been called all the same.
                head = text.index("if [ -e")
                text = text[:head] + down + text[head:]
                down = ""
            program = self.bin / name
            program.write_text(_HEAD.format(state="'{}'".format(self.state)) + down + text)
            program.chmod(0o755)

    @property
    def env(self):
        return {"PATH": "{}:{}".format(self.bin, os.environ["PATH"])}

    def set(self, name, text="\n"):
        aside = self.state / ("new." + name)
        aside.write_text(text)
        aside.rename(self.state / name)

    def unset(self, name):
        (self.state / name).unlink()

    def lines(self, name):
        path = self.state / name
        return path.read_text().splitlines() if path.exists() else []

    @property
    def jobs(self):
        """What really is in the queue."""
        return self.lines("jobs")
