"""Nonsense to every endpoint: the answer is a refusal with the right status, never a 500, and the server goes on."""

import base64
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api_srv import app as app_module
from api_srv.endpoints import ENDPOINTS
from api_srv.notify.messages import Notifier
from api_srv.services.context import Services
from api_srv.settings import Settings
from api_srv.store.sqlite import SqliteStore
from helpers.served import PASSWORD, add_accounts
from project.core import history

HEADERS = {"Authorization": "Basic " + base64.b64encode(f"root:{PASSWORD}".encode()).decode()}
UUID = "503d3f77-a21b-4e52-86c4-eec0f0cd9c16"
INPUT = {"destination_cluster": "c", "job": "j", "execution": ["true"], "user_mail": "a@example.org"}
ALLOWED = {200, 201, 400, 401, 403, 404, 405, 409, 413, 415, 422}

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["RUNNING", "\ud800", "a\0b", "x" * 300, "$where", "a.b", UUID, "agent", "../..", "'; --", "é"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
KEYS = st.sampled_from(
    (
        *history.new_document("x", {}),
        *(
            "cluster",
            "status",
            "events",
            "message",
            "hostname",
            "workload_manager",
            "notify",
            "set",
            "kind",
            "source",
            "id",
        ),
        *("seq", "time", "data", "_id", "port", "", "$set", "a.b"),
    )
)
BODIES = st.dictionaries(KEYS, VALUES, max_size=6)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    home = str(tmp_path_factory.mktemp("home"))
    services = Services(SqliteStore.in_home(home), Notifier())
    add_accounts(services)
    services.store.create(history.new_document(UUID, dict(INPUT), owner="root"), "")
    app = app_module.create_app(Settings(home=home), services)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    yield app.test_client()
    services.store.close()


def check(answer: Any) -> None:
    assert answer.status_code in ALLOWED, (answer.status_code, answer.data)
    if answer.status_code >= 400:
        assert answer.content_type == "application/problem+json"
        body = json.loads(answer.data)
        assert body["status"] == answer.status_code
        assert body["error"]


WRITING = [endpoint for endpoint in ENDPOINTS if endpoint.body]
QUICK = settings(
    max_examples=25,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)


@pytest.mark.parametrize("endpoint", WRITING, ids=lambda one: f"{one.method} {one.path}")
@given(body=BODIES, fresh=st.booleans())
@QUICK
def test_bodies(client: Any, endpoint: Any, body: dict[str, Any], fresh: bool) -> None:
    path = endpoint.path.replace("{uuid}", str(uuid.uuid4()) if fresh else UUID).replace("{name}", "c1")
    if endpoint.body == "job" and fresh:
        body = {"user_input": dict(INPUT), **body}
    check(client.open(path, method=endpoint.method, data=json.dumps(body), headers=HEADERS))


@given(events=st.lists(st.dictionaries(KEYS, VALUES, max_size=6) | VALUES, max_size=3), good=st.booleans())
@QUICK
def test_events(client: Any, events: list[Any], good: bool) -> None:
    if good:
        events = [{**history.make("agent", 1, "note"), **one} if isinstance(one, dict) else one for one in events]
    check(client.post(f"/jobs/{UUID}/events", data=json.dumps({"events": events}), headers=HEADERS))


@given(raw=st.binary(max_size=40), kind=st.sampled_from(["application/json", "text/plain", "", "application/x+json"]))
@QUICK
def test_raw_bodies(client: Any, raw: bytes, kind: str) -> None:
    for path, method in (("/jobs", "POST"), (f"/jobs/{UUID}", "PUT"), ("/clusters", "PUT")):
        check(client.open(path, method=method, data=raw, headers={**HEADERS, "Content-Type": kind}))


@given(name=st.text(min_size=1, max_size=40) | st.sampled_from(["..", "%00", "a/b", "\ud7ff", UUID[:7], UUID.upper()]))
@QUICK
def test_names_in_the_address(client: Any, name: str) -> None:
    from urllib.parse import quote

    for endpoint in ENDPOINTS:
        if "{" in endpoint.path and endpoint.method == "GET":
            path = endpoint.path.replace("{uuid}", quote(name, safe="")).replace("{name}", quote(name, safe=""))
            answer = client.get(path, headers=HEADERS)
            # `..` and the like are taken out of an address before it gets here: another endpoint, or a redirect to it.
            if answer.status_code not in (301, 308):
                check(answer)


@given(
    query=st.dictionaries(
        st.sampled_from(["state", "selector", "cluster", "name", "owner", "limit", "cursor", "after", "force", "x"]),
        st.text(max_size=30) | st.sampled_from(["-1", "1e9", "²", "eyI=", "WyJhIiwiYiJd", "a=b,!c", "\0", "WzEsMl0"]),
        max_size=3,
    )
)
@QUICK
def test_queries(client: Any, query: dict[str, str]) -> None:
    for path in ("/jobs", f"/jobs/{UUID}/events", f"/jobs/{UUID}", "/clusters"):
        check(client.get(path, query_string=query, headers=HEADERS))


@given(value=st.text(max_size=40) | st.binary(max_size=40).map(lambda raw: base64.b64encode(raw).decode()))
@settings(QUICK, max_examples=15)
def test_credentials(client: Any, value: str) -> None:
    usable = "".join(character for character in value if 31 < ord(character) < 127)
    for scheme in ("Basic ", "Bearer ", "bearer job.", ""):
        # Every one from another address: guessing is slowed down.
        address = {"REMOTE_ADDR": str(uuid.uuid4())}
        headers = {"Authorization": scheme + usable}
        check(client.get("/clusters", headers=headers, environ_overrides=address))


def test_it_still_works(client: Any) -> None:
    assert client.get(f"/jobs/{UUID}", headers=HEADERS).status_code == 200
