import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from api_srv.store.base import JobStore
from helpers import stores


@pytest.fixture(scope="session")
def wire_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """The wire server, started when it is first asked for."""
    with contextlib.ExitStack() as running:
        urls: list[str] = []

        def url() -> str:
            if not urls:
                urls.append(running.enter_context(stores.wire_server(tmp_path_factory.mktemp("wire"))))
            return urls[0]

        yield url


@pytest.fixture(params=stores.kinds())
def open_store(
    request: pytest.FixtureRequest, tmp_path: Path, wire_url: Callable[[], str]
) -> Iterator[Callable[[], JobStore]]:
    opened: list[JobStore] = []
    with stores.opener(request.param, tmp_path, wire_url) as opener:

        def tracked() -> JobStore:
            opened.append(opener())
            return opened[-1]

        yield tracked
        for store in opened:
            store.close()


@pytest.fixture
def store(open_store: Callable[[], JobStore]) -> JobStore:
    return open_store()
