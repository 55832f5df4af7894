"""Which clusters answer: all candidates at once, by TCP and the SSH banner. No ping: a firewall may eat it."""

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from project.engine import inventory
from project.transports import ssh_config
from project.transports.base import Opened

# Seconds for all candidates together.
LIMIT = 3.0
_BANNER = b"SSH-"
_NOISE = 64 * 1024


class Probe(NamedTuple):
    """What a cluster answered. `reason` says why it is not reachable; `seconds` is how long it took.

    `opened`: the connection, when it was to be kept for the login.
    """

    reachable: bool
    reason: str = ""
    seconds: float = 0.0
    opened: Opened | None = None


class Target(NamedTuple):
    """Where a cluster is probed; `known` is the answer when there is nothing to try."""

    name: str
    host: str
    port: int
    known: Probe | None = None


def targets(clusters: Sequence[dict[str, Any]]) -> list[Target]:
    """Where to probe, as the SSH configuration has it (reading that imports a library: not for a thread).

    A cluster behind a jump host counts as reachable: only a login can tell.
    """
    configuration = ssh_config.load() if ssh_config.present() and not all(map(inventory.is_here, clusters)) else None
    return [_target(cluster, configuration) for cluster in clusters]


def _target(cluster: dict[str, Any], configuration: Any) -> Target:
    name = str(cluster["name"])
    host, port = str(cluster.get("hostname") or name), int(cluster.get("port") or 22)
    if inventory.is_here(cluster):
        return Target(name, host, port, Probe(True))
    if configuration is None:
        return Target(name, host, port)
    options = configuration.lookup(host)
    if options.get("proxyjump", "none") != "none" or options.get("proxycommand", "none") != "none":
        return Target(name, host, port, Probe(True, "behind a jump host"))
    port = port if port != 22 else int(options.get("port") or 22)
    return Target(name, str(options.get("hostname") or host), port)


def probe(clusters: Sequence[dict[str, Any]], limit: float = LIMIT) -> dict[str, Probe]:
    """Probe all `clusters` at once, for `limit` seconds at most. Never raises for a cluster that does not answer."""
    return probe_targets(targets(clusters), limit)


def probe_targets(where: Sequence[Target], limit: float = LIMIT, keep: str = "") -> dict[str, Probe]:
    """As `probe`; the connection to the cluster called `keep` stays open."""
    results = {target.name: target.known for target in where if target.known is not None}
    threads = []
    for target in where:
        if target.known is None:
            thread = threading.Thread(target=_store, args=(results, target, limit, keep == target.name), daemon=True)
            thread.start()
            threads.append(thread)
    until = time.monotonic() + limit
    for thread in threads:
        # A resolver may hang for longer than we wait.
        thread.join(max(0.0, until + 0.2 - time.monotonic()))
    return {target.name: results.get(target.name) or _silent(limit) for target in where}


def _silent(limit: float) -> Probe:
    return Probe(False, f"no answer within {limit:g} s", limit)


def _store(results: dict[str, Probe], target: Target, limit: float, keep: bool) -> None:
    begin = time.monotonic()
    opened: Opened | None = None
    try:
        opened, reason = _banner(target.host, target.port, begin + limit)
    except socket.gaierror:
        reason = f"the host name {target.host} is not known"
    except TimeoutError:
        reason = f"no answer within {limit:g} s"
    except OSError as error:
        reason = f"{target.host}:{target.port}: {(error.strerror or str(error)).lower()}"
    if opened is not None and not (keep and not reason):
        opened.sock.close()
        opened = None
    results[target.name] = Probe(not reason, reason, time.monotonic() - begin, opened)


def _banner(host: str, port: int, until: float) -> tuple[Opened, str]:
    """The connection, and why its other end is no SSH server (an empty text when it is one). Raises OSError.

    The bytes are looked at and stay where they are, for whoever logs in.
    """
    sock = socket.create_connection((host, port), timeout=_left(until))
    opened = Opened(sock, time.monotonic())
    seen = b""
    try:
        with contextlib.closing(selectors.DefaultSelector()) as selector:
            selector.register(sock, selectors.EVENT_READ)
            # RFC 4253, 4.2: other lines may come before the version.
            while _BANNER not in seen:
                if not selector.select(_left(until)):
                    raise TimeoutError
                before, seen = len(seen), sock.recv(_NOISE, socket.MSG_PEEK)
                if not seen or len(seen) == _NOISE:
                    return opened, f"{host}:{port} closed the connection without an SSH banner"
                if len(seen) == before:
                    # More may come, or the end: neither can be waited for while bytes lie there.
                    time.sleep(0.02)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        sock.close()
        raise
    return opened, ""


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
