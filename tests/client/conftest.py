"""Clients on homes of their own with the built-in cluster: in process, and over HTTP with a real server."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.live import Server, serving
from helpers.processes import end_of_home
from project import Client

KINDS = ("embedded", "http")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The settings are those that the tests give."""
    base = tmp_path_factory.mktemp("user")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("JOBFERRY_", "XDG_", "PSIK_")):
                patch.delenv(name)
        patch.setenv("HOME", str(base))
        patch.setenv("JOBFERRY_HOME", str(base / "data"))
        yield
    end_of_home(base)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from serving(Server(tmp_path_factory.mktemp("server"), {}))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home of its own; what still runs in it is ended."""
    yield tmp_path / "home"
    end_of_home(tmp_path)


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, home: Path) -> Iterator[Client]:
    """A client of the embedded API, and one of a server."""
    how = {}
    if request.param == "http":
        server = request.getfixturevalue("server")
        how = {"api_url": server.url, "user": server.user, "password": server.password}
    with Client(home=home, **how) as made:
        yield made


@pytest.fixture
def alone(home: Path) -> Iterator[Client]:
    """A client of the embedded API."""
    with Client(home=home) as made:
        yield made
