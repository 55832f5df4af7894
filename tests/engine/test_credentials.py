"""Who logs in with which key, and what is done when a cluster does not answer."""

import socket

import pytest

from project.core import history
from project.core.errors import ClusterError, UserError
from project.engine import control, credentials, inventory, probing, remembered, sync
from project.engine.context import Context

UUID = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def away(engine):
    """A job that is live on a cluster that does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    cluster = {"name": "away", "hostname": "127.0.0.1", "port": port, "workload_manager": "slurm"}
    engine.api.put_cluster(cluster)
    user_input = {"destination_cluster": "away", "job": "x", "execution": "true"}
    engine.api.create(history.new_document(UUID, user_input, destination_cluster=cluster))
    return engine.api.job(UUID)


def test_flags_win_over_the_input(engine, tmp_path):
    (tmp_path / "key").write_text("x")
    data = {"username": "jane", "private_key": "key", "passphrase": "sesame"}
    plain = credentials.from_input(engine.context, data, tmp_path)
    assert (plain.username, plain.private_key, plain.passphrase) == ("jane", str(tmp_path / "key"), "sesame")
    flagged = credentials.from_input(engine.new_context(username="root", private_key="/other"), data, tmp_path)
    # The input's passphrase is not for another key.
    assert (flagged.username, flagged.private_key, flagged.passphrase) == ("root", "/other", "")


def test_what_is_remembered_holds_no_secret_and_finds_the_passphrase_again(engine, tmp_path):
    path = tmp_path / "input.yml"
    path.write_text("passphrase: sesame\nprivate_key: key\n")
    remembered.save(engine.home, UUID, cluster="hpc", username="jane", private_key="/k", input=str(path))
    document = {"job_uuid": UUID, "user_input": {"username": "other"}}
    login = credentials.resolve(engine.context, {"name": "hpc"}, document)
    assert (login.username, login.private_key, login.passphrase) == ("jane", "/k", "sesame")
    path.unlink()
    assert credentials.resolve(engine.context, {"name": "hpc"}, document).passphrase == ""
    elsewhere = credentials.resolve(engine.new_context(home=tmp_path / "other"), {"name": "hpc"}, document)
    assert (elsewhere.username, elsewhere.private_key) == ("other", "")


def test_an_unreachable_cluster_is_a_warning_when_asked_for_a_state(engine, away):
    assert sync.refresh(engine.context, [away]) == [away]
    assert "not known" in engine.ui.warnings[0]


def test_a_key_that_nobody_can_unlock_hides_only_its_own_jobs_news(engine, away, monkeypatch):
    def locked(*_):
        raise UserError("The private key is protected.")

    monkeypatch.setattr(Context, "open", locked)
    assert sync.refresh(engine.context, [away]) == [away]
    assert "is protected" in engine.ui.warnings[0]
    with pytest.raises(UserError):
        sync.refresh(engine.new_context(private_key="/named"), [away])


def test_a_key_that_cannot_be_used_keeps_nothing_from_the_other_clusters(engine, away, monkeypatch):
    def locked(_context, cluster, *_):
        raise UserError("The key is locked.") if cluster["name"] == "away" else ClusterError("It is down.")

    monkeypatch.setattr(Context, "open", locked)
    monkeypatch.setattr(probing, "probe", lambda _clusters: {})
    other = history.new_document(
        UUID.replace("1", "2"),
        {"destination_cluster": "local", "job": "x", "execution": "true"},
        destination_cluster=inventory.local(),
    )
    engine.api.create(other)
    documents = [away, engine.api.job(other["job_uuid"])]
    reasons = [outcome.reason for outcome in control.hold(engine.context, documents)]
    assert reasons == ["The key is locked", "It is down"]
    with pytest.raises(UserError):
        control.hold(engine.context, [away])


def test_a_wish_to_cancel_is_kept(engine, away):
    (outcome,) = control.cancel(engine.context, [away])
    assert (outcome.changed, outcome.exit_code) == (False, 3)
    assert "the wish is recorded" in outcome.reason
    assert engine.api.job(UUID)["cancel_requested"] is True


def test_a_job_is_not_forgotten_while_its_folder_cannot_be_removed(engine, away):
    (outcome,) = control.remove(engine.context, [away], force=True)
    assert not outcome.changed
    assert engine.api.job(UUID)["job_uuid"] == UUID


def test_a_job_that_is_over_can_be_forgotten_by_force(engine, away):
    event = history.make("client", 1, "state", state="FAILED", condition="unreachable", message="x")
    engine.api.report(UUID, [event])
    (kept,) = control.remove(engine.context, [engine.api.job(UUID)])
    assert not kept.changed
    (outcome,) = control.remove(engine.context, [engine.api.job(UUID)], force=True)
    assert outcome.changed
    assert "stays" in outcome.reason
    assert engine.api.jobs() == []


def test_a_job_that_is_over_needs_no_cluster(engine, away):
    event = history.make("client", 1, "state", state="FAILED", condition="unreachable", message="x")
    engine.api.report(UUID, [event])
    over = engine.api.job(UUID)
    assert sync.refresh(engine.context, [over]) == [over]
    (outcome,) = control.hold(engine.context, [over])
    assert (outcome.changed, outcome.reason, outcome.exit_code) == (False, "is already failed", 2)
    assert engine.ui.warnings == []
