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

# Seconds for all candidates together.
LIMIT = 3.0
_BANNER = b"SSH-"


class Probe(NamedTuple):
    """What a cluster answered. `reason` says why it is not reachable; `seconds` is how long it took."""

    reachable: bool
    reason: str = ""
    seconds: float = 0.0


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


def probe_targets(where: Sequence[Target], limit: float = LIMIT) -> dict[str, Probe]:
    """As `probe`."""
    results = {target.name: target.known for target in where if target.known is not None}
    threads = []
    for target in where:
        if target.known is None:
            thread = threading.Thread(target=_store, args=(results, target, limit), daemon=True)
            thread.start()
            threads.append(thread)
    until = time.monotonic() + limit
    for thread in threads:
        # A resolver may hang for longer than we wait.
        thread.join(max(0.0, until + 0.2 - time.monotonic()))
    return {target.name: results.get(target.name) or _silent(limit) for target in where}


def _silent(limit: float) -> Probe:
    return Probe(False, f"no answer within {limit:g} s", limit)


def _store(results: dict[str, Probe], target: Target, limit: float) -> None:
    begin = time.monotonic()
    try:
        reason = _banner(target.host, target.port, begin + limit)
    except socket.gaierror:
        reason = f"the host name {target.host} is not known"
    except TimeoutError:
        reason = f"no answer within {limit:g} s"
    except OSError as error:
        reason = f"{target.host}:{target.port}: {(error.strerror or str(error)).lower()}"
    results[target.name] = Probe(not reason, reason, time.monotonic() - begin)


def _banner(host: str, port: int, until: float) -> str:
    """Why the port is no SSH server; an empty text when it is one. Raises OSError."""
    with socket.create_connection((host, port), timeout=_left(until)) as sock:
        seen = b""
        with contextlib.closing(selectors.DefaultSelector()) as selector:
            selector.register(sock, selectors.EVENT_READ)
            # RFC 4253, 4.2: other lines may come before the version.
            while _BANNER not in seen:
                if not selector.select(_left(until)):
                    raise TimeoutError
                piece = sock.recv(1024)
                if not piece:
                    return f"{host}:{port} closed the connection without an SSH banner"
                seen = (seen + piece)[-4096:]
    return ""


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
