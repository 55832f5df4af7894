"""Clusters of a testbed that run another workload manager than Slurm: what they have in common."""

import functools
from collections.abc import Iterator
from pathlib import Path

from testbed import parts
from testbed.parts import MARK, Part, call


class Other:
    """One cluster with a /home and an sshd of its own. A new one is a subclass, and stands in `bed.OTHERS`."""

    name = ""
    manager = ""
    # Of its own, so that no other cluster is a fallback for it, nor it for others.
    preferred_job = ""
    # More lines of the cluster's entry in the inventory.
    more = ""

    def __init__(self, folder: Path, ports: "dict[str, int]") -> None:
        self.folder = folder
        self.ports = ports

    @property
    def own(self) -> Path:
        """The cluster's folder."""
        return self.folder / self.name

    def inventory(self) -> str:
        """Its entry for `clusters import`."""
        return (
            f"- name: {self.name}\n  hostname: 127.0.0.1\n  port: {self.ports[self.name]}\n"
            f"  workload_manager: {self.manager}\n  preferred_jobs: [{self.preferred_job}]\n{self.more}"
        )

    def session(self) -> "dict[str, str]":
        """The environment that sshd gives to its sessions."""
        return {}

    def mounts(self) -> str:
        """A shell line that is run in the cluster's mount and UTS namespaces first."""
        return ""

    def lay_out(self) -> None:
        """Writes its files; the homes and what sshd needs are there already."""

    def daemons(self, home: Part) -> Iterator[Part]:
        """Its workload manager, in the order in which its parts start."""
        raise NotImplementedError

    def started(self, name: str) -> None:
        """Called for each of its parts in turn, once that is ready: sets up or waits for what the next one needs."""

    @functools.cached_property
    def parts(self) -> list[Part]:
        home = parts.home(self.folder, self.name, self.mounts())
        return [home, *self.daemons(home), parts.sshd(self.folder, self.name, self.ports[self.name], home)]

    def start(self) -> None:
        """Starts what is not running."""
        for part in self.parts:
            part.start()
            self.started(part.name)

    def inside(self, *argv: object, env: "dict[str, str] | None" = None, check: bool = True) -> str:
        """What a command prints that root runs on the cluster; raises when it fails."""
        env = {**self.session(), **(env or {}), MARK: str(self.folder)}
        return call(*parts.enter_words(self.parts[0].pid), *argv, env=env, check=check)
