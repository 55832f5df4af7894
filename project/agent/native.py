"""The submission itself: once, whatever dies in between.

1. The intent (when, under which name) is written and synced before the scheduler's command is started.
2. The native id is written aside and renamed as soon as it is known.
3. Whoever finds an intent without a native id asks the scheduler for the name first: the queue at once, the accounting
   when the intent is older than its lag; where there is no accounting, a job that ran already tells by its facts. Only when
   both answer, and both say no, is it submitted again.
4. The scheduler's command holds a lock of its own: one that outlives its killed agent is waited for before the asking.
   What a controller that is overloaded has been asked it may do a little later: the lag counts from the end of that command.
5. The caller holds the job's `busy` lock all the while.
6. An array in parts (`core.arrays`) is one intent with a row for each part: 1 to 3 hold for every row. When a part is
   refused for good, that is written into the intent, those that were taken are cancelled, and then the intent is removed.

An answer that does not come is never a no: the job is BLOCKED with a plan and tried again.
"""

import contextlib
import copy
import os
import time
from typing import Any, Dict, Iterator, List, Optional

from project.agent import locks, managers, tree, workfolder
from project.agent.folder import Folder
from project.agent.runner import TIMEOUT, Runner
from project.core import arrays, files, jobspec, profiles, script
from project.core.arrays import Part
from project.core.errors import ClusterError, InputError, UserError
from project.core.jobspec import JobSpec
from project.core.paths import JobPaths, Root
from project.core.resources import Array, as_written
from project.core.schedulers import base

# A fresh job shows in sacct 2 to 5 s after sbatch (measured on Slurm 22.05).
ACCOUNTING_LAG = 6.0


Row = Dict[str, Any]


class Submission:
    """One job on its way into the queue."""

    def __init__(self, folder: Folder, runner: Runner, cluster: Dict[str, Any]) -> None:
        self.folder = folder
        self.paths = folder.paths
        self.runner = runner
        self.cluster = cluster
        self._lock = self.paths.intent + ".lock"
        self._spec: Optional[JobSpec] = None
        self._parts: List[Part] = []
        self._asked = False
        self._work = self.paths.work
        self.scheduler = managers.manager_of(runner, cluster)

    def render(self, data: Dict[str, Any]) -> str:
        """Write the batch script, or one for each part; the job's name.

        Raises JobferryError for an input that cannot be expressed (condition submission_rejected).
        """
        spec = jobspec.parse(data)
        problems = base.refusals(self.scheduler, spec)
        if problems:
            problems = as_written(problems, data.get("resources"))
            raise ClusterError(InputError(problems).message, condition="submission_rejected")
        self._spec = spec
        # A module may have named another directory.
        self._work = workfolder.make(self.paths, spec.directory)
        tree.write(self.paths, spec, self.runner.root)
        rows = (files.read_json(self.paths.intent) or {}).get("parts") or []
        with _inputs_fault():
            # What was begun goes on as it was begun, whatever the limit is now.
            self._parts = [Part(row["offset"], row["span"], row["throttle"]) for row in rows] or self._split(spec)
            self._write(spec)
        return script.job_name(self.folder.uuid, spec.name)

    def _write(self, spec: JobSpec) -> None:
        bell, uuid = Root(self.runner.root).bell, self.folder.uuid
        elements = len(spec.resources.array.indices()) if spec.resources.array else 0
        for number in range(1, max(1, len(self._parts)) + 1):
            part, paths, label = self._part(number), self._paths(number), self._label(number)
            own = self._own(spec, number)
            text = script.render(
                own,
                self.cluster,
                self.scheduler,
                paths,
                uuid,
                work=self._work,
                bell=bell,
                part=part,
                label=label,
                elements=elements,
                first_run=self.folder.read().first_run,
            )
            files.write_atomic(paths.script, text, 0o700)
            for name, content in self.scheduler.files(own, self.cluster, paths, label).items():
                files.write_atomic(os.path.join(paths.scripts, name), content, 0o700)

    def _part(self, number: int) -> Optional[Part]:
        return self._parts[number - 1] if self._parts else None

    def _own(self, spec: JobSpec, number: int) -> JobSpec:
        part = self._part(number)
        return spec if part is None else spec._replace(resources=arrays.for_part(spec.resources, part))

    def _paths(self, number: int) -> JobPaths:
        if len(self._parts) < 2:
            return self.paths
        paths = copy.copy(self.paths)
        paths.script = "{}.{}".format(paths.script, number)
        return paths

    def _label(self, number: int) -> str:
        uuid = self.folder.uuid
        return uuid if len(self._parts) < 2 else arrays.part_name(uuid, number)

    def _split(self, spec: JobSpec) -> List[Part]:
        """The parts of the job's array, none for a job that is no array. The manager is asked only about a large one."""
        array = spec.resources.array
        if array is None:
            return []
        limit = arrays.limit_of(self.scheduler, self.cluster)
        if limit is None and not arrays.common(array):
            limit = self._limit()
        return arrays.split(array, limit or base.Limit(), self.scheduler)

    def _limit(self) -> Optional[base.Limit]:
        """The manager's own limit on arrays; None when it tells none."""
        argv = self.scheduler.array_limit()
        done = self.runner.run(argv) if argv else None
        # One that did not answer is asked once more when the array is refused.
        self._asked = done is None or done.exit_status == 0
        return None if done is None else self.scheduler.parse_array_limit(done.text())

    def known(self) -> Optional[str]:
        """The native id if it is written down; of an array in parts all ids with commas between."""
        return (files.read_text(self.paths.native) or "").strip() or None

    def fields(self, native_id: str) -> Dict[str, Any]:
        """What the job document says of the ids."""
        rows = (files.read_json(self.paths.intent) or {}).get("parts")
        if not rows:
            return {"native_id": native_id}
        parts = [Part(row["offset"], row["span"], row["throttle"]) for row in rows]
        return arrays.fields(parts, native_id.split(","))

    def begun(self) -> float:
        """When it was first handed to the scheduler (Unix time): the accounting is asked from then on."""
        return float((files.read_json(self.paths.intent) or {}).get("time") or time.time())

    def accepted(self) -> bool:
        """True when some parts of the job are in the queue and others are not."""
        return any(row.get("native_id") for row in _rows(files.read_json(self.paths.intent) or {}))

    def find(self) -> Optional[str]:
        """The native id of an earlier try, None when it is certain that there is none (or that a part is missing).

        Raises ClusterError(transient) when it cannot be known now, and the refusal that an earlier try got for good.
        """
        intent = files.read_json(self.paths.intent)
        if intent is None:
            return None
        try:
            for row in _rows(intent):
                if "time" in row and not row.get("native_id"):
                    self._found(intent, row, self._ask(row))
        except ClusterError as error:
            # A program that is not there says as little about the job as one that does not answer.
            if error.transient:
                raise
            raise ClusterError(error.message, error.hint, transient=True, condition=error.condition) from error
        if intent.get("rejected"):
            self.withdraw()
            raise ClusterError(condition="submission_rejected", **intent["rejected"])
        ids = [row.get("native_id") for row in _rows(intent)]
        return self._remember(ids) if all(ids) else None

    def _found(self, intent: Row, row: Row, native_id: Optional[str]) -> None:
        """Keep what is known of a part now; of a job that is not in parts the native id itself is written."""
        if native_id:
            row["native_id"] = native_id
        elif "parts" in intent:
            del row["time"]
        if "parts" in intent:
            files.write_json(self.paths.intent, intent)

    def _ask(self, intent: Row) -> Optional[str]:
        tried = time.time() if self._await_earlier() else float(intent.get("ended") or intent["time"])
        return self._ran(intent) or self._listed(intent, tried) or self._ran(intent)

    def _ran(self, intent: Row) -> Optional[str]:
        """The native id in a fact that the batch script wrote since then: where nothing is kept of a job that left the queue."""
        if self.scheduler.keeps_history:
            return None
        for name in sorted(set(self._facts()) - set(intent.get("facts") or ())):
            if not _of_part(name, intent):
                continue
            text = files.read_text(os.path.join(self.paths.facts, name)) or ""
            ids = [line.split(" ", 1)[1].strip() for line in text.splitlines() if line.startswith("native_id ")]
            if ids:
                # A script that did not learn its number ran all the same.
                return ids[0] or "0"
        return None

    def _facts(self) -> List[str]:
        try:
            return [name for name in os.listdir(self.paths.facts) if name.startswith("started.")]
        except FileNotFoundError:
            return []

    def _listed(self, intent: Row, tried: float) -> Optional[str]:
        age = max(0.0, time.time() - float(intent["time"]))
        for number, argv in enumerate(self.scheduler.find(intent["name"], base.since(age))):
            if number:
                # The second place lags behind the first.
                time.sleep(max(0.0, ACCOUNTING_LAG - max(0.0, time.time() - tried)))
            done = self.runner.run(argv)
            if number and "accounting storage is disabled" in done.errors().lower():
                # There is no second place on this cluster: the queue's word stands alone.
                continue
            found = self.scheduler.parse_find(done.text(), done.exit_status, done.errors(), intent["name"])
            if found:
                return found[0]
        return None

    def submit(self, name: str) -> str:
        """Hand the scripts to the scheduler, those that it does not have; the native id (`known`).

        Raises ClusterError as `Scheduler.submitted`.
        """
        try:
            return self._submit_all(name)
        except ClusterError as error:
            assert self._spec is not None
            array = self._spec.resources.array
            # A manager with a smaller limit than most says no to an array that it was not asked about.
            if error.transient or self._asked or array is None or os.path.exists(self.paths.intent):
                raise
            with _inputs_fault():
                if not self._smaller(array):
                    raise
                self._write(self._spec)
            return self._submit_all(name)

    def _smaller(self, array: Array) -> bool:
        """True when the manager's own limit splits the array further; the parts are then those."""
        before = self._parts
        limit = self._limit() if arrays.limit_of(self.scheduler, self.cluster) is None else None
        if limit is not None:
            self._parts = arrays.split(array, limit, self.scheduler)
        return self._parts != before

    def _submit_all(self, name: str) -> str:
        intent = files.read_json(self.paths.intent) or {}
        if not intent.get("parts"):
            # Of one that is not in parts nothing is in the queue: the limit may have changed since.
            intent = self._plan(name)
        rows = _rows(intent)
        for number, row in enumerate(rows, 1):
            if not row.get("native_id"):
                self._submit_one(intent, row, number)
        return self._remember([row["native_id"] for row in rows])

    def _plan(self, name: str) -> Row:
        intent: Row = {"time": time.time(), "name": name}
        placed = len(self._parts) > 1 or any(part.offset for part in self._parts)
        if placed:
            uuid = self.folder.uuid
            intent["parts"] = [
                dict(part._asdict(), name=name.replace(uuid, self._label(number)))
                for number, part in enumerate(self._parts, 1)
            ]
        return intent

    def _submit_one(self, intent: Row, row: Row, number: int) -> None:
        row["time"] = time.time()
        row.pop("ended", None)
        if not self.scheduler.keeps_history:
            # What an earlier run wrote tells nothing of this one.
            row["facts"] = self._facts()
        files.write_json(self.paths.intent, intent)
        assert self._spec is not None
        spec = self._own(profiles.applied(self._spec, self.cluster, self.scheduler), number)
        argv: List[str] = self.scheduler.submit(self._paths(number).script, spec, self.cluster)
        try:
            with locks.inherited(self._lock) as handles:
                done = self.runner.run(argv, cwd=self.paths.work, pass_fds=handles)
            native_id = self.scheduler.submitted(done.exit_status, done.text(), done.errors())
        except ClusterError as error:
            self._refused(intent, row, number, error)
            raise
        self._found(intent, row, native_id)
        row["native_id"] = native_id

    def _refused(self, intent: Row, row: Row, number: int, error: ClusterError) -> None:
        """Keep a refusal: nothing is in the queue then, or it is not known whether anything is."""
        count = len(_rows(intent))
        if count > 1:
            error.message = "part {} of {} of the array: {}".format(number, count, error.message)
        if error.transient:
            row["ended"] = time.time()
            files.write_json(self.paths.intent, intent)
            return
        row.pop("time")
        if any(one.get("native_id") for one in _rows(intent)):
            # Never half an array.
            intent["rejected"] = {"message": error.message, "hint": error.hint}
            files.write_json(self.paths.intent, intent)
            self.withdraw()
        else:
            os.unlink(self.paths.intent)

    def withdraw(self) -> None:
        """Cancel the parts that were taken; then nothing is in the queue. Raises ClusterError(transient): again later."""
        intent = files.read_json(self.paths.intent) or {}
        for row in _rows(intent):
            if not row.get("native_id"):
                continue
            done = self.runner.run(self.scheduler.cancel(row["native_id"], row["name"]))
            try:
                self.scheduler.acted(done.exit_status, done.text(), done.errors())
            except ClusterError as error:
                raise ClusterError(error.message, error.hint, transient=True, condition=error.condition) from error
            del row["native_id"]
            row.pop("time", None)
            files.write_json(self.paths.intent, intent)
        os.unlink(self.paths.intent)

    def _await_earlier(self) -> bool:
        """Wait until the scheduler's command of an agent that was killed has ended too: it may still submit.

        True when there was one.
        """
        until = time.monotonic() + TIMEOUT
        waited = False
        while locks.is_held(self._lock):
            waited = True
            if time.monotonic() > until:
                raise ClusterError("An earlier submission of this job has not ended yet.", transient=True)
            time.sleep(0.1)
        return waited

    def _remember(self, ids: List[Any]) -> str:
        native_id = ",".join(str(one) for one in ids)
        files.write_atomic(self.paths.native, native_id + "\n")
        return native_id


@contextlib.contextmanager
def _inputs_fault() -> Iterator[None]:
    """What of the input cannot be said to the manager is no bug of ours: condition submission_rejected."""
    try:
        yield
    except UserError as error:
        raise ClusterError(error.message, error.hint, condition="submission_rejected") from error


def _rows(intent: Row) -> List[Row]:
    """One row for each array (or job) that is submitted: name, time of the try, native id once it is known."""
    return intent.get("parts") or [intent]


def _of_part(name: str, row: Row) -> bool:
    """True when a fact is of an element of this part (or of a job that is not in parts)."""
    index = name.rpartition(".")[2]
    if "span" not in row or not index.isdigit():
        return "span" not in row
    return int(index) - int(row["offset"]) in Array(row["span"]).indices()


def submitted_as(paths: JobPaths, document: Dict[str, Any]) -> Dict[str, str]:
    """The native ids of a job, each with its name."""
    intent = files.read_json(paths.intent) or {}
    names = [str(row.get("name") or "") for row in _rows(intent)]
    ids = [place.native_id for place in arrays.placed(document)]
    return dict(zip(ids, names + [""] * len(ids)))
