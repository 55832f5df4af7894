"""One callback to one receiver: what is sent, what counts as success, where it may not go, and what a bad receiver can do."""

import datetime
import ipaddress
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from api_srv.notify import webhook_address, webhook_send
from api_srv.notify.webhook_seal import Sealer
from helpers.callback_rows import UUID, row
from helpers.receiver import Handler, receiving

SECRET = "It's a Secret to Everybody"


def sender(home: Path, **more: Any) -> webhook_send.Sender:
    return webhook_send.Sender(Sealer(str(home)), **{"allow_private": True, "step": 5.0, "whole": 10.0, **more})


def sealed(home: Path, url: str, secret: str = SECRET, **headers: str) -> str:
    return Sealer(str(home)).seal(UUID, url, secret, headers)


def test_what_is_sent(tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    with receiving() as receiver:
        url = receiver.url("/hook/a%20b?x=1&y=2#f")
        given = row(url=url, sealed=sealed(tmp_path, url, authorization="Bearer a.b.c", **{"User-Agent": "mine"}))
        outcome = sender(tmp_path).send(given)
        (got,) = receiver.got
    assert (outcome.status, outcome.error) == (204, "")
    assert outcome.milliseconds >= 0
    assert (got.method, got.path) == ("POST", "/hook/a%20b?x=1&y=2")
    assert got.signed_with(SECRET) and not got.signed_with("other")
    assert got.body.decode() == given["text"]
    assert got.headers["content-type"] == "application/json"
    assert got.headers["x-jobferry-delivery"] == given["id"]
    assert got.headers["authorization"] == "Bearer a.b.c"
    assert got.headers["user-agent"] == "mine"
    assert got.headers["host"] == url.split("/")[2]


def test_without_a_secret_there_is_no_signature(tmp_path):
    with receiving() as receiver:
        assert sender(tmp_path).send(row(url=receiver.url())).error == ""
        (got,) = receiver.got
    assert "x-hub-signature-256" not in got.headers
    assert got.headers["user-agent"].startswith("jobferry/")
    assert not (tmp_path / "callback.key").exists()


def test_psik_can_read_it(tmp_path):
    """psik/models.py: Callback of 1.2 (jobndx, state, info: int), 2.1 (with jobid) and 3.1 (info: str)."""
    with receiving() as receiver:
        sender(tmp_path).send(row(42, url=receiver.url()))
        body = receiver.got[0].json
    assert isinstance(body["jobndx"], int) and body["jobndx"] == 1
    assert body["state"] == "queued"
    # A text of digits: pydantic reads it as a number where the model says int.
    assert body["info"] == "42"
    seconds, _, rest = body["jobid"].partition(".")
    assert seconds.isdigit() and rest.isdigit()
    assert body["job_uuid"] == UUID and body["jobferry_state"] == "QUEUED"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_success(tmp_path, status):
    with receiving(lambda handler: handler.say(status)) as receiver:
        outcome = sender(tmp_path).send(row(url=receiver.url()))
    assert (outcome.status, outcome.error) == (status, "")


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 404, 410, 429, 500, 503])
def test_everything_else_is_not(tmp_path, status):
    with receiving(lambda handler: handler.say(status, b"no", Location="http://127.0.0.1:1/")) as receiver:
        outcome = sender(tmp_path).send(row(url=receiver.url()))
        assert len(receiver.got) == 1
    assert outcome.status == status and str(status) in outcome.error and outcome.answer == "no"
    assert not outcome.final and not outcome.away


def test_a_redirect_is_not_followed(tmp_path):
    with receiving() as other, receiving() as receiver:
        receiver.answer = lambda handler: handler.say(307, Location=other.url())
        outcome = sender(tmp_path).send(row(url=receiver.url()))
        assert other.got == []
    assert "not followed" in outcome.error


def test_a_receiver_that_is_away_hangs_or_drips_is_bounded(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}/"
    outcome = sender(tmp_path).send(row(url=nobody))
    assert outcome.away and "refused" in outcome.error.lower()

    def hang(handler: Handler) -> None:
        handler.server.open.wait(60)

    def drip(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not handler.server.open.wait(0.05):
            handler.wfile.write(b"y")

    for answer, limits in ((hang, {"step": 0.5}), (drip, {"whole": 0.8})):
        with receiving(answer) as receiver:
            began = time.monotonic()
            outcome = sender(tmp_path, **limits).send(row(url=receiver.url()))
        assert outcome.away and "in time" in outcome.error
        assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"nonsense\r\n\r\n", b"HTTP/1.1 999999 x\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 5000,
        b"HTTP/1.1 500 x\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"\x00" * 100_000,
    ],
)  # fmt: skip
def test_nonsense_is_a_failure_and_no_exception(tmp_path, raw):
    def answer(handler: Handler) -> None:
        handler.wfile.write(raw)
        handler.close_connection = True

    with receiving(answer) as receiver:
        outcome = sender(tmp_path).send(row(url=receiver.url()))
    assert outcome.error


def test_a_huge_answer_is_read_no_further_than_its_beginning(tmp_path):
    written = []

    def flood(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        for _ in range(2000):
            handler.wfile.write(b"x" * 65536)
            written.append(1)

    with receiving(flood) as receiver:
        outcome = sender(tmp_path).send(row(url=receiver.url()))
    assert outcome.error == ""
    assert len(outcome.answer) <= 200 and len(written) < 2000


def test_what_is_echoed_shows_no_secret_and_no_control_character(tmp_path):
    def echo(handler: Handler) -> None:
        sent = handler.headers["authorization"]
        handler.say(500, f"{SECRET} {sent} no token {sent.split()[1]}. \x1b[31m\x00\u202e<b>".encode())

    with receiving(echo) as receiver:
        url = receiver.url()
        outcome = sender(tmp_path).send(row(url=url, sealed=sealed(tmp_path, url, authorization="Bearer abcdefgh")))
    assert outcome.answer == "[hidden] [hidden] no token [hidden]. <b>"


def test_retry_after():
    now = 1_800_000_000.0
    date = datetime.datetime.fromtimestamp(now + 90, datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")
    read = {
        text: webhook_send.retry_after(text, lambda: now) for text in ("120", "", "-5", "x", "99999999", date, "1e9")
    }
    assert read == {"120": 120, "": 0, "-5": 0, "x": 0, "99999999": 3600, date: 90, "1e9": 0}
    past = datetime.datetime.fromtimestamp(now - 90, datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert webhook_send.retry_after(past, lambda: now) == 0


def test_a_lost_key_is_said_and_nothing_is_sent_unsigned(tmp_path):
    with receiving() as receiver:
        given = row(url=receiver.url(), sealed=sealed(tmp_path / "a", receiver.url()))
        outcome = sender(tmp_path / "b").send(given)
        assert "cannot be opened" in outcome.error and str(tmp_path / "b") in outcome.error
        assert not outcome.final
        moved = {**given, "to": receiver.url("/elsewhere")}
        assert "another job or address" in sender(tmp_path / "a").send(moved).error
        assert receiver.got == []
        # The key is put back.
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "callback.key").write_text((tmp_path / "a" / "callback.key").read_text())
        assert sender(tmp_path / "b").send(given).error == ""
        assert receiver.got[0].signed_with(SECRET)


# -- where it may not go --------------------------------------------------------------------------------------------

ALWAYS = (
    "0.0.0.0", "169.254.169.254", "169.254.1.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "100.100.100.200",
    "168.63.129.16", "::", "fe80::1", "ff02::1", "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::",
    "::169.254.169.254", "0", "0xa9fea9fe", "2852039166", "::ffff:0:169.254.169.254", "::ffff:0:7f00:1", "4000::1", "1::1", "5f00::1",
)  # fmt: skip
PRIVATE = (
    "127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "::1", "fd00::1", "fec0::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "localhost", "a.localhost", "localhost.", "127.1",
    "0x7f.1", "2130706433", "017700000001",
)  # fmt: skip


@pytest.mark.parametrize("host", [*ALWAYS, *PRIVATE])
def test_addresses_that_are_refused(host):
    assert webhook_address.literal_problem(host, allow_private=False)
    assert bool(webhook_address.literal_problem(host, allow_private=True)) == (host in ALWAYS)


@pytest.mark.parametrize(
    "host", ["8.8.8.8", "2606:4700::1111", "example.org", "172.32.0.1", "1a.example", "dead.beef", "::ffff:8.8.8.8"]
)
def test_addresses_that_are_not(host):
    assert webhook_address.literal_problem(host, allow_private=False) == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "[::1]", "0x7f000001"])
def test_nothing_is_sent_to_this_machine_unless_it_is_allowed(tmp_path, host):
    with receiving() as receiver:
        given = row(url=receiver.url(host=host))
        outcome = sender(tmp_path, allow_private=False).send(given)
        assert outcome.final and "loopback" in outcome.error and "JOBFERRY_ALLOW_PRIVATE_WEBHOOKS" in outcome.error
        if ":" not in host:
            assert sender(tmp_path).send(given).error == ""
            assert len(receiver.got) == 1


def addresses(monkeypatch: Any, *answers: list[str]) -> list[str]:
    """A name server of one name: each question gets the next of the answers."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, **_more: Any) -> list[Any]:
        asked.append(host)
        found = answers[min(len(asked), len(answers)) - 1]
        kind = {4: socket.AF_INET, 6: socket.AF_INET6}
        return [(kind[ipaddress.ip_address(one).version], socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    monkeypatch.setattr(webhook_address.socket, "getaddrinfo", getaddrinfo)
    return asked


def test_a_name_with_one_bad_address_is_refused(tmp_path, monkeypatch):
    addresses(monkeypatch, ["8.8.8.8", "10.0.0.1"])
    outcome = sender(tmp_path, allow_private=False).send(row(url="https://rebind.example/"))
    assert outcome.final and "rebind.example is 10.0.0.1, a private address" in outcome.error
    addresses(monkeypatch, ["169.254.169.254"])
    assert "metadata" in sender(tmp_path).send(row(url="http://rebind.example/")).error


def test_the_connection_goes_to_the_address_that_was_looked_at(tmp_path, monkeypatch):
    with receiving() as receiver:
        asked = addresses(monkeypatch, ["127.0.0.1"], ["10.255.255.1"])
        outcome = sender(tmp_path).send(row(url=receiver.url(host="rebind.example")))
        assert outcome.error == ""
        assert receiver.got[0].headers["host"] == f"rebind.example:{receiver.server_address[1]}"
    assert asked == ["rebind.example"]


def test_a_name_without_an_address_is_tried_again(tmp_path, monkeypatch):
    def nothing(*_args: Any, **_more: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(webhook_address.socket, "getaddrinfo", nothing)
    outcome = sender(tmp_path).send(row(url="http://nowhere.example/"))
    assert outcome.away and not outcome.final and "has no address" in outcome.error


# -- TLS ------------------------------------------------------------------------------------------------------------


def certificate(folder: Path, name: str) -> Path:
    """A certificate for `name` that signs itself, with its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def test_certificate_and_name_are_verified(tmp_path, monkeypatch):
    pem = certificate(tmp_path, "hooks.example")
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(pem)
    trusting = ssl.create_default_context(cafile=str(pem))
    addresses(monkeypatch, ["127.0.0.1"])
    with receiving(context=served) as receiver:

        def tried(host: str, **more: Any) -> webhook_send.Outcome:
            return sender(tmp_path, **more).send(row(url=receiver.url(scheme="https", host=host)))

        assert tried("hooks.example", context=trusting).error == ""
        assert "certificate" in tried("other.example", context=trusting).error
        assert "certificate" in tried("hooks.example").error
        assert len(receiver.got) == 1


def test_a_handshake_that_never_ends_is_bounded(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        began = time.monotonic()
        outcome = sender(tmp_path, whole=0.5).send(row(url=url))
    assert outcome.away and "in time" in outcome.error
    assert time.monotonic() - began < 8
