"""Cancel, hold, release, remove: for jobs in any state, as often as one likes.

A wish to cancel is a file in the job's folder first, so that it is carried out by whoever works on the job, also later.
"Cancelled" is said only when the scheduler says so, or when it is certain that the job never was in its queue.
"""

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, TextIO, Tuple

from project.agent import managers, native, plans, spawn, texts, work
from project.agent.folder import Folder, Record, is_uuid
from project.agent.judge import Followed, Judge
from project.agent.names import user
from project.agent.runner import Runner
from project.core import files, states
from project.core.errors import JobferryError
from project.core.paths import Root
from project.core.resources import array_of

if TYPE_CHECKING:
    from project.agent.serve import Session

# How long (seconds) a cancel waits for the scheduler's confirmation before it answers "asked for".
PATIENCE = 10.0

Outcome = Dict[str, Any]


def wish(folder: Folder) -> None:
    """Record the wish to cancel. Idempotent. Raises OSError."""
    if not os.path.exists(folder.paths.cancel):
        files.write_atomic(folder.paths.cancel, plans.stamp(time.time()) + "\n")


def cancel(session: "Session", request: Dict[str, Any]) -> Dict[str, Any]:
    """Serve `cancel`."""
    folders = _folders(session, request)
    return {"jobs": cancel_jobs(session.runner, session.user, folders, lambda: spawn.ring(session.root))}


def cancel_jobs(
    runner: Runner, user: str, folders: Dict[str, Optional[Folder]], ring: Callable[[], None]
) -> Dict[str, Outcome]:
    """Cancel each job and wait (a while) for the scheduler's word."""
    outcomes: Dict[str, Outcome] = {}
    asked: Dict[str, Folder] = {}
    for uuid, folder in folders.items():
        if folder is None:
            outcomes[uuid] = _unknown()
        elif not folder.taken():
            wish(folder)
            outcomes[uuid] = _unknown()
        elif folder.read().final:
            outcomes[uuid] = _outcome(True, folder.read(), "it was over already")
        else:
            trouble = cancel_one(folder, runner)
            if trouble:
                outcomes[uuid] = _outcome(False, folder.read(), trouble + " It is tried again until it is done.")
            else:
                asked[uuid] = folder
    _await(runner, user, asked, lambda record: record.final, PATIENCE)
    for uuid, folder in asked.items():
        record = folder.read()
        message = "" if record.final else "asked for; the workload manager has not confirmed it yet"
        outcomes[uuid] = _outcome(True, record, message)
    ring()
    return outcomes


def cancel_one(folder: Folder, runner: Runner) -> str:
    """Do what can be done now to cancel a job; "" or what the scheduler said against it."""
    wish(folder)
    if work.needs_work(folder.read()):
        work.carry_on(folder, runner)
    record = folder.read()
    if record.final or "end" in record.memo:
        return ""
    if not record.document.get("native_id"):
        return "It is not certain whether the workload manager has the job ({}).".format(record.document["message"])
    return _act("cancel", folder, record, runner)[1]


def hold(session: "Session", request: Dict[str, Any]) -> Dict[str, Any]:
    """Serve `hold`."""
    return _held(session, request, "hold", lambda record: record.state in (states.PAUSED, states.RUNNING))


def release(session: "Session", request: Dict[str, Any]) -> Dict[str, Any]:
    """Serve `release`."""
    return _held(session, request, "release", lambda record: record.state != states.PAUSED)


def remove(session: "Session", request: Dict[str, Any]) -> Dict[str, Any]:
    """Serve `remove`: a job that lives only by `force`, and then it is cancelled first."""
    from project.agent.unpack import remove_tree

    folders = _folders(session, request)
    living = {uuid: one for uuid, one in folders.items() if one is not None and one.taken() and not one.read().final}
    if living and request.get("force"):
        cancel_jobs(session.runner, session.user, dict(living), lambda: spawn.ring(session.root))
    outcomes: Dict[str, Outcome] = {}
    for uuid, folder in folders.items():
        if folder is None:
            # Of a removing that was cut short this may be left.
            remove_tree(_aside(session.workdir(request), uuid))
            outcomes[uuid] = {"ok": True, "known": False, "message": "there is no folder of it here"}
        elif folder.taken() and not folder.read().final:
            hint = (
                "its end is not confirmed yet; try again" if request.get("force") else "cancel it first, or use force"
            )
            outcomes[uuid] = {"ok": False, "message": "the job is {}; {}".format(folder.read().state, hint)}
        else:
            outcomes[uuid] = _removed(session, folder)
    return {"jobs": outcomes}


def _aside(workdir: str, uuid: str) -> str:
    return os.path.join(workdir, ".removed.{}".format(uuid))


def _removed(session: "Session", folder: Folder) -> Outcome:
    """Remove one job's folder; what cannot be removed keeps no other job's."""
    from project.agent.unpack import remove_tree

    try:
        # Aside first: from here on there is no such job, even if the removing is cut short.
        aside = _aside(folder.paths.workdir, folder.uuid)
        remove_tree(aside)
        os.rename(folder.paths.folder, aside)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(spawn.live_marker(session.root, folder.uuid))
        remove_tree(aside)
    except OSError as error:
        place = os.fsdecode(error.filename) if error.filename else folder.paths.folder
        return {"ok": False, "message": "{}: {}".format(error.strerror or error, texts.from_path(place))}
    return {"ok": True, "message": ""}


def cancel_here(root: str, uuid: str, out: TextIO) -> int:
    """The agent's own command line: cancel a job of this root; the exit status."""
    place = Root(root)
    folder = Folder(spawn.workdir_of(place, uuid) if is_uuid(uuid) else place.jobs, uuid)
    known = {uuid: folder if folder.exists() else None}
    outcome = cancel_jobs(Runner(root), user(), known, lambda: spawn.ring(place))[uuid]
    out.write("{} {} {}\n".format(uuid, outcome["state"] or "", outcome["message"]).rstrip() + "\n")
    return 0 if outcome["ok"] else 3


def _held(
    session: "Session", request: Dict[str, Any], action: str, reached: Callable[[Record], bool]
) -> Dict[str, Any]:
    outcomes: Dict[str, Outcome] = {}
    asked: Dict[str, Folder] = {}
    for uuid, folder in _folders(session, request).items():
        if folder is None or not folder.taken():
            outcomes[uuid] = _unknown()
            continue
        record = folder.read()
        if record.final:
            outcomes[uuid] = _outcome(False, record, "it is over")
        elif work.needs_work(record):
            outcomes[uuid] = _outcome(False, record, "it is not in the queue")
        else:
            done, trouble = _act(action, folder, record, session.runner)
            if done:
                asked[uuid] = folder
            else:
                outcomes[uuid] = _outcome(
                    False, record, trouble or "the workload manager did not do it: is it waiting?"
                )
    _await(session.runner, session.user, asked, reached, PATIENCE / 2)
    for uuid, folder in asked.items():
        record = folder.read()
        # Slurm takes a hold of a running job without a word, and nothing comes of it.
        late = action == "hold" and record.state == states.RUNNING and not _is_array(folder)
        outcomes[uuid] = _outcome(
            not late, record, "it runs already; only a job that waits can be held" if late else ""
        )
    spawn.ring(session.root)
    return {"jobs": outcomes}


def _is_array(folder: Folder) -> bool:
    return array_of((folder.request().get("spec") or {}).get("resources")) is not None


def _act(action: str, folder: Folder, record: Record, runner: Runner) -> Tuple[bool, str]:
    """Do it to the job, or to every part of it; whether it was done to one at least, and what went wrong."""
    cluster = folder.request().get("cluster") or {}
    acted, trouble = False, ""
    for native_id, name in native.submitted_as(folder.paths, record.document).items():
        try:
            scheduler = managers.manager_of(runner, cluster)
            argv: List[str] = (
                scheduler.cancel(native_id, name) if action == "cancel" else getattr(scheduler, action)(native_id)
            )
            done = runner.run(argv)
            acted = scheduler.acted(done.exit_status, done.text(), done.errors()) or acted
        except JobferryError as error:
            trouble = error.message
    return acted and not trouble, trouble


def _await(
    runner: Runner, user: str, folders: Dict[str, Folder], reached: Callable[[Record], bool], patience: float
) -> None:
    """Ask the scheduler until all jobs are where they shall be, or patience ends."""
    followed = {uuid: Followed(folder) for uuid, folder in folders.items()}
    judges: Dict[str, Judge] = {}
    until = time.monotonic() + patience
    pause = 0.1
    while followed:
        for uuid in [uuid for uuid, job in followed.items() if reached(job.folder.read())]:
            del followed[uuid]
        for manager in {job.manager for job in followed.values()}:
            jobs = {uuid: job for uuid, job in followed.items() if job.manager == manager}
            judge = judges.setdefault(manager, Judge(runner, user, manager))
            judge.look(jobs, {uuid: job.folder.read() for uuid, job in jobs.items()})
        if not followed or time.monotonic() > until:
            return
        time.sleep(pause)
        pause = min(1.0, pause * 1.5)


def _folders(session: "Session", request: Dict[str, Any]) -> Dict[str, Optional[Folder]]:
    found: Dict[str, Optional[Folder]] = {}
    for uuid in request.get("uuids") or []:
        folder = Folder(session.workdir(request), uuid)
        found[uuid] = folder if folder.exists() else None
    return found


def _unknown() -> Outcome:
    return {"ok": False, "known": False, "state": None, "message": "the job is not known here"}


def _outcome(ok: bool, record: Optional[Record], message: str) -> Outcome:
    return {"ok": ok, "known": True, "state": record.state if record else None, "message": message}
