"""Find out why something does not work: settings, the API, and CLUSTER (or every cluster)."""

import argparse
from typing import Any

from project.commands import clusters
from project.commands.base import Answer, Document, Session
from project.core.errors import ApiError, ClusterError, JobferryError
from project.render import findings

EXAMPLES = """\
examples:
  {prog} doctor
  {prog} doctor lemaitre3
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `doctor`."""
    parser.add_argument("cluster", nargs="?", metavar="CLUSTER", help="check this cluster all through (default: all)")
    parser.add_argument("--accept-new-host-key", action="store_true", help="trust a host key that is not known yet")


def run(session: Session) -> Answer:
    """Check; exit code 4 when the API fails, 3 when a cluster does."""
    rows: list[dict[str, Any]] = [_settings(session), _api(session)]
    code = 0
    if not rows[-1]["ok"]:
        code = ApiError.exit_code
    else:
        wanted = [clusters.named(session, session.args.cluster)] if session.args.cluster else clusters.everyone(session)
        for cluster in wanted:
            checked = _cluster(session, cluster)
            rows += checked
            if not all(row["ok"] for row in checked):
                code = ClusterError.exit_code
    return Answer(data={"findings": rows, "ok": not code}, text=findings.page(rows, session.output), exit_code=code)


def _row(about: str, what: str, ok: bool, text: str, hint: str = "") -> dict[str, Any]:
    return {"about": about, "what": what, "ok": ok, "text": text, "hint": hint}


def _settings(session: Session) -> dict[str, Any]:
    settings = session.settings
    there = "read" if settings.config_file.exists() else "not there, defaults hold"
    return _row("this machine", "settings", True, f"data in {settings.home}; {settings.config_file} {there}")


def _api(session: Session) -> dict[str, Any]:
    url = session.settings.get("api_url")
    what = "API"
    try:
        session.api.health()
        session.api.clusters()
    except ApiError as error:
        return _row("this machine", what, False, error.message, error.hint)
    return _row("this machine", what, True, f"{url} answers" if url else "embedded, in this process")


def _cluster(session: Session, cluster: Document) -> list[dict[str, Any]]:
    from project.engine import doctor

    name = str(cluster["name"])
    try:
        with session.ui.step(f"Checking {name}"):
            found = doctor.check(session.context, cluster)
    except JobferryError as error:
        return [_row(name, "connection", False, error.message, error.hint)]
    return [_row(name, item.what, item.ok, item.text, item.hint) for item in found if item.what != "API"]
