"""The Python interface for programs with an event loop: `Client` with async and await.

>>> from project import AsyncClient
>>> async with AsyncClient() as client:
...     jobs = await asyncio.gather(*(client.submit(name) for name in inputs))
...     ended = await asyncio.gather(*(client.wait(job) for job in jobs))
"""

from __future__ import annotations

import asyncio
import codecs
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from project.client import LOOK, Client, Fallback, Input, JobRef, Json, OnProgress, Selector, Stream
from project.core.errors import UserError
from project.records import Event, JobRecord
from project.waiting import Waiting, well

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import ParamSpec, Self

    from project.engine.ui import Ui

    P = ParamSpec("P")

T = TypeVar("T")


class AsyncClient:
    """As `Client`, with the same arguments, methods and errors; `jobs`, `events` and `follow` are for `async for`.

    The work is done by one thread of its own, one call after the other, so that the event loop never waits; waiting for jobs
    takes no thread. `progress` is called in that thread. A task that is cancelled stops waiting for its call: a call that has
    begun is carried out all the same (a job that is being submitted is submitted, and found by `jobs`), one that has not is
    dropped.
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
        self._client = Client(
            api_url,
            home,
            user=user,
            password=password,
            token=token,
            username=username,
            private_key=private_key,
            progress=progress,
            ui=ui,
        )
        self._core = self._client._core
        self._closed = False
        self._worker = ThreadPoolExecutor(1, "jobferry")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` returns or raises; it runs in the client's thread, after what was asked for before."""
        if self._closed:
            raise UserError("The client is closed.", "Make a new one.")
        self._core.check_process()
        return await asyncio.get_running_loop().run_in_executor(self._worker, lambda: work(*args, **kwargs))

    async def close(self) -> None:
        """As `Client.close`, after the calls that were begun."""
        if not self._closed and not self._core.forked:
            try:
                await self._run(self._client.close)
            finally:
                self._closed = True
                self._worker.shutdown(wait=False)

    @property
    def home(self) -> Path:
        """As `Client.home`."""
        return self._client.home

    async def submit(
        self,
        input: Input,
        modules: str | os.PathLike[str] | None = None,
        *,
        cluster: str | None = None,
        fallback: Fallback | None = None,
        tags: Mapping[str, str] | None = None,
        accept_new_host_key: bool = False,
    ) -> JobRecord:
        """As `Client.submit`."""
        return await self._run(
            self._client.submit,
            input,
            modules,
            cluster=cluster,
            fallback=fallback,
            tags=tags,
            accept_new_host_key=accept_new_host_key,
        )

    async def resume(self, job: JobRef) -> JobRecord:
        """As `Client.resume`."""
        return await self._run(self._client.resume, job)

    async def create(
        self,
        input: Input,
        modules: str | os.PathLike[str] | None = None,
        *,
        cluster: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> JobRecord:
        """As `Client.create`."""
        return await self._run(self._client.create, input, modules, cluster=cluster, tags=tags)

    async def start(self, job: JobRef) -> JobRecord:
        """As `Client.start`."""
        return await self._run(self._client.start, job)

    async def plan(
        self,
        input: Input,
        modules: str | os.PathLike[str] | None = None,
        *,
        cluster: str | None = None,
        fallback: Fallback | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Json:
        """As `Client.plan`."""
        return await self._run(self._client.plan, input, modules, cluster=cluster, fallback=fallback, tags=tags)

    async def get(self, job: JobRef, *, refresh: bool = True) -> JobRecord:
        """As `Client.get`."""
        return await self._run(self._client.get, job, refresh=refresh)

    async def jobs(
        self,
        selector: Selector = None,
        *,
        state: str | Iterable[str] | None = None,
        limit: int = 0,
        refresh: bool = False,
    ) -> AsyncIterator[JobRecord]:
        """As `Client.jobs`."""
        found = self._client.jobs(selector, state=state, limit=limit, refresh=refresh)
        while (job := await self._run(next, found, None)) is not None:
            yield job

    async def wait(
        self, job: JobRef, timeout: float | None = None, *, poll: float | None = None, check: bool = False
    ) -> JobRecord:
        """As `Client.wait`."""
        waiting = Waiting(timeout, poll)
        while (  # noqa: ASYNC110  # news is on the cluster: nobody sets an event here
            pause := await waiting.alook(lambda: self._run(self._core.seen, job, waiting.told))
        ) is not None:
            await asyncio.sleep(pause)
        return well(waiting.job) if check else waiting.job

    async def events(self, job: JobRef, *, follow: bool = False, poll: float | None = None) -> AsyncIterator[Event]:
        """As `Client.events`."""
        waiting = Waiting(None, poll)
        last = 0
        while True:
            found: list[Event] = []

            async def see(found: list[Event] = found, last: int = last) -> JobRecord:
                seen = await self._run(self._core.seen, job, waiting.told)
                found.extend(await self._run(self._core.events, seen.uuid, last))
                return seen

            pause = await waiting.alook(see)
            for event in found:
                yield event
            last = found[-1].n if found else last
            if pause is None or not follow:
                return
            await asyncio.sleep(pause)

    async def logs(
        self,
        job: JobRef,
        stream: Stream = "stdout",
        *,
        index: int | None = None,
        run: int | None = None,
        lines: int | None = None,
    ) -> str:
        """As `Client.logs`."""
        return await self._run(self._client.logs, job, stream, index=index, run=run, lines=lines)

    async def follow(
        self, job: JobRef, stream: Stream = "stdout", *, index: int | None = None, run: int | None = None
    ) -> AsyncIterator[str]:
        """As `Client.follow`."""
        reader = await self._run(self._core.reader, job, stream, index, run, None)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while True:
            for piece in await self._run(self._core.look, reader):
                if text := decoder.decode(piece):
                    yield text
            if reader.ended and reader.quiet:
                return
            if reader.quiet:
                await asyncio.sleep(LOOK)

    async def cancel(self, job: JobRef) -> JobRecord:
        """As `Client.cancel`."""
        return await self._run(self._client.cancel, job)

    async def hold(self, job: JobRef) -> JobRecord:
        """As `Client.hold`."""
        return await self._run(self._client.hold, job)

    async def release(self, job: JobRef) -> JobRecord:
        """As `Client.release`."""
        return await self._run(self._client.release, job)

    async def remove(self, job: JobRef, *, force: bool = False) -> None:
        """As `Client.remove`."""
        await self._run(self._client.remove, job, force=force)

    async def reached(self, job: JobRef, run: int, state: str, info: str = "") -> JobRecord:
        """As `Client.reached`."""
        return await self._run(self._client.reached, job, run, state, info)

    async def retrieve(self, job: JobRef, target: str | os.PathLike[str] = ".", *, force: bool = False) -> list[Path]:
        """As `Client.retrieve`."""
        return await self._run(self._client.retrieve, job, target, force=force)

    async def deliveries(self, job: JobRef) -> list[Json]:
        """As `Client.deliveries`."""
        return await self._run(self._client.deliveries, job)

    async def replay(self, job: JobRef, delivery: str) -> Json:
        """As `Client.replay`."""
        return await self._run(self._client.replay, job, delivery)

    async def clusters(self) -> list[Json]:
        """As `Client.clusters`."""
        return await self._run(self._client.clusters)

    async def add_cluster(self, document: Mapping[str, Any]) -> Json:
        """As `Client.add_cluster`."""
        return await self._run(self._client.add_cluster, document)

    async def remove_cluster(self, name: str) -> None:
        """As `Client.remove_cluster`."""
        await self._run(self._client.remove_cluster, name)

    async def shell(self, job: JobRef, line: str) -> tuple[int, bytes]:
        """As `Client.shell`."""
        return await self._run(self._client.shell, job, line)
