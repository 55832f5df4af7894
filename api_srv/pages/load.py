"""A cluster and its load as the page shows them. Pure."""

from collections.abc import Callable
from typing import Any

from api_srv.notify.plain import clean
from api_srv.pages import times

Json = dict[str, Any]
_SHOWN_APART = frozenset(
    (
        "nodes",
        "idle_nodes",
        "down_nodes",
        "cpus",
        "idle_cpus",
        "memory",
        "idle_memory",
        "jobs_running",
        "jobs_waiting",
        "partitions",
    )
)


def cluster(document: Json) -> Json:
    """A cluster with its load."""
    status = document.get("status")
    status = status if isinstance(status, dict) else {}
    meters = [
        _meter("Nodes", status.get("nodes"), status.get("idle_nodes"), str),
        _meter("CPUs", status.get("cpus"), status.get("idle_cpus"), str),
        _meter("Memory", status.get("memory"), status.get("idle_memory"), size),
    ]
    heard = times.parsed(document.get("heard"))
    preferred = document.get("preferred_jobs")
    return {
        "name": str(document.get("name") or ""),
        "hostname": str(document.get("hostname") or ""),
        "port": document.get("port") or 22,
        "workload_manager": str(document.get("workload_manager") or ""),
        "partition": str(document.get("partition") or ""),
        "preferred_jobs": [str(one) for one in preferred] if isinstance(preferred, list) else [],
        "shared": bool(document.get("shared")),
        "heard": document.get("heard") if heard else "",
        "meters": [meter for meter in meters if meter],
        "down": _count(status.get("down_nodes")),
        "running": _count(status.get("jobs_running")),
        "waiting": _count(status.get("jobs_waiting")),
        "other": [
            (str(key), _plain(value)) for key, value in status.items() if key not in _SHOWN_APART and _plain(value)
        ],
    }


def _meter(name: str, total: Any, idle: Any, written: Callable[[int], str]) -> Json:
    whole_count, free = _count(total), _count(idle)
    if not whole_count or free is None:
        return {}
    used = max(0, whole_count - free)
    share = round(100 * used / whole_count)
    return {
        "name": name,
        "used": written(used),
        "total": written(whole_count),
        "free": written(free),
        "share": min(share, 100),
    }


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def size(count: int) -> str:
    """Bytes in binary units."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def _plain(value: Any) -> str:
    return clean(str(value))[:300] if isinstance(value, (str, int, float)) else ""
