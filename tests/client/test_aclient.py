"""`AsyncClient`: the same things with await, an event loop that never waits, tasks that may be cancelled."""

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.live import Server
from project import AsyncClient, Client, JobEnded, UserError, WaitTimeout

PATIENCE = 60.0
HELLO = {"destination_cluster": "local", "name": "hello", "script": "echo hello"}
LONG = {"destination_cluster": "local", "script": "sleep 600"}


@pytest.fixture
def run(home: Path) -> Callable[..., Any]:
    """Runs a coroutine function with a client in an event loop of its own."""

    def work(main: Callable[[AsyncClient], Awaitable[Any]], **how: Any) -> Any:
        async def whole() -> Any:
            async with AsyncClient(home=home, **how) as client:
                return await asyncio.wait_for(main(client), 2 * PATIENCE)

        return asyncio.run(whole())

    return work


@pytest.mark.parametrize("kind", ["embedded", "http"])
def test_five_jobs_awaited_at_once(run: Callable[..., Any], kind: str, request: pytest.FixtureRequest) -> None:
    async def main(client: AsyncClient) -> None:
        numbers = range(5)
        jobs = await asyncio.gather(*(client.submit({**HELLO, "script": f"echo {number}"}) for number in numbers))
        assert len({job.uuid for job in jobs}) == 5
        ended = await asyncio.gather(*(client.wait(job, PATIENCE) for job in jobs))
        assert [job.uuid for job in ended] == [job.uuid for job in jobs]
        assert all(job.ok for job in ended)
        assert [await client.logs(job) for job in jobs] == [f"{number}\n" for number in numbers]

    how = {}
    if kind == "http":
        server: Server = request.getfixturevalue("server")
        how = {"api_url": server.url, "user": server.user, "password": server.password}
    run(main, **how)


def test_what_comes_bit_by_bit(run: Callable[..., Any], tmp_path: Path) -> None:
    async def main(client: AsyncClient) -> None:
        job = await client.submit({**HELLO, "script": "echo made > x; echo ä", "output": "x", "tags": {"t": "1"}})
        assert [event.state async for event in client.events(job, follow=True, poll=0.1)][-1] == "FINISHED"
        assert "".join([text async for text in client.follow(job)]) == "ä\n"
        assert [each.uuid async for each in client.jobs("t=1")][0] == job.uuid
        assert await client.retrieve(job, tmp_path / "out") == [tmp_path / "out" / "x"]
        await client.remove(job)
        with pytest.raises(UserError):
            await client.get(job)

    run(main)


def test_ends_of_waiting(run: Callable[..., Any]) -> None:
    async def main(client: AsyncClient) -> None:
        job = await client.submit(LONG)
        with pytest.raises(WaitTimeout):
            await client.wait(job, 0.2, poll=0.1)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.wait(job), 0.2)
        await client.cancel(job)
        with pytest.raises(JobEnded):
            await client.wait(job, PATIENCE, check=True)

    run(main)


def test_the_event_loop_never_waits(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call ends only when the loop, which it does not block, says so."""
    said = threading.Event()
    monkeypatch.setattr(Client, "clusters", lambda _self: [{"said": said.wait(PATIENCE)}])

    async def main() -> None:
        async with AsyncClient(home=home) as client:
            call = asyncio.create_task(client.clusters())
            await asyncio.sleep(0)
            assert not call.done()
            said.set()
            assert await call == [{"said": True}]

    asyncio.run(main())


def test_a_cancelled_task_leaves_a_client_that_works(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, called = threading.Event(), threading.Event(), []
    real = Client.submit

    def submit(self: Client, *args: Any, **keys: Any) -> Any:
        called.append(1)
        begun.set()
        assert go_on.wait(PATIENCE)
        return real(self, *args, **keys)

    monkeypatch.setattr(Client, "submit", submit)

    async def main() -> None:
        async with AsyncClient(home=home) as client:
            first = asyncio.create_task(client.submit(HELLO))
            assert await asyncio.to_thread(begun.wait, PATIENCE)
            second = asyncio.create_task(client.submit(HELLO))
            await asyncio.sleep(0)
            for task in (first, second):
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            go_on.set()
            jobs = [job async for job in client.jobs()]
            assert len(jobs) == len(called) == 1, "what had begun was carried out, what had not was dropped"
            assert (await client.wait(jobs[0], PATIENCE)).ok

    asyncio.run(main())


def test_closing(home: Path) -> None:
    async def main() -> None:
        client = AsyncClient(home=home)
        await client.clusters()
        await client.close()
        await client.close()
        with pytest.raises(UserError, match="closed"):
            await client.clusters()

    asyncio.run(main())


def test_it_has_all_that_client_has() -> None:
    """Names, parameters and defaults are the same."""
    for name, member in inspect.getmembers(Client, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.signature(getattr(AsyncClient, name)).parameters == inspect.signature(member).parameters
    assert inspect.signature(AsyncClient).parameters == inspect.signature(Client).parameters
