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


def probe(clusters: Sequence[dict[str, Any]], limit: float = LIMIT) -> dict[str, Probe]:
    """Probe all `clusters` at once, for `limit` seconds at most. Never raises for a cluster that does not answer."""
    results: dict[str, Probe] = {}
    threads = []
    for cluster in clusters:
        name = str(cluster["name"])
        if inventory.is_here(cluster):
            results[name] = Probe(True)
            continue
        thread = threading.Thread(target=_store, args=(results, name, cluster, limit), daemon=True)
        thread.start()
        threads.append(thread)
    until = time.monotonic() + limit
    for thread in threads:
        # A resolver may hang for longer than we wait.
        thread.join(max(0.0, until + 0.2 - time.monotonic()))
    return {str(c["name"]): results.get(str(c["name"]), _silent(limit)) for c in clusters}


def _silent(limit: float) -> Probe:
    return Probe(False, f"no answer within {limit:g} s", limit)


def _store(results: dict[str, Probe], name: str, cluster: dict[str, Any], limit: float) -> None:
    results[name] = probe_one(cluster, limit)


def probe_one(cluster: dict[str, Any], limit: float = LIMIT) -> Probe:
    """Probe one cluster. One behind a jump host counts as reachable: only a login can tell."""
    begin = time.monotonic()
    host, port = str(cluster.get("hostname") or cluster["name"]), int(cluster.get("port") or 22)
    if ssh_config.present():
        options = ssh_config.lookup(host)
        if options.get("proxyjump", "none") != "none" or options.get("proxycommand", "none") != "none":
            return Probe(True, "behind a jump host")
        host = str(options.get("hostname") or host)
        port = port if port != 22 else int(options.get("port") or 22)
    try:
        reason = _banner(host, port, begin + limit)
    except socket.gaierror:
        reason = f"the host name {host} is not known"
    except TimeoutError:
        reason = f"no answer within {limit:g} s"
    except OSError as error:
        reason = f"{host}:{port}: {(error.strerror or str(error)).lower()}"
    return Probe(not reason, reason, time.monotonic() - begin)


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
