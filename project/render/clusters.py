"""Clusters as text: the inventory, one cluster's page, what probing found."""

from collections.abc import Mapping, Sequence
from typing import Any

from project.core.process import quote
from project.render import times
from project.render.output import Output
from project.render.text import clean, fields, seconds, size, table

Cluster = Mapping[str, Any]


def listing(clusters: Sequence[Cluster], output: Output) -> str:
    """The table of `clusters ls`."""
    rows = []
    for cluster in clusters:
        status = cluster.get("status") or {}
        rows.append(
            (
                cluster.get("name", "?"),
                where(cluster),
                cluster.get("workload_manager", "?"),
                ",".join(preferred(cluster)) or "-",
                load(status) or "-",
                times.age(status.get("updated") or status.get("time")) if status else "-",
            )
        )
    header = ("NAME", "WHERE", "MANAGER", "GOOD AT", "FREE", "HEARD")
    columns = output.columns if output.terminal else 80
    return table(header, rows, columns=columns, shrink=(0, 3, 1), palette=output.palette())


def here(cluster: Cluster) -> bool:
    """True for this machine: the built-in cluster, or one with `transport: local`."""
    if cluster.get("transport") == "local":
        return True
    return cluster.get("name") == "local" and cluster.get("hostname") in (None, "", "localhost", "local")


def where(cluster: Cluster) -> str:
    """`host` or `host:port`."""
    if here(cluster):
        return "this machine"
    host = str(cluster.get("hostname") or "?")
    port = cluster.get("port") or 22
    return host if port == 22 else f"{host}:{port}"


def preferred(cluster: Cluster) -> list[str]:
    """The words of `preferred_jobs`, which may be one text."""
    words = cluster.get("preferred_jobs") or []
    return [words] if isinstance(words, str) else [str(word) for word in words]


def load(status: Mapping[str, Any]) -> str:
    """`12/40 nodes`: how many are idle, as last reported."""
    nodes, idle = status.get("nodes"), status.get("idle_nodes", status.get("idle"))
    if isinstance(nodes, list):
        nodes = len(nodes)
    if isinstance(nodes, int) and isinstance(idle, int):
        return f"{idle}/{nodes} nodes"
    cpus, free = status.get("cpus"), status.get("idle_cpus")
    return f"{free}/{cpus} cpus" if isinstance(cpus, int) and isinstance(free, int) else ""


def page(cluster: Cluster, output: Output) -> str:
    """One cluster, with its load and the crontab line."""
    status = cluster.get("status") or {}
    profile = cluster.get("profile") or []
    pairs = [
        ("name", clean(cluster.get("name", ""))),
        ("where", clean(where(cluster))),
        ("manager", clean(cluster.get("workload_manager", ""))),
        ("partition", clean(cluster.get("partition") or "")),
        ("good at", clean(", ".join(preferred(cluster)))),
        ("user name", clean(cluster.get("username") or "")),
        ("work folder", clean(cluster.get("workdir") or ("" if here(cluster) else "$HOME/.jobferry/jobs"))),
        ("python", clean(cluster.get("python") or "")),
        ("launcher", clean(cluster.get("launcher") or "")),
        ("retry", ", ".join(f"{clean(k)} {clean(v)}" for k, v in (cluster.get("retry") or {}).items())),
        ("profile", "\n".join(clean(line) for line in _profile(profile))),
        *[(clean(key).replace("_", " "), _shown(key, value)) for key, value in status.items() if _plain(value)],
    ]
    text = fields(pairs, columns=output.columns, palette=output.palette())
    line = crontab(cluster)
    if line:
        text += "\n\n" + "\n".join(CRONTAB) + f"\n  {clean(line)}"
    return text


def _profile(profile: Any) -> list[str]:
    """A profile line by line; of a mapping every line after its key."""
    if isinstance(profile, Mapping):
        return [f"{key}: {line}" for key, value in profile.items() for line in _profile(value)]
    return str(profile).split("\n") if not isinstance(profile, list) else [str(line) for line in profile]


CRONTAB = (
    "Optional: this crontab line on its login node keeps jobs followed after the",
    "login node was restarted:",
)


def _shown(key: str, value: Any) -> str:
    if "memory" in key and isinstance(value, int):
        return size(value)
    return f"{times.local(value)} ({times.age(value)} ago)" if key in ("time", "updated") else clean(value)


def _plain(value: object) -> bool:
    return isinstance(value, (str, int, float)) and value != ""


def crontab(cluster: Cluster) -> str:
    """The line that starts the watcher again; empty for this machine. Nothing depends on it."""
    if here(cluster):
        return ""
    python = quote(str(cluster.get("python") or "python3"))
    # Without a folder it watches the home folder's; short enough not to be broken when it is copied from a terminal.
    return f'*/10 * * * * {python} "$(ls -t ~/.jobferry/agent/*.pyz | head -n 1)" watch'


def probes(rows: Sequence[Mapping[str, Any]], output: Output) -> str:
    """The table of `clusters test`."""
    shown = [
        (row["name"], "yes" if row["reachable"] else "no", seconds(row["seconds"]), row["reason"] or "-")
        for row in rows
    ]
    styles = {"yes": "green", "no": "red"}
    columns = output.columns if output.terminal else 80
    return table(
        ("NAME", "ANSWERS", "TOOK", "REASON"),
        shown,
        columns=columns,
        shrink=(0, 3),
        palette=output.palette(),
        paint={1: styles},
    )
