"""The transport over SSH. The only file that imports fabric, and the place where its errors become ours."""

import contextlib
import io
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, Protocol, cast

from project.core.errors import ClusterError, JobferryError, UserError
from project.transports import ssh_config, ssh_hosts, ssh_keys
from project.transports.base import Login, Opened, Tail

if TYPE_CHECKING:
    import paramiko

CONNECT_TIMEOUT = 10
BANNER_TIMEOUT = 15
AUTH_TIMEOUT = 30
# Seconds without the cluster reading what we send, on a connection that lives.
WRITE_SILENCE = 120.0
# As ServerAliveInterval and ServerAliveCountMax of ssh_config(5), which win.
ALIVE_INTERVAL = 10.0
ALIVE_COUNT = 3
RESUME_HINT = "Check the network and call again: what was done is kept."


class Asks(ssh_hosts.Asks, ssh_keys.Asks, Protocol):
    """The part of the user interface that connecting needs."""


def prepare() -> None:
    """Import the libraries: 0.15 s that may pass while something else waits for the network."""
    import fabric  # noqa: F401  # importing it is the point


class _Pulse:
    """Asks the server for a sign of life and cuts a connection that gives none: a stall is an error, not a hang."""

    def __init__(self, transport: "paramiko.Transport", interval: float, count: int) -> None:
        self._transport = transport
        self._interval = interval
        self._limit = interval * count
        self._last = time.monotonic()
        self.stalled = False
        for work in (self._ask, self._watch):
            threading.Thread(target=work, daemon=True).start()

    def _ask(self) -> None:
        while self._transport.is_active():
            time.sleep(self._interval)
            with contextlib.suppress(Exception):  # a dead transport; `_watch` sees it too
                # Any answer will do; OpenSSH's own name for the question.
                self._transport.global_request("keepalive@openssh.com", wait=True)
                if self._transport.is_active():
                    self._last = time.monotonic()

    def _watch(self) -> None:
        while self._transport.is_active():
            time.sleep(self._interval / 2)
            if time.monotonic() - self._last > self._limit + self._interval:
                self.stalled = True
                # Not close(): that waits for a thread which may hang in the write.
                self._transport.packetizer.close()
                with contextlib.suppress(OSError):
                    self._transport.sock.close()
                return


class _Raw(io.RawIOBase):
    """A paramiko channel as a raw file; its ends and errors in our words."""

    def __init__(self, owner: "SshChannel") -> None:
        super().__init__()
        self._owner = owner

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._owner.receive(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def write(self, data: Any) -> int:
        return self._owner.send(bytes(data))


class SshChannel:
    """One command over SSH."""

    def __init__(self, channel: "paramiko.Channel", pulse: _Pulse, description: str) -> None:
        self._channel = channel
        self._pulse = pulse
        self._description = description
        self._tail = Tail()
        raw = _Raw(self)
        self.stdin = cast(BinaryIO, io.BufferedWriter(raw, 32768))
        self.stdout = cast(BinaryIO, io.BufferedReader(_Raw(self), 65536))
        self._drain = threading.Thread(target=self._read_stderr, daemon=True)
        self._drain.start()

    def _read_stderr(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while piece := self._channel.recv_stderr(65536):
                self._tail.add(piece)

    def receive(self, size: int) -> bytes:
        """Up to `size` bytes, b"" at a plain end. Raises ClusterError when the connection broke."""
        try:
            self._channel.settimeout(None)
            piece = self._channel.recv(size)
        except (OSError, EOFError) as error:
            self._broken(error)
        if not piece and not self._channel.eof_received:
            self._broken(None)
        return piece

    def send(self, data: bytes) -> int:
        """Send some of it; how much. Raises ClusterError."""
        try:
            self._channel.settimeout(WRITE_SILENCE)
            sent = self._channel.send(data)
        except TimeoutError:
            # Whoever reads next must not wait for an answer that cannot come.
            self._channel.close()
            raise ClusterError(
                f"{self._description} has read nothing for {WRITE_SILENCE:.0f} s.", RESUME_HINT, transient=True
            ) from None
        except (OSError, EOFError) as error:
            self._broken(error)
        if not sent:
            self._broken(None)
        return sent

    def _broken(self, error: BaseException | None) -> NoReturn:
        what = "gives no sign of life" if self._pulse.stalled else "was lost"
        raise ClusterError(f"The connection to {self._description} {what}.", RESUME_HINT, transient=True) from error

    def stderr_tail(self) -> str:
        if self._channel.closed:
            self._drain.join(0.5)
        return self._tail.text()

    def wait(self, timeout: float) -> int:
        self._channel.status_event.wait(timeout)
        return int(self._channel.exit_status)

    def close(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            self._channel.shutdown_write()
        with contextlib.suppress(OSError, EOFError):
            self._channel.close()


class SshTransport:
    """One SSH connection."""

    def __init__(self, connection: Any, description: str, pulse: _Pulse) -> None:
        self._connection = connection
        self.description = description
        self._pulse = pulse

    def open(self, command: str) -> SshChannel:
        import paramiko

        try:
            channel = self._connection.transport.open_session(timeout=AUTH_TIMEOUT)
            channel.exec_command(command)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise ClusterError(
                f"{self.description} does not start a command ({_text(error)}).", RESUME_HINT, transient=True
            ) from error
        return SshChannel(channel, self._pulse, self.description)

    def close(self) -> None:
        if self._pulse.stalled:
            return
        with contextlib.suppress(OSError, EOFError):
            self._connection.close()


def connect(
    cluster: dict[str, Any],
    login: Login,
    ui: Asks,
    accept_new_host_key: bool = False,
    opened: Opened | None = None,
) -> SshTransport:
    """Connect to `cluster` (`hostname`, `port`, `name`).

    :param opened: the connection that probing made, to go on with.

    Raises ClusterError (unreachable, refused, host key) or UserError (a key that cannot be used).
    """
    import logging

    from fabric import Config, Connection

    # Its thread logs a traceback of what comes out here as an error in our words; without a handler it would be printed.
    if not (log := logging.getLogger("paramiko")).handlers:
        log.addHandler(logging.NullHandler())
    config = Config(lazy=True, ssh_config=ssh_config.load())
    port = int(cluster.get("port") or 22)
    host = str(cluster.get("hostname") or cluster.get("name"))
    connection = Connection(
        host,
        user=login.username or str(cluster.get("username") or "") or None,
        # 22 is what every cluster document says; a Port in the SSH configuration says more.
        port=port if port != 22 else None,
        config=config,
        connect_timeout=None if "connecttimeout" in config.base_ssh_config.lookup(host) else CONNECT_TIMEOUT,
    )
    description = f"{connection.user}@{connection.host}"
    key_path = _identify(connection, login, ui)
    for hop in _hops(connection):
        keys, write_to = ssh_hosts.known(hop.ssh_config)
        hop.client._system_host_keys = keys
        hop.client.set_missing_host_key_policy(cast("Any", ssh_hosts.Policy(ui, accept_new_host_key, write_to)))
        hop.connect_kwargs.update(banner_timeout=BANNER_TIMEOUT, auth_timeout=AUTH_TIMEOUT)
    if opened is not None and opened.fresh and connection.gateway is None:
        connection.connect_kwargs["sock"] = opened.sock
    elif opened is not None:
        opened.sock.close()
    try:
        connection.open()
    except JobferryError:
        raise
    except Exception as error:
        raise translate(error, str(cluster.get("name") or host), connection, key_path) from error
    return SshTransport(connection, description, _alive(connection))


def _identify(connection: Any, login: Login, ui: Asks) -> str:
    """Give the connection its key. Returns the key's path, "" when that is left to agent and configuration."""
    path = login.private_key or ssh_keys.first_identity(connection.ssh_config)
    if not path:
        return ""
    try:
        key = login.key or ssh_keys.load(path, login.passphrase, ui)
    except UserError:
        # A default key that nobody asked for must not stand in the way of the agent.
        if login.private_key or not os.environ.get("SSH_AUTH_SOCK"):
            raise
        return ""
    for hop in _hops(connection):
        if key is None:
            hop.connect_kwargs.update(look_for_keys=False)
            hop.connect_kwargs.pop("key_filename", None)
        elif login.private_key:
            hop.connect_kwargs.update(pkey=key, look_for_keys=False, allow_agent=False)
            hop.connect_kwargs.pop("key_filename", None)
        else:
            hop.connect_kwargs.update(pkey=key, look_for_keys=False)
    return path


def _hops(connection: Any) -> list[Any]:
    hops = []
    while connection is not None and not isinstance(connection, str):
        hops.append(connection)
        connection = connection.gateway
    return hops


def _alive(connection: Any) -> _Pulse:
    options = connection.ssh_config
    interval = float(options.get("serveraliveinterval") or 0) or ALIVE_INTERVAL
    count = int(options.get("serveralivecountmax") or ALIVE_COUNT)
    sock = connection.transport.sock
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _Pulse(connection.transport, interval, count)


def translate(error: Exception, name: str, connection: Any, key_path: str) -> JobferryError:
    """A library's error while connecting, in our words."""
    import paramiko

    where = f"{name} ({connection.host}:{connection.port})"
    if isinstance(error, paramiko.BadHostKeyException):
        return ssh_hosts.changed(error.hostname, error.key)
    if isinstance(error, paramiko.AuthenticationException) and _cut(error):
        return ClusterError(f"{where} was lost while logging in ({_text(error)}).", transient=True)
    if isinstance(error, paramiko.AuthenticationException):
        what = f"with the key {key_path}" if key_path else "with the keys of the SSH agent and configuration"
        return ClusterError(
            f"{where} refused the login of {connection.user} {what}.",
            "Check username and private_key, and that the public key is in the cluster's authorized_keys.",
        )
    if isinstance(error, paramiko.SSHException) and "No authentication methods" in str(error):
        return ClusterError(
            f"There is no key to log in to {where} with.",
            "Name one by `private_key` in the input or --private-key, or load one into the SSH agent.",
        )
    if isinstance(error, socket.gaierror):
        return ClusterError(
            f"The host name of {where} is not known.", "Check its spelling, or your network.", transient=True
        )
    if isinstance(error, TimeoutError):
        return ClusterError(f"{where} does not answer in time.", "Is the network or VPN up?", transient=True)
    if isinstance(error, paramiko.ChannelException):
        return ClusterError(f"The jump host cannot reach {where} ({_text(error)}).", transient=True)
    if isinstance(error, paramiko.SSHException) and "banner" in str(error).lower():
        return ClusterError(f"{where} does not answer as an SSH server.", "Check hostname and port.", transient=True)
    if isinstance(error, OSError | EOFError):
        return ClusterError(f"{where} cannot be reached ({_text(error)}).", transient=True)
    if isinstance(error, paramiko.SSHException):
        return ClusterError(f"No SSH connection to {where} ({_text(error)}).", transient=True)
    if isinstance(error, ValueError):
        return UserError(f"The SSH settings for {where} cannot be used ({_text(error)}).")
    raise error


def _cut(error: Exception) -> bool:
    """True when the connection went away, not the key refused: paramiko has one class for both (auth_handler.py)."""
    text = str(error).lower()
    return "timeout" in text or "saw eof" in text


def _text(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")
