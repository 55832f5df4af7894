"""The port between the engine and a cluster: a transport opens channels, a channel is one running command."""

import socket
import threading
import time
from typing import Any, BinaryIO, NamedTuple, Protocol

TAIL = 16 * 1024
LOGIN_GRACE = 20.0


class Channel(Protocol):
    """One command that runs on the other side."""

    @property
    def stdin(self) -> BinaryIO:
        """Bytes written here reach the command. Raises ClusterError when the connection is gone."""

    @property
    def stdout(self) -> BinaryIO:
        """What the command prints. Reading raises ClusterError when the connection broke (not at a plain end)."""

    def stderr_tail(self) -> str:
        """The last 16 KiB of the command's standard error; it is drained at all times, so that it never blocks."""

    def wait(self, timeout: float) -> int:
        """The exit status, at most `timeout` seconds later; -1 when there is none yet or it is unknown."""

    def close(self) -> None:
        """End it: the command sees the end of its input."""


class Transport(Protocol):
    """One connection to a cluster."""

    @property
    def description(self) -> str:
        """For messages: `jane@login.example.org`."""

    def open(self, command: str) -> Channel:
        """Start a shell command. Raises ClusterError."""

    def close(self) -> None:
        """Close the connection and everything on it."""


class Login(NamedTuple):
    """Who logs in, and with what. Empty texts leave it to the SSH configuration and agent.

    `key`: the private key, when it is unlocked already.
    """

    username: str = ""
    private_key: str = ""
    passphrase: str = ""
    key: Any = None

    def __repr__(self) -> str:
        return f"Login({self.username!r}, {self.private_key!r})"


class Opened(NamedTuple):
    """A TCP connection that nobody has logged in on yet, opened at `since` (seconds, monotonic).

    sshd closes a connection on which nobody logs in (LoginGraceTime, sshd_config(5)); `fresh` is False well before that.
    """

    sock: socket.socket
    since: float

    @property
    def fresh(self) -> bool:
        """True while sshd still waits."""
        return time.monotonic() - self.since < LOGIN_GRACE


class Tail:
    """The last bytes of a stream that a thread of its own reads."""

    def __init__(self) -> None:
        self._bytes = b""
        self._lock = threading.Lock()

    def add(self, piece: bytes) -> None:
        with self._lock:
            self._bytes = (self._bytes + piece)[-TAIL:]

    def text(self) -> str:
        with self._lock:
            return self._bytes.decode("utf-8", "replace").strip()
