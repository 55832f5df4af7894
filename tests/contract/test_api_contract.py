"""What the API must do, over HTTP and in process, through the client that laptop and cluster use."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from api_srv import mailing
from api_srv.embedded import EmbeddedApi
from api_srv.services.context import Services
from helpers import stores
from helpers.served import PASSWORD, add_accounts, serving
from project.core import history
from project.core.api_client import ApiClient, http_call
from project.core.errors import ApiError

CLUSTER = {"name": "lemaitre3", "hostname": "lemaitre3.cism.ucl.ac.be", "workload_manager": "slurm", "port": 22}
INPUT = {"destination_cluster": "lemaitre3", "job": "job.sh", "execution": ["srun ./job"]}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, wire_url: Callable[[], str]) -> Iterator[Callable[[str], Any]]:
    """A running server over each kind of store, started when it is first asked for."""
    with contextlib.ExitStack() as running:
        calls: dict[str, Any] = {}

        def call_of(kind: str) -> Any:
            if kind not in calls:
                home = tmp_path_factory.mktemp("server")
                store = running.enter_context(stores.opener(kind, home, wire_url))()
                callbacks = mailing.Callbacks(str(home))
                services = Services(store, mailing.notifier(""), callbacks=callbacks)
                running.callback(services.store.close)
                add_accounts(services)
                calls[kind] = http_call(running.enter_context(serving(services, str(home))), "root", PASSWORD)
            return calls[kind]

        yield call_of


@pytest.fixture(params=["embedded", *(f"http-{kind}" for kind in stores.shared_kinds())])
def api(request: pytest.FixtureRequest, tmp_path: Path, served: Callable[[str], Any]) -> Iterator[ApiClient]:
    if request.param != "embedded":
        yield ApiClient(served(request.param.removeprefix("http-")))
        return
    embedded = EmbeddedApi(tmp_path / "home", {"USER": "root"})
    yield ApiClient(embedded.call)
    embedded.close()


def new(**fields: Any) -> dict[str, Any]:
    return history.new_document(str(uuid4()), dict(INPUT), **fields)


def made(api: ApiClient, **fields: Any) -> str:
    document = new(**fields)
    api.create(document)
    return str(document["job_uuid"])


@contextlib.contextmanager
def refused(status: int, *words: str) -> Iterator[None]:
    with pytest.raises(ApiError) as caught:
        yield
    assert caught.value.status == status, caught.value
    for word in words:
        assert word in str(caught.value)


def state(seq: int, word: str, **fields: Any) -> dict[str, Any]:
    return history.make("agent", seq, "state", state=word, **fields)


def test_a_created_job_comes_back(api: ApiClient) -> None:
    document = new(tags={"project": "α"}, name="näme")
    answer = api.create(document)
    assert answer["job_uuid"] == document["job_uuid"]
    assert answer["report_url"] is None
    assert len(answer["token"]) > 40
    kept = api.job(document["job_uuid"])
    ours = ("owner", "created", "updated")
    assert {k: v for k, v in kept.items() if k not in ours} == {k: v for k, v in document.items() if k not in ours}
    assert kept["owner"] == "root"
    assert kept["state"] == "PENDING"


def test_a_job_is_named_by_a_prefix(api: ApiClient) -> None:
    uuid = made(api)
    assert api.job(uuid[:8])["job_uuid"] == uuid
    assert api.job(uuid.upper())["job_uuid"] == uuid
    with refused(404):
        api.job(uuid[:5])
    with refused(404):
        api.job("../healthz")
    with refused(404):
        api.job("no such job")


def test_an_ambiguous_prefix_is_refused_with_the_candidates(api: ApiClient) -> None:
    head = uuid4().hex[:8]
    names = [f"{head}-0000-4000-8000-00000000000{last}" for last in (1, 2)]
    for name in names:
        api.create({**new(), "job_uuid": name})
    with refused(409, *names):
        api.job(head)


def test_a_job_is_created_once(api: ApiClient) -> None:
    document = new()
    api.create(document)
    with refused(409):
        api.create(document)


def test_secrets_are_not_kept(api: ApiClient) -> None:
    document = new()
    secret = {**INPUT, "passphrase": "s3cr3t", "private_key": "k3y"}
    document.update(user_input=secret, passphrase="s3cr3t", private_key="k3y")
    api.create(document)
    api.patch(document["job_uuid"], {"user_input": secret, "passphrase": "s3cr3t"})
    api.report(document["job_uuid"], [history.make("agent", 1, "input", set={"user_input": secret})])
    everything = str(api.job(document["job_uuid"])) + str(api.events(document["job_uuid"]))
    assert "s3cr3t" not in everything
    assert "k3y" not in everything


def test_lists_are_newest_first_and_filtered(api: ApiClient) -> None:
    mark = uuid4().hex[:10]
    jobs = [made(api, tags={"mark": mark, "n": str(n)}) for n in range(4)]
    api.report(jobs[0], [state(1, "QUEUED")])
    found = [job["job_uuid"] for job in api.jobs(selector=f"mark={mark}")]
    assert sorted(found) == sorted(jobs)
    created = [job["created"] for job in api.jobs(selector=f"mark={mark}")]
    assert created == sorted(created, reverse=True)
    assert [job["job_uuid"] for job in api.jobs(selector=f"mark={mark}", state="QUEUED")] == [jobs[0]]
    assert len(api.jobs(selector=f"mark={mark},n!=0")) == 3
    assert len(api.jobs(selector=f"mark={mark}", state="LIVE", limit="2")) == 2
    assert api.jobs(selector=f"mark={mark},!n") == []


def test_bad_filters_are_refused_by_name(api: ApiClient) -> None:
    for query in (
        {"state": "DONE"},
        {"limit": "0"},
        {"limit": "x"},
        {"selector": "a=b=!"},
        {"cursor": "?"},
        {"nix": "1"},
    ):
        if query == {"selector": "a=b=!"}:
            query = {"selector": "=b"}
        with refused(422, next(iter(query))):
            api.jobs(**query)


def test_events_change_the_job_once(api: ApiClient) -> None:
    uuid = made(api)
    events = [
        state(1, "QUEUED", set={"native_id": "12"}),
        state(2, "RUNNING"),
        history.make("agent", 3, "native", set={"job_status": {"State": ["RUNNING"]}}),
        state(4, "FINISHED", condition="ok", exit_code=0),
    ]
    assert api.report(uuid, events[:2])["applied"] == 2
    assert api.report(uuid, events) == {"applied": 2, "cancel": False, "state": "FINISHED"}
    assert api.report(uuid, events)["applied"] == 0
    job = api.job(uuid)
    assert (job["state"], job["condition"], job["exit_code"], job["native_id"]) == ("FINISHED", "ok", 0, "12")
    history_ = api.events(uuid)
    assert [event["id"] for event in history_][1:] == [event["id"] for event in events]
    assert [event["n"] for event in history_] == [1, 2, 3, 4, 5]
    assert [event["n"] for event in api.events(uuid, after=3)] == [4, 5]
    assert all(event["applied"] for event in history_)


def test_an_event_twice_in_one_report_is_one(api: ApiClient) -> None:
    uuid = made(api)
    event = state(1, "QUEUED")
    assert api.report(uuid, [event, event])["applied"] == 1


def test_a_final_state_never_changes(api: ApiClient) -> None:
    uuid = made(api)
    api.report(uuid, [state(1, "FAILED", condition="exit_code", exit_code=3, message="no")])
    assert api.report(uuid, [state(2, "RUNNING"), state(3, "FINISHED")])["state"] == "FAILED"
    job = api.job(uuid)
    assert (job["state"], job["condition"], job["exit_code"], job["message"]) == ("FAILED", "exit_code", 3, "no")
    assert [event["applied"] for event in api.events(uuid)] == [True, True, False, False]
    with refused(409, "state"):
        api.patch(uuid, {"state": "RUNNING"})
    with refused(409):
        api.patch(uuid, {"exit_code": 0})
    api.patch(uuid, {"tags": {"kept": "yes"}})
    assert api.job(uuid)["tags"] == {"kept": "yes"}


def test_bad_events_are_refused_with_their_place(api: ApiClient) -> None:
    uuid = made(api)
    good = state(1, "QUEUED")
    for bad, where in (
        ({**good, "state": "DONE"}, "events[1]"),
        ({**good, "seq": "1"}, "events[1]"),
        ("x", "events[1]"),
        ({**good, "set": {"job_status": 3}}, "events[1].set.job_status"),
    ):
        with refused(422, where):
            api.report(uuid, [good, bad])
    assert api.job(uuid)["state"] == "PENDING"
    with refused(404):
        api.report(str(uuid4()), [good])


def test_a_patch_merges(api: ApiClient) -> None:
    uuid = made(api, tags={"a": "b"})
    api.patch(uuid, {"job_status": {"State": ["RUNNING"]}, "online_job_file": True, "own_field": {"x.y": 1}})
    job = api.job(uuid)
    assert (job["tags"], job["online_job_file"], job["own_field"]) == ({"a": "b"}, True, {"x.y": 1})
    api.patch(uuid, {"state": "BLOCKED", "message": "away", "plan": {"next": "soon"}})
    job = api.job(uuid)
    assert (job["state"], job["message"]) == ("BLOCKED", "away")
    before = len(api.events(uuid))
    api.patch(uuid, {"message": "away"})
    assert len(api.events(uuid)) == before
    api.patch(uuid, {"message": "still away"})
    assert api.job(uuid)["message"] == "still away"


def test_a_patch_cannot_change_what_a_job_is(api: ApiClient) -> None:
    uuid = made(api)
    for fields in ({"owner": "eve"}, {"job_uuid": str(uuid4())}, {"cancel_requested": True}):
        with refused(422, next(iter(fields))):
            api.patch(uuid, fields)
    with refused(422, "user_input.resources.duration"):
        api.patch(uuid, {"user_input": {**INPUT, "resources": {"duration": "soon"}}})
    with refused(422, "tags"):
        api.patch(uuid, {"tags": {"a": 1}})
    # A document that was fetched may be sent back whole.
    api.patch(uuid, api.job(uuid))


def test_bad_documents_are_refused_by_key(api: ApiClient) -> None:
    for change, where in (
        ({"user_input": None}, "user_input"),
        ({"user_input": {"destination_cluster": "x", "job": "j"}}, "user_input.execution"),
        ({"user_input": {**INPUT, "jop": "x"}}, "user_input.jop"),
        ({"state": "RUNNING"}, "state"),
        ({"state": "DONE"}, "state"),
        ({"job_uuid": "12"}, "job_uuid"),
        ({"tags": []}, "tags"),
    ):
        with refused(422, where):
            api.create({**new(), **change})


def test_a_cancel_is_a_wish_that_reports_carry_back(api: ApiClient) -> None:
    uuid = made(api)
    assert api.cancel(uuid)["cancel_requested"] is True
    assert api.cancel(uuid)["cancel_requested"] is True
    assert api.job(uuid)["cancel_requested"] is True
    assert len(api.events(uuid)) == 2
    assert api.report(uuid, [state(1, "RUNNING")])["cancel"] is True
    assert api.report(uuid, [state(2, "CANCELLED", condition="cancelled_by_user")])["cancel"] is False


def test_an_ended_job_is_not_cancelled(api: ApiClient) -> None:
    uuid = made(api)
    api.report(uuid, [state(1, "FAILED")])
    assert api.cancel(uuid) == {"job_uuid": uuid, "state": "FAILED", "cancel_requested": False}


def test_only_an_ended_job_is_deleted(api: ApiClient) -> None:
    uuid = made(api)
    with refused(409, "PENDING"):
        api.delete(uuid)
    api.report(uuid, [state(1, "CANCELLED")])
    api.delete(uuid)
    with refused(404):
        api.job(uuid)
    with refused(404):
        api.delete(uuid)
    other = made(api)
    api.cancel(other)
    api.delete(other)
    with refused(404):
        api.job(other)


def test_clusters_come_and_go(api: ApiClient) -> None:
    api.put_cluster(CLUSTER)
    api.put_status("lemaitre3", {"idle_nodes": 3})
    api.put_status("lemaitre3.cism.ucl.ac.be", {"idle_nodes": 4, "nodes": {"a.b": 1}})
    api.put_cluster({**CLUSTER, "partition": "batch"})
    (cluster,) = [one for one in api.clusters() if one["name"] == "lemaitre3"]
    assert cluster["partition"] == "batch"
    assert cluster["status"] == {"idle_nodes": 4, "nodes": {"a.b": 1}}
    assert cluster["heard"]
    # What came from the API may go back to it.
    api.put_cluster(cluster)
    with refused(422, "workload_manager"):
        api.put_cluster({**CLUSTER, "workload_manager": "abacus"})
    with refused(422, "profile.body"):
        api.put_cluster({**CLUSTER, "profile": {"body": "{{exectuion}}"}})
    with refused(422, "hostname"):
        api.put_cluster({"name": "x", "workload_manager": "slurm"})
    with refused(404):
        api.put_status("nowhere", {})
    api.delete_cluster("lemaitre3")
    with refused(404):
        api.delete_cluster("lemaitre3")


def test_a_job_keeps_a_copy_of_its_cluster(api: ApiClient) -> None:
    api.put_cluster(CLUSTER)
    uuid = made(api)
    assert api.job(uuid)["destination_cluster"] == CLUSTER
    api.report(uuid, [state(1, "QUEUED")], {"idle_nodes": 9})
    (cluster,) = [one for one in api.clusters() if one["name"] == "lemaitre3"]
    assert cluster["status"] == {"idle_nodes": 9}
    api.put_cluster({**CLUSTER, "hostname": "moved"})
    assert api.job(uuid)["destination_cluster"] == CLUSTER
    api.delete_cluster("lemaitre3")
    assert api.report(uuid, [state(2, "RUNNING")], {"idle_nodes": 9})["applied"] == 1


def test_it_is_healthy(api: ApiClient) -> None:
    assert api.health()["status"] == "ok"


def test_a_job_that_is_a_script_is_taken_and_one_that_runs_nothing_is_not(api: ApiClient) -> None:
    call = api._call
    script = {"destination_cluster": "lemaitre3", "script": "#!/usr/bin/env rc\necho moo\n", "directory": "~/x"}
    document = call("POST", "/jobs", {"user_input": script}, None)
    assert document["user_input"] == script
    for wrong in ({"destination_cluster": "lemaitre3"}, {**script, "execution": "true"}):
        with refused(422):
            call("POST", "/jobs", {"user_input": wrong}, None)


def test_other_calls_of_the_table(api: ApiClient) -> None:
    call = api._call
    document = call("POST", "/jobs", {"user_input": dict(INPUT)}, None)
    uuid = document["job_uuid"]
    assert document["state"] == "PENDING"
    assert call("GET", f"/jobs/{uuid}/state", None, None) == {"result": ["NOT_SUBMITTED"]}
    call("PUT", f"/jobs/{uuid}", {"job_status": {"State": ["RUNNING", "PENDING"]}}, None)
    assert call("GET", f"/jobs/{uuid}/state", None, None) == {"result": ["RUNNING", "PENDING"]}
    assert call("POST", f"/jobs/{uuid}/token", {}, None)["token"].startswith("job.")
    assert call("GET", "/schemas/input.json", None, None)["title"] == "jobferry input"
    assert call("GET", "/openapi.json", None, None)["openapi"] == "3.1.0"
    for method, path, status in (("GET", "/nix", 404), ("PATCH", "/jobs", 405), ("GET", "/schemas/nix.json", 404)):
        with refused(status):
            call(method, path, None, None)


def test_a_page_ends_with_a_cursor(api: ApiClient) -> None:
    mark = uuid4().hex[:10]
    jobs = {made(api, tags={"mark": mark}) for _ in range(5)}
    seen: list[str] = []
    query = {"selector": f"mark={mark}", "limit": "2"}
    while True:
        page = api._call("GET", "/jobs", None, query)
        seen += [job["job_uuid"] for job in page["jobs"]]
        if not page["cursor"]:
            break
        query["cursor"] = page["cursor"]
    assert len(seen) == 5
    assert set(seen) == jobs


CALLBACK = {
    "callback": "https://hooks.invalid/x?token=geheim",
    "cb_secret": "sehr geheim",
    "cb_headers": {"authorization": "Bearer geheim"},
}


def test_a_callback_is_kept_and_its_secret_never_shown(api: ApiClient) -> None:
    uuid = made(api, **CALLBACK)
    in_input = new()
    in_input["user_input"] = {**INPUT, **CALLBACK}
    api.create(in_input)
    for name in (uuid, in_input["job_uuid"]):
        document = api.job(name)
        assert document["callback"] == CALLBACK["callback"]
        assert not {"webhook", "cb_secret", "cb_headers"} & {*document, *document["user_input"]}
        assert "callback" not in document["user_input"]
        assert api.deliveries(name) == []
        api.report(name, [state(1, "QUEUED", set={"native_id": "4711"})])
        (delivery,) = api.deliveries(name)
        assert delivery["state"] == "queued" and delivery["jobndx"] == 1
        assert (delivery["delivery"], delivery["url"]) == ("waiting", "https://hooks.invalid/x?…")
        seen = repr([document, delivery, api.jobs(limit="1000"), api.events(name)])
        assert "sehr geheim" not in seen and "Bearer" not in seen


@pytest.mark.parametrize(
    ("field", "value", "key"),
    [
        ("callback", "http://127.0.0.1:8/x", "callback"),
        ("callback", "http://[::ffff:10.0.0.1]/", "callback"),
        ("callback", "http://localhost/", "callback"),
        ("callback", "http://169.254.169.254/", "callback"),
        ("callback", "ftp://example.org/", "callback"),
        ("callback", "https://ann:geheim@example.org/", "callback"),
        ("callback", 5, "callback"),
        ("cb_secret", 5, "cb_secret"),
        ("cb_headers", {"host": "geheim"}, "cb_headers.host"),
        ("cb_headers", ["geheim"], "cb_headers"),
        ("cb_headers", {"x": "a\r\nb: geheim"}, "cb_headers.x"),
    ],
)
def test_a_callback_that_cannot_be_is_refused_by_its_key(api: ApiClient, field: str, value: Any, key: str) -> None:
    for document in (new(**{**CALLBACK, field: value}), {**new(), "user_input": {**INPUT, **CALLBACK, field: value}}):
        with pytest.raises(ApiError) as caught:
            api.create(document)
        assert caught.value.status == 422 and f"{key}:" in str(caught.value)
        assert "geheim" not in str(caught.value)
        with refused(404):
            api.job(document["job_uuid"])


def test_a_callback_cannot_be_changed_and_a_whole_document_may_come_back(api: ApiClient) -> None:
    uuid = made(api, **CALLBACK)
    document = api.job(uuid)
    assert api.patch(uuid, document) == {"success": True}
    assert api.patch(uuid, {"webhook": {"url": "http://127.0.0.1/"}, "user_input": {**INPUT, "cb_secret": "x"}})
    for fields in ({"callback": "https://example.org/"}, {"user_input": {**INPUT, "callback": "https://example.org/"}}):
        with refused(422, "callback"):
            api.patch(uuid, fields)
    assert api.job(uuid)["callback"] == CALLBACK["callback"]


def test_a_delivery_that_waits_or_is_unknown_is_not_sent_again(api: ApiClient) -> None:
    uuid = made(api, **CALLBACK)
    api.report(uuid, [state(1, "QUEUED")])
    (delivery,) = api.deliveries(uuid)
    with refused(409, delivery["id"]):
        api.replay(uuid, delivery["id"])
    with refused(404, "no-such"):
        api.replay(uuid, "no-such")
    with refused(404):
        api.replay(str(uuid4()), delivery["id"])
    with refused(404):
        api.deliveries(str(uuid4()))


def test_a_job_that_is_submitted_again_takes_over_the_callback(api: ApiClient) -> None:
    first = made(api, **CALLBACK)
    again = made(api, callback_of=first)
    document = api.job(again)
    assert document["callback"] == CALLBACK["callback"] and "callback_of" not in document
    assert "callback" not in api.job(made(api, callback_of=str(uuid4())))
    other = made(api, callback_of=first, callback="https://hooks.invalid/other")
    assert api.job(other)["callback"] == "https://hooks.invalid/other"
