"""Turns the scheduler's answers into events: one queue query (and one of the accounting) for all jobs of a round."""

import os
import time
from typing import Any, Dict, List, Optional, Sequence

from project.agent.folder import Change, Folder, Record
from project.agent.runner import Runner
from project.agent.work import cancel_wished
from project.core import ends, files, schedulers, states, tracking
from project.core.errors import ClusterError
from project.core.schedulers import base
from project.core.schedulers.base import Element, Scheduler
from project.core.tracking import Age, Verdict

# A job_status that changed, the state being the same, is worth an event so often (seconds for an element).
STATUS_PACE = 0.01
MEMORY = 64
# Ids in one question to the accounting: they are one argument, of which the kernel takes 128 KiB (execve(2)).
ASKED = 4000
# Bytes of a failed job's stderr that travel with the event.
LAST_WORDS = 4096


class Followed:
    """A submitted job, and what is remembered of it from round to round."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        request = folder.request()
        cluster: Dict[str, Any] = request.get("cluster") or {}
        self.manager = str(cluster.get("workload_manager") or "slurm")
        self.postprocessing = bool((request.get("modules") or {}).get("postprocessing"))
        self.known: tracking.Ended = {}
        self.age = Age()
        self.stirred = time.monotonic()
        self.looked: Optional[float] = None
        self.status_at = 0.0
        self._facts: Dict[Optional[int], ends.Fact] = {}
        self._names: Dict[Optional[int], List[str]] = {}
        self._facts_stamp = 0

    def facts(self) -> Dict[Optional[int], ends.Fact]:
        """The batch script's facts; only files that came since the last time are read."""
        place = self.folder.paths.facts
        try:
            stamp = os.stat(place).st_mtime_ns
            if stamp == self._facts_stamp:
                return self._facts
            fresh = self._fresh(os.listdir(place))
            texts = {name: files.read_text(os.path.join(place, name)) or "" for name in fresh}
        except OSError:
            return self._facts
        self._facts.update(ends.read_facts(texts))
        # A file that appears within the clock's grain of this look must be seen at the next one.
        if time.time() - stamp / 1e9 > 2.0:
            self._facts_stamp = stamp
        return self._facts

    def _fresh(self, names: List[str]) -> List[str]:
        """The names of the elements that have more files than they had."""
        by_index: Dict[Optional[int], List[str]] = {}
        for name in names:
            _, _, rest = name.partition(".")
            run, _, index = rest.partition(".")
            if run.isdigit() and (not index or index.isdigit()):
                by_index.setdefault(int(index) if index else None, []).append(name)
        changed = [index for index, have in by_index.items() if len(have) != len(self._names.get(index, ()))]
        self._names.update((index, by_index[index]) for index in changed)
        return [name for index in changed for name in by_index[index]]


class Judge:
    """Asks one workload manager about many jobs. One lives as long as the watcher."""

    def __init__(self, runner: Runner, user: str, manager: str) -> None:
        self._runner = runner
        self._user = user
        self._scheduler: Scheduler = schedulers.get(manager)
        self.trouble = ""
        self.deaf = False

    def look(self, jobs: Dict[str, Followed], records: Dict[str, Record]) -> List[str]:
        """One round over these jobs; the UUIDs of those that changed.

        An event that cannot be written is `trouble`; it comes up again in the next round.
        """
        begin = time.monotonic()
        queue = self._queue()
        wanted: List[str] = []
        for uuid, job in jobs.items():
            wanted += tracking.wanted(records[uuid].document, queue, job.known)
        history = self._history(wanted, records) if wanted else None
        changed = []
        for uuid, job in jobs.items():
            document = records[uuid].document
            verdict = tracking.judge(document, queue, history, job.facts(), job.age, job.known)
            passed = begin - job.looked if job.looked is not None else 0.0
            job.looked = begin
            job.known, job.age = verdict.ended, job.age.after(passed, verdict)
            try:
                if worth(document, verdict, job) and apply(job, verdict):
                    changed.append(uuid)
            except OSError as error:
                self.trouble = "{}: {}: {}".format(uuid, error.strerror or error, error.filename)
        return changed

    def _queue(self) -> Optional[Sequence[Element]]:
        self.trouble = ""
        self.deaf = False
        try:
            done = self._runner.run(self._scheduler.queue(self._user))
            return self._scheduler.parse_queue(done.text(), done.exit_status, done.errors())
        except ClusterError as error:
            self.trouble = error.message
            self.deaf = True
            return None

    def _history(self, wanted: List[str], records: Dict[str, Record]) -> Optional[Sequence[Element]]:
        now = time.time()
        oldest = min([float(record.memo.get("submitted") or now) for record in records.values()])
        try:
            argv = self._scheduler.history(wanted[:ASKED], base.since(now - oldest))
            done = self._runner.run(argv)
            return self._scheduler.parse_history(done.text(), done.exit_status, done.errors())
        except ClusterError as error:
            self.trouble = error.message
            return None


def worth(document: Dict[str, Any], verdict: Verdict, job: Followed) -> bool:
    """True when the verdict says something that the document does not."""
    if verdict.state and verdict.state != document["state"]:
        return True
    if verdict.run > (document.get("run") or 0) or verdict.notes:
        return True
    if not verdict.answered or verdict.job_status == document.get("job_status"):
        return False
    pace = STATUS_PACE * (tracking.array_size(document) or 1)
    return bool(verdict.job_status) and time.monotonic() - job.status_at >= pace


def apply(job: Followed, verdict: Verdict) -> bool:
    """Write what the verdict changes as events; True when there was something."""
    with job.folder.change() as change:
        record = change.record
        if record.final or "end" in record.memo:
            return False
        told = record.memo.setdefault("notes", [])
        for note in verdict.notes:
            if note not in told:
                change.add("note", message=note)
                told[:] = told[-MEMORY:] + [note]
        _state(change, verdict, job)
    if change.events:
        job.stirred = time.monotonic()
    return bool(change.events)


def _state(change: Change, verdict: Verdict, job: Followed) -> None:
    document = change.document
    fields: Dict[str, Any] = {}
    if verdict.job_status and verdict.job_status != document.get("job_status"):
        fields["job_status"] = verdict.job_status
        job.status_at = time.monotonic()
    if verdict.run > (document.get("run") or 0):
        fields["run"] = verdict.run
    if not verdict.state or verdict.state == document["state"]:
        if fields:
            change.add("native", set=fields)
        return
    condition = verdict.condition
    if condition == "cancelled_by_scheduler" and verdict.state == states.CANCELLED and cancel_wished(job.folder):
        condition = "cancelled_by_user"
    moved: Dict[str, Any] = {"set": fields or None, "message": verdict.message}
    if verdict.state in states.FINAL and verdict.run and document["state"] in (states.QUEUED, states.SUBMITTING):
        # It ran and ended between two looks: the history says both.
        change.move(states.RUNNING)
    if verdict.state in states.FINAL:
        moved.update(condition=condition, exit_code=verdict.exit_code)
    if verdict.state == states.FAILED:
        moved["data"] = _last_words(job, verdict) or None
    if verdict.state == states.FINISHED and job.postprocessing:
        change.record.memo["end"] = {"condition": "ok", "exit_code": 0, "message": verdict.message}
        change.move(states.POSTPROCESSING, set=moved["set"])
        return
    change.move(verdict.state, **moved)


def _last_words(job: Followed, verdict: Verdict) -> Dict[str, str]:
    """The end of what the first element that failed wrote to its stderr: for the mail and `why`."""
    index = next((one for one, element in verdict.ended.items() if element.condition != "ok"), None)
    fact = job.facts().get(index)
    path = job.folder.paths.stderr(fact.run if fact else max(verdict.run, 1), index)
    try:
        with open(path, "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - LAST_WORDS))
            text = stream.read(LAST_WORDS).decode("utf-8", "replace")
    except OSError:
        return {}
    return {"stderr": text} if text.strip() else {}
