"""SMTP for real: delivery, refusals of both kinds, TLS that is verified, passwords that never show."""

import socket
from pathlib import Path

import pytest

from api_srv.notify.messages import Mail
from api_srv.notify.smtp import LaterError, Mailer, RefusedMailError, compose, parse_url
from helpers.mail_server import MailServer, certificate
from project.core.errors import UserError

FROM = "jobferry@host.example"


def mail(to: str = "ann@example.org", **fields: str) -> Mail:
    parts = {
        "subject": "[jobferry] hello: failed",
        "text": "né\n.\nend\n",
        "html": "<p>né</p>",
        "message_id": "<a.b@x>",
    }
    return Mail(to, **{**parts, **fields})


def sender(server: MailServer, scheme: str = "smtp", login: str = "", query: str = "", **options: object) -> Mailer:
    return Mailer(f"{scheme}://{login}127.0.0.1:{server.port}{query}", FROM, timeout=20, **options)


def test_a_mail_arrives_as_text_and_html_over_one_kept_connection():
    with MailServer() as server:
        mailer = sender(server)
        mailer.send(mail())
        mailer.send(mail(message_id="<a.c@x>", references="<a.b@x>"))
        mailer.close()
        first, second = server.mails
        assert server.connections == 1 and server.recipients == ["ann@example.org"] * 2
        assert first["Message-ID"] == "<a.b@x>" and first["References"] is None
        assert second["References"] == second["In-Reply-To"] == "<a.b@x>"
        assert first["From"] == f"jobferry <{FROM}>" and first["Auto-Submitted"] == "auto-generated"
        assert first.get_body(("plain",)).get_content().splitlines() == ["né", ".", "end"]
        assert first.get_body(("html",)).get_content().strip() == "<p>né</p>"


def test_a_long_message_id_travels_whole():
    long_id = "<1a2b3c4d-0000-4000-8000-000000000001." + "a" * 64 + "@jobferry.some-very-long-host-name.example.org>"
    source = compose(mail(message_id=long_id, references=long_id), FROM).as_bytes()
    assert source.count(long_id.encode()) == 3 and b"=?" not in source.split(b"\r\n\r\n")[0]


def test_a_refused_address_is_final_and_a_postponed_one_is_not():
    with MailServer() as server:
        server.answers = {"gone@example.org": "550 no such user", "busy@example.org": "450 greylisted"}
        mailer = sender(server)
        with pytest.raises(RefusedMailError, match="550 no such user"):
            mailer.send(mail("gone@example.org"))
        with pytest.raises(LaterError, match="450 greylisted") as caught:
            mailer.send(mail("busy@example.org"))
        assert not caught.value.everyone
        mailer.send(mail())
        server.data_answers = ["452 no space", "554 spam"]
        with pytest.raises(LaterError, match="452"):
            mailer.send(mail())
        with pytest.raises(RefusedMailError, match="554"):
            mailer.send(mail())
        mailer.close()
        assert len(server.mails) == 1


def test_an_address_that_the_server_cannot_take_is_final():
    with MailServer() as server:
        mailer = sender(server)
        with pytest.raises(RefusedMailError):
            mailer.send(mail("änn@example.org"))
        mailer.close()


def test_no_server_concerns_every_mail():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    mailer = Mailer(f"smtp://ann:geheim@127.0.0.1:{port}", FROM, timeout=5)
    with pytest.raises(LaterError) as caught:
        mailer.send(mail())
    assert caught.value.everyone and str(port) in str(caught.value) and "geheim" not in str(caught.value)


def test_a_silent_server_is_given_up_after_the_timeout():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mailer = Mailer(f"smtp://127.0.0.1:{silent.getsockname()[1]}", FROM, timeout=0.3)
        with pytest.raises(LaterError) as caught:
            mailer.send(mail())
        assert caught.value.everyone


def test_a_restarted_server_is_found_again():
    with MailServer() as server:
        mailer = sender(server)
        mailer.send(mail())
        mailer._connection.sock.shutdown(socket.SHUT_RDWR)
        mailer.send(mail())
        mailer.close()
        assert len(server.mails) == 2 and server.connections == 2


@pytest.mark.parametrize("scheme", ["smtps", "smtp"])
def test_tls_is_used_and_verified(tmp_path: Path, scheme: str):
    inside, trusting = certificate(tmp_path)
    query = "?starttls=1" if scheme == "smtp" else ""
    with MailServer(**({"starttls": inside} if scheme == "smtp" else {"tls": inside})) as server:
        mailer = sender(server, scheme, query=query, context=trusting)
        mailer.send(mail())
        mailer.close()
        with pytest.raises(LaterError, match="(?i)certificate") as caught:
            sender(server, scheme, query=query).send(mail())
        assert caught.value.everyone
        assert len(server.mails) == 1


def test_a_certificate_for_another_host_is_not_accepted(tmp_path: Path):
    inside, trusting = certificate(tmp_path, "elsewhere.example")
    with MailServer(tls=inside) as server, pytest.raises(LaterError, match="(?i)certificate"):
        sender(server, "smtps", context=trusting).send(mail())


def test_starttls_is_never_skipped():
    with MailServer() as server:
        with pytest.raises(LaterError, match="STARTTLS"):
            sender(server, query="?starttls=1").send(mail())
        assert server.mails == []


def test_credentials_are_sent_and_their_refusal_does_not_show_them(tmp_path: Path):
    inside, trusting = certificate(tmp_path)
    with MailServer(starttls=inside, password="gehe im/1") as server:
        mailer = sender(server, login="ann:gehe%20im%2F1@", query="?starttls=1", context=trusting)
        mailer.send(mail())
        mailer.close()
        with pytest.raises(LaterError) as caught:
            sender(server, login="ann:wr0ng-one@", query="?starttls=1", context=trusting).send(mail())
        assert caught.value.everyone and "535" in str(caught.value) and "wr0ng-one" not in str(caught.value)
        assert len(server.mails) == 1


def test_the_address_of_the_server():
    assert parse_url("smtp://mail.example:2525").port == 2525
    url = parse_url("smtp://a%40b:p%3Aw@mail.example?starttls=1")
    assert (url.port, url.security, url.user, url.password) == (587, "starttls", "a@b", "p:w")
    assert "p:w" not in repr(url)
    assert (parse_url("smtps://[::1]").host, parse_url("smtps://[::1]").port) == ("::1", 465)


@pytest.mark.parametrize(
    "url",
    [
        "http://ann:geheim@x",
        "ann:geheim@x",
        "smtp://ann:geheim@",
        "smtp://ann:geheim@x:port",
        "smtp://ann:geheim@x?tls=1",
        "smtp://ann:geheim@x/y",
    ],
)
def test_a_wrong_address_is_an_error_without_the_password(url):
    with pytest.raises(UserError) as caught:
        parse_url(url)
    assert "geheim" not in str(caught.value) and "smtp://" in str(caught.value)


@pytest.mark.parametrize("address", ["", "no-at", "a@b\nBcc: c@d", "a b@c"])
def test_a_wrong_sender_is_said_at_once(address):
    with pytest.raises(UserError, match="JOBFERRY_MAIL_FROM"):
        Mailer("smtp://localhost:25", address)
