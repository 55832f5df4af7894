"""The embedded default: quick, private, no Flask, and its mails go too."""

import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from api_srv.embedded import EmbeddedApi
from helpers.mail_server import MailServer
from project.core import history
from project.core.api_client import ApiClient
from project.core.errors import ApiError

HERE = Path(__file__).resolve().parents[2]
INPUT = {"destination_cluster": "c", "job": "j", "execution": ["true"], "user_mail": "ann@example.org"}

HEAVY = "flask werkzeug jsonschema pymongo argon2 waitress smtplib email rich yaml fabric platformdirs"
CODE = f"""
import sys, uuid
from api_srv.embedded import EmbeddedApi
from project.core.api_client import ApiClient
from project.core import history
embedded = EmbeddedApi(sys.argv[1], {{"USER": "ann"}})
api = ApiClient(embedded.call)
name = str(uuid.uuid4())
api.create(history.new_document(name, {INPUT!r}))
api.report(name, [history.make("agent", 1, "state", state="QUEUED")])
api.job(name[:8])
embedded.close()
print(sorted(set(sys.modules) & set({HEAVY.split()!r})))
"""


def test_no_heavy_module_is_imported(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", CODE, str(tmp_path / "home")]
    done = subprocess.run(argv, cwd=HERE, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


def test_what_is_given_is_not_kept(tmp_path: Path) -> None:
    embedded = EmbeddedApi(tmp_path)
    api = ApiClient(embedded.call)
    document = history.new_document(str(uuid.uuid4()), dict(INPUT))
    api.create(document)
    document["user_input"]["job"] = "changed"
    assert api.job(document["job_uuid"])["user_input"]["job"] == "j"
    embedded.close()
    # It opens itself again.
    assert len(api.jobs()) == 1
    embedded.close()


def test_a_home_that_cannot_be_used_is_the_apis_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    embedded = EmbeddedApi(tmp_path / "file" / "home")
    with pytest.raises(ApiError) as caught:
        ApiClient(embedded.call).jobs()
    assert caught.value.status == 503


def test_mails_wait_without_a_server_and_go_with_one(tmp_path: Path) -> None:
    environment: dict[str, Any] = {"USER": "ann"}
    embedded = EmbeddedApi(tmp_path, environment)
    api = ApiClient(embedded.call)
    name = str(uuid.uuid4())
    api.create(history.new_document(name, dict(INPUT)))
    api.report(name, [history.make("agent", 1, "state", state="QUEUED")])
    assert embedded.deliver_due(5.0) == 0
    store = embedded.services().store
    assert store.outbox_counts() == {"waiting": 1}
    environment["JOBFERRY_SMTP_URL"] = "smtp://127.0.0.1:1"
    embedded.deliver_due(5.0)
    assert store.outbox_counts() == {"waiting": 1}
    store.outbox_lease([row["id"] for row in store.outbox_rows()], "test", 9e9, 0.0)
    store.outbox_settle([row["id"] for row in store.outbox_rows()], "test", {"next": 0.0})
    with MailServer() as server:
        environment["JOBFERRY_SMTP_URL"] = f"smtp://127.0.0.1:{server.port}"
        assert embedded.deliver_due(20.0) == 1
        assert [str(mail["Subject"]) for mail in server.mails] == [f"[jobferry] {name[:8]}: queued"]
    assert store.outbox_counts() == {"sent": 1}
    embedded.close()


def test_an_address_that_is_never_taken_is_in_the_jobs_history(tmp_path: Path) -> None:
    with MailServer() as server:
        server.answers["ann@example.org"] = "550 nobody here"
        embedded = EmbeddedApi(tmp_path, {"USER": "ann", "JOBFERRY_SMTP_URL": f"smtp://127.0.0.1:{server.port}"})
        api = ApiClient(embedded.call)
        name = str(uuid.uuid4())
        api.create(history.new_document(name, dict(INPUT)))
        api.report(name, [history.make("agent", 1, "state", state="QUEUED")])
        embedded.deliver_due(20.0)
        (event,) = [event for event in api.events(name) if "undeliverable" in event.get("message", "")]
        assert "550" in event["message"]
        assert embedded.services().store.outbox_counts() == {"undeliverable": 1}
        embedded.close()
