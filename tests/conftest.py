"""Under CI nothing is left out: a test that was skipped, or was expected to fail, counts as failed.

What needs the testbed runs in one process, one test after the other: such tests stop parts of it.
"""

import os
from collections.abc import Generator
from typing import Any

import pytest

ON_THE_TESTBED = ("tests/e2e/", "tests/faults/")
STRICT = bool(os.environ.get("CI"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if STRICT and (report.skipped or hasattr(report, "wasxfail")):
        report.outcome = "failed"
        report.longrepr = f"left out under CI: {report.longrepr}"
        report.__dict__.pop("wasxfail", None)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, pytest.CollectReport]:
    report = yield
    if STRICT and report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = f"left out under CI: {report.longrepr}"
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """All of them are one scope; every other test is a scope of its own."""
    from xdist.scheduler import LoadScopeScheduling

    class OneOnTheTestbed(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "testbed" if nodeid.startswith(ON_THE_TESTBED) else nodeid

    return OneOnTheTestbed(config, log)


@pytest.fixture(scope="session", autouse=True)
def _no_process_goes_on(tmp_path_factory: pytest.TempPathFactory) -> Generator[None, None, None]:
    """The process that goes on with blocked submissions ends with the tests that left one."""
    yield
    from helpers.processes import stop_retrier

    base = tmp_path_factory.getbasetemp()
    for depth in range(1, 5):
        for lock in base.glob("*/" * depth + "retrier.lock"):
            stop_retrier(lock.parent)
