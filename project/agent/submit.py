"""The op `submit`: take a job whole, then see it through to the queue; and `have`: what of it is here already."""

import contextlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional

from project.agent import spawn, texts, work, workfolder
from project.agent.folder import Folder
from project.core import files, jobspec, states
from project.core.errors import UserError

if TYPE_CHECKING:
    from project.agent.serve import Session

# How long the answer waits for the cluster's load when everything else is done.
FACTS_PATIENCE = 1.0
EVENTS_BYTES = 512 * 1024
# Seconds without a byte from a client that uploads, after which somebody else may send the job.
SILENCE = 20.0


def submit(session: "Session", request: Dict[str, Any]) -> Dict[str, Any]:
    """Serve `submit`. Raises JobferryError, OSError as long as the job is not taken; after that, all is in its state."""
    load = _Load(session, request.get("cluster") or {})
    folder = Folder(session.workdir(request), str(request.get("uuid")))
    if not folder.taken():
        _take(session, folder, request)
    elif request.get("upload"):
        for _ in session.pieces():
            pass
    # From here the job is ours: it goes on when the connection is cut. A handler and not SIG_IGN, which children inherit.
    session.client.carry_on()
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGHUP, lambda *_: None)
    session.client.send({"type": "taken"})
    before = folder.read()
    spawn.keep_live(session.root, folder)
    # It watches us too: if we are killed, it carries on.
    spawn.watcher_if_needed(session.root)
    work.carry_on(folder, session.runner, session.client)
    spawn.ring(session.root)
    return _result(folder, before.seq, load)


def have(session: "Session", request: Dict[str, Any]) -> Dict[str, Any]:
    """Serve `have`."""
    folder = Folder(session.workdir(request), str(request.get("uuid")))
    taken = folder.taken()
    record = folder.read() if taken else None
    return {
        "known": folder.exists(),
        "files": taken,
        "taken": taken,
        "state": record.state if record else None,
        "native_id": record.document.get("native_id") if record else None,
        "last_seq": record.seq if record else 0,
    }


def _take(session: "Session", folder: Folder, request: Dict[str, Any]) -> None:
    """Receive the job. It is taken by the last step, the writing of the request; before that it may begin again."""
    data = _checked(request)
    folder.create()
    with contextlib.ExitStack() as stack:
        stack.enter_context(work.alone(folder, session.client))
        if folder.taken():
            for _ in session.pieces() if request.get("upload") else ():
                pass
            return
        stack.enter_context(_giving_way(session, folder))
        _receive(session, folder, request, data)
        report = request.get("report") or {}
        if report.get("token"):
            files.write_atomic(folder.paths.token, str(report["token"]))
        kept = {
            "uuid": folder.uuid,
            "spec": data,
            "cluster": request.get("cluster") or {},
            "modules": request.get("modules") or {},
            "source": request.get("source") or {},
            "tags": request.get("tags") or {},
            "first_run": request.get("first_run") or 1,
            "report": {"url": report["url"]} if report.get("url") else None,
        }
        files.write_json(folder.paths.spec, data)
        spawn.mark_live(session.root, folder.uuid, folder.paths.workdir)
        files.write_json(folder.paths.request, kept)
        fields = {
            "job_directory": texts.from_path(folder.paths.folder),
            "working_directory": texts.from_path(workfolder.real(folder.paths)),
        }
        with folder.change() as change:
            change.move(states.STAGING_INPUTS, set=fields)
        for event in change.events:
            session.client.event(event)


@contextlib.contextmanager
def _giving_way(session: "Session", folder: Folder) -> Iterator[None]:
    """While the client sends: end this process if it has fallen silent and another one waits to send the same job.

    A connection whose other end vanished stays open here for hours; nothing is lost that the other one does not send again.
    """
    over = threading.Event()
    before = work.wanted(folder)

    def look() -> None:
        while not over.wait(SILENCE / 10):
            if time.monotonic() - session.heard > SILENCE and work.wanted(folder) != before:
                os._exit(75)

    threading.Thread(target=look, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _checked(request: Dict[str, Any]) -> Dict[str, Any]:
    data = request.get("spec")
    if not isinstance(data, dict):
        raise UserError("The request to submit has no spec.")
    data = jobspec.public(data)
    jobspec.parse(data)
    return data


def _receive(session: "Session", folder: Folder, request: Dict[str, Any], data: Dict[str, Any]) -> None:
    directory = str(data.get("directory") or "")
    if directory or not request.get("upload"):
        workfolder.make(folder.paths, directory)
    if not request.get("upload"):
        return
    from project.agent import unpack

    pieces = session.pieces()
    try:
        unpack.unpack(folder.paths, lambda: next(pieces, b""))
    except BaseException:
        unpack.remove_tree(folder.paths.incoming)
        raise
    unpack.place(folder.paths)


def _result(folder: Folder, before: int, load: "_Load") -> Dict[str, Any]:
    record = folder.read()
    document = record.document
    events, _ = folder.events_after(0, EVENTS_BYTES)
    return {
        "native_id": document.get("native_id"),
        "state": document["state"],
        "condition": document.get("condition"),
        "message": document.get("message"),
        "job_directory": texts.from_path(folder.paths.folder),
        "working_directory": texts.from_path(workfolder.real(folder.paths)),
        "events": events,
        "last_seq": events[-1]["seq"] if events else before,
        "status": load.result(),
    }


class _Load:
    """Asks for the cluster's load beside everything else: the submission does not wait for it."""

    def __init__(self, session: "Session", cluster: Dict[str, Any]) -> None:
        self._found: List[Dict[str, Any]] = []
        self._thread = threading.Thread(target=self._ask, args=(session, cluster), daemon=True)
        self._thread.start()

    def _ask(self, session: "Session", cluster: Dict[str, Any]) -> None:
        from project.agent import facts
        from project.core.errors import JobferryError

        # The load is news, not a condition: a job is submitted without it.
        with contextlib.suppress(JobferryError, OSError):
            self._found.append(facts.status(session.runner, cluster))

    def result(self) -> Optional[Dict[str, Any]]:
        self._thread.join(FACTS_PATIENCE)
        return self._found[0] if self._found else None
