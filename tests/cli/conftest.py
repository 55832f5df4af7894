"""A home of its own for a module of tests, with no settings of the machine."""

import os

import pytest

from helpers.calling import call, until
from helpers.processes import stop_retrier

INPUTS = {
    "hello": "execution: [echo hello, echo oops >&2, echo made > result.txt]\noutput: result.txt\ntags: {kind: good}\n",
    "bad": "execution: [echo first, 'echo boom >&2; exit 3']\noutput: none.txt\ntags: {kind: bad}\n",
    "array": (
        "execution:\n  - 'echo element $JOBFERRY_INDEX; echo err $JOBFERRY_INDEX >&2'\n"
        "  - test $JOBFERRY_INDEX -ne 1\nresources: {nbr_jobs_in_array: 3}\n"
    ),
    "long": "execution: ['echo started; sleep 600']\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with inputs, as the current one; jobs that live are cancelled at the end."""
    base = tmp_path_factory.mktemp("cli")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("JOBFERRY_", "XDG_")) or name == "NO_COLOR":
                patch.delenv(name)
        patch.setenv("HOME", str(base))
        patch.setenv("JOBFERRY_HOME", str(base / "data"))
        patch.setenv("COLUMNS", "80")
        work = base / "work"
        work.mkdir()
        (work / "job.sh").write_text("echo a job\n")
        for name, text in INPUTS.items():
            (work / f"{name}.yml").write_text(f"name: {name}\ndestination_cluster: local\njob: job.sh\n{text}")
        patch.chdir(work)
        yield work
        call("cancel", "--state", "LIVE", "--yes", code=None)
        stop_retrier(base / "data")


@pytest.fixture(scope="module")
def submit(folder):
    """Submits one of the inputs; its UUID."""

    def work(name, *words, ended=False):
        uuid = call("submit", f"{name}.yml", "-q", *words).out.strip()
        if ended:
            until(lambda: call("status", uuid, "--json").data["state"] in ("FINISHED", "FAILED"), f"{name} to end")
        return uuid

    return work
