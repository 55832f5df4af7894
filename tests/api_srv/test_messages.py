"""What a mail says, for which events there is one, and that no text can break out of it."""

import re
import time
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api_srv.notify import messages, smtp
from api_srv.notify.messages import Mail, Notifier
from project.core import history

UUID = "1a2b3c4d-0000-4000-8000-000000000001"


def job(**fields: Any) -> dict[str, Any]:
    given_input = {"user_mail": "ann@example.org", "job": "hello.sh", **fields.pop("user_input", {})}
    fixed = {"owner": "ann", "cluster": "lemaitre3", "state": "SUBMITTING"}
    return history.new_document(UUID, given_input, **{**fixed, **fields})


def told(
    state: str | None = None, document: dict[str, Any] | None = None, kind: str = "state", **fields: Any
) -> list[Any]:
    before = document or job()
    event = history.make("agent", 1, kind, state=state, **fields)
    after, applied = history.fold(before, event)
    return Notifier("host.example", "https://jobs.example/jobs/{uuid}")(before, after, {**event, "applied": applied})


def travelled(row: dict[str, Any]) -> Any:
    mail = Mail(row["to"], row["subject"], row["text"], row["html"], row["message_id"], row["references"])
    return message_from_bytes(smtp.compose(mail, "jobferry@host.example").as_bytes(), policy=default)


@pytest.mark.parametrize("state", ["QUEUED", "RUNNING", "FINISHED", "FAILED", "CANCELLED", "BLOCKED"])
def test_each_change_worth_a_mail_is_told_in_lower_case(state):
    (row,) = told(state)
    assert row["to"] == "ann@example.org"
    assert row["subject"] == f"[jobferry] 1a2b3c4d: {state.lower()}"
    assert "lemaitre3" in row["text"] and "lemaitre3" in row["html"]
    assert "python -m project" in row["text"] and UUID in row["text"]
    assert f"https://jobs.example/jobs/{UUID}" in row["html"]


@pytest.mark.parametrize(
    "state", ["STAGING_INPUTS", "PREPROCESSING", "SUBMITTING", "POSTPROCESSING", "PAUSED", "AWAITING_PARENTS"]
)
def test_other_changes_are_not(state):
    assert told(state, job(state="PENDING")) == []


def test_a_change_that_is_none_is_not_told():
    assert told("RUNNING", job(state="RUNNING")) == []
    assert told("RUNNING", job(state="FINISHED")) == []


@pytest.mark.parametrize(
    ("notify", "expected"),
    [
        (["finished"], ["FINISHED"]),
        ("failed", ["FAILED"]),
        (["all"], ["QUEUED", "RUNNING", "FINISHED", "FAILED", "CANCELLED", "BLOCKED", "PAUSED"]),
        ("all", ["QUEUED", "RUNNING", "FINISHED", "FAILED", "CANCELLED", "BLOCKED", "PAUSED"]),
        ([[1], {}, "failed"], ["FAILED"]),
        ({"a": 1}, []),
        (["Paused", "queued"], ["QUEUED", "PAUSED"]),
        ([], []),
        (["none"], []),
    ],
)
def test_the_user_chooses(notify, expected):
    document = job(user_input={"notify": notify})
    states = ["QUEUED", "RUNNING", "FINISHED", "FAILED", "CANCELLED", "BLOCKED", "PAUSED"]
    assert [state for state in states if told(state, document)] == expected
    assert bool(told(None, document, kind="error", message="x")) == bool(expected)


def test_an_error_is_told_with_its_text_and_output():
    data = {"stderr": "line one\nline two\n", "command": "make all"}
    (row,) = told(None, kind="error", message="compilation failed", data=data)
    assert row["topic"] == "error" and row["subject"].endswith(": error")
    assert "compilation failed" in row["text"] and "| line two" in row["text"] and "make all" in row["text"]
    assert row["summary"] == "compilation failed"


def test_an_end_says_exit_code_times_and_the_last_lines_only():
    stderr = "\n".join(f"line {n}" for n in range(100))
    document = job(state="RUNNING", job_status={"Elapsed": ["00:08:20"], "NodeList": ["lm3-w080"]})
    (row,) = told(
        "FAILED", document, condition="exit_code", exit_code=7, message="line 2 failed", data={"stderr": stderr}
    )
    for part in ("00:08:20", "lm3-w080", "line 99", "why " + UUID, "logs " + UUID, "UTC"):
        assert part in row["text"]
    assert re.search(r"Exit code +7\n", row["text"])
    assert "line 60" not in row["text"]


def test_a_failure_tells_its_whole_text_and_hint():
    data = {
        "text": "compilation failed: gcc job.c\n" + "\n".join(f"said {n}" for n in range(9)),
        "hint": "Look at job.c.",
    }
    (row,) = told("FAILED", condition="compilation_failed", message="compilation failed: gcc job.c", data=data)
    assert "| said 8" in row["text"] and "Look at job.c." in row["text"] and "`compilation` failed" in row["text"]
    assert row["summary"].startswith("compilation failed: gcc job.c")


def test_a_blocked_job_says_what_it_waits_for():
    plan = {
        "cause": "ssh",
        "next": "2026-11-21T11:00:00Z",
        "tries": 2,
        "until": "2026-11-22T11:00:00Z",
        "waits_for": "ssh refused",
    }
    (row,) = told("BLOCKED", message="ssh refused", set={"plan": plan})
    assert re.search(r"Next try +2026-11-21 11:00:00 UTC\n", row["text"]) and re.search(
        r"Tries so far +2\n", row["text"]
    )


def test_an_array_is_tallied():
    document = job(state="RUNNING", user_input={"resources": {"nbr_jobs_in_array": 3}})
    document["job_status"] = {"State": ["COMPLETED", "FAILED", "COMPLETED"]}
    (row,) = told("FAILED", document)
    assert "3 elements: 2 completed, 1 failed" in row["text"]


def test_masi_tfe_native_states_are_told():
    (row,) = told(None, kind="native", data={"mail": True, "states": ["RUNNING", "PENDING", "RUNNING"]})
    assert row["subject"] == "[jobferry] 1a2b3c4d: pending, running"


def test_no_address_no_mail():
    document = history.new_document(UUID, {"job": "x"})
    assert told("QUEUED", document) == []


def test_message_ids_are_stable_and_well_formed():
    assert messages.message_id(UUID, "ab12", "host.example") == f"<{UUID}.ab12@host.example>"
    hostile = messages.message_id(UUID, "a>\r\nBcc: x@y", "ho st\n")
    assert re.fullmatch(r"<[A-Za-z0-9.-]+@jobferry\.invalid>", hostile)
    assert hostile == messages.message_id(UUID, "a>\r\nBcc: x@y", "ho st\n")


def test_secrets_are_hidden():
    document = job(user_input={"passphrase": "hunter22", "cb_secret": "cbcbcbcb"})
    text = (
        "failed: hunter22 cbcbcbcb https://ann:geheim@git.example/x.git Authorization: Bearer abcdefghijkl "
        "password=tops3cret\n-----BEGIN OPENSSH PRIVATE KEY-----\nAAAAB3\n-----END OPENSSH PRIVATE KEY-----"
    )
    (row,) = told(None, document, kind="error", message=text, data={"stderr": text})
    for secret in ("hunter22", "cbcbcbcb", "geheim", "abcdefghijkl", "tops3cret", "AAAAB3"):
        assert secret not in row["text"] + row["html"] + row["subject"] + row["summary"]
    assert "git.example" in row["text"]


@pytest.mark.parametrize("text", ["a" * 2_000_000, "://" * 600_000, "token" + " " * 2_000_000, "x://a" * 400_000])
def test_a_text_of_megabytes_holds_nobody_up(text):
    begin = time.monotonic()
    told(None, kind="error", message=text, data={"stderr": text, "hint": text, "module": text})
    assert time.monotonic() - begin < 20


HOSTILE = [
    'a"b <x@y.z>, other@example.org',
    "name\r\nBcc: victim@example.org\r\n\r\nbody",
    "naïve 名前 ⚙",
    "x\u2028Bcc: victim@example.org",
    "<script>alert(1)</script>",
    "\x1b[31mred\x00\u202e",
    "\ud800 lone",
    "=?utf-8?q?Bcc=3A?=",
    "x" * 5000,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_text(name):
    (row,) = told("FAILED", job(name=name), message=name, data={"stderr": name})
    mail = travelled(row)
    assert mail.keys() == HEADERS
    assert [str(address) for address in mail["To"].addresses] == ["ann@example.org"]
    assert "\n" not in mail["Subject"] and len(mail["Subject"]) < 200
    assert "failed" in mail["Subject"]
    assert "<script>" not in row["html"]


HEADERS = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]


@pytest.mark.parametrize(
    "address",
    [
        "ann@example.org\nBcc: b@example.org",
        "a@b.c, d@e.f",
        "Ann <a@b.c>",
        "no-at",
        "@x",
        "x@",
        "a b@c.d",
        '"a\r\n"@b.c',
        "a@b..c",
    ],
)
def test_a_hostile_address_is_refused(address):
    (row,) = told("QUEUED", job(user_input={"user_mail": address}))
    assert "\n" not in row["to"]
    with pytest.raises(smtp.RefusedMailError):
        travelled(row)


def test_a_domain_beyond_ascii_is_encoded():
    (row,) = told("QUEUED", job(user_input={"user_mail": "ann@bücher.example"}))
    assert travelled(row)["To"].addresses[0].domain == "xn--bcher-kva.example"


@settings(max_examples=60, deadline=None, derandomize=True)
@given(name=st.text(max_size=60), message=st.text(max_size=200), stderr=st.text(max_size=200))
def test_any_text_makes_a_mail_that_reads_back(name, message, stderr):
    (row,) = told("FAILED", job(name=name), message=message, data={"stderr": stderr})
    mail = travelled(row)
    assert mail.keys() == HEADERS
    text = mail.get_body(("plain",)).get_content().replace("\r\n", "\n")
    assert text.strip() == row["text"].strip()
    assert mail.get_body(("html",)).get_content_type() == "text/html"


def test_a_digest_says_how_many_and_keeps_the_first_id():
    rows = [told(None, kind="error", message=f"element {n} failed")[0] for n in range(1000)]
    mail = messages.digest(rows)
    assert mail.subject == "[jobferry] 1a2b3c4d: 1,000 errors"
    assert mail.message_id == rows[0]["message_id"]
    assert "element 0 failed" in mail.text and "element 999 failed" in mail.text and "960 more" in mail.text
    assert len(mail.text) < 10_000


def test_a_digest_over_jobs_names_them():
    rows = [told("FINISHED", job(name=f"job {n}"))[0] | {"job_uuid": f"u{n}"} for n in range(30)]
    mail = messages.digest(rows)
    assert mail.subject == "[jobferry] 30 jobs: 30 messages"
    assert "job 3: finished" in mail.text
