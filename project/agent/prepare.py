"""Everything on the login node that comes before the submission: files, requirements, compilation, preprocessing modules.

Each step leaves its name in the record when it is done, so that an agent that was killed is continued where it stopped.
"""

import contextlib
import os
import time
from typing import Any, Callable, Dict, List, Sequence

from project.agent import fetch, locks, shell
from project.agent.folder import Folder
from project.agent.report import Reporter
from project.core import files, jobspec, states
from project.core.errors import ClusterError, JobferryError
from project.core.jobspec import JobSpec

# stage of shell lines → the input's key; the condition is `<stage>_failed`.
SHELL_STAGES = ("requirements", "compilation")
# Seconds for which the programs of a killed agent are waited for; then one of them went to the background for good.
ORPHANS = 3600.0
# Lines of a failed command's output that travel with the error.
SHOWN_LINES = 20


class Cancelled(Exception):
    """The user cancelled the job while it was prepared."""


class Preparation:
    """The steps of one job. `stop()` is True when the job shall be cancelled."""

    def __init__(self, folder: Folder, reporter: Reporter, stop: Callable[[], bool]) -> None:
        self.folder = folder
        self.paths = folder.paths
        self.reporter = reporter
        self.stop = stop
        self.request = folder.request()
        self._lock = self.paths.busy + ".programs"
        self._handles: Sequence[int] = ()

    def run(self) -> Dict[str, Any]:
        """All steps that are not done yet; the input as it is after them.

        Raises JobferryError with the job's condition, Cancelled, OSError.
        """
        with contextlib.ExitStack() as stack:
            if not self._all_done():
                self._await_orphans()
            # What we start holds this lock too, and longer than we do if we are killed.
            self._handles = stack.enter_context(locks.inherited(self._lock)) if not locks.is_held(self._lock) else ()
            return self._steps()

    def _all_done(self) -> bool:
        stages = ["preprocessing"] if self.modules("preprocessing") else []
        stages += ["fetch"] if (self.request.get("source") or {}).get("kind") in (jobspec.GIT, jobspec.URL) else []
        return set(stages).union(SHELL_STAGES) <= set(self.folder.read().steps)

    def _await_orphans(self) -> None:
        """Wait until what an agent that was killed has started has ended too: two `make` in one folder spoil each other."""
        until = time.monotonic() + ORPHANS
        while locks.is_held(self._lock) and time.monotonic() < until:
            self._check()
            time.sleep(0.1)

    def _steps(self) -> Dict[str, Any]:
        data = self.data()
        spec = jobspec.parse(data)
        self._fetch(spec)
        self._move_on(spec)
        for stage in SHELL_STAGES:
            self._once(stage, lambda stage=stage: self._lines(stage, getattr(spec, stage), spec))  # type: ignore[misc]
        steps = self.modules("preprocessing")
        if steps:
            # Always from what the client sent: a stage that was killed in its middle begins again.
            given = dict(self.request["spec"])
            self._once("preprocessing", lambda: self._modules("preprocessing", steps, given))
            data = self.data()
        return data

    def data(self) -> Dict[str, Any]:
        """The input as the modules have left it."""
        value = files.read_json(self.paths.spec)
        return value if isinstance(value, dict) else dict(self.request["spec"])

    def modules(self, stage: str) -> List[Any]:
        """The steps of a stage of modules, with their folder here."""
        rows = (self.request.get("modules") or {}).get(stage) or []
        if not rows:
            return []
        from project.core import modulesfile

        paths = {stage: os.path.join(self.paths.modules, stage)}
        return modulesfile.from_public({stage: rows}, paths).stage(stage)

    def postprocess(self) -> None:
        """Run the postprocessing modules. Raises JobferryError (condition postprocessing_failed), Cancelled."""
        self._once(
            "postprocessing", lambda: self._modules("postprocessing", self.modules("postprocessing"), self.data())
        )

    def _once(self, name: str, work: Callable[[], None]) -> None:
        self._check()
        if self.folder.step_done(name):
            return
        work()
        with self.folder.change() as change:
            change.record.steps[name] = True

    def _check(self) -> None:
        if self.stop():
            raise Cancelled

    def _fetch(self, spec: JobSpec) -> None:
        kind = (self.request.get("source") or {}).get("kind")
        if kind in (jobspec.GIT, jobspec.URL):
            word = "cloning" if kind == jobspec.GIT else "downloading"
            self.reporter.progress("{} {}".format(word, spec.job), "fetch")
            env = shell.environment(spec.env)
            hear = self._hearing("fetch")
            self._once("fetch", lambda: fetch.fetch(kind, spec.job, self.paths, env, hear, self.stop, self._handles))

    def _move_on(self, spec: JobSpec) -> None:
        if spec.requirements or spec.compilation or self.modules("preprocessing"):
            with self.folder.change() as change:
                change.move(states.PREPROCESSING)
            self._tell(change.events)

    def _lines(self, stage: str, lines: List[str], spec: JobSpec) -> None:
        if not lines:
            return

        def done(ran: shell.Ran) -> None:
            data = {
                "stage": stage,
                "command": ran.line,
                "exit_status": ran.exit_status,
                "duration": round(ran.seconds, 3),
                "output": ran.output,
            }
            self._tell([self.folder.note("command", data=data)])

        env = shell.environment(spec.env)
        failed = shell.run_lines(lines, self.paths, env, self._hearing(stage), self.stop, done, self._handles)
        self._check()
        if failed is not None:
            said = [line for line in failed.output.splitlines() if line.strip()][-SHOWN_LINES:]
            message = "{}: `{}` ended with exit status {}{}".format(
                stage, failed.line, failed.exit_status, ": " + said[-1].strip() if said else "."
            )
            if len(said) > 1:
                message = "\n".join([message, *said])
            raise ClusterError(message, "Its output is in the job's history.", condition=stage + "_failed")

    def _modules(self, stage: str, steps: List[Any], data: Dict[str, Any]) -> None:
        from project.core import modules

        self.reporter.progress("{} modules".format(stage), stage)
        folder = os.path.join(self.paths.modules, stage)
        environment = {
            "JOBFERRY_UUID": self.folder.uuid,
            "JOBFERRY_WORK": self.paths.work,
            "JOBFERRY_JOB_DIRECTORY": self.paths.folder,
        }

        def on_event(kind: str, **fields: Any) -> None:
            self._tell([self.folder.note(kind, **fields)])

        try:
            changed = modules.run_stage(
                steps, data, folder, on_event, stage=stage, environment=environment, stop=self.stop
            )
        except JobferryError:
            self._check()
            raise
        changed = jobspec.public(changed)
        if changed != data:
            files.write_json(self.paths.spec, changed)
            self._tell([self.folder.note("input", set={"user_input": changed})])

    def _hearing(self, stage: str) -> Callable[[str], None]:
        """Shows output as progress, up to a bound: the rest is seen at its end, in the event."""
        left = [1024 * 1024]

        def hear(text: str) -> None:
            if left[0] > 0:
                left[0] -= len(text)
                self.reporter.progress(text, stage)

        return hear

    def _tell(self, events: List[Dict[str, Any]]) -> None:
        for event in events:
            self.reporter.event(event)
