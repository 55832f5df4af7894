"""Callbacks of real servers: several on one database, one killed between sending and noting it, a key for all of them."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from api_srv.store.sqlite import SqliteStore
from helpers.receiver import Handler, receiving
from helpers.site import Servers
from project.core import history
from project.core.api_client import ApiClient

INPUT = {"destination_cluster": "c", "job": "j", "execution": ["true"]}
SECRET = "sehr geheim"
ALLOWED = {"JOBFERRY_ALLOW_PRIVATE_WEBHOOKS": "1"}


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    made = Servers(tmp_path, **ALLOWED)
    yield made
    made.close()


def made(api: ApiClient, url: str) -> str:
    document = history.new_document(str(uuid.uuid4()), dict(INPUT), callback=url, cb_secret=SECRET)
    api.create(document)
    return str(document["job_uuid"])


def tell(api: ApiClient, name: str, *words: str) -> None:
    api.report(name, [history.make("agent", number, "state", state=word) for number, word in enumerate(words)])


def until(check: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 90
    while not (value := check()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return value


def test_three_servers_send_each_once_and_in_order(servers):
    with receiving() as receiver:
        apis = [servers.start() for _ in range(3)]
        names = [made(apis[number % 3], receiver.url()) for number in range(9)]
        for number, name in enumerate(names):
            tell(apis[(number + 1) % 3], name, "QUEUED", "RUNNING", "FINISHED")
        receiver.wait(27)
        for name in names:
            until(lambda name=name: {one["delivery"] for one in apis[0].deliveries(name)} == {"sent"})
        got = list(receiver.got)
    assert len(got) == 27 and all(one.signed_with(SECRET) for one in got)
    for name in names:
        mine = [one.json["state"] for one in got if one.json["job_uuid"] == name]
        assert mine == ["queued", "active", "completed"]


def test_a_server_killed_between_sending_and_noting_sends_again_under_the_same_id(servers):
    def silent(handler: Handler) -> None:
        handler.server.open.wait(60)
        handler.say(204)

    with receiving(silent) as receiver:
        api = servers.start()
        name = made(api, receiver.url())
        tell(api, name, "QUEUED", "RUNNING")
        receiver.wait(1)
        servers.kill()
        store = SqliteStore.in_home(str(servers.home))
        (head, _) = store.outbox_rows()
        assert head["state"] == "waiting" and head["lease_until"] > time.time()
        # The lease of the dead one runs out by itself; half a minute of it is left out here.
        store.outbox_settle([head["id"]], head["lease_by"], {})
        store.close()
        receiver.open.set()
        api = servers.start()
        got = receiver.wait(3)
        until(lambda: {one["delivery"] for one in api.deliveries(name)} == {"sent"})
    assert [one.json["state"] for one in got] == ["queued", "queued", "active"]
    assert got[0].body == got[1].body
    assert got[0].headers["x-jobferry-delivery"] == got[1].headers["x-jobferry-delivery"]
    assert all(one.signed_with(SECRET) for one in got)


def test_a_server_without_the_key_sends_nothing_and_says_why(servers, tmp_path):
    servers.environment["JOBFERRY_CALLBACK_KEY"] = Fernet.generate_key().decode()
    with receiving() as receiver:
        api = servers.start()
        name = made(api, receiver.url())
        servers.kill()
        right = servers.environment.pop("JOBFERRY_CALLBACK_KEY")
        api = servers.start()
        tell(api, name, "QUEUED")
        attempt = until(lambda: api.deliveries(name)[0]["attempts"])[0]
        assert "cannot be opened" in attempt["error"] and attempt["status"] is None
        assert receiver.got == []
        servers.kill()
        servers.environment["JOBFERRY_CALLBACK_KEY"] = right
        servers.start()
        assert receiver.wait(1)[0].signed_with(SECRET)
    logs = "".join(path.read_text() for path in tmp_path.glob("log*"))
    assert "cannot be opened" in logs
    assert SECRET not in logs and right not in logs
    with contextlib.suppress(FileNotFoundError):
        assert right not in (servers.home / "jobferry.db").read_bytes().decode("latin-1")
