"""From a job's event to the mailbox: services, store, outbox and a real SMTP conversation together."""

from typing import Any

import pytest

from api_srv import mailing, settings
from api_srv.app import make_services
from api_srv.services import jobs, reports
from helpers import page_data
from helpers.mail_server import MailServer
from helpers.page_data import Story


@pytest.fixture
def services(tmp_path) -> Any:
    environment = {
        "JOBFERRY_HOME": str(tmp_path),
        "JOBFERRY_PUBLIC_URL": "https://jobs.example",
        "JOBFERRY_MAIL_FROM": "ferry@host.example",
    }
    services = make_services(settings.read(environment))
    yield services
    services.store.close()


def deliver(services: Any, server: MailServer) -> None:
    worker = mailing.worker(services, f"smtp://127.0.0.1:{server.port}", "ferry@host.example", timeout=20)
    while worker.run_once():
        pass
    worker.stop()


def test_each_change_is_one_mail_of_one_thread(services):
    job = page_data.submit(services, 1, name="hello")
    Story(services, job).states("STAGING_INPUTS", "SUBMITTING", "QUEUED", "RUNNING", "RUNNING", "POSTPROCESSING").tell(
        "state", state="FINISHED", condition="ok", exit_code=0
    )
    with MailServer() as server:
        deliver(services, server)
        deliver(services, server)
        assert [mail["Subject"] for mail in server.mails] == [
            "[jobferry] hello: queued",
            "[jobferry] hello: running",
            "[jobferry] hello: finished",
        ]
        first, *others = server.mails
        assert first["Message-ID"].endswith("@host.example>") and first["References"] is None
        assert {mail["References"] for mail in others} == {first["Message-ID"]}
        assert f"https://jobs.example/jobs/{job}" in first.get_body(("plain",)).get_content()
        assert set(server.recipients) == {"ann@example.org"}


def test_the_same_event_reported_twice_is_one_mail(services):
    job = page_data.submit(services, 1)
    record = services.store.job(job)
    event = reports.own_event(record, "error", message="disk full on node 7")
    for _ in range(2):
        reports.report(services, page_data.ADMIN, record, {"events": [event]})
    with MailServer() as server:
        deliver(services, server)
        (mail,) = server.mails
        assert "disk full on node 7" in mail.get_body(("plain",)).get_content()


def test_masi_tfe_calls_are_mailed(services):
    job = page_data.submit(services, 1, name="old client")
    record = services.store.job(job)
    reports.native_states(services, record, {"state": ["RUNNING", "PENDING"]})
    reports.notify(services, record, {"message": "Error during the execution of module x"})
    with MailServer() as server:
        deliver(services, server)
        state, error = server.mails
        assert "running" in state["Subject"] and error["Subject"] == "[jobferry] old client: error"
        assert "Error during the execution of module x" in error.get_body(("plain",)).get_content()


def test_an_undeliverable_mail_is_noted_in_the_history_once_and_not_mailed(services):
    job = page_data.submit(services, 1)
    Story(services, job).states("SUBMITTING", "QUEUED")
    with MailServer() as server:
        server.answers = {"ann@example.org": "550 no such user"}
        deliver(services, server)
        deliver(services, server)
        assert server.mails == []
    notes = [event for event in services.store.events(job) if event["kind"] == "note"]
    assert len(notes) == 1 and "550 no such user" in notes[0]["message"]
    assert [row["state"] for row in services.store.outbox_rows()] == ["undeliverable"]


def test_a_mail_to_a_job_that_was_removed_still_goes_or_is_given_up_quietly(services):
    job = page_data.submit(services, 1)
    Story(services, job).tell("state", state="CANCELLED")
    jobs.delete(services, services.store.job(job), {})
    with MailServer() as server:
        server.answers = {"ann@example.org": "550 no such user"}
        deliver(services, server)
    assert [row["state"] for row in services.store.outbox_rows()] == ["undeliverable"]
