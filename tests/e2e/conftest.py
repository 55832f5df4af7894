"""Fixtures on the real testbed (tests/testbed). Everything here is marked e2e."""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.live import Bed, Cli, Server, serving
from helpers.processes import stop_retrier

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: "list[pytest.Item]") -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def testbed() -> Bed:
    return Bed()


@pytest.fixture(scope="session")
def server(testbed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An API server that clusters reach, with its mail going to the sink."""
    folder = tmp_path_factory.mktemp("server")
    yield from serving(Server(folder, {"JOBFERRY_SMTP_URL": testbed.smtp_url}))


@pytest.fixture(scope="session")
def cli(testbed: Bed, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """The command line of a user of the API server, who has imported the inventory."""
    cli = Cli(tmp_path_factory.mktemp("user"), testbed.folder / "known_hosts", server.client_env)
    cli.run("clusters", "import", testbed.clusters)
    return cli


@pytest.fixture
def alone(testbed: Bed, tmp_path: Path) -> Iterator[Cli]:
    """The command line of somebody without an API server: the embedded default."""
    cli = Cli(tmp_path / "alone", testbed.folder / "known_hosts")
    cli.run("clusters", "import", testbed.clusters)
    yield cli
    stop_retrier(cli.folder / "data")


@pytest.fixture
def mail(request: pytest.FixtureRequest) -> str:
    """A mail address that only this test uses."""
    # Tests of two files may have one name, and the sink keeps the mails of both; RFC 5321, 4.5.3.1.1: 64 characters.
    mark = zlib.crc32(request.node.nodeid.encode())
    return f"{request.node.originalname[:40]}.{mark}.{os.getpid()}@example.org".lower()
