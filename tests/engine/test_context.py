"""One connection is for one login on one host, as long as it lives."""

import pytest

from project.engine import context as context_module
from project.engine.context import _key
from project.transports.base import Login

ALPHA = {"name": "alpha", "hostname": "alpha.example.org", "port": 22}


@pytest.mark.parametrize(
    ("cluster", "login"),
    [
        (ALPHA, Login("asmith")),
        (ALPHA, Login("jdoe", "/keys/other")),
        ({**ALPHA, "port": 2222}, Login("jdoe")),
        ({**ALPHA, "hostname": "beta.example.org"}, Login("jdoe")),
        ({**ALPHA, "name": "beta"}, Login("jdoe")),
        (ALPHA, None),
    ],
)
def test_another_login_has_a_connection_of_its_own(cluster, login):
    assert _key(cluster, login) != _key(ALPHA, Login("jdoe"))


def test_the_same_login_in_other_words():
    assert _key({**ALPHA, "username": "jdoe"}, Login("")) == _key(ALPHA, Login("jdoe", "", "a passphrase"))
    assert _key({"name": "local"}, None) == _key({"name": "local"}, Login("jdoe"))


def test_a_silent_connection_is_asked_before_it_is_trusted(engine, monkeypatch):
    cluster = {"name": "local"}
    first = engine.context.open(cluster)
    asked = []
    real = first.request
    monkeypatch.setattr(first, "request", lambda op, *args, **fields: asked.append(op) or real(op, *args, **fields))
    assert engine.context.open(cluster) is first
    assert asked == []
    first._heard -= 1000
    assert engine.context.open(cluster) is first
    assert asked == ["have"]
    first._heard -= 1000
    first._channel.close()
    assert engine.context.open(cluster) is not first


def test_what_was_broken_off_is_never_gone_on_with(engine):
    """The rest of an answer that nobody read would be taken for the next one's."""
    cluster = {"name": "local"}
    first = engine.context.open(cluster)

    def stop(header, payload):
        raise KeyboardInterrupt

    document = engine.submit("destination_cluster: local\nscript: echo hello\n")
    engine.until(document["job_uuid"])
    with pytest.raises(KeyboardInterrupt):
        first.request("logs", on_message=stop, workdir="", uuid=document["job_uuid"], stream="stdout", offset=0)
    assert not first.answers()
    again = engine.context.open(cluster)
    assert again is not first
    assert again.shell("echo out; echo err >&2; exit 3") == (3, b"out\n")
    assert again.answers()


def test_connections_are_known_by_name_to_be_forgotten(engine):
    cluster = {"name": "local"}
    first = engine.context.open(cluster)
    engine.context.forget("elsewhere")
    assert engine.context.open(cluster) is first
    engine.context.forget("local")
    assert engine.context.open(cluster) is not first
    assert context_module._key(cluster, None) in engine.context._links
