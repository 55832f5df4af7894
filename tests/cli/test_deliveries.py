"""The verb `deliveries`, on a real job of this machine with the embedded default, and a real receiver."""

import pytest

from helpers.calling import Terminal, call, until
from helpers.receiver import receiving

SECRET = "sehr geheim"


@pytest.fixture
def told(folder, submit, monkeypatch):
    """A finished job whose receiver did not take the first message, and that receiver."""
    monkeypatch.setenv("JOBFERRY_ALLOW_PRIVATE_WEBHOOKS", "1")
    with receiving() as receiver:
        text = (folder / "hello.yml").read_text()
        callback = (
            f"callback: {receiver.url('/hook?token=abc')}\ncb_secret: {SECRET}\ncb_headers: {{x-mine: kennwort}}\n"
        )
        (folder / "told.yml").write_text(text + callback)
        yield submit("told", ended=True), receiver


def test_a_jobs_callbacks_are_sent_listed_and_sent_again(folder, told):
    uuid, receiver = told
    until(lambda: call("status", uuid, "--json") and receiver.got and receiver.got[-1].json["state"] == "completed")
    words = [one.json["state"] for one in receiver.got]
    assert words == sorted(set(words), key=["queued", "active", "completed"].index) and words[-1] == "completed"
    assert all(one.signed_with(SECRET) and one.headers["x-mine"] == "kennwort" for one in receiver.got)
    document = call("status", uuid, "--json").data
    assert document["callback"] == receiver.url("/hook?token=abc")
    shown = call("deliveries", uuid[:8])
    assert "completed (run 1)" in shown.out and "answered 204" in shown.out and "token=abc" not in shown.out
    found = call("deliveries", uuid, "--json").data["deliveries"]
    assert [one["delivery"] for one in found] == ["sent"] * len(words)
    assert "Nothing is undeliverable." in call("deliveries", uuid, "--replay", "all").err
    count = len(receiver.got)
    again = call("deliveries", uuid, "--replay", found[-1]["id"][:8], "--json").data
    assert again["replayed"] == [found[-1]["id"]]
    assert len(receiver.wait(count + 1)) == count + 1
    assert receiver.got[-1].body == receiver.got[count - 1].body
    for wrong in ("abc", "ffffffff"):
        assert "deliver" in call("deliveries", uuid, "--replay", wrong, code=2).err
    # Neither the job's folder nor the home has the secret or a header's value.
    for path in [path for path in (folder.parent / "data").rglob("*") if path.is_file()]:
        raw = path.read_bytes()
        assert SECRET.encode() not in raw and b"kennwort" not in raw, path
    events = call("history", uuid).out
    assert SECRET not in events and "asked to send the callback" in events


def test_a_callback_that_failed_is_one_warning_that_fits_the_terminal(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("JOBFERRY_ALLOW_PRIVATE_WEBHOOKS", "1")
    # It waits to be sent again for days: in no home that others use.
    monkeypatch.setenv("JOBFERRY_HOME", str(tmp_path))
    with receiving(lambda handler: handler.say(503)) as receiver:
        text = f"destination_cluster: local\nscript: 'true'\ncallback: {receiver.url('/hook')}\n"
        (folder / "failing.yml").write_text(text)
        screen = Terminal("submit", "failing.yml", "--wait").end()
    assert "warning: The callback " in screen and "failed: the receiver answered 503" in " ".join(screen.split())
    assert all(len(line.split("\r")[-1].rstrip()) <= 80 for line in screen.split("\n"))


def test_a_job_without_one_says_so(submit):
    uuid = submit("hello")
    assert "no callback" in call("deliveries", uuid).err


def test_an_address_of_this_machine_is_refused_before_anything_is_sent(folder):
    text = (folder / "hello.yml").read_text()
    (folder / "loop.yml").write_text(text + "callback: http://127.0.0.1:9/x\n")
    before = len(call("ls", "--json").data["jobs"])
    refused = call("submit", "loop.yml", code=None)
    assert refused.code != 0 and "callback" in refused.err and "loopback" in refused.err
    assert len(call("ls", "--json").data["jobs"]) == before


def test_a_plan_says_who_would_be_told_and_no_secret(folder):
    words = ("--set", "callback=https://hooks.example/kennwort", "--set", f"cb_secret={SECRET}", "--json")
    plan = call("plan", "hello.yml", *words)
    assert plan.data["callback"] == "https://hooks.example, signed"
    assert SECRET not in plan.out and "kennwort" not in plan.out
    assert call("plan", "hello.yml", "--json").data["callback"] == "nobody (no callback)"


def test_an_address_that_the_server_refuses_is_the_users_to_correct(folder):
    """Exit code 2: nothing was sent, and there is no record of a job."""
    text = "destination_cluster: local\nscript: 'true'\ncallback: http://127.0.0.1:9/hook\n"
    (folder / "refused.yml").write_text(text)
    before = call("ls", "-q").out
    ran = call("submit", "refused.yml", code=2)
    assert "refused.yml:3:11: callback: its host is a loopback address" in ran.err
    assert "JOBFERRY_ALLOW_PRIVATE_WEBHOOKS=1" in ran.err
    assert "warning" not in ran.err, "nothing is noted about a job that was not recorded"
    assert "Traceback" not in ran.err and "There is no job" not in ran.err
    assert call("ls", "-q").out == before
