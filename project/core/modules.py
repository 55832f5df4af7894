"""Runs the modules of one stage, here or on the cluster.

The protocol (MASI-TFE's, completed): a module is any program. It is started in a folder that holds the files of its stage, by a
line of the shell that the modules file gives, after its `compilation` line if it has one. It gets the user input as one
JSON object (ASCII) on standard input and as its last argument too; the argument is left out above 64 KiB, since the kernel takes no
argument of 128 KiB (execve(2)). It prints one JSON object on standard output: the input for the next module. Standard error is its
log. An exit status other than 0, output that is no JSON object, or no valid input, fails the stage. So does a
module that takes longer than `timeout`: its whole process group is killed.

A module never gets the private key, the passphrase, or a variable that holds a credential of ours. It finds in its environment
`JOBFERRY_STAGE`, `JOBFERRY_MODULE`, `JOBFERRY_STEP`, and what the caller adds (on the cluster: `JOBFERRY_UUID`, `JOBFERRY_WORK`,
`JOBFERRY_JOB_DIRECTORY`).
"""

import json
import os
import shutil
import sys
from typing import Any, Callable, Dict, List, Mapping, NoReturn, Optional, Sequence, Type

from project.core import jobspec
from project.core.errors import ClusterError, JobEnded, JobferryError, UserError
from project.core.modulesfile import Step
from project.core.process import Completed, clean_env, quote, run

TIMEOUT = 600.0
ARGUMENT_LIMIT = 64 * 1024
OUTPUT_LIMIT = 16 * 1024 * 1024
LOG_LIMIT = 16 * 1024
SHOWN_LIMIT = 1000

CONDITIONS = {
    "staging": "input_staging_failed",
    "preprocessing": "preprocessing_failed",
    "postprocessing": "postprocessing_failed",
}
OnEvent = Callable[..., Any]


def run_stage(
    steps: Sequence[Step],
    data: Dict[str, Any],
    folder: str,
    on_event: Optional[OnEvent] = None,
    timeout: float = TIMEOUT,
    stage: str = "staging",
    environment: Optional[Mapping[str, str]] = None,
    stop: Optional[Callable[[], bool]] = None,
) -> Dict[str, Any]:
    """The input after all modules of a stage.

    :param data: the input, valid; its secrets are kept from the modules and are in the result unchanged.
    :param folder: where they run; made if missing. Each `step.path` is copied there unless it is there already.
    :param on_event: called as `on_event("module", message=…, data={stage, index, module, exit_status, duration, stderr,
        changed})` after each module, failed or not.
    :param timeout: seconds that one module (and one compilation) may take.
    :param environment: variables for the modules, beside this process's own.
    :param stop: asked now and then; when it says True the module is killed and JobEnded (`cancelled_by_user`) raised.

    Raises UserError for a module that fails in `staging` and ClusterError elsewhere, with the condition of the stage.
    """
    if not steps:
        return data
    _prepare(steps, folder, stage)
    for step in steps:
        runner = _Runner(step, stage, folder, timeout, environment or {}, stop)
        try:
            data = runner.change(data)
        finally:
            if on_event is not None and runner.seen:
                on_event("module", message=runner.summary(), data=runner.facts())
    return data


class _Runner:
    """One run of one module."""

    def __init__(
        self,
        step: Step,
        stage: str,
        folder: str,
        timeout: float,
        environment: Mapping[str, str],
        stop: Optional[Callable[[], bool]],
    ) -> None:
        self._step = step
        self._stage = stage
        self._folder = folder
        self._timeout = timeout
        self._stop = stop
        self._changed: Dict[str, Any] = {}
        self._log = b""
        self._problem = ""
        self._exit_status = 0
        self._seconds = 0.0
        self.seen = False
        own = {"JOBFERRY_STAGE": stage, "JOBFERRY_MODULE": step.module, "JOBFERRY_STEP": str(step.index)}
        self._env = clean_env(dict(environment, **own))
        self._env["PATH"] = self._env.get("PATH", os.defpath) + os.pathsep + _fallback_folder(folder)

    def change(self, data: Dict[str, Any]) -> Dict[str, Any]:
        """The input as this module returns it."""
        if self._step.compilation:
            done = self._run([self._step.compilation], b"")
            if done.exit_status:
                self._log = done.stdout + self._log
                self._fail("could not be compiled: {}".format(_ending(done)), done)
        given = jobspec.public(data)
        payload = json.dumps(given, sort_keys=True)
        words = [self._step.execution]
        if len(payload) <= ARGUMENT_LIMIT:
            words = [self._step.execution + ' "$@"', payload]
        done = self._run(words, payload.encode("ascii") + b"\n")
        if done.exit_status:
            self._fail(_ending(done), done)
        result = self._result(done)
        self._changed = changes(given, result)
        result.update((key, data[key]) for key in jobspec.SECRETS if key in data)
        return result

    def _run(self, words: List[str], stdin: bytes) -> Completed:
        line, arguments = words[0], words[1:]
        argv = ["/bin/sh", "-c", line, "sh", *arguments]
        try:
            done = run(argv, self._folder, self._env, stdin, self._timeout, limit=OUTPUT_LIMIT, stop=self._stop)
        except OSError as error:
            self.seen = True
            self._exit_status = 127
            self._fail("could not be started: {}.".format(error.strerror or error))
        self.seen = True
        self._log += done.stderr
        self._seconds += done.seconds
        self._exit_status = done.exit_status
        if done.stopped:
            self._problem = "was stopped."
            raise JobEnded("{} was stopped.".format(self._name()), condition="cancelled_by_user")
        if done.timed_out:
            hint = "Is it waiting for something? What it may take is {:g} s.".format(self._timeout)
            self._fail("did not end within {:g} s and was killed.".format(self._timeout), done, hint)
        return done

    def _result(self, done: Completed) -> Dict[str, Any]:
        try:
            result = json.loads(done.stdout.decode("utf-8"), parse_constant=_no_constant)
        except (ValueError, RecursionError):
            hint = "Its standard output must be one JSON object and nothing else; its messages belong on stderr."
            shown = _tail(done.stdout, 200)
            said = "printed no JSON: {}".format(json.dumps(shown, ensure_ascii=False)) if shown else "printed nothing."
            self._fail(said, done, hint)
        if not isinstance(result, dict):
            self._fail("printed JSON that is not an object.", done, "It must print the whole input.")
        result = jobspec.public(result)
        found = jobspec.problems(result)
        if found:
            listed = "; ".join(problem.text() for problem in found[:5])
            self._fail("returned an input that is not valid: {}".format(listed), done)
        return result

    def _fail(self, what: str, done: Optional[Completed] = None, hint: str = "") -> NoReturn:
        self._problem = what
        message = "{} {}".format(self._name(), what)
        log = _tail(self._log, SHOWN_LIMIT)
        if log:
            message += "\n{}".format(log)
        if done is not None and done.exit_status in (126, 127) and not hint:
            hint = "Its command was not found or is not executable where it ran."
        kind: Type[JobferryError] = UserError if self._stage == "staging" else ClusterError
        raise kind(message, hint, condition=CONDITIONS.get(self._stage, "internal_error"))

    def _name(self) -> str:
        return "The {} module {} ({})".format(self._stage, self._step.index, self._step.module)

    def summary(self) -> str:
        """One line for the history."""
        if self._problem:
            return "{} {}".format(self._name(), self._problem.splitlines()[0])
        names = ", ".join(sorted(self._changed)) or "nothing"
        return "{} changed {}".format(self._name(), names)

    def facts(self) -> Dict[str, Any]:
        """The data of the `module` event; `duration` is in seconds."""
        return {
            "stage": self._stage,
            "index": self._step.index,
            "module": self._step.module,
            "exit_status": self._exit_status,
            "duration": round(self._seconds, 3),
            "stderr": _tail(self._log, LOG_LIMIT),
            "changed": self._changed,
        }


def changes(before: Dict[str, Any], after: Dict[str, Any], prefix: str = "") -> Dict[str, Any]:
    """What differs: `{dotted key: {"from": old, "to": new}}`; a missing side means that the key came or went."""
    found: Dict[str, Any] = {}
    for key in sorted(set(before) | set(after)):
        place = prefix + key
        old, new = before.get(key), after.get(key)
        if key in before and key in after:
            if isinstance(old, dict) and isinstance(new, dict):
                found.update(changes(old, new, place + "."))
            elif old != new:
                found[place] = {"from": _short(old), "to": _short(new)}
        elif key in after:
            found[place] = {"to": _short(new)}
        else:
            found[place] = {"from": _short(old)}
    return found


def _short(value: Any) -> Any:
    text = json.dumps(value)
    return value if len(text) <= SHOWN_LIMIT else text[:SHOWN_LIMIT] + "…"


def _no_constant(name: str) -> NoReturn:
    # RFC 8259: NaN and Infinity are no JSON, although Python's own module prints them.
    raise ValueError(name)


def _ending(done: Completed) -> str:
    if done.exit_status < 0:
        return "was ended by signal {}.".format(-done.exit_status)
    return "ended with exit status {}.".format(done.exit_status)


def _tail(raw: bytes, most: int) -> str:
    text = raw.decode("utf-8", "replace").strip()
    return text if len(text) <= most else "…" + text[-most:]


def _prepare(steps: Sequence[Step], folder: str, stage: str) -> None:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    for step in steps:
        target = os.path.join(folder, step.module)
        if step.path and os.path.exists(step.path) and os.path.abspath(step.path) != os.path.abspath(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if os.path.isdir(step.path):
                _replace_tree(step.path, target)
            else:
                shutil.copy2(step.path, target)
        elif not os.path.exists(target):
            kind: Type[JobferryError] = UserError if stage == "staging" else ClusterError
            message = "There is no file for the {} module {} ({}).".format(stage, step.index, step.module)
            raise kind(message, condition=CONDITIONS.get(stage, "internal_error"))
    _write_fallbacks(_fallback_folder(folder))


def _replace_tree(source: str, target: str) -> None:
    if os.path.isdir(target):
        shutil.rmtree(target)
    shutil.copytree(source, target, symlinks=True)


def _fallback_folder(folder: str) -> str:
    return os.path.join(os.path.abspath(folder), ".bin")


def _write_fallbacks(folder: str) -> None:
    """`python` and `python3` for machines that have only the other name; last on PATH, so real ones win."""
    os.makedirs(folder, exist_ok=True)
    for name in ("python", "python3"):
        path = os.path.join(folder, name)
        with open(path, "w") as stream:
            stream.write('#!/bin/sh\nexec {} "$@"\n'.format(quote(sys.executable)))
        os.chmod(path, 0o700)
