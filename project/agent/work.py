"""Carries a job on from wherever it stopped: preparation, submission, postprocessing.

The same few lines serve a new job, a job whose agent was killed, and a BLOCKED one that is due. Who works on a job holds
its lock `state/busy`.
"""

import contextlib
import os
import time
from typing import Any, Dict, Iterator, Optional

from project.agent import locks, plans, texts, workfolder
from project.agent.folder import Change, Folder, Record
from project.agent.names import last_lines
from project.agent.native import Submission
from project.agent.prepare import Cancelled, Preparation
from project.agent.report import Reporter
from project.agent.runner import Runner
from project.core import files, states
from project.core.errors import JobferryError


def carry_on(folder: Folder, runner: Runner, reporter: Optional[Reporter] = None, wait: bool = True) -> None:
    """Do for this job all that can be done now. What goes wrong becomes the job's state.

    :param wait: when another process works on the job, wait for it and look again; else return.

    Raises OSError when not even the events can be written.
    """
    reporter = reporter or Reporter()
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(alone(folder, reporter) if wait else locks.held_soon(folder.paths.busy))
        except files.Busy:
            return
        _Work(folder, runner, reporter).run()


@contextlib.contextmanager
def alone(folder: Folder, reporter: Reporter) -> Iterator[None]:
    """Hold the job's `busy` lock; wait for whoever holds it, and say so."""
    told = False
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locks.held(folder.paths.busy, wait=False))
                break
            except files.Busy:
                pass
            want(folder)
            if not told:
                reporter.progress("another process works on this job; waiting for it")
                told = True
            time.sleep(0.05)
        yield


def want(folder: Folder) -> None:
    """Let whoever holds the job's `busy` lock know that somebody waits for it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder.paths.busy + ".wanted", os.O_WRONLY | os.O_CREAT, 0o600)
        os.close(handle)
        os.utime(folder.paths.busy + ".wanted")


def wanted(folder: Folder) -> int:
    """When somebody last waited for the `busy` lock: a stamp that changes while they do."""
    try:
        return os.stat(folder.paths.busy + ".wanted").st_mtime_ns
    except OSError:
        return 0


def needs_work(record: Record) -> bool:
    """True when the job waits for us and not for the scheduler: not submitted yet, or ended well and to be postprocessed."""
    return not record.final and (not record.document.get("native_id") or "end" in record.memo)


def cancel_wished(folder: Folder) -> bool:
    """True when the user has asked to cancel the job."""
    return os.path.exists(folder.paths.cancel)


class _Work:
    def __init__(self, folder: Folder, runner: Runner, reporter: Reporter) -> None:
        self.folder = folder
        self.runner = runner
        self.reporter = reporter
        self.request = folder.request()
        self.cluster: Dict[str, Any] = self.request.get("cluster") or {}
        # Whether some parts of an array were taken back.
        self._withdrawn = False

    def run(self) -> None:
        try:
            self._run()
        except Cancelled:
            self._cancelled()
        except JobferryError as error:
            self._failed(error, error.message, error.condition)
        except OSError as error:
            text = "{}: {}".format(error.strerror or error, error.filename or self.folder.paths.folder)
            self._failed(error, text, "internal_error")
        except Exception as error:
            if os.path.exists(self.folder.paths.intent) and not self.folder.read().document.get("native_id"):
                # It may be in the queue: whoever tries next finds out.
                raise
            # A bug of ours would stop every further try too: the job's owner hears of it.
            self._failed(error, "the agent failed: {!r} {}".format(error, last_lines()), "internal_error")

    def _run(self) -> None:
        record = self.folder.read()
        if record.final:
            return
        if "end" in record.memo:
            self._postprocess(record.memo["end"])
            return
        if record.document.get("native_id"):
            return
        submission = Submission(self.folder, self.runner, self.cluster)
        native_id = submission.known() or submission.find()
        if native_id is not None:
            self._submitted(submission, native_id, "found again in the queue")
            return
        self._stop_if_wished(submission)
        data = self._prepared()
        name = submission.render(data)
        with self.folder.change() as change:
            if change.record.state != states.BLOCKED:
                change.move(states.SUBMITTING)
        self._tell(change)
        self._stop_if_wished(submission)
        self._submitted(submission, submission.submit(name), "")

    def _stop_if_wished(self, submission: Submission) -> None:
        if cancel_wished(self.folder):
            if submission.accepted():
                self._withdrawn = True
                submission.withdraw()
            raise Cancelled

    def _prepared(self) -> Dict[str, Any]:
        return Preparation(self.folder, self.reporter, lambda: cancel_wished(self.folder)).run()

    def _submitted(self, submission: Submission, native_id: str, message: str) -> None:
        paths = self.folder.paths
        fields = {
            **submission.fields(native_id),
            "run": self.folder.read().first_run,
            "job_directory": texts.from_path(paths.folder),
            "working_directory": texts.from_path(workfolder.real(paths)),
        }
        with self.folder.change() as change:
            change.record.memo["submitted"] = submission.begun()
            if not change.move(states.QUEUED, message=message, set=fields):
                change.add("native", set=fields)
        self._tell(change)

    def _postprocess(self, end: Dict[str, Any]) -> None:
        Preparation(self.folder, self.reporter, lambda: cancel_wished(self.folder)).postprocess()
        self._end(states.FINISHED, **end)

    def _cancelled(self) -> None:
        after = "end" in self.folder.read().memo
        message = "cancelled during its postprocessing" if after else "cancelled before it was submitted"
        if self._withdrawn:
            message = "cancelled while it was submitted; the parts that were in the queue already are cancelled too"
        self._end(states.CANCELLED, condition="cancelled_by_user", message=message)

    def _end(self, state: str, **fields: Any) -> None:
        with self.folder.change() as change:
            change.move(state, **fields)
        self._tell(change)

    def _failed(self, error: Exception, message: str, condition: str) -> None:
        cause = plans.cause_of(error)
        tried = os.path.exists(self.folder.paths.intent)
        if tried and not cause and not self.folder.read().document.get("native_id"):
            # It may be in the queue: it has not failed before that is known.
            cause = "scheduler"
        if cancel_wished(self.folder) and not tried:
            self._cancelled()
        elif cause:
            self._block(cause, message)
        else:
            data = {"text": message, "hint": getattr(error, "hint", "")}
            line = message.strip().splitlines()[0] if message.strip() else type(error).__name__
            self._end(states.FAILED, condition=condition, message=line[:500], data=data)

    def _block(self, cause: str, message: str) -> None:
        line = " ".join(message.split())[:500]
        with self.folder.change() as change:
            plan = plans.following(change.document.get("plan"), cause, self.cluster.get("retry") or {}, time.time())
            if plan is None and os.path.exists(self.folder.paths.intent):
                # It may be in the queue: only the workload manager's own word ends it.
                plan = plans.following(None, cause, self.cluster.get("retry") or {}, time.time())
            if plan is not None:
                plan["waits_for"] = line
            if plan is None:
                change.move(states.FAILED, condition="unreachable", message="given up: " + line)
            elif not change.move(states.BLOCKED, message=line, set={"plan": plan}):
                # Blocked as before: only the plan has changed, and nobody needs a mail for that.
                change.add("note", set={"plan": plan})
        self._tell(change)

    def _tell(self, change: Change) -> None:
        for event in change.events:
            self.reporter.event(event)
