"""What a newcomer is told when something did not work: where it stands, and a command that can be copied."""

import pytest

from helpers.calling import call
from project.render.output import in_full


def submit_failing(folder, name, text, code):
    (folder / f"{name}.yml").write_text(f"name: {name}\ndestination_cluster: local\njob: job.sh\n{text}")
    called = call("submit", f"{name}.yml", code=code)
    return call("ls", "-q", "--limit", "1").out.strip(), called


@pytest.fixture(scope="module")
def uncompiled(folder):
    return submit_failing(folder, "uncompiled", "compilation: 'echo no such header; exit 4'\nexecution: 'true'\n", 3)


def test_a_failed_submission_names_a_command_that_can_be_copied(uncompiled):
    uuid, called = uncompiled
    assert f"`python -m project why {uuid[:8]}`" in called.err


def test_why_shows_what_the_failed_command_printed(uncompiled):
    uuid, _ = uncompiled
    assert "What it printed:\n  | no such header" in call("why", uuid).out
    assert call("why", uuid, "--json").data["printed"] == ["no such header"]


def test_logs_of_a_job_that_was_never_submitted_say_so(uncompiled):
    uuid, _ = uncompiled
    told = call("logs", uuid).err
    assert "never submitted" in told
    assert f"`python -m project why {uuid[:8]}`" in told


def test_retrieve_of_a_living_job_says_that_it_may_still_come(folder, submit):
    uuid = submit("long", "--set", "output=later.txt")
    called = call("retrieve", uuid, "-o", "later", code=3)
    assert "is still " in called.err
    assert f"`python -m project watch {uuid[:8]}`" in called.err


def test_what_could_be_retrieved_is_listed_beside_what_could_not(folder, submit):
    uuid = submit("hello", "--set", "output=[result.txt, none.txt]", ended=True)
    called = call("retrieve", uuid, "-o", "partly", code=3)
    assert "result.txt  5 B  new" in called.err
    assert "none.txt: nothing of that name" in called.err
    (folder / "partly" / "result.txt").write_text("other")
    assert "--force" in call("retrieve", uuid, "-o", "partly", code=3).err


def test_commands_are_written_in_full_and_nothing_else_is():
    assert (
        in_full("`resubmit --resume 1f2e` or `logs`")
        == "`python -m project resubmit --resume 1f2e` or `python -m project logs`"
    )
    assert in_full("`ssh-add /k`, `python -m project why 1`") == "`ssh-add /k`, `python -m project why 1`"
