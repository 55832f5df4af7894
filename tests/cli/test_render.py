"""Documents and events as text: complete, at most 80 columns, and harmless whatever stands in them."""

import pytest

from project.core import schema, states
from project.core.history import make, new_document
from project.render import clusters, deliveries, findings, jobs, plan, why
from project.render.output import Output
from project.render.text import Palette

UUID = "1f2e3d4c-0000-4000-8000-00000000000"
HOSTILE = "x\x1b[2J\x1b]0;t\x07\n[red]\u202e"


@pytest.fixture(autouse=True)
def columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def output():
    return Output()


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(Output, "terminal", True)
    monkeypatch.setattr(Output, "palette", lambda *_args: Palette(enabled=True))
    return Output()


def document(number=1, **fields):
    return new_document(UUID + str(number), {"name": "demo", "output": ["r"]}, owner="me", cluster="alpha") | fields


def harmless(text):
    return not any((ord(c) < 32 and c != "\n") or 0x7F <= ord(c) < 0xA0 or c == "\u202e" for c in text)


def fits(text, columns=80):
    return all(len(line) <= columns for line in text.splitlines())


def test_the_list_has_whole_uuids_in_a_pipe_and_fits(output):
    rows = [document(n, state=state, name="long name " * 9) for n, state in enumerate(("RUNNING", "AWAITING_PARENTS"))]
    shown = jobs.listing(rows, output)
    assert fits(shown)
    assert UUID + "0  RUNNING" in shown
    assert shown.splitlines()[0].split() == ["JOB", "STATE", "CLUSTER", "NAME", "AGE"]


def test_the_list_has_short_uuids_and_the_reason_on_a_terminal(terminal):
    shown = jobs.listing([document(state="FAILED", condition="exit_code", exit_code=3)], terminal)
    assert "1f2e3d4c  \x1b[31mFAILED\x1b[0m" in shown
    assert UUID not in shown
    assert "exit code 3" in shown


def test_no_jobs_is_no_table(output):
    assert jobs.listing([], output) == ""


def test_hostile_texts_are_harmless_everywhere(output):
    whole = document(
        state="FAILED",
        condition="exit_code",
        message=HOSTILE,
        name=HOSTILE,
        cluster=HOSTILE,
        native_id=HOSTILE,
        job_directory=HOSTILE,
        tags={HOSTILE: HOSTILE},
        plan={HOSTILE: HOSTILE},
        job_status={"State": [HOSTILE, "COMPLETED"], "Reason": [HOSTILE]},
    )
    events = [
        make("agent", 1, "state", state="FAILED", condition="exit_code", message=HOSTILE),
        make("agent", 2, "command", data={"stage": HOSTILE, "command": HOSTILE, "exit_status": 1, "output": HOSTILE}),
        make("agent", 3, "module", data={"module": HOSTILE, "stderr": HOSTILE, "changed": [HOSTILE], "duration": 1.5}),
        make("agent", 4, "cluster", data={"chosen": HOSTILE, "rejected": [{"name": HOSTILE, "reason": HOSTILE}]}),
        make("agent", 5, "native", set={"native_id": HOSTILE}),
        make("agent", 6, "native", set={"job_status": {"State": [HOSTILE]}}),
        make("agent", 7, "note", message=HOSTILE),
    ]
    cluster = {"name": HOSTILE, "hostname": HOSTILE, "preferred_jobs": [HOSTILE], "status": {HOSTILE: HOSTILE}}
    finding = {"about": HOSTILE, "what": HOSTILE, "ok": False, "text": HOSTILE, "hint": HOSTILE}
    for shown in (
        jobs.listing([whole], output),
        jobs.page(whole, output),
        jobs.story(events, output),
        why.explain(why.facts(whole, [HOSTILE]), whole, output),
        why.explain(why.facts(whole | {"state": "QUEUED"}), whole, output),
        clusters.listing([cluster], output),
        clusters.page(cluster, output),
        clusters.probes([{"name": HOSTILE, "reachable": False, "reason": HOSTILE, "seconds": 1.0}], output),
        findings.page([finding], output),
        plan.page(
            {"cluster": HOSTILE, "files": [{"path": HOSTILE, "size": 3}], "script": HOSTILE, "x": [HOSTILE]}, output
        ),
    ):
        assert shown
        assert harmless(shown), shown


def test_a_long_line_of_the_script_stays_in_its_column_on_a_terminal_and_whole_in_a_pipe(output, monkeypatch):
    long = "export A='" + "0123456789 " * 12 + "'"
    found = {"script_lines": [{"text": long, "origin": "env.A"}, {"text": "true", "origin": "execution[0]"}]}
    assert f"  env.A        │ {long}\n" in plan.page(found, output)
    monkeypatch.setattr(Output, "terminal", True)
    shown = plan.page(found, output)
    assert fits(shown)
    rows = [line for line in shown.splitlines() if "│" in line or "┊" in line]
    assert [line[15] for line in rows] == ["│", "┊", "┊", "│"]
    assert "".join(line[17:].ljust(63) for line in rows[:3]).rstrip() == long


def test_a_callback_that_waits_for_the_one_before_says_so(output):
    told = {"delivery": "waiting", "jobndx": 1, "url": "https://example.org/x", "next": "2126-11-21T10:00:00Z"}
    failed = {"time": "2026-11-21T09:59:00Z", "ms": 4, "error": "the address is refused: " + "a reason, " * 9}
    shown = deliveries.listing(
        [told | {"state": "queued", "id": "a" * 32, "attempts": [failed]}, told | {"state": "active", "id": "b" * 32}],
        output,
    )
    assert shown.count("next try") == 1
    assert shown.splitlines()[-1].strip() == "sent after the one before"
    assert fits(shown)
    past = told | {"state": "queued", "id": "c" * 32, "next": "2026-01-01T10:00:00Z"}
    assert deliveries.listing([past], output).splitlines()[-1].strip() == "due now"


@pytest.mark.parametrize("state", states.STATES)
def test_every_state_has_a_meaning_and_advice(state, output):
    job = document(state=state)
    found = why.facts(job)
    assert found["meaning"]
    assert found["next"]
    assert "{" not in found["next"]
    assert fits(why.explain(found, job, output))


@pytest.mark.parametrize("condition", states.CONDITIONS)
def test_every_condition_has_a_cause_and_advice(condition):
    job = document(state="FAILED", condition=condition, native_id="42")
    found = why.facts(job)
    assert bool(found["cause"]) == (condition != "ok")
    assert "{" not in found["next"]
    assert "`" in found["next"]


def test_why_names_code_message_scheduler_stderr_and_the_next_command(output):
    failed = document(state="FAILED", condition="exit_code", exit_code=3, message="line 2 of execution failed")
    shown = why.explain(why.facts(failed, ["boom"]), failed, output)
    for piece in ("FAILED", "Exit code 3", "line 2 of execution failed", "| boom", "resubmit 1f2e3d4c"):
        assert piece in shown
    queued = document(state="QUEUED", job_status={"State": ["PENDING"], "Reason": ["Resources"]})
    assert "the machines it needs are busy (Resources)" in why.explain(why.facts(queued), queued, output)
    blocked = document(state="BLOCKED", plan={"waits_for": "alpha", "tries": 3, "every": "1m"})
    shown = why.explain(why.facts(blocked), blocked, output)
    assert "Waits for: alpha" in shown
    assert "Tried 3 times, every 1m." in shown


@pytest.mark.parametrize(
    ("native", "words"),
    [
        ("Priority", "jobs with a higher priority are before it (Priority)"),
        ("(Resources)", "the machines it needs are busy (Resources)"),
        ("ReqNodeNotAvail, UnavailableNodes:n1", "a machine it needs is down"),
        ("Nodes required for job are DOWN, DRAINED or reserved", "the machines it needs are down"),
        ("SomethingNew", "SomethingNew"),
        ("None", ""),
        ("", ""),
    ],
)
def test_a_schedulers_reason_in_plain_words(native, words):
    assert why.reason_in_words(native).startswith(words)
    assert bool(why.reason_in_words(native)) == bool(words)


def test_an_array_in_parts_is_one():
    parts = [{"native_id": "7", "offset": 0, "span": "0-1"}, {"native_id": "8", "offset": 2, "span": "0"}]
    status = {"JobID": ["7_0", "7_1", "8_0"], "State": ["COMPLETED", "FAILED", "RUNNING"]}
    job = document(job_status=status, native_id="7,8", parts=parts, user_input={"resources": {"array": "0-2,9"}})
    assert jobs.array(job) == [(0, "COMPLETED"), (1, "FAILED"), (2, "RUNNING"), (9, "?")]


def test_an_array_by_elements():
    status = {"JobID": ["7_0", "7_1", "7_2"], "State": ["COMPLETED", "FAILED", "CANCELLED by 1000"]}
    job = document(job_status=status, user_input={"resources": {"nbr_jobs_in_array": 4}})
    assert jobs.array(job) == [(0, "COMPLETED"), (1, "FAILED"), (2, "CANCELLED by 1000"), (3, "?")]
    assert jobs.failed_elements(job) == [1, 2]
    assert jobs.elements(job) == "1 COMPLETED, 1 FAILED, 1 CANCELLED by 1000"
    assert jobs.array(document(job_status={"JobID": ["7"], "State": ["COMPLETED"]})) == []


def test_history_tells_commands_modules_and_clusters(output):
    long = "\n".join(f"line {n}" for n in range(30))
    events = [
        make(
            "client",
            1,
            "cluster",
            data={"chosen": "beta", "reason": "best", "rejected": [{"name": "alpha", "reason": "no"}]},
        ),
        make(
            "agent",
            1,
            "command",
            data={"stage": "compilation", "command": "cc x.c", "exit_status": 1, "duration": 0.5, "output": long},
        ),
        make(
            "agent",
            2,
            "module",
            data={"stage": "preprocessing", "index": 1, "module": "e.py", "exit_status": 0, "changed": ["resources"]},
        ),
        make("agent", 3, "state", state="FAILED", condition="compilation_failed", message="cc x.c failed"),
    ]
    shown = jobs.story(events, output)
    for piece in (
        "cluster beta: best",
        "not alpha: no",
        "compilation: cc x.c (0.5 s), exit status 1",
        "| line 29",
        "(… 20 lines before)",
        "preprocessing module 1 e.py",
        "changed resources",
        "FAILED (compilation_failed): cc x.c failed",
    ):
        assert piece in shown
    assert "| line 3\n" not in shown
    assert fits(shown)


def test_a_page_has_the_facts(output):
    shown = jobs.page(document(state="RUNNING", native_id="42", job_directory="/home/me/x", tags={"a": "b"}), output)
    for piece in (UUID + "1", "RUNNING", "alpha", "42", "/home/me/x", "a=b"):
        assert piece in shown


def test_a_cluster_page_has_the_crontab_line_and_this_machine_has_none(output):
    cluster = {
        "name": "alpha",
        "hostname": "a.example",
        "port": 2222,
        "workload_manager": "slurm",
        "python": "/opt/my python",
    }
    shown = clusters.page(cluster, output)
    assert "a.example:2222" in shown
    line = shown.splitlines()[-1]
    assert line.strip() == clusters.crontab(cluster)
    assert "'/opt/my python'" in line
    assert line.endswith(" watch")
    assert all(len(line) <= 80 for line in clusters.page({**cluster, "python": ""}, output).splitlines())
    assert "%" not in line
    assert clusters.crontab({"name": "local", "hostname": "localhost", "workload_manager": "local"}) == ""


def test_the_columns_of_the_schemas_are_shown():
    known = set(schema.load("cluster")["properties"]) - {"_id", "name", "status"}
    from project.commands.clusters import FIELDS

    assert known <= set(FIELDS)
