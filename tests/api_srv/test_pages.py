"""The web pages, without a browser: who sees what, that nothing breaks out of its text, forms, headers, negotiation."""

import datetime
import re
from pathlib import Path
from typing import Any

import pytest

from api_srv.pages import load, routes, shown, times
from api_srv.services import accounts, jobs, reports
from api_srv.services.context import Account
from helpers import page_data
from helpers.page_data import PASSWORD, uuid
from project.core import history

HTML = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
FINISHED, FAILED, RUNNING, HOSTILE, OF_BOB = uuid(0xA1), uuid(0xB2), uuid(0xC3), uuid(0x17), uuid(0x28)
NONSENSE: tuple[dict[str, Any], ...] = (
    {"kind": "cluster", "data": {"rejected": 5}},
    {"kind": "note", "time": "0001-01-01T00:00:00+14:00"},
    {"kind": "state", "state": "QUEUED", "time": "9999-12-31T23:59:59-14:00"},
    {"kind": "module", "data": {"changed": 5, "duration": 1e308, "exit_status": {}, "stderr": [1, {}], "index": []}},
    {"kind": "native", "set": {"job_status": {"State": [[], {}, None], "NodeList": [{}]}, "run": 10**18}},
    {"kind": "state", "state": "BLOCKED", "set": {"plan": {"tries": 1e300, "next": [], "cause": "<b>"}}},
)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Any:
    folder: Path = tmp_path_factory.mktemp("home")
    services = page_data.services_in(folder)
    page_data.fill(services)
    app = page_data.app_of(services, folder)
    yield app
    services.store.close()


def token(page: Any) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


def reader(site: Any, name: str = "ann") -> Any:
    """A client of its own that has signed in."""
    client = site.test_client()
    form = {"form_token": token(client.get("/sign-in")), "username": name, "password": PASSWORD}
    assert client.post("/sign-in", data=form).status_code == 303
    return client


def read(client: Any, path: str) -> Any:
    return client.get(path, headers=HTML)


def test_nothing_is_shown_before_signing_in(site):
    client = site.test_client()
    for path in ("/", "/clusters", "/mails", f"/jobs/{FINISHED}", "/jobs/nonsense"):
        answer = read(client, path)
        assert answer.status_code == 303 and answer.location.startswith("/sign-in"), path
    answer = client.post(f"/pages/jobs/{RUNNING}/cancel", data={"form_token": "x"})
    assert answer.status_code == 303 and answer.location == "/sign-in"


def test_signing_in_goes_on_to_the_page_that_was_wanted(site):
    client = site.test_client()
    page = read(client, read(client, f"/jobs/{FINISHED}").location)
    form = {"form_token": token(page), "username": "ann", "password": PASSWORD, "next": f"/jobs/{FINISHED}"}
    answer = client.post("/sign-in", data=form)
    assert answer.location == f"/jobs/{FINISHED}"
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Secure" not in cookie


def test_the_cookie_is_for_tls_only_behind_tls(site):
    client = site.test_client()
    answer = client.get("/sign-in", headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in answer.headers["Set-Cookie"]


def test_the_cookie_is_for_tls_only_at_a_public_address_with_tls(site, tmp_path):
    services = site.extensions["jobferry"][0]._replace(public_url="https://jobs.example")
    client = page_data.app_of(services, tmp_path).test_client()
    assert "Secure" in client.get("/sign-in", base_url="http://jobs.example").headers["Set-Cookie"]
    assert "Secure" not in client.get("/sign-in", base_url="http://127.0.0.1:7676").headers["Set-Cookie"]


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "javascript:x", "/a\nb", "//["]
)
def test_signing_in_never_leads_elsewhere(site, target):
    client = site.test_client()
    form = {"form_token": token(client.get("/sign-in")), "username": "ann", "password": PASSWORD, "next": target}
    assert client.post("/sign-in", data=form).location == "/"


def test_an_address_that_is_none_shows_the_form(site):
    for target in ("//[", "http://[", "/\\["):
        assert site.test_client().get("/sign-in", query_string={"next": target}).status_code == 200


def test_whatever_a_cluster_reports_the_page_is_shown(tmp_path):
    services = page_data.services_in(tmp_path)
    page_data.fill(services)
    client, ann = reader(page_data.app_of(services, tmp_path)), Account("ann")
    for number, fields in enumerate(NONSENSE):
        document = history.new_document(uuid(0x500 + number), {}, cluster="c", owner="ann")
        services.store.create(document, "")
        record = jobs.found(services, ann, document["job_uuid"])
        reports.report(services, ann, record, {"events": [{**history.make("agent", 1, "note"), **fields}]})
        assert read(client, f"/jobs/{document['job_uuid']}?history=all").status_code == 200, fields
    assert read(client, "/").status_code == 200
    services.store.close()


def test_wrong_credentials_are_refused_and_not_repeated(site):
    client = site.test_client()
    form = {"form_token": token(client.get("/sign-in")), "username": "ann", "password": "wrong one"}
    answer = client.post("/sign-in", data=form)
    assert answer.status_code == 401 and "wrong" in answer.text and "wrong one" not in answer.text
    assert read(client, "/").status_code == 303


def test_forms_of_other_sites_are_refused(site):
    client = reader(site)
    for path in (f"/pages/jobs/{RUNNING}/cancel", "/sign-out"):
        assert client.post(path, data={"form_token": "guessed"}).status_code == 403
        assert client.post(path).status_code == 403
    assert read(client, "/").status_code == 200
    stranger = site.test_client()
    assert stranger.post("/sign-in", data={"username": "ann", "password": PASSWORD}).status_code == 403


def test_signing_out_and_a_changed_password_end_the_session(site):
    client = reader(site, "bob")
    other = reader(site, "bob")
    client.post("/sign-out", data={"form_token": token(read(client, "/"))})
    assert read(client, "/").status_code == 303
    assert read(other, "/").status_code == 200
    accounts.set_password(site.extensions["jobferry"][0], "bob", PASSWORD)
    assert read(other, "/").status_code == 303


def test_an_owner_sees_their_own_an_administrator_all(site):
    mine = read(reader(site), "/").text
    assert FINISHED in mine and OF_BOB not in mine
    assert OF_BOB in read(reader(site, "root"), "/").text
    answer = read(reader(site), f"/jobs/{OF_BOB}")
    assert answer.status_code == 404 and "of bob" not in answer.text


def test_the_list_can_be_filtered_and_searched(site):
    client = reader(site)
    assert FAILED in read(client, "/?state=FAILED").text and FINISHED not in read(client, "/?state=FAILED").text
    assert RUNNING in read(client, "/?state=LIVE").text and FINISHED not in read(client, "/?state=LIVE").text
    by_tag = read(client, "/?search=project%3Dalpha").text
    assert FINISHED in by_tag and FAILED not in by_tag
    assert FAILED in read(client, "/?search=mesh+refinement").text
    assert read(client, f"/?search={FINISHED[:12]}").location == f"/jobs/{FINISHED}"
    assert "No job fits" in read(client, "/?search=nothing+of+the+kind").text
    for wrong in ("state=BOGUS", "cursor=x", "search=%3D%3D"):
        answer = read(client, "/?" + wrong)
        assert answer.status_code == 200 and 'role="alert"' in answer.text


def test_the_list_goes_on_page_by_page(site, monkeypatch):
    monkeypatch.setattr(routes, "PAGE", 5)
    client = reader(site)
    first = read(client, "/").text
    older = re.search(r'<a href="([^"]+)" rel="next"', first)
    second = read(client, "/" + older[1].replace("&amp;", "&")).text
    links = [set(re.findall(r'href="/jobs/([0-9a-f-]{36})"', page)) for page in (first, second)]
    assert [len(one) for one in links] == [5, 2] and not links[0] & links[1]
    assert 'rel="first"' in second and 'rel="next"' not in second


def test_a_job_is_shown_with_all_that_happened(site):
    page = read(reader(site), f"/jobs/{FINISHED}").text
    for part in (
        "turbulence sweep 12",
        "✓</span> finished",
        "67873032",
        "lm3-w080",
        "no answer within 3 s",
        "estimate.py",
        "estimated 4 GiB",
        "resources.duration: 1h → 2h",
    ):
        assert part in page
    for part in (
        "gcc -O2 -o job job.c",
        "unused variable",
        f"python -m project -r {FINISHED}",
        "[jobferry] turbulence sweep 12: finished",
    ):
        assert part in page
    assert "Cancel this job" not in page


def test_a_failed_array_shows_its_elements_and_what_came_too_late(site):
    page = read(reader(site), f"/jobs/{FAILED}").text
    for part in ("3 completed", "1 failed", "67873040_2", "MemoryError", "came too late", "✗</span> failed"):
        assert part in page


def test_undeliverable_mails_are_shown_to_owner_and_administrator(site):
    for name in ("ann", "root"):
        client = reader(site, name)
        assert "1 mail could not be delivered" in read(client, "/").text
        page = read(client, "/mails?state=undeliverable").text
        assert "550 no such user" in page and page.count("/jobs/") == 1
    assert "could not be delivered" not in read(reader(site, "bob"), "/").text
    assert "450 greylisted" in read(reader(site), "/mails?state=waiting").text
    assert read(reader(site), "/mails?state=x").status_code == 422


def test_a_job_is_cancelled_once_by_its_owner(site):
    client = reader(site)
    page = read(client, f"/jobs/{RUNNING}")
    for _ in range(2):
        answer = client.post(f"/pages/jobs/{RUNNING}/cancel", data={"form_token": token(page)})
        assert answer.status_code == 303 and answer.location == f"/jobs/{RUNNING}"
    page = read(client, f"/jobs/{RUNNING}")
    assert "Cancelling was asked for" in page.text and "ask-cancel" not in page.text
    assert page.text.count("ann asked to cancel") == 1
    assert client.post(f"/pages/jobs/{OF_BOB}/cancel", data={"form_token": token(page)}).status_code == 404


def test_callbacks_are_shown_and_sent_again_with_a_token_only(site):
    client, services = reader(site), site.extensions["jobferry"][0]
    page = read(client, f"/jobs/{FAILED}")
    section = page.text[page.text.index('id="callbacks"') :]
    for words in (
        "queued",
        "active",
        "failed",
        "undeliverable",
        "waiting",
        "the receiver answered 503",
        "answered 200",
    ):
        assert words in section
    assert "hooks.example" in section and "geheim" not in page.text and "<script>document" not in page.text
    assert section.count("Send again") == 2
    rows = services.store.outbox_rows(job_uuid=FAILED, kind="webhook")
    lost = next(row for row in rows if row["state"] == "undeliverable")
    target = f"/pages/jobs/{FAILED}/deliveries/{lost['id']}/replay"
    for form in ({}, {"form_token": "wrong"}):
        assert client.post(target, data=form).status_code in {400, 403}
    assert reader(site, "bob").post(target, data={"form_token": "x"}).status_code in {400, 403, 404}
    assert services.store.outbox_counts("webhook") == {"sent": 1, "undeliverable": 1, "waiting": 1}
    answer = client.post(target, data={"form_token": token(page)})
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/jobs/{FAILED}#callbacks")
    assert services.store.outbox_counts("webhook") == {"sent": 1, "waiting": 2}
    assert client.post(target, data={"form_token": token(page)}).status_code == 409
    assert "asked to send the callback “active” again" in read(client, f"/jobs/{FAILED}").text
    assert read(client, "/mails").text.count("hooks.example") == 0


def test_hostile_text_stays_text(site):
    client = reader(site)
    for path in ("/", f"/jobs/{HOSTILE}", "/mails"):
        page = read(client, path).text
        assert "<script>document" not in page and "&lt;script&gt;" in page and "\u202e" not in page


def test_pages_need_nothing_from_elsewhere_and_say_so(site):
    client = reader(site)
    for path in ("/", "/clusters", "/mails", f"/jobs/{FAILED}", "/jobs/12"):
        answer = read(client, path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.headers["Cache-Control"] == "no-store"
        assert not re.search(r"""(src|href|action)=["'](https?:)?//""", answer.text)
        assert " style=" not in answer.text and "<script>" not in answer.text
    for path in ("/static/pages.css", "/static/live.js", "/static/ferry.svg"):
        with client.get(path) as answer:
            assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("path", ["/jobs", f"/jobs/{FINISHED}", "/clusters"])
def test_programs_get_json_at_the_same_addresses(site, path):
    client = reader(site)
    for accept in ("*/*", "application/json", "application/json, text/html;q=0.5"):
        answer = client.get(path, headers={"Accept": accept})
        assert answer.status_code == 401 and answer.is_json and "Accept" in answer.headers["Vary"]
        answer = client.get(path, headers={"Accept": accept}, auth=("ann", PASSWORD))
        assert answer.status_code == 200 and answer.is_json
    assert client.get(path, headers=HTML, auth=("ann", PASSWORD)).is_json
    assert read(client, path).mimetype == "text/html"


def test_clusters_show_their_load_and_when_they_were_heard(site):
    page = read(reader(site), "/clusters").text
    for part in (
        "<b>311</b> of 1920 free",
        "<b>2.1 TiB</b> of 7.5 TiB free",
        "214</b> running",
        "2 nodes down",
        "Last heard",
        "Not heard from yet",
        "1204</b> waiting",
    ):
        assert part in page


def test_a_status_of_another_form_is_shown_as_it_is():
    made = load.cluster(
        {"name": "x", "status": {"load": "high", "nodes": "many", "list": [1]}, "heard": "2026-01-01T00:00:00.000Z"}
    )
    assert made["other"] == [("load", "high")] and made["meters"] == []


@pytest.mark.parametrize(
    "document",
    [
        {"job_status": None, "user_input": None, "tags": None, "plan": "soon"},
        {"job_status": {"State": "RUNNING"}, "exit_code": None, "name": None},
        {"job_status": {"State": ["A", "B"], "ExitCode": ["0:0"]}, "created": "yesterday"},
    ],
)
def test_odd_documents_can_be_shown(document):
    whole = {"job_uuid": FINISHED, "state": "RUNNING", "created": "2026-01-01T00:00:00.000Z", **document}
    events = [
        {"kind": "native", "set": None},
        {"kind": "module", "data": {"changed": {"a": 1}}},
        {"kind": "state", "state": "RUNNING", "time": "x"},
    ]
    made = shown.whole(whole, events)
    assert made["live"] and len(made["lines"]) == 3


def test_times_as_people_read_them():
    now = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.timezone.utc)
    said = [
        times.ago(stamp, now)
        for stamp in (
            "2026-01-31T11:59:58Z",
            "2026-01-31T11:59:00Z",
            "2026-01-31T09:00:00Z",
            "2026-01-29T12:00:00Z",
            "2025-01-01T00:00:00Z",
            "soon",
        )
    ]
    assert said == ["just now", "1 minute ago", "3 hours ago", "2 days ago", "2025-01-01", "soon"]
    assert [times.duration(one) for one in (0.04, 12, 200, 7500, 100_000, None, -1)] == [
        "0.0 s",
        "12 s",
        "3 min 20 s",
        "2 h 5 min",
        "1 d 3 h",
        "",
        "",
    ]
    assert times.moment("2026-01-31T11:59:58.123Z") == "2026-01-31 11:59:58 UTC"
