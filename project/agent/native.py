"""The submission itself: once, whatever dies in between.

1. The intent (when, under which name) is written and synced before the scheduler's command is started.
2. The native id is written aside and renamed as soon as it is known.
3. Whoever finds an intent without a native id asks the scheduler for the name first: the queue at once, the accounting
   when the intent is older than its lag; where there is no accounting, a job that ran already tells by its facts. Only when
   both answer, and both say no, is it submitted again.
4. The scheduler's command holds a lock of its own: one that outlives its killed agent is waited for before the asking.
   What a controller that is overloaded has been asked it may do a little later: the lag counts from the end of that command.
5. The caller holds the job's `busy` lock all the while.

An answer that does not come is never a no: the job is BLOCKED with a plan and tried again.
"""

import os
import time
from typing import Any, Dict, List, Optional

from project.agent import locks, managers, tree, workfolder
from project.agent.folder import Folder
from project.agent.runner import TIMEOUT, Runner
from project.core import files, jobspec, profiles, script
from project.core.errors import ClusterError
from project.core.paths import Root
from project.core.schedulers import base

# A fresh job shows in sacct 2 to 5 s after sbatch (measured on Slurm 22.05).
ACCOUNTING_LAG = 6.0


class Submission:
    """One job on its way into the queue."""

    def __init__(self, folder: Folder, runner: Runner, cluster: Dict[str, Any]) -> None:
        self.folder = folder
        self.paths = folder.paths
        self.runner = runner
        self.cluster = cluster
        self._lock = self.paths.intent + ".lock"
        self._spec: Any = None
        self.scheduler = managers.manager_of(runner, cluster)

    def render(self, data: Dict[str, Any]) -> str:
        """Write the batch script; the job's name. Raises JobferryError for an input that cannot be expressed."""
        spec = jobspec.parse(data)
        bell = Root(self.runner.root).bell
        self._spec = profiles.applied(spec, self.cluster, self.scheduler)
        # A module may have named another directory.
        work = workfolder.make(self.paths, spec.directory)
        tree.write(self.paths, spec, self.runner.root)
        first = self.folder.read().first_run
        text = script.render(
            spec, self.cluster, self.scheduler, self.paths, self.folder.uuid, work=work, bell=bell, first_run=first
        )
        files.write_atomic(self.paths.script, text, 0o700)
        others = self.scheduler.files(spec, self.cluster, self.paths, self.folder.uuid)
        for name, content in others.items():
            files.write_atomic(os.path.join(self.paths.scripts, name), content, 0o700)
        return script.job_name(self.folder.uuid, spec.name)

    def known(self) -> Optional[str]:
        """The native id if it is written down."""
        return (files.read_text(self.paths.native) or "").strip() or None

    def tried(self) -> bool:
        """True when somebody may have submitted already."""
        return os.path.exists(self.paths.intent)

    def find(self) -> Optional[str]:
        """The native id of an earlier try, None when it is certain that there is none.

        Raises ClusterError(transient) when it cannot be known now.
        """
        intent = files.read_json(self.paths.intent)
        if intent is None:
            return None
        try:
            return self._ask(intent)
        except ClusterError as error:
            # A program that is not there says as little about the job as one that does not answer.
            if error.transient:
                raise
            raise ClusterError(error.message, error.hint, transient=True, condition=error.condition) from error

    def _ask(self, intent: Dict[str, Any]) -> Optional[str]:
        tried = time.time() if self._await_earlier() else float(intent.get("ended") or intent["time"])
        return self._ran(intent) or self._listed(intent, tried) or self._ran(intent)

    def _ran(self, intent: Dict[str, Any]) -> Optional[str]:
        """The native id in a fact that the batch script wrote since then: where nothing is kept of a job that left the queue."""
        if self.scheduler.keeps_history:
            return None
        for name in sorted(set(self._facts()) - set(intent.get("facts") or ())):
            text = files.read_text(os.path.join(self.paths.facts, name)) or ""
            ids = [line.split(" ", 1)[1].strip() for line in text.splitlines() if line.startswith("native_id ")]
            if ids:
                # A script that did not learn its number ran all the same.
                self._remember(ids[0] or "0")
                return ids[0] or "0"
        return None

    def _facts(self) -> List[str]:
        try:
            return [name for name in os.listdir(self.paths.facts) if name.startswith("started.")]
        except FileNotFoundError:
            return []

    def _listed(self, intent: Dict[str, Any], tried: float) -> Optional[str]:
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
                self._remember(found[0])
                return found[0]
        return None

    def submit(self, name: str) -> str:
        """Hand the script to the scheduler; the native id. Raises ClusterError as `Scheduler.submitted`."""
        intent: Dict[str, Any] = {"time": time.time(), "name": name}
        if not self.scheduler.keeps_history:
            # What an earlier run wrote tells nothing of this one.
            intent["facts"] = self._facts()
        files.write_json(self.paths.intent, intent)
        argv: List[str] = self.scheduler.submit(self.paths.script, self._spec, self.cluster)
        try:
            with locks.inherited(self._lock) as handles:
                done = self.runner.run(argv, cwd=self.paths.work, pass_fds=handles)
            native_id = self.scheduler.submitted(done.exit_status, done.text(), done.errors())
        except ClusterError as error:
            if not error.transient:
                # It said no: nothing is in its queue.
                os.unlink(self.paths.intent)
            else:
                files.write_json(self.paths.intent, dict(intent, ended=time.time()))
            raise
        self._remember(native_id)
        return native_id

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

    def _remember(self, native_id: str) -> None:
        files.write_atomic(self.paths.native, native_id + "\n")
