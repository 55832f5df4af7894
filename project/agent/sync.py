"""The op `sync`: what happened to many jobs since the client last asked, as fresh as the scheduler tells it."""

import time
from typing import TYPE_CHECKING, Any, Dict

from project.agent import spawn
from project.agent.folder import Folder
from project.core import files, history
from project.core.paths import Root

if TYPE_CHECKING:
    from project.agent.serve import Session

MAX_BYTES = 4 * history.BATCH_BYTES
# The watcher's last look is fresh enough when it is younger than this; else it is asked to look and waited for (seconds).
FRESH, PATIENCE = 1.0, 3.0


def sync(session: "Session", request: Dict[str, Any]) -> Dict[str, Any]:
    """Serve `sync`. `more` is True when there is more than one answer shall hold: ask again with the new numbers."""
    workdir = session.workdir(request)
    asked: Dict[str, Any] = request.get("jobs") or {}
    folders = {uuid: Folder(workdir, uuid) for uuid in asked}
    living = [folder for folder in folders.values() if folder.taken() and not folder.read().final]
    for folder in living:
        spawn.keep_live(session.root, folder)
    if living:
        refresh(session.root)
    answer: Dict[str, Any] = {}
    room, more = MAX_BYTES, False
    for uuid, folder in folders.items():
        if not folder.taken():
            answer[uuid] = {"known": folder.exists(), "state": None, "events": [], "last_seq": 0}
            continue
        events, rest = folder.events_after(int(asked[uuid] or 0), max(room, 1)) if room > 0 else ([], True)
        room -= sum(history.size(event) for event in events)
        more = more or rest
        record = folder.read()
        last = events[-1]["seq"] if events else int(asked[uuid] or 0)
        answer[uuid] = {"known": True, "state": record.state, "events": events, "last_seq": last}
    return {"jobs": answer, "more": more}


def refresh(root: Root) -> None:
    """Have the watcher look at the scheduler now, and wait for it a moment."""
    spawn.watcher_if_needed(root)
    before = _looked(root)
    if abs(time.time() - before) < FRESH:
        return
    spawn.ring(root)
    until = time.monotonic() + PATIENCE
    while _looked(root) == before and time.monotonic() < until:
        time.sleep(0.02)


def _looked(root: Root) -> float:
    """When the watcher looked last, by its own clock: the file server's may be wrong."""
    try:
        return float(files.read_text(root.looked) or 0)
    except (OSError, ValueError):
        return 0.0
