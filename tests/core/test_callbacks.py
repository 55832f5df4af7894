"""The callback's keys, and how a job is named to psik's receivers."""

import re

import pytest

from api_srv.services import checks
from project.core import callbacks, jobspec, states

SMALL = {"destination_cluster": "c", "job": "j", "execution": "true"}
UUID = "0a1b2c3d-0000-4000-8000-0123456789ab"


def keys(**more):
    return [problem.key for problem in jobspec.problems({**SMALL, **more})]


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/hook?a=b&token=x", "http://h", "HTTPS://H:8443/a", "http://[2001:db8::1]:80/x", "http://127.0.0.1:1/",
    ],
)  # fmt: skip
def test_addresses_that_can_be(url):
    assert keys(callback=url) == []


@pytest.mark.parametrize(
    "url",
    [
        "", "ftp://h/x", "h/x", "https://", "https:///x", "https://ann:geheim@h/x", "https://geheim@h/", "http://h:0/",
        "http://h:99999/", "http://h/a b", "http://h/a\nX: y", "http://h/\u00e9", "http://[::1", "http://h\\@i/geheim", 3, None, ["http://h"],
        "http://h/" + "a" * 2050,
    ],
)  # fmt: skip
def test_addresses_that_cannot_be(url):
    problems = jobspec.problems({**SMALL, "callback": url})
    assert [problem.key for problem in problems] == ["callback"]
    assert "geheim" not in repr(problems)


@pytest.mark.parametrize(
    "name",
    [
        "Host", "content-type", "Content-Length", "X-Hub-Signature-256", "x-hub-signature", "Transfer-Encoding", "connection",
        "proxy-authorization", "X-Jobferry-Delivery", "a b", "", "a:b", "\u00e4", "a\r\nb", "x" * 300,
    ],
)  # fmt: skip
def test_headers_that_are_not_to_be_set(name):
    problems = jobspec.problems({**SMALL, "cb_headers": {name: "geheim"}})
    assert len(problems) == 1 and problems[0].key.startswith("cb_headers")
    assert "geheim" not in repr(problems)


@pytest.mark.parametrize("value", ["a\r\nb: c", " a", "a ", "\u20ac", "a\x00", 3, None, ["a"]])
def test_values_that_no_header_can_have(value):
    problems = jobspec.problems({**SMALL, "cb_headers": {"x-a": value}})
    assert len(problems) == 1 and problems[0].key.startswith("cb_headers")


def test_headers_twice_or_too_many():
    assert keys(cb_headers={"X-a": "1", "x-A": "2"}) == ["cb_headers.x-A"]
    assert keys(cb_headers={f"x-{n}": "1" for n in range(33)}) == ["cb_headers"]
    assert keys(cb_headers={"authorization": "Bearer a.b-c", "x-empty": "", "X_y": "a b"}) == []
    assert keys(cb_headers="authorization: geheim") == ["cb_headers"]


def test_nobody_but_the_api_gets_them():
    given = {**SMALL, "callback": "https://h/x", "cb_secret": "s", "cb_headers": {"a": "b"}}
    assert jobspec.problems(given) == []
    assert jobspec.public(given) == SMALL
    assert checks.without_secrets(given) == SMALL
    assert checks.SECRETS == jobspec.SECRETS


def test_a_stamp_is_psiks_and_the_jobs_own():
    first = callbacks.stamp({"job_uuid": UUID, "created": "2026-11-21T10:00:00.123Z"})
    # psik/models.py (3.1): JobID
    assert re.fullmatch(r"[0-9]+(\.[0-9]+)?", first)
    assert int(float(first)) == 1795255200
    assert first.startswith("1795255200.123")
    other = callbacks.stamp({"job_uuid": UUID[:-1] + "c", "created": "2026-11-21T10:00:00.123Z"})
    assert other != first
    assert re.fullmatch(r"[0-9]+(\.[0-9]+)?", callbacks.stamp({"job_uuid": UUID, "created": "once"}))


def test_psiks_words_numbers_and_info():
    assert {state: callbacks.word(state) for state in states.STATES if callbacks.word(state)} == {
        "QUEUED": "queued", "PAUSED": "queued", "RUNNING": "active", "POSTPROCESSING": "active", "ARCHIVING": "active",
        "FINISHED": "completed", "FAILED": "failed", "CANCELLED": "canceled",
    }  # fmt: skip
    assert [callbacks.number({"run": run}) for run in (None, 0, 1, 7, "x")] == [1, 1, 1, 7, 1]
    assert callbacks.info({"state": "QUEUED", "native_id": "4711"}) == "4711"
    assert callbacks.info({"state": "RUNNING", "native_id": "12[].pbs"}) == "12"
    assert callbacks.info({"state": "QUEUED", "native_id": None}) == "0"
    assert callbacks.info({"state": "FAILED", "exit_code": 3, "native_id": "4711"}) == "3"
    assert callbacks.info({"state": "CANCELLED", "exit_code": None, "native_id": "4711"}) == "0"
