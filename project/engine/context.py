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
    _links: dict[str, Link] = field(default_factory=dict, repr=False, compare=False)

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

    def start(self, cluster: dict[str, Any], transport: Transport) -> Link:
        """The agent on an open connection. Raises ClusterError; the connection is closed then."""
        root = str(self.home / "local") if inventory.is_here(cluster) else "$HOME/.jobferry"
        name = str(cluster["name"])
        link = open_link(transport, agentfile.build(self.home), name, inventory.python(cluster), root)
        self._links[name] = link
        return link

    def open(self, cluster: dict[str, Any], login: Login | None = None) -> Link:
        """The agent on `cluster`; one connection per call of the program. Raises ClusterError, UserError."""
        link = self._links.get(str(cluster["name"]))
        return link if link is not None else self.start(cluster, self.connect(cluster, login))

    def forget(self, name: str) -> None:
        """Close the connection to a cluster, so that the next `open` makes a new one."""
        link = self._links.pop(name, None)
        if link is not None:
            link.close()

    def close(self) -> None:
        """Close every connection."""
        for name in list(self._links):
            self.forget(name)
