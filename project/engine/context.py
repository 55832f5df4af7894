"""What one call of the program works with: the API, the person, the home folder, the open connections."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from project.core.api_client import ApiClient
from project.engine import agentfile, credentials, inventory
from project.engine.link import Link, open_link
from project.engine.ui import Ui, Unattended
from project.transports.base import Login, Opened, Transport

T = TypeVar("T")
# One connection is for one login on one host: name of the cluster, host name, port, user, path of the key.
Key = tuple[str, ...]


class Background(Generic[T]):
    """Work that goes on while something else waits; `result` waits for it and raises what it raised."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._value: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value.append(self._work())
        except BaseException as error:
            self._error = error

    def result(self) -> T:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value[0]


@dataclass(frozen=True)
class Context:
    """`home` is JOBFERRY_HOME; `username` and `private_key` are the flags of the call, "" when not given."""

    api: ApiClient
    ui: Ui
    home: Path
    no_input: bool = False
    accept_new_host_key: bool = False
    username: str = ""
    private_key: str = ""
    _links: dict[Key, Link] = field(default_factory=dict, repr=False, compare=False)

    @property
    def asks(self) -> Ui:
        """The user interface; with `no_input` one that has nobody to ask."""
        return Unattended(self.ui) if self.no_input else self.ui

    def connect(self, cluster: dict[str, Any], login: Login | None = None, opened: Opened | None = None) -> Transport:
        """A connection to `cluster`, nothing started on it; `opened` is what probing left. Raises ClusterError, UserError."""
        if inventory.is_here(cluster):
            from project.transports import local

            return local.connect(self.home)
        from project.transports import ssh

        login = credentials.resolve(self, cluster, None) if login is None else login
        return ssh.connect(cluster, login, self.asks, self.accept_new_host_key, opened)

    def start(self, cluster: dict[str, Any], transport: Transport, login: Login | None = None) -> Link:
        """The agent on an open connection. Raises ClusterError; the connection is closed then."""
        root = str(self.home / "local") if inventory.is_here(cluster) else "$HOME/.jobferry"
        key = _key(cluster, login)
        link = open_link(transport, agentfile.build(self.home), key[0], inventory.python(cluster), root)
        former = self._links.pop(key, None)
        if former is not None:
            former.close()
        self._links[key] = link
        return link

    def standing(self, cluster: dict[str, Any], login: Login | None) -> Link | None:
        """The agent that an earlier call started with this login, if it still answers."""
        key = _key(cluster, login)
        link = self._links.get(key)
        if link is not None and not link.answers():
            del self._links[key]
            link.close()
            return None
        return link

    def open(self, cluster: dict[str, Any], login: Login | None = None) -> Link:
        """The agent on `cluster`; one connection as long as it lives. Raises ClusterError, UserError."""
        link = self.standing(cluster, login)
        return link if link is not None else self.start(cluster, self.connect(cluster, login), login)

    def forget(self, name: str) -> None:
        """Close the connections to a cluster, so that the next `open` makes a new one."""
        for key in [key for key in self._links if key[0] == name]:
            self._links.pop(key).close()

    def close(self) -> None:
        """Close every connection."""
        for name in {key[0] for key in self._links}:
            self.forget(name)


def _key(cluster: dict[str, Any], login: Login | None) -> Key:
    name = str(cluster["name"])
    if inventory.is_here(cluster):
        return (name,)
    user = (login.username if login else "") or str(cluster.get("username") or "")
    where = (str(cluster.get("hostname") or ""), str(cluster.get("port") or ""))
    return (name, *where, user, login.private_key if login else "")
