"""Cluster `tau`: a real atd with a spool of its own; its jobs run on the login node, as at's do.

The spool and the pid file, by which at(1) wakes its atd, are at fixed places: both are bound over.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from testbed.others import Other
from testbed.parts import Part

SPOOL = "/var/spool/cron"


class Tau(Other):
    """Part `tau.atd`; its spool is `<folder>/tau/spool`."""

    name = "tau"
    manager = "at"
    preferred_job = "at"

    def mounts(self) -> str:
        run = "mount -t tmpfs -o mode=755 tmpfs /run && mkdir -m 755 /run/sshd"
        return f"mount --bind '{self.own}/spool' {SPOOL} && {run}"

    def lay_out(self) -> None:
        for name in ("atjobs", "atspool"):
            place = self.own / "spool" / name
            place.mkdir(parents=True)
            place.chmod(0o1770)
            shutil.chown(place, "daemon", "daemon")
        number = self.own / "spool" / "atjobs" / ".SEQ"
        number.write_text("0\n")
        number.chmod(0o600)
        shutil.chown(number, "daemon", "daemon")

    def daemons(self, home: Part) -> Iterator[Part]:
        # No load is too high for `batch`, and it starts one job a second.
        yield Part(
            *("tau.atd", ["/usr/sbin/atd", "-f", "-l", "1000", "-b", "1"], self.folder),
            inside=home,
            ready=lambda: Path(f"/proc/{home.pid}/root/run/atd.pid").exists(),
        )
