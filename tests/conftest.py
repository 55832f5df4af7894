"""Under CI nothing is left out: a test that was skipped, or was expected to fail, counts as failed."""

import os
from collections.abc import Generator
from typing import Any

import pytest

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
