"""The transport to this machine."""

import os

from project.transports import local
from project.transports.base import Login


def test_a_command(tmp_path, monkeypatch):
    monkeypatch.setenv("JOBFERRY_API_TOKEN", "secret-token")
    transport = local.connect(tmp_path)
    channel = transport.open('cat; echo "$JOBFERRY_API_TOKEN" >&2; pwd >&2; exit 3')
    channel.stdin.write(b"hello")
    channel.stdin.close()
    assert channel.stdout.read() == b"hello"
    assert channel.wait(20) == 3
    assert channel.stderr_tail() == "/"
    transport.close()


def test_standard_error_never_blocks(tmp_path):
    transport = local.connect(tmp_path)
    channel = transport.open("head -c 3000000 /dev/zero | tr '\\0' x >&2; echo done")
    assert channel.stdout.read() == b"done\n"
    assert channel.wait(20) == 0
    assert len(channel.stderr_tail()) == 16 * 1024
    transport.close()


def test_it_has_a_session_of_its_own(tmp_path):
    transport = local.connect(tmp_path)
    channel = transport.open("ps -o sid= -p $$")
    assert int(channel.stdout.read()) != os.getsid(0)
    assert channel.wait(20) == 0
    transport.close()


def test_no_secret_in_a_login_s_text():
    assert "sesame" not in repr(Login("jane", "/key", "sesame"))
    assert "sesame" not in f"{Login('jane', '/key', 'sesame')}"
