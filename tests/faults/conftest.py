"""The suite needs the testbed: both stores behind a server each."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.field import Field

from helpers.live import Bed, Server, serving

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: "list[pytest.Item]") -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="module", params=["sqlite", "mongo"])
def field(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    """One field per kind of store."""
    bed = Bed()
    folder = tmp_path_factory.mktemp(f"faults-{request.param}")
    env = {"JOBFERRY_SMTP_URL": bed.smtp_url}
    if request.param == "mongo":
        env |= {"JOBFERRY_MONGO_URL": bed.mongo_url, "JOBFERRY_MONGO_DB": f"faults{os.getpid()}"}
    for server in serving(Server(folder / "server", env)):
        yield Field(bed, server, folder, env)
