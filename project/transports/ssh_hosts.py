"""Host keys, as the contract says: unknown ones are shown and asked about, changed ones refused."""

import base64
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from project.core.errors import ClusterError

if TYPE_CHECKING:
    from paramiko import HostKeys, PKey, SSHClient

KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
SYSTEM_KNOWN_HOSTS = ("/etc/ssh/ssh_known_hosts",)


class Asks(Protocol):
    """The part of the user interface that this file needs."""

    @property
    def interactive(self) -> bool:
        """True when somebody can answer."""

    def confirm(self, question: str) -> bool:
        """A yes or no from the user."""

    def warn(self, text: str) -> None:
        """A line for the user."""


def fingerprint(key: "PKey") -> str:
    """As `ssh-keygen -l` prints it: `SHA256:` and 43 characters."""
    digest = hashlib.sha256(key.asbytes()).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


class Policy:
    """paramiko asks this about a host that no known_hosts file names."""

    def __init__(self, ui: Asks, accept_new: bool, write_to: Path) -> None:
        self._ui = ui
        self._accept_new = accept_new
        self._write_to = write_to

    def missing_host_key(self, _client: "SSHClient", hostname: str, key: "PKey") -> None:
        """Return to accept. Raises ClusterError to refuse."""
        shown = f"{key.get_name()} key fingerprint {fingerprint(key)}"
        if self._accept_new:
            self._ui.warn(f"New host {hostname}: {shown}, written to {self._write_to}.")
        elif not self._ui.interactive:
            raise ClusterError(
                f"The host key of {hostname} is not known ({shown}).",
                "Compare the fingerprint with the one the cluster's operators publish, then connect once with ssh, or"
                " call again with --accept-new-host-key.",
            )
        elif not self._ui.confirm(f"The host key of {hostname} is not known: {shown}. Connect and remember it?"):
            raise ClusterError(f"The host key of {hostname} was not accepted.")
        self._remember(hostname, key)

    def _remember(self, hostname: str, key: "PKey") -> None:
        line = f"{hostname} {key.get_name()} {key.get_base64()}\n".encode("ascii")
        try:
            self._write_to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self._write_to, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(handle, "r+b", buffering=0) as stream:
                end = stream.seek(0, os.SEEK_END)
                if end and os.pread(handle, 1, end - 1) != b"\n":
                    line = b"\n" + line
                stream.write(line)
        except OSError as error:
            self._ui.warn(f"The host key of {hostname} cannot be written to {self._write_to} ({error.strerror}).")


def known(options: dict[str, Any]) -> "tuple[HostKeys, Path]":
    """All known host keys, and the file to which a new one is written.

    :param options: the host's part of the SSH configuration (`UserKnownHostsFile`, `GlobalKnownHostsFile`).
    """
    from paramiko import HostKeys

    users = str(options.get("userknownhostsfile") or " ".join(KNOWN_HOSTS)).split()
    systems = str(options.get("globalknownhostsfile") or " ".join(SYSTEM_KNOWN_HOSTS)).split()
    keys = HostKeys()
    for name in users + systems:
        path = os.path.expanduser(name)
        if name.lower() == "none" or not os.path.exists(path):
            continue
        try:
            keys.load(path)
        except (OSError, ValueError) as error:
            raise ClusterError(f"The known hosts in {path} cannot be read ({error}).") from error
    return keys, Path(os.path.expanduser(users[0]))


def changed(hostname: str, key: "PKey") -> ClusterError:
    """The error for a host whose key is not the one on record."""
    return ClusterError(
        f"The host key of {hostname} has CHANGED: it now shows a {key.get_name()} key, fingerprint {fingerprint(key)}."
        " Someone may be listening in, or the host was set up anew.",
        f"Ask the cluster's operators; if the change is theirs, remove the old key with `ssh-keygen -R {hostname}`.",
    )
