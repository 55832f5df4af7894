"""The Python interface to everything that the command line does with jobs. `AsyncClient` is the same with async and await.

>>> from project import Client
>>> with Client() as client:
...     job = client.submit({"destination_cluster": "local", "script": "echo hello"})
...     job = client.wait(job, timeout=600)
...     print(job.state, client.logs(job))
"""

from __future__ import annotations

import codecs
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from uuid import UUID

from project.clientcore import Core, Told, request
from project.records import Event, JobRecord, Progress
from project.waiting import Waiting, well

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from project.engine.ui import Ui

Json: TypeAlias = dict[str, Any]
JobRef: TypeAlias = str | UUID | JobRecord
# An input file, or what one would hold.
Input: TypeAlias = str | os.PathLike[str] | Mapping[str, Any]
Selector: TypeAlias = str | Iterable[str] | Mapping[str, str] | None
OnProgress: TypeAlias = Callable[[Progress], None]
Stream: TypeAlias = Literal["stdout", "stderr"]
Fallback: TypeAlias = Literal["auto", "ask", "never"]

# Seconds between two looks at a log that grows.
LOOK = 1.0


class Client:
    """A user's way to jobs and clusters.

    :param api_url: the API server; None: JOBFERRY_API_URL or config.yml, "" or nothing there: the embedded default.
    :param home: JOBFERRY_HOME; None: as the settings say.
    :param user: Basic credentials for the API server, with `password`; None: as the settings say.
    :param token: a bearer token instead of them.
    :param username: who logs in on clusters; "": the input's, the cluster's, or the SSH configuration's.
    :param private_key: the key to log in with; "": the input's, or the SSH configuration's and agent's.
    :param progress: called with what goes on (`Progress`), in the thread that called the client. What it raises is logged.
    :param ui: asks and tells in place of `progress`. Without it nothing is ever asked and nothing printed.

    Nothing is global: two clients have nothing in common. A client keeps the connections that it made until `close`. Its
    methods may be called from several threads; they are carried out one after the other, only waiting happens side by side.
    After a fork the child makes one of its own: this one refuses to work there.
    A job is named by its UUID, by the first characters of it (6 at least), or by a JobRecord.

    Raises UserError (settings that cannot be used). Every method raises ApiError when the API does not answer or refuses.
    """

    def __init__(
        self,
        api_url: str | None = None,
        home: str | os.PathLike[str] | None = None,
        *,
        user: str | None = None,
        password: str | None = None,
        token: str | None = None,
        username: str = "",
        private_key: str | os.PathLike[str] = "",
        progress: OnProgress | None = None,
        ui: Ui | None = None,
    ) -> None:
        given = {"api_url": api_url, "api_user": user, "api_password": password, "api_token": token}
        given["home"] = None if home is None else os.fspath(home)
        self._core = Core(given, username, os.fspath(private_key), Told(progress) if ui is None else ui)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; send the mails that wait, for a few seconds at most. Jobs go on. Twice is once."""
        self._core.close()

    @property
    def home(self) -> Path:
        """The folder of this machine's data (JOBFERRY_HOME)."""
        return self._core.settings.home

    # Submitting.

    def submit(
        self,
        input: Input,
        modules: str | os.PathLike[str] | None = None,
        *,
        cluster: str | None = None,
        fallback: Fallback | None = None,
        tags: Mapping[str, str] | None = None,
        accept_new_host_key: bool = False,
    ) -> JobRecord:
        """Submit a job; it is in its cluster's queue then, or BLOCKED or FAILED with the reason in the error.

        :param input: an input file, or the same as a mapping (its relative paths start from the current folder).
        :param modules: a modules file.
        :param cluster: the cluster to submit to instead of the input's `destination_cluster`.
        :param fallback: what to do when it does not answer; None: as the input says, else `auto`, the best peer.
        :param tags: added to those of the input.
        :param accept_new_host_key: trust a host key that is not known yet. A changed one is always refused.

        Raises InputError (with every problem of the input) or another UserError: nothing was sent. ClusterError: no cluster
        took it; a transient one is tried again (docs/reliability.md). The error's `job_uuid` names the job when there is one.
        """
        with self._core.using(accept_new_host_key) as context:
            from project.engine import submission

            wanted = request(input, modules, cluster, fallback, tags)
            with self._core.telling():
                return JobRecord.of(submission.submit(context, wanted))

    def resume(self, job: JobRef) -> JobRecord:
        """Go on with a submission that was cut off or is BLOCKED. Raises UserError, ClusterError."""
        with self._core.using() as context:
            from project.engine import resuming

            with self._core.telling():
                return JobRecord.of(resuming.resume(context, str(self._core.find(context, job)["job_uuid"])))

    def create(
        self,
        input: Input,
        modules: str | os.PathLike[str] | None = None,
        *,
        cluster: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> JobRecord:
        """Check and record a job without submitting it: it is PENDING, and no cluster has heard of it. As `submit` otherwise."""
        with self._core.using() as context:
            from project.engine import creating

            return JobRecord.of(creating.create(context, request(input, modules, cluster, None, tags)))

    def start(self, job: JobRef) -> JobRecord:
        """Submit a job that `create` made. Of one that has ended, make the next run: a job of its own, in the same work folder.

        Raises UserError (it lives), ClusterError.
        """
        return self._core.start(job)

    def plan(
        self,
        input: Input,
        modules: str | os.PathLike[str] | None = None,
        *,
        cluster: str | None = None,
        fallback: Fallback | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Json:
        """What `submit` would do, doing none of it: `cluster`, `files`, `commands`, the exact batch `script`, and more.

        Raises InputError, UserError.
        """
        with self._core.using() as context:
            from project.engine import planning

            return planning.plan(context, request(input, modules, cluster, fallback, tags))

    # Looking.

    def get(self, job: JobRef, *, refresh: bool = True) -> JobRecord:
        """The job as it is now. Raises UserError when there is none.

        :param refresh: ask its cluster too where that is due; a cluster that does not answer is a warning, not an error.
        """
        with self._core.using() as context:
            document = self._core.find(context, job)
            return JobRecord.of(self._core.fresh(context, [document])[0] if refresh else document)

    def jobs(
        self,
        selector: Selector = None,
        *,
        state: str | Iterable[str] | None = None,
        limit: int = 0,
        refresh: bool = False,
    ) -> Iterator[JobRecord]:
        """The jobs that match, newest first.

        :param selector: tags: `{"project": "demo"}`, or texts `k=v`, `k!=v`, `k`, `!k`.
        :param state: a state or several, also LIVE and FINAL.
        :param limit: at most so many; 0: all.
        :param refresh: ask the clusters of jobs that live, too.

        Raises UserError (a selector or a state that is none).
        """
        from project.engine import lookup

        terms = [f"{key}={value}" for key, value in selector.items()] if isinstance(selector, Mapping) else selector
        found = lookup.filters(_several(terms), _several(state))
        wanted = lookup.expanded(found["state"]) if "state" in found else None
        pages: Iterator[list[Json]] | None = None
        while True:
            with self._core.using() as context:
                pages = lookup.pages(context.api, found, limit) if pages is None else pages
                page = next(pages, None)
                if page is not None and refresh:
                    page = self._core.fresh(context, page)
            if page is None:
                return
            yield from (JobRecord.of(each) for each in page if wanted is None or each["state"] in wanted)

    def wait(
        self, job: JobRef, timeout: float | None = None, *, poll: float | None = None, check: bool = False
    ) -> JobRecord:
        """The job once it has ended, well or not.

        :param timeout: seconds; None: as long as it takes.
        :param poll: seconds between two looks; None: a quarter of a second first, growing to ten.
        :param check: raise JobEnded when it did not end well.

        Raises WaitTimeout (a TimeoutError too; the job goes on), UserError when there is no such job.
        """
        waiting = Waiting(timeout, poll)
        while (pause := waiting.look(lambda: self._core.seen(job, waiting.told))) is not None:
            time.sleep(pause)
        return well(waiting.job) if check else waiting.job

    def events(self, job: JobRef, *, follow: bool = False, poll: float | None = None) -> Iterator[Event]:
        """What happened to a job, in the order in which it became known.

        :param follow: go on until the job has ended.
        :param poll: seconds between two looks while following, as in `wait`.

        Raises UserError when there is no such job.
        """
        waiting = Waiting(None, poll)
        last = 0
        while True:
            found: list[Event] = []

            def see(found: list[Event] = found, last: int = last) -> JobRecord:
                seen = self._core.seen(job, waiting.told)
                found.extend(self._core.events(seen.uuid, last))
                return seen

            pause = waiting.look(see)
            yield from found
            last = found[-1].n if found else last
            if pause is None or not follow:
                return
            time.sleep(pause)

    def logs(
        self,
        job: JobRef,
        stream: Stream = "stdout",
        *,
        index: int | None = None,
        run: int | None = None,
        lines: int | None = None,
    ) -> str:
        """What a job has printed so far (UTF-8; other bytes are replaced).

        :param index: an array element; None: the whole job.
        :param run: the run number from 1; None: the last one.
        :param lines: only the last `lines` lines.

        Raises UserError (no such job, nothing printed yet), ClusterError.
        """
        return b"".join(self._core.look(self._core.reader(job, stream, index, run, lines))).decode("utf-8", "replace")

    def follow(
        self, job: JobRef, stream: Stream = "stdout", *, index: int | None = None, run: int | None = None
    ) -> Iterator[str]:
        """As `logs`, piece by piece as the job prints it, until it has ended."""
        reader = self._core.reader(job, stream, index, run, None)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while True:
            for piece in self._core.look(reader):
                if text := decoder.decode(piece):
                    yield text
            if reader.ended and reader.quiet:
                return
            if reader.quiet:
                time.sleep(LOOK)

    # Acting.

    def cancel(self, job: JobRef) -> JobRecord:
        """Cancel a job; one that has ended already stays as it is. It is CANCELLED when its workload manager says so.

        Raises UserError, ClusterError (the wish is recorded and carried out when the cluster answers).
        """
        return self._core.act("cancel", job, idempotent=True)

    def hold(self, job: JobRef) -> JobRecord:
        """Keep a job that waits from starting. Raises UserError (it runs or has ended already), ClusterError."""
        return self._core.act("hold", job)

    def release(self, job: JobRef) -> JobRecord:
        """Let a held job go on. Raises UserError, ClusterError."""
        return self._core.act("release", job)

    def remove(self, job: JobRef, *, force: bool = False) -> None:
        """Remove a job's folder on its cluster, and its record. Raises UserError (it lives), ClusterError.

        :param force: cancel it first if it lives; forget an ended one even when its cluster is gone.
        """
        self._core.act("remove", job, force=force)

    def reached(self, job: JobRef, run: int, state: str, info: str = "") -> JobRecord:
        """Record that a run has reached a state: a note in the history, a row of its status.csv.

        :param run: the number of the run, from 1; 0: all of them.
        :param state: a word of psik's: new, queued, active, completed, failed, canceled. The end of a job is not told so.
        :param info: a native id, an exit code or one line.

        Raises UserError, ClusterError.
        """
        return self._core.reached(job, run, state, info)

    def retrieve(self, job: JobRef, target: str | os.PathLike[str] = ".", *, force: bool = False) -> list[Path]:
        """Fetch the output that the job declares into the folder `target`, verified; the paths of what is there now.

        :param force: overwrite files that differ.

        Raises UserError (nothing declared, a file in the way), ClusterError (unreachable, output missing: the rest is there).
        """
        with self._core.using() as context:
            from project.engine import retrieval

            document = self._core.fresh(context, [self._core.find(context, job)])[0]
            folder = Path(target)
            return [folder / item.path for item in retrieval.retrieve(context, document, folder, force)]

    def deliveries(self, job: JobRef) -> list[Json]:
        """The job's callbacks, oldest first, each with its attempts. Raises UserError when there is no such job."""
        with self._core.using() as context:
            return context.api.deliveries(str(self._core.find(context, job)["job_uuid"]))

    def replay(self, job: JobRef, delivery: str) -> Json:
        """Send a callback again, by its id. Raises ApiError when there is none."""
        with self._core.using() as context:
            found = context.api.replay(str(self._core.find(context, job)["job_uuid"]), delivery)
            self._core.told_on()
            return found

    # Clusters.

    def clusters(self) -> list[Json]:
        """The inventory, `local` in it: cluster documents as in docs/input.md, by name."""
        with self._core.using() as context:
            from project.engine import inventory

            return sorted(inventory.clusters(context.api), key=lambda cluster: str(cluster["name"]))

    def add_cluster(self, document: Mapping[str, Any]) -> Json:
        """Add a cluster, or replace the one of that name. Raises InputError with every problem."""
        with self._core.using() as context:
            from project.core import clusters

            whole = clusters.normalise(dict(document))
            context.api.put_cluster({key: value for key, value in whole.items() if key != "status" and value != ""})
            return whole

    def remove_cluster(self, name: str) -> None:
        """Take a cluster out of the inventory; its jobs stay. Raises UserError when there is none."""
        with self._core.using() as context:
            from project.engine import inventory

            found = inventory.find(name, inventory.clusters(context.api))
            context.api.delete_cluster(str(found["name"]))

    def shell(self, job: JobRef, line: str) -> tuple[int, bytes]:
        """Run a line of POSIX shell on a job's cluster: its exit status and what it printed. Raises ClusterError."""
        with self._core.using() as context:
            from project.engine import credentials, inventory

            document = self._core.find(context, job)
            cluster = inventory.of_job(document, context.api)
            return context.open(cluster, credentials.resolve(context, cluster, document)).shell(line)


def _several(words: str | Iterable[str] | None) -> list[str] | None:
    return [words] if isinstance(words, str) else None if words is None else list(words)
