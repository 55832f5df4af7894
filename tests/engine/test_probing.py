"""Probing against real sockets: an SSH banner, silence, a refusal, something else."""

import socket
import threading
import time

import pytest

from project.engine import probing
from project.engine.probing import probe


@pytest.fixture
def server():
    made = []

    def start(talk):
        listener = socket.create_server(("127.0.0.1", 0))
        made.append(listener)

        def serve():
            try:
                while True:
                    connection, _ = listener.accept()
                    made.append(connection)
                    talk(connection)
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        return listener.getsockname()[1]

    yield start
    for sock in made:
        sock.close()


def at(name, port):
    return {"name": name, "hostname": "127.0.0.1", "port": port}


def test_all_at_once(server):
    good = server(lambda c: c.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"))
    chatty = server(lambda c: c.sendall(b"welcome\r\nSSH-2.0-x\r\n"))
    silent = server(lambda c: None)
    silent_too = server(lambda c: None)
    closes = server(lambda c: c.close())
    with socket.create_server(("127.0.0.1", 0)) as unused:
        refuses = unused.getsockname()[1]
    ports = {
        "good": good,
        "chatty": chatty,
        "silent": silent,
        "silent too": silent_too,
        "closes": closes,
        "refuses": refuses,
    }
    begin = time.monotonic()
    found = probe([at(name, port) for name, port in ports.items()], limit=2.0)
    assert time.monotonic() - begin < 3.9
    assert [name for name, one in found.items() if one.reachable] == ["good", "chatty"]
    assert "no answer within 2 s" in found["silent"].reason
    assert "banner" in found["closes"].reason
    assert "refused" in found["refuses"].reason


def test_the_connection_is_kept_for_the_login(server):
    port = server(lambda c: c.sendall(b"welcome\r\nSSH-2.0-x\r\n"))
    where = probing.targets([at("good", port), at("other", port)])
    found = probing.probe_targets(where, keep="good")
    assert found["other"].opened is None
    kept = found["good"].opened
    assert kept.fresh
    with kept.sock as sock:
        assert sock.recv(100).startswith(b"welcome\r\n")


def test_an_unknown_name_and_this_machine():
    found = probe(
        [
            {"name": "nowhere", "hostname": "no-such-host.invalid"},
            {"name": "local", "hostname": "localhost", "workload_manager": "local"},
        ],
        limit=2.0,
    )
    assert not found["nowhere"].reachable
    assert found["local"].reachable


def test_a_jump_host_counts_as_reachable(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host inner\n  ProxyJump gate\n")
    assert probe([{"name": "inner", "hostname": "inner"}])["inner"].reachable
