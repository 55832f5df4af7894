"""The Debian packages that a testbed needs."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

PACKAGES = [
    "slurmctld",
    "slurmd",
    "slurmdbd",
    "slurm-client",
    "munge",
    "openssh-server",
    "openssh-client",
    "mariadb-server",
    "gridengine-master",
    "gridengine-exec",
    "gridengine-client",
    "at",
    "git",
    "gcc",
    "libc6-dev",
    "python3",
    "util-linux",
    "procps",
    "rc",
    "chromium",
]


def _run(*argv: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    return subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
        check=False,
    )


def missing() -> list[str]:
    """Packages that are not installed."""
    query = ("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *PACKAGES)
    installed = {line.split()[0] for line in _run(*query).stdout.splitlines() if line.endswith(" installed")}
    return [name for name in PACKAGES if name not in installed]


def install(tries: int = 3) -> None:
    """Installs what is missing. The packages' own services are not started."""
    if not shutil.which("apt-get"):
        sys.exit("testbed: needs Debian's apt-get")
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if missing() and ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        for attempt in range(1, tries + 1):
            wanted = missing()
            if not wanted:
                return
            update = _run("apt-get", "-o", "DPkg::Lock::Timeout=300", "update", "-qq")
            done = _run(
                *("apt-get", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3", "install", "-y", "-qq"),
                *("--no-install-recommends", *wanted),
            )
            if done.returncode == 0:
                return
            print(
                f"testbed: apt-get failed ({attempt} of {tries})\n{update.stdout}{done.stdout}"[-3000:], file=sys.stderr
            )
            time.sleep(5 * attempt)
        if missing():
            sys.exit(f"testbed: cannot install {' '.join(missing())}")
    finally:
        if ours and policy.exists():
            policy.unlink()
