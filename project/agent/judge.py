"""Turns the scheduler's answers into events: one queue query (and one of the accounting) for all jobs of a round."""

import os
import re
import time
from typing import Any, Dict, List, Optional, Sequence, Tuple

from project.agent import managers
from project.agent.folder import Change, Folder, Record
from project.agent.names import last_lines
from project.agent.runner import Runner
from project.agent.work import cancel_wished
from project.core import ends, files, states, tracking
from project.core.errors import ClusterError
from project.core.schedulers import base
from project.core.schedulers.base import Element, Scheduler
from project.core.tracking import Age, Verdict

# A job_status that changed, the state being the same, is worth an event so often (seconds for an element).
STATUS_PACE = 0.01
MEMORY = 64
# Files of facts that are read before they are understood and let go; an element has two a run.
PORTION = 1000
# Ids in one question to the accounting: they are one argument, of which the kernel takes 128 KiB (execve(2)).
ASKED = 4000
# Bytes of a failed job's stderr that travel with the event.
LAST_WORDS = 4096


_FACT = re.compile(r"[a-z]+\.[0-9]+(?:\.[0-9]+)?\Z")


class Followed:
    """A submitted job, and what is remembered of it from round to round."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        request = folder.request()
        cluster: Dict[str, Any] = request.get("cluster") or {}
        self.manager = managers.key_of(cluster)
        self.postprocessing = bool((request.get("modules") or {}).get("postprocessing"))
        self.known: tracking.Ended = {}
        self.age = Age()
        self.stirred = time.monotonic()
        self.looked: Optional[float] = None
        self.status_at = 0.0
        self._facts: Dict[Optional[int], ends.Fact] = {}
        self._shared: Dict[ends.Fact, ends.Fact] = {}
        self._rows: Dict[Any, Element] = {}
        self._counts: Dict[Optional[int], int] = {}
        self._facts_stamp = 0

    def facts(self) -> Dict[Optional[int], ends.Fact]:
        """The batch script's facts; only files that came since the last time are read."""
        place = self.folder.paths.facts
        try:
            stamp = os.stat(place).st_mtime_ns
            if stamp == self._facts_stamp:
                return self._facts
            texts: Dict[str, str] = {}
            last: Optional[int] = None
            for name in self._fresh(os.listdir(place)):
                # In portions, but an element's files together.
                if len(texts) >= PORTION and _index_of(name) != last:
                    self._keep(texts)
                    texts = {}
                texts[name] = files.read_text(os.path.join(place, name)) or ""
                last = _index_of(name)
            self._keep(texts)
        except OSError:
            return self._facts
        # A file that appears within the clock's grain of this look must be seen at the next one.
        if time.time() - stamp / 1e9 > 2.0:
            self._facts_stamp = stamp
        return self._facts

    def _keep(self, texts: Dict[str, str]) -> None:
        """Remember facts, equal ones as one object, without what no verdict needs."""
        for index, fact in ends.read_facts(texts).items():
            slim = fact._replace(started_at="", ended_at="", node="")
            self._facts[index] = self._shared.setdefault(slim, slim)

    def _fresh(self, names: List[str]) -> List[str]:
        """The names of the elements that have more files than they had, an element's names side by side."""
        counts: Dict[Optional[int], int] = {}
        for name in names:
            if _is_fact(name):
                index = _index_of(name)
                counts[index] = counts.get(index, 0) + 1
        changed = {index for index, count in counts.items() if count != self._counts.get(index)}
        self._counts.update((index, counts[index]) for index in changed)
        mine = [name for name in names if _is_fact(name) and _index_of(name) in changed]
        return sorted(mine, key=lambda name: (_index_of(name) or 0, name))

    def remember(self, ended: tracking.Ended) -> None:
        """Keep the ends of the elements; of a large array only what its job_status shows, equal rows as one object."""
        if len(ended) <= ends.MANY:
            self.known = ended
            return
        self.known = {index: self._slim(element) for index, element in ended.items()}

    def _slim(self, one: Element) -> Element:
        code = one.fields.get("ExitCode")
        key = (one.native_id, one.word, one.state, one.condition, one.exit_code, one.reason, code)
        if key not in self._rows:
            fields = {} if code is None else {"ExitCode": code}
            self._rows[key] = one._replace(index=None, fields=fields, name="")
        return self._rows[key]


def _is_fact(name: str) -> bool:
    return _FACT.match(name) is not None


def _index_of(name: str) -> Optional[int]:
    index = name.partition(".")[2].partition(".")[2]
    return int(index) if index else None


class Judge:
    """Asks one workload manager (`managers.key_of`) about many jobs. One lives as long as the watcher."""

    def __init__(self, runner: Runner, user: str, manager: str) -> None:
        self._runner = runner
        self._user = user
        self._manager = manager
        self._known: Optional[Scheduler] = None
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
            try:
                wanted += tracking.wanted(records[uuid].document, queue, job.known)
            except Exception as error:
                self._odd(uuid, error)
        history = self._history(wanted, records) if wanted and self._keeps_history() else None
        changed = []
        for uuid, job in jobs.items():
            try:
                if self._one(job, records[uuid], queue, history, begin):
                    changed.append(uuid)
            except OSError as error:
                self.trouble = "{}: {}: {}".format(uuid, error.strerror or error, error.filename)
            except Exception as error:
                self._odd(uuid, error)
        return changed

    def _one(
        self,
        job: Followed,
        record: Record,
        queue: Optional[Sequence[Element]],
        history: Optional[Sequence[Element]],
        begin: float,
    ) -> bool:
        keeps = self._keeps_history()
        wished = cancel_wished(job.folder)
        verdict = tracking.judge(record.document, queue, history, job.facts(), job.age, job.known, keeps, wished)
        passed = begin - job.looked if job.looked is not None else 0.0
        job.looked = begin
        job.remember(verdict.ended)
        job.age = job.age.after(passed, verdict)
        return worth(record, verdict, job) and apply(job, verdict)

    def _odd(self, uuid: str, error: Exception) -> None:
        """A bug of ours that one job brings out must not end the judging of the others: it goes to the log."""
        self.trouble = "{}: {!r} {}".format(uuid, error, last_lines())

    def _queue(self) -> Optional[Sequence[Element]]:
        self.trouble = ""
        self.deaf = False
        try:
            scheduler = self._scheduler()
            return scheduler.parse_queue(*self._ask(scheduler.queue(self._user)))
        except ClusterError as error:
            self.trouble = error.message
            self.deaf = True
            return None

    def _scheduler(self) -> Scheduler:
        if self._known is None:
            self._known = managers.by_key(self._runner, self._manager)
        return self._known

    def _keeps_history(self) -> bool:
        # It is known as soon as the queue has answered, and before that nothing is judged.
        return self._known is None or self._known.keeps_history

    def _ask(self, argv: List[str]) -> Tuple[str, int, str]:
        # What the program wrote is not kept beside the text of it.
        done = self._runner.run(argv)
        return done.text(), done.exit_status, done.errors()

    def _history(self, wanted: List[str], records: Dict[str, Record]) -> Optional[Sequence[Element]]:
        now = time.time()
        oldest = min([float(record.memo.get("submitted") or now) for record in records.values()])
        try:
            scheduler = self._scheduler()
            argv = scheduler.history(wanted[:ASKED], base.since(now - oldest))
            return scheduler.parse_history(*self._ask(argv))
        except ClusterError as error:
            self.trouble = error.message
            return None


def worth(record: Record, verdict: Verdict, job: Followed) -> bool:
    """True when the verdict says something that the record does not."""
    document = record.document
    if verdict.state and verdict.state != document["state"]:
        return True
    told = record.memo.get("notes") or []
    if verdict.run > (document.get("run") or 0) or any(note not in told for note in verdict.notes):
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
            if verdict.state and verdict.message != document.get("message"):
                fields["message"] = verdict.message
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
