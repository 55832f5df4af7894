"""What a newcomer is told when something did not work: where it stands, and a command that can be copied."""

import pytest

from helpers.calling import call
from project.commands.follow import stuck
from project.engine.ui import SilentUi, ToldOnce
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


def test_the_own_machine_cannot_be_taken_out(folder):
    assert "this machine" in call("clusters", "rm", "local", code=2).err


def test_a_key_that_is_not_there_is_told_where_it_would_not_be_used(folder):
    assert "/nope cannot be read" in call("clusters", "test", "local", "--private-key", "/nope", code=2).err


def test_a_mistyped_cluster_is_blamed_on_the_option_that_named_it(folder):
    assert "--cluster: destination_cluster: There is no cluster called 'locl'" in (
        call("submit", "hello.yml", "--cluster", "locl", code=2).err
    )


def test_plan_shows_the_login_the_way_of_the_files_and_the_mail(folder):
    (folder / "far.yml").write_text("name: far\nhostname: 127.0.0.1\nport: 1\nworkload_manager: slurm\n")
    call("clusters", "import", "far.yml")
    words = ("--cluster", "far", "--set", "user_mail=jane@example.org", "--username", "jane", "--private-key", "/k")
    plan = call("plan", "hello.yml", *words, "--json").data
    assert plan["login"] == "jane, key /k"
    assert plan["transfer"] == "sent over the connection"
    assert plan["mail"].startswith("jane@example.org: QUEUED")
    cloned = call("plan", "hello.yml", "--set", "job=https://example.org/x.git", "--json").data
    assert (cloned["transfer"], cloned["login"]) == ("cloned there", "")


def test_a_partition_in_the_input_is_answered_with_the_option_for_it(folder):
    told = call("validate", "hello.yml", "--set", "partition=debug", code=2).err
    assert "scheduler_options: [--partition=NAME]" in told
    assert "compilation" not in told


def test_the_same_warning_comes_once():
    ui = SilentUi()
    told = set()
    for text in ("away", "away", "gone"):
        ToldOnce(ui, told).warn(text)
    assert ui.warnings == ["away", "gone"]


def test_watching_a_submission_that_was_cut_off_tells_how_to_go_on():
    job = {"job_uuid": "1f2e3d4c-0000-4000-8000-000000000000", "state": "BLOCKED", "plan": {"waits_for": "the user"}}
    assert "`python -m project resubmit --resume 1f2e3d4c`" in stuck(job, 0)
    assert stuck({**job, "plan": {"next": "2026-11-21T10:00:00Z"}}, 1000) == ""
    assert "resubmit --resume 1f2e3d4c" in stuck({**job, "state": "PENDING"}, 60)
    assert stuck({**job, "state": "PENDING"}, 1) == ""
    assert stuck({**job, "state": "QUEUED"}, 1000) == ""
