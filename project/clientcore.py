"""What `Client` stands on: its settings, its API, its open connections. It asks and prints nothing."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from project import bootstrap, settings
from project.core.errors import ApiError, ClusterError, InputError, JobferryError, UserError
from project.records import Event, JobRecord, Progress

if TYPE_CHECKING:
    from uuid import UUID

    from project.engine.context import Context
    from project.engine.logs import Reader
    from project.engine.submission import Request
    from project.engine.ui import Ui

Json = dict[str, Any]
LOG = logging.getLogger("jobferry")
# A library leaves it to the program where warnings go: its own, and those of the embedded API (a callback that failed).
for _name in ("jobferry", "api_srv"):
    logging.getLogger(_name).addHandler(logging.NullHandler())

# Seconds that sending waiting mails and callbacks may take at a time, where no server does it.
DELIVERY = 5.0
# Seconds after which somebody who waits for a job looks whether something is to be sent again.
AGAIN = 10.0


class Core:
    """One client's parts, made when they are first wanted. Everything that uses them does so in `using`, one at a time."""

    def __init__(self, given: dict[str, str | None], username: str, private_key: str, ui: Ui) -> None:
        found = settings.load()
        # One kind of credentials takes the place of the other kind in the settings.
        if given["api_token"] and given["api_user"] is None:
            given = {**given, "api_user": "", "api_password": ""}
        elif given["api_user"] is not None and given["api_token"] is None:
            given = {**given, "api_token": ""}
        chosen = {key: value for key, value in given.items() if value is not None}
        self.settings = settings.Settings({**found.values, **chosen}, found.config_file)
        self._username = username
        self._private_key = private_key
        self._ui = ui
        # The process that goes on with blocked submissions knows the machine's settings alone.
        self._as_set = all(found.get(key) == value for key, value in chosen.items() if key != "home")
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._way: bootstrap.Api | None = None
        self._context: Context | None = None
        self._recorded = ""
        self._closed = False
        self._told_on = time.monotonic()

    @contextlib.contextmanager
    def using(self, accept_new_host_key: bool = False, told: set[str] | None = None) -> Iterator[Context]:
        """The context, for this thread alone. A job that is recorded meanwhile is named by an error that is raised.

        :param told: warnings that are not given again.
        """
        self.check_process()
        with self._lock:
            if self._closed:
                raise UserError("The client is closed.", "Make a new one.")
            context = self._made()
            if accept_new_host_key:
                context = replace(context, accept_new_host_key=True)
            if told is not None:
                from project.engine.ui import ToldOnce

                context = replace(context, ui=ToldOnce(self._ui, told))
            self._recorded = ""
            try:
                yield context
            except JobferryError as error:
                error.job_uuid = error.job_uuid or self._recorded
                raise

    @property
    def forked(self) -> bool:
        """True in a child of the process that made the client: its connections, threads and locks are the parent's."""
        return self._process != os.getpid()

    def check_process(self) -> None:
        """Raises UserError after a fork; a client that has not done anything yet is the child's own."""
        if self.forked:
            if self._way is not None:
                raise UserError("The client was made before a fork.", "Make a new one in the child.")
            self._process, self._lock = os.getpid(), threading.RLock()

    def _made(self) -> Context:
        if self._context is None:
            self._way = self._way or bootstrap.open_api(self.settings)
            self._context = bootstrap.context(
                self.settings,
                bootstrap.api_client(self._way.call, self._note),
                self._ui,
                no_input=not self._ui.interactive,
                username=self._username,
                private_key=self._private_key,
            )
        return self._context

    def _note(self, uuid: str) -> None:
        self._recorded = uuid

    def close(self) -> None:
        """Close every connection. Twice is once. After a fork they are the parent's and stay open."""
        if self.forked:
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                if self._context is not None:
                    self._context.close()
                self.told_on()
            finally:
                if self._way is not None:
                    self._way.close()

    def told_on(self) -> None:
        """After something changed: send what waits, and see to it that somebody goes on with what is blocked here."""
        self._told_on = time.monotonic()
        if self._way is not None:
            try:
                self._way.deliver(DELIVERY)
            except ApiError as error:
                self._ui.warn(f"Mails and callbacks wait in the outbox: {error}")
        if self._as_set and (self.settings.home / "submitting").exists():
            from project.engine import retrier

            try:
                retrier.ensure(self.settings.home, "project.retrier")
            except OSError as error:
                self._ui.warn(f"Blocked submissions do not go on by themselves ({error.strerror}).")

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """`told_on` at the end, however it ends."""
        try:
            yield
        finally:
            self.told_on()

    def find(self, context: Context, job: str | UUID | JobRecord) -> Json:
        """A job's document. Raises UserError, ApiError."""
        from project.engine import lookup

        name = job.uuid if isinstance(job, JobRecord) else str(job)
        return lookup.find(context.api, name, "`Client.jobs` lists the jobs.")

    def fresh(self, context: Context, documents: Sequence[Json]) -> list[Json]:
        """The same documents with what happened meanwhile; a cluster that does not answer is a warning."""
        from project.core.states import FINAL

        if all(document["state"] in FINAL for document in documents):
            return list(documents)
        from project.engine import sync

        try:
            found = sync.refresh(context, list(documents))
        except ClusterError as error:
            context.ui.warn(f"The newest state is not known: {error}")
            return list(documents)
        if any(before["state"] != after["state"] for before, after in zip(documents, found, strict=True)):
            self.told_on()
        return list(found)

    def start(self, job: str | UUID | JobRecord) -> JobRecord:
        """Submit what was created, or run once more what has ended."""
        with self.using() as context:
            from project.core.states import FINAL
            from project.engine import creating

            document = self.fresh(context, [self.find(context, job)])[0]
            with self.telling():
                if creating.is_created(document):
                    return JobRecord.of(creating.start(context, document))
                if document["state"] in FINAL:
                    return JobRecord.of(creating.run_again(context, document))
        uuid = document["job_uuid"]
        raise UserError(f"Job {uuid} is {document['state']}: it can be started again when it has ended.")

    def reached(self, job: str | UUID | JobRecord, run: int, state: str, info: str) -> JobRecord:
        """Record that a run has reached a state of psik's (engine.reaching)."""
        with self.using() as context, self.telling():
            from project.engine import reaching

            return JobRecord.of(reaching.reached(context, self.find(context, job), str(run), state, info))

    def seen(self, job: str | UUID | JobRecord, told: set[str]) -> JobRecord:
        """The job as it is now; warnings that were `told` are not given again."""
        with self.using(told=told) as context:
            if time.monotonic() - self._told_on > AGAIN:
                self.told_on()
            document = self.fresh(context, [self.find(context, job)])[0]
            plan = document.get("plan") or {}
            if plan and not plan.get("next"):
                uuid, cause = document["job_uuid"], plan.get("cause") or "its submission stopped"
                context.ui.warn(f"Job {uuid} does not go on by itself, {cause}: `start` or `resume` it.")
            return JobRecord.of(document)

    def events(self, uuid: str, after: int) -> list[Event]:
        """A job's events with a number above `after`."""
        with self.using() as context:
            return [Event.of(event) for event in context.api.events(uuid, after)]

    def reader(
        self, job: str | UUID | JobRecord, stream: str, index: int | None, run: int | None, lines: int | None
    ) -> Reader:
        """What reads a job's log, to `look` with."""
        with self.using() as context:
            from project.engine.logs import Reader

            document = self.fresh(context, [self.find(context, job)])[0]
            return Reader(context, document, stream, index, run, lines)

    def look(self, reader: Reader) -> list[bytes]:
        """What was printed since the last look."""
        with self.using():
            return reader.look()

    def act(
        self, verb: str, job: str | UUID | JobRecord, *, idempotent: bool = False, force: bool = False
    ) -> JobRecord:
        """Do a verb of `engine.control` to one job. Raises UserError, ClusterError when it does not change.

        :param idempotent: a job that has ended already is as good as changed.
        """
        with self.using() as context:
            from project.engine import control

            document = self.find(context, job)
            (outcome,) = getattr(control, verb)(context, [document], force)
            record = JobRecord.of(outcome.document or document)
            self.told_on()
        if outcome.changed or (idempotent and record.ended):
            return record
        kind = ClusterError if outcome.exit_code == ClusterError.exit_code else UserError
        reason = f"it {outcome.reason}" if outcome.reason.startswith("is ") else outcome.reason
        error = kind(f"Job {record.uuid}: {verb} was not possible, {reason.rstrip('.')}.")
        error.job_uuid = record.uuid
        raise error


def request(
    given: str | os.PathLike[str] | Mapping[str, Any],
    modules: str | os.PathLike[str] | None,
    cluster: str | None,
    fallback: str | None,
    tags: Mapping[str, str] | None,
) -> Request:
    """A submission's request. Raises InputError with every problem, UserError for a file that cannot be read."""
    from project import spec
    from project.core import jobspec
    from project.engine.submission import Request

    if fallback not in {None, "auto", "ask", "never"}:
        # Any other word would let a peer take the job.
        raise UserError(f"fallback: {fallback!r} is none.", "It is auto, ask or never; None: as the input says.")
    if isinstance(given, Mapping):
        data = _plain(given)
        data.update({"destination_cluster": cluster} if cluster else {})
        found = jobspec.problems(data)
        if found:
            raise InputError(found)
        loaded = spec.Loaded(data, "", Path.cwd())
    else:
        loaded = spec.load_input(os.fspath(given), [f"destination_cluster={cluster}"] if cluster else [])
    modules_file = "" if modules is None else os.path.abspath(modules)
    return Request(
        loaded=loaded,
        modules=spec.load_modules(modules_file) if modules_file else None,
        fallback=fallback,
        tags=dict(tags or {}),
        modules_file=modules_file,
    )


def _plain(given: Mapping[str, Any]) -> Json:
    """The input as a file would hold it: paths are texts, keys without a value are left out, nothing is shared."""
    return {
        key: os.fspath(value) if isinstance(value, os.PathLike) else copy.deepcopy(value)
        for key, value in given.items()
        if value is not None
    }


class Told:
    """The engine's user interface with nobody to ask: what goes on is told to a callback, warnings else to the log."""

    interactive = False

    def __init__(self, progress: Callable[[Progress], None] | None) -> None:
        self._progress = progress

    def _tell(self, told: Progress) -> None:
        if self._progress is not None:
            try:
                self._progress(told)
            except Exception:
                # A submission on its way does not end because nobody could be told.
                LOG.exception("The progress callback failed.")
        elif told.kind == "warning":
            LOG.warning("%s", told.text)

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[None]:
        self._tell(Progress("step", text))
        yield

    def progress(self, done: int, total: int) -> None:
        self._tell(Progress("bytes", "", done, total))

    def say(self, text: str) -> None:
        self._tell(Progress("info", text))

    def warn(self, text: str) -> None:
        self._tell(Progress("warning", text))

    def choose(self, question: str, options: Sequence[str]) -> str | None:  # noqa: ARG002  # the port's signature
        return None

    def confirm(self, question: str) -> bool:  # noqa: ARG002  # the port's signature
        return False

    def secret(self, prompt: str) -> str:  # noqa: ARG002  # the port's signature
        return ""
