"""The op `check`: whether this machine has what a submission needs; for `doctor`."""

import os
import shutil
import sys
from typing import TYPE_CHECKING, Any, Dict, List

from project.agent import facts, locks, managers, texts
from project.agent.runner import Runner
from project.core import files, schedulers
from project.core.errors import JobferryError
from project.core.paths import Root
from project.core.schedulers import base

if TYPE_CHECKING:
    from project.agent.serve import Session

Finding = Dict[str, Any]
# Below this much room a job folder soon cannot hold its own history.
LEAST_BYTES, LEAST_INODES = 50 * 1024 * 1024, 1000
TOOLS = (("git", "jobs that are Git repositories"), ("tar", "users' own archives"), ("cc", "modules in C"))


def check(session: "Session", request: Dict[str, Any]) -> Dict[str, Any]:
    """Serve `check`."""
    return {"findings": look(session.root.root, request.get("cluster") or {}, session.workdir(request))}


def look(root: str, cluster: Dict[str, Any], workdir: str = "") -> List[Finding]:
    """What was looked at, in the order in which it matters."""
    workdir = workdir or Root(root).jobs
    findings = [_finding("python", True, "{} ({})".format(sys.version.split()[0], sys.executable))]
    findings += _place(workdir)
    findings += _manager(root, cluster)
    findings += _tools()
    findings.append(_watcher(root))
    return findings


def _finding(what: str, ok: bool, text: str, hint: str = "") -> Finding:
    return {"what": what, "ok": ok, "text": text, "hint": "" if ok else hint}


def _place(workdir: str) -> List[Finding]:
    shown = texts.from_path(workdir)
    probe = os.path.join(workdir, ".jobferry-check")
    try:
        os.makedirs(workdir, exist_ok=True)
        files.write_atomic(probe, b"x" * 4096)
        os.unlink(probe)
    except OSError as error:
        hint = "Choose another workdir for this cluster, or make room: the quota may be used up."
        return [_finding("workdir", False, "{}: {}".format(shown, error.strerror or error), hint)]
    found = [_finding("workdir", True, "{} can be written to".format(shown))]
    status = os.statvfs(workdir)
    room = status.f_bavail * status.f_frsize
    found.append(_finding("disk", room >= LEAST_BYTES, "{:.1f} GiB free".format(room / 2.0**30), "Make room."))
    if status.f_files:
        text = "{} files more can be made".format(status.f_favail)
        found.append(_finding("inodes", status.f_favail >= LEAST_INODES, text, "Remove small files."))
    try:
        with locks.held(probe):
            pass
        found.append(_finding("locks", True, "work here" if not os.path.exists(probe + ".held") else "by lock files"))
    except OSError as error:
        found.append(_finding("locks", False, str(error.strerror or error), "Choose a workdir on another file system."))
    finally:
        if os.path.exists(probe):
            os.unlink(probe)
    return found


def _manager(root: str, cluster: Dict[str, Any]) -> List[Finding]:
    name = str(cluster.get("workload_manager") or "")
    if not name:
        return []
    hint = "Is workload_manager right, and are its programs on the PATH of a login without terminal?"
    try:
        scheduler = schedulers.get(name)
        program = scheduler.program
        where = "built in" if program == base.LOCAL else shutil.which(program)
        if not where:
            return [_finding(name, False, "there is no {} on the PATH".format(program), hint)]
        scheduler = managers.manager_of(Runner(root), cluster, again=True)
        status = facts.status(Runner(root), cluster)
    except JobferryError as error:
        return [_finding(name, False, error.message, error.hint or hint)]
    except OSError as error:
        return [_finding(name, False, str(error), hint)]
    shown = "{} ({})".format(name, scheduler.dialect) if scheduler.dialect else name
    told = ", ".join("{} {}".format(key, status[key]) for key in ("nodes", "idle_nodes", "cpus") if key in status)
    return [_finding(shown, True, "{} answers ({})".format(where, told or "no load told"))]


def _tools() -> List[Finding]:
    found = []
    for tool, use in TOOLS:
        where = shutil.which(tool)
        # Missing ones are no failure: most jobs need none of them.
        found.append(_finding(tool, True, where or "not here; needed for {}".format(use)))
    if not shutil.which("curl"):
        found.append(_finding("curl", True, "not here; Python downloads instead"))
    return found


def _watcher(root: str) -> Finding:
    place = Root(root)
    lives = sum(1 for _ in os.scandir(place.live)) if os.path.isdir(place.live) else 0
    runs = locks.is_held(place.watch_lock)
    text = "{}, {} living jobs".format("runs" if runs else "does not run", lives)
    return _finding("watcher", runs or not lives, text, "The next call starts it.")
