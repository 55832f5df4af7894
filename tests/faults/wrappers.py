"""Slurm's commands as user `asmith` finds them: wrappers in front of the real ones, told what to do by files in work/.

The real command does the work; the wrapper only kills the agent (its parent) around it, or fails now and then.
"""

from helpers.live import Cluster

USER = "asmith"

SBATCH = """#!/bin/sh
# The agent runs this in the job's work/ folder.
if [ -e die-before-sbatch ]; then rm -f die-before-sbatch; kill -9 $PPID; exit 1; fi
if [ -e die-after-sbatch ]; then rm -f die-after-sbatch; /usr/bin/sbatch "$@" >/dev/null; kill -9 $PPID; exit 1; fi
if [ -e no-answer-after-sbatch ]; then
  rm -f no-answer-after-sbatch; /usr/bin/sbatch "$@" >/dev/null
  echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2; exit 1
fi
# The second part of an array.
case "$*" in
  *scripts/job.2)
    if [ -e die-before-part ]; then rm -f die-before-part; kill -9 $PPID; exit 1; fi
    if [ -e die-after-part ]; then rm -f die-after-part; /usr/bin/sbatch "$@" >/dev/null; kill -9 $PPID; exit 1; fi ;;
esac
exec /usr/bin/sbatch "$@"
"""

# Every tenth call fails as it does when slurmctld is too busy (seen on real clusters).
SQUEUE = """#!/bin/sh
n=$(cat "$HOME/faultbin/count" 2>/dev/null || echo 0); n=$((n + 1)); echo $n >"$HOME/faultbin/count"
if [ $((n % 10)) = 3 ]; then
  echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1
fi
exec /usr/bin/squeue "$@"
"""


def install(cluster: Cluster) -> None:
    """Put the wrappers first on the user's PATH, for logins without a terminal too (bash reads .bashrc for sshd)."""
    for name, text in [("sbatch", SBATCH), ("squeue", SQUEUE)]:
        quoted = text.replace("'", "'\\''")
        cluster.ssh(
            # Rows side by side write the same program: each by a file of its own.
            f"mkdir -p faultbin && printf %s '{quoted}' > faultbin/{name}.$$ && chmod 755 faultbin/{name}.$$"
            f" && mv faultbin/{name}.$$ faultbin/{name}",
            USER,
        )
    cluster.ssh("grep -q faultbin .bashrc 2>/dev/null || echo 'PATH=$HOME/faultbin:$PATH' >> .bashrc", USER)
