"""MASI-TFE's endpoints, bodies and answers, as its own client programs use them."""

import base64
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api_srv import app as app_module
from api_srv.notify.messages import Notifier
from api_srv.services.context import Services
from api_srv.settings import Settings
from api_srv.store.base import StoreError
from api_srv.store.sqlite import SqliteStore
from helpers.served import PASSWORD, add_accounts
from project.core import history

CLUSTER = {
    "name": "lemaitre3",
    "hostname": "lemaitre3.cism.ucl.ac.be",
    "port": 22,
    "workload_manager": "slurm",
    "preferred_jobs": ["mpi"],
    "partition": "batch",
}
# The document in MASI-TFE's README, as its program posts it: no state, no name, no owner.
DOCUMENT = {
    "job_uuid": "503d3f77-a21b-4e52-86c4-eec0f0cd9c16",
    "user_input": {
        "username": "glongree",
        "requirements": ["chmod +x job"],
        "user_mail": "gaetanlongree@gmail.com",
        "job": "https://github.com/GaetanLongree/test.git",
        "destination_cluster": "lemaitre3",
        "kwargs": {"key1": "value1"},
        "output": ["result.txt"],
        "execution": ["srun ./job"],
        "resources": {"duration": "10m", "memory_per_thread": "100M"},
    },
    "destination_cluster": CLUSTER,
    "modules": None,
    "online_job_file": True,
    "tar_file": None,
    "job_directory": "/home/users/g/l/glongree/503d3f77-a21b-4e52-86c4-eec0f0cd9c16/",
}


class Caller:
    """One account's calls against the app."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._headers = {"Authorization": "Basic " + base64.b64encode(f"{name}:{PASSWORD}".encode()).decode()}

    def __call__(self, method: str, path: str, body: Any = None, **extra: Any) -> tuple[int, Any]:
        # As requests.put(data=json.dumps(…)) does: no Content-Type.
        data = None if body is None else json.dumps(body)
        answer = self._client.open(path, method=method, data=data, headers=self._headers, **extra)
        return answer.status_code, answer.get_json(force=True)


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    services = Services(SqliteStore.in_home(str(tmp_path)), Notifier())
    add_accounts(services)
    yield services
    services.store.close()


@pytest.fixture
def client(services: Services, tmp_path: Path) -> Any:
    return app_module.create_app(Settings(home=str(tmp_path)), services).test_client()


@pytest.fixture
def call(client: Any) -> Caller:
    return Caller(client, "root")


def test_the_whole_life_of_a_job(call: Caller, services: Services) -> None:
    job = "/jobs/" + str(DOCUMENT["job_uuid"])
    services.store.put_cluster("", CLUSTER)
    status, clusters = call("GET", "/clusters")
    assert status == 200
    (found,) = clusters["result"].values()
    assert {key: found[key] for key in CLUSTER} == CLUSTER
    assert found["status"] == {}

    status, answer = call("POST", job, DOCUMENT)
    assert (status, answer["job_uuid"]) == (200, DOCUMENT["job_uuid"])
    assert call("GET", job + "/state") == (200, {"result": ["NOT_SUBMITTED"]})

    body = {"cluster": "lemaitre3.cism.ucl.ac.be", "status": {"nodes": {"lm3-w080": {"State": "IDLE"}}}}
    assert call("PUT", "/clusters", body) == (200, {"success": True})
    assert call("PUT", "/clusters", {**body, "cluster": "lemaitre3"}) == (200, {"success": True})
    assert call("PUT", "/clusters", {"cluster": "lemaitre3", "status": {"x": "y" * 2_000_000}})[0] == 413

    for word in ("PENDING", "RUNNING", "COMPLETED"):
        assert call("PUT", job, {"job_status": {"State": [word]}}) == (200, {"success": True})
        assert call("PUT", job + "/state", {"state": word}) == (200, {"success": True})
        assert call("GET", job + "/state") == (200, {"result": [word]})
    assert call("PUT", job + "/notify", {"message": "module test.c failed"}) == (200, {"success": True})

    status, answer = call("GET", job)
    assert status == 200
    kept = answer["result"][DOCUMENT["job_uuid"]]
    assert {key: kept[key] for key in DOCUMENT} == DOCUMENT
    assert (kept["state"], kept["cluster"], kept["job_status"]) == ("FINISHED", "lemaitre3", {"State": ["COMPLETED"]})
    mails = services.store.outbox_rows()
    assert [mail["subject"].rpartition(": ")[2] for mail in mails] == ["queued", "running", "finished", "error"]
    assert "module test.c failed" in mails[-1]["text"]
    assert {mail["to"] for mail in mails} == {"gaetanlongree@gmail.com"}


def test_states_of_an_array_are_one_mail(call: Caller, services: Services) -> None:
    uuid = str(DOCUMENT["job_uuid"])
    call("POST", "/jobs/" + uuid, DOCUMENT)
    call("PUT", f"/jobs/{uuid}/state", {"state": ["RUNNING"] * 400 + ["COMPLETED"] * 600})
    (mail,) = services.store.outbox_rows()
    assert mail["subject"].endswith(": running")
    call("PUT", f"/jobs/{uuid}/state", {"state": ["RUNNING"] * 399 + ["COMPLETED"] * 601})
    assert len(services.store.outbox_rows()) == 2
    assert call("GET", "/jobs/" + uuid)[1]["result"][uuid]["state"] == "RUNNING"


@pytest.mark.parametrize(
    ("words", "state", "condition"),
    [
        ("FAILED", "FAILED", "exit_code"),
        (["COMPLETED", "TIMEOUT"], "FAILED", "timeout"),
        ("OUT_OF_ME+", "FAILED", "out_of_memory"),
        (["CANCELLED by 1000", "COMPLETED"], "CANCELLED", "cancelled_by_scheduler"),
        (["PENDING", "COMPLETED"], "RUNNING", None),
        ("COMPLETING", "RUNNING", None),
        ("COMPLETED", "PENDING", None),
    ],
)
def test_native_words_and_what_they_mean(call: Caller, words: Any, state: str, condition: str | None) -> None:
    uuid = str(DOCUMENT["job_uuid"])
    call("POST", "/jobs/" + uuid, DOCUMENT)
    assert call("PUT", f"/jobs/{uuid}/state", {"state": words}) == (200, {"success": True})
    kept = call("GET", "/jobs/" + uuid)[1]["result"][uuid]
    assert (kept["state"], kept["condition"]) == (state, condition)


def test_a_database_that_is_away_is_503_everywhere(
    client: Any, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Any:
        raise StoreError("The database is away.")

    for method in ("account", "jobs", "ping"):
        monkeypatch.setattr(services.store, method, away)
    call = Caller(client, "ann")
    for path in ("/jobs", "/healthz"):
        status, answer = call("GET", path)
        assert (status, answer["error"]) == (503, "The database is away.")


def test_an_unknown_native_word_is_mailed_and_changes_nothing(call: Caller, services: Services) -> None:
    uuid = str(DOCUMENT["job_uuid"])
    call("POST", "/jobs/" + uuid, DOCUMENT)
    assert call("PUT", f"/jobs/{uuid}/state", {"state": "WIBBLING"}) == (200, {"success": True})
    (mail,) = services.store.outbox_rows()
    assert mail["subject"].endswith(": wibbling")
    assert call("GET", "/jobs/" + uuid)[1]["result"][uuid]["state"] == "PENDING"


def test_bad_bodies_name_the_key(call: Caller) -> None:
    uuid = str(DOCUMENT["job_uuid"])
    call("POST", "/jobs/" + uuid, DOCUMENT)
    for path, body, key in (
        (f"/jobs/{uuid}/state", {}, "state"),
        (f"/jobs/{uuid}/state", {"state": []}, "state"),
        (f"/jobs/{uuid}/state", {"state": [1]}, "state"),
        (f"/jobs/{uuid}/notify", {"message": ""}, "message"),
        (f"/jobs/{uuid}/notify", {"message": {}}, "message"),
        ("/clusters", {"status": {}}, "cluster"),
        ("/clusters", {"cluster": "x", "status": []}, "status"),
    ):
        status, answer = call("PUT", path, body)
        assert (status, answer["key"]) == (422, key)
    for body, key in (
        ({"name": "myJob", "appId": "myApp", "appVersion": "1.0"}, "appId"),
        ({"name": "x"}, "user_input"),
        ({"user_input": None}, "user_input"),
        ({"user_input": DOCUMENT["user_input"], "tags": {"a=b": "c"}}, 'tags["a=b"]'),
    ):
        status, answer = call("POST", "/jobs", body)
        assert (status, answer["key"]) == (422, key)


def test_a_job_of_its_own_user_reports_the_load_of_its_cluster(client: Any, services: Services) -> None:
    services.store.put_cluster("", CLUSTER)
    ann = Caller(client, "ann")
    body = {"cluster": "lemaitre3", "status": {"idle_nodes": 1}}
    assert ann("PUT", "/clusters", body)[0] == 403
    assert ann("POST", "/jobs/" + str(DOCUMENT["job_uuid"]), DOCUMENT)[0] == 200
    assert ann("PUT", "/clusters", body) == (200, {"success": True})


def test_the_answers_to_everything_unusual_are_problems(client: Any, call: Caller) -> None:
    uuid = str(DOCUMENT["job_uuid"])
    for status, answer in (
        (401, client.get("/jobs")),
        (401, client.get("/jobs", headers={"Authorization": "Basic !!"})),
        (401, client.get("/jobs", headers={"Authorization": "Bearer job.x.y"})),
        (401, client.get("/jobs", headers={"Authorization": "Negotiate abc"})),
        (404, client.get("/nothing")),
        (405, client.patch("/healthz")),
    ):
        assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
        assert answer.get_json(force=True)["error"]
    assert call("POST", "/jobs/" + uuid, None, content_type="text/plain")[0] == 415
    assert call("PUT", "/clusters", [1])[0] == 422
    headers = call._headers
    for raw, status in ((b"{", 400), (b"\xff", 400), (b"", 400), (b'{"a": NaN}', 400), (b"[" * 100000, 400)):
        answer = client.put("/clusters", data=raw, headers=headers)
        assert (answer.status_code, answer.get_json(force=True)["status"]) == (status, status)
    deep = b'{"a":' * 60 + b"1" + b"}" * 60
    for raw in (deep, b'{"a": 99999999999999999999}', b'{"a": 1e999}', b"3"):
        assert client.put("/clusters", data=raw, headers=headers).status_code == 422
    big = client.put("/clusters", data=b"x" * (9 * 1024 * 1024), headers=headers)
    assert big.status_code == 413
    assert client.get("/healthz").status_code == 200
    assert client.get("/clusters/", headers=headers).status_code == 200


def test_half_characters_are_replaced(call: Caller) -> None:
    uuid = str(DOCUMENT["job_uuid"])
    call("POST", "/jobs/" + uuid, {**DOCUMENT, "job_directory": "/a\udcff", "own\ud800": "x"})
    kept = call("GET", "/jobs/" + uuid)[1]["result"][uuid]
    assert kept["job_directory"] == "/a\ufffd"
    assert kept["own\ufffd"] == "x"


def test_owners_see_their_own(client: Any, services: Services) -> None:
    root, ann, bob = (Caller(client, name) for name in ("root", "ann", "bob"))
    uuid = str(DOCUMENT["job_uuid"])
    assert ann("POST", "/jobs/" + uuid, DOCUMENT)[0] == 200
    event = history.make("agent", 1, "note")
    assert bob("GET", "/jobs/" + uuid)[0] == 404
    assert bob("GET", "/jobs/" + uuid[:8])[0] == 404
    assert bob("PUT", "/jobs/" + uuid, {"name": "mine"})[0] == 404
    assert bob("POST", f"/jobs/{uuid}/events", {"events": [event]})[0] == 404
    assert bob("POST", f"/jobs/{uuid}/cancel", {})[0] == 404
    assert bob("POST", f"/jobs/{uuid}/token", {})[0] == 404
    assert bob("DELETE", f"/jobs/{uuid}?force=1")[0] == 404
    assert bob("GET", "/jobs")[1]["jobs"] == []
    assert bob("GET", "/jobs?owner=ann")[0] == 422
    assert bob("POST", "/jobs/" + uuid, DOCUMENT)[0] == 409
    assert len(ann("GET", "/jobs")[1]["jobs"]) == 1
    assert len(root("GET", "/jobs?owner=ann")[1]["jobs"]) == 1
    assert root("GET", "/jobs?owner=bob")[1]["jobs"] == []
    assert root("DELETE", f"/jobs/{uuid}?force=1")[0] == 200


def test_own_clusters_and_shared_ones(client: Any) -> None:
    root, ann, bob = (Caller(client, name) for name in ("root", "ann", "bob"))
    own = {**CLUSTER, "name": "mine"}
    assert root("PUT", "/clusters/lemaitre3", CLUSTER)[0] == 200
    assert ann("PUT", "/clusters/lemaitre3", {**CLUSTER, "hostname": "evil"})[0] == 403
    assert ann("DELETE", "/clusters/lemaitre3")[0] == 403
    assert ann("PUT", "/clusters/mine", own)[0] == 200
    assert ann("PUT", "/clusters/other", own)[0] == 422
    assert sorted(ann("GET", "/clusters")[1]["result"]) == ["lemaitre3", "mine"]
    assert sorted(bob("GET", "/clusters")[1]["result"]) == ["lemaitre3"]
    assert bob("GET", "/clusters/mine")[0] == 404
    assert bob("PUT", "/clusters", {"cluster": "mine", "status": {}})[0] == 404
    # A shared one that comes later hides the own one of the same name, and never the other way round.
    assert root("PUT", "/clusters/mine", {**own, "hostname": "shared"})[0] == 200
    assert ann("GET", "/clusters/mine")[1]["result"]["mine"]["hostname"] == "shared"
    assert ann("PUT", "/clusters/mine", own)[0] == 403


def token_headers(call: Caller, uuid: str) -> dict[str, str]:
    status, answer = call("POST", "/jobs/" + uuid, {**DOCUMENT, "job_uuid": uuid})
    assert status == 200
    return {"Authorization": "Bearer " + answer["token"]}


def test_a_jobs_token_reports_on_its_job_only(client: Any, services: Services) -> None:
    ann = Caller(client, "ann")
    services.store.put_cluster("", CLUSTER)
    services.store.put_cluster("", {**CLUSTER, "name": "other", "hostname": "other"})
    mine, other = str(uuid.uuid4()), str(uuid.uuid4())
    headers = token_headers(ann, mine)
    token_headers(ann, other)

    def status(method: str, path: str, body: Any = None) -> int:
        return int(client.open(path, method=method, json=body, headers=headers).status_code)

    event = history.make("agent", 1, "state", state="QUEUED")
    assert status("POST", f"/jobs/{mine}/events", {"events": [event], "status": {"idle_nodes": 2}}) == 200
    assert status("GET", f"/jobs/{mine}") == 200
    assert status("PUT", f"/jobs/{mine}", {"native_id": "1", "state": "RUNNING"}) == 200
    assert status("PUT", "/clusters", {"cluster": "lemaitre3", "status": {}}) == 200
    for method, path, body in (
        ("POST", f"/jobs/{other}/events", {"events": [event]}),
        ("GET", f"/jobs/{other}", None),
        ("PUT", f"/jobs/{other}", {"native_id": "1"}),
        ("GET", "/jobs", None),
        ("GET", "/clusters", None),
        ("PUT", "/clusters", {"cluster": "other", "status": {}}),
        ("PUT", "/clusters/lemaitre3", CLUSTER),
        ("POST", "/jobs/" + str(uuid.uuid4()), DOCUMENT),
        ("DELETE", f"/jobs/{mine}?force=1", None),
        ("POST", f"/jobs/{mine}/cancel", {}),
        ("POST", f"/jobs/{mine}/token", {}),
        ("GET", "/metrics", None),
    ):
        assert status(method, path, body) == 403, path


def test_a_jobs_token_does_not_change_whose_job_it_is(client: Any, services: Services) -> None:
    ann = Caller(client, "ann")
    mine = str(uuid.uuid4())
    headers = token_headers(ann, mine)
    path = f"/jobs/{mine}"
    for fields in (
        {"owner": "bob"},
        {"notify": ["ALL"]},
        {"destination_cluster": {}},
        {"cluster": "x"},
        {"tags": {"a": "b"}},
    ):
        assert client.put(path, json=fields, headers=headers).status_code == 403, fields
    for fields in ({"cluster": "x"}, {"destination_cluster": {"name": "x"}}):
        event = history.make("agent", 1, "native", set=fields)
        assert client.post(path + "/events", json={"events": [event]}, headers=headers).status_code == 403
    hostile = {**DOCUMENT["user_input"], "user_mail": "eve@example.org", "username": "eve", "notify": ["none"]}
    hostile = {**hostile, "destination_cluster": "evil", "kwargs": {"key1": "changed"}}
    event = history.make("agent", 2, "input", set={"user_input": hostile, "owner": "eve"})
    assert client.post(path + "/events", json={"events": [event]}, headers=headers).status_code == 200
    assert client.put(path, json={"user_input": hostile}, headers=headers).status_code == 200
    kept = ann("GET", path)[1]["result"][mine]
    assert kept["owner"] == "ann"
    assert kept["user_input"] == {**DOCUMENT["user_input"], "kwargs": {"key1": "changed"}}
    server = {**history.make("server", 1, "note")}
    assert client.post(path + "/events", json={"events": [server]}, headers=headers).status_code == 422


def test_a_second_token_is_as_good_as_the_first(client: Any) -> None:
    ann = Caller(client, "ann")
    mine = str(uuid.uuid4())
    first = token_headers(ann, mine)
    second = {"Authorization": "Bearer " + ann("POST", f"/jobs/{mine}/token", {})[1]["token"]}
    for headers in (first, second):
        assert client.get(f"/jobs/{mine}", headers=headers).status_code == 200
    broken = {"Authorization": first["Authorization"][:-1]}
    assert client.get(f"/jobs/{mine}", headers=broken).status_code == 401


def test_the_store_holds_no_token(client: Any, services: Services, tmp_path: Path) -> None:
    token = token_headers(Caller(client, "ann"), str(uuid.uuid4()))["Authorization"].split()[1]
    services.store.close()
    raw = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert token.rpartition(".")[2].encode() not in raw
    assert PASSWORD.encode() not in raw
