"""One mail to one server: the only place that knows smtplib.

Two errors come out of here. `RefusedMailError`: this mail will never be taken (5xx for the address or the content). `LaterError`: anything that
may pass by itself: no connection, 4xx, a broken certificate, wrong credentials (an administrator repairs those);
`everyone` says that it concerns every mail and not just this one. No error text holds the password.
"""

import base64
import logging
import smtplib
import ssl
from dataclasses import dataclass, field
from email.headerregistry import Address, HeaderRegistry, MessageIDHeader
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, parseaddr
from urllib.parse import parse_qs, unquote, urlsplit

from api_srv.notify.messages import Mail
from api_srv.notify.plain import clean, one_line
from project.core.errors import UserError

log = logging.getLogger(__name__)
# As the default, but that the library would write a long message id in these headers as encoded words: nobody threads by that.
_HEADERS = HeaderRegistry()
_HEADERS.map_to_type("in-reply-to", MessageIDHeader)  # type: ignore[arg-type]  # the registry adds BaseHeader
_HEADERS.map_to_type("references", MessageIDHeader)  # type: ignore[arg-type]  # the registry adds BaseHeader
_POLICY = SMTP.clone(header_factory=_HEADERS)
_FORM = "It is smtp://[user:password@]host:port[?starttls=1] or smtps://[user:password@]host[:port]."
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class RefusedMailError(Exception):
    """The server will never take this mail."""


class LaterError(Exception):
    """The mail did not go this time. `everyone`: no other would have gone either."""

    def __init__(self, message: str, *, everyone: bool = False) -> None:
        super().__init__(message)
        self.everyone = everyone


@dataclass(frozen=True)
class SmtpUrl:
    """Where mails go. `security` is `none`, `starttls` or `tls`."""

    host: str
    port: int
    security: str = "none"
    user: str = ""
    password: str = field(default="", repr=False)


def parse_url(url: str) -> SmtpUrl:
    """The parts of `smtp://[user:password@]host:port[?starttls=1]` or `smtps://…` (user and password percent-encoded).

    Raises UserError, without the password in it.
    """
    try:
        parts = urlsplit(url.strip())
        port, host = parts.port, parts.hostname
    except ValueError:
        raise UserError("JOBFERRY_SMTP_URL is not an address.", _FORM) from None
    if parts.scheme not in ("smtp", "smtps"):
        raise UserError("JOBFERRY_SMTP_URL has a scheme other than smtp and smtps.", _FORM)
    if not host:
        raise UserError("JOBFERRY_SMTP_URL has no host.", _FORM)
    query = parse_qs(parts.query, keep_blank_values=True)
    unknown = sorted(set(query) - {"starttls"})
    if unknown or parts.path.strip("/") or parts.fragment:
        raise UserError(
            "JOBFERRY_SMTP_URL holds more than is known" + (f" ({', '.join(unknown)})." if unknown else "."), _FORM
        )
    upgrade = query.get("starttls", ["0"])[-1].lower() not in ("0", "", "no", "false")
    security = "tls" if parts.scheme == "smtps" else "starttls" if upgrade else "none"
    default = {"tls": 465, "starttls": 587, "none": 25}[security]
    return SmtpUrl(host, port or default, security, unquote(parts.username or ""), unquote(parts.password or ""))


def sender_address(sender: str) -> Address:
    """The address in `JOBFERRY_MAIL_FROM`, with or without a display name. Raises UserError."""
    name, address = parseaddr(sender)
    try:
        if clean(sender) != sender or "\n" in sender:
            raise RefusedMailError("more than one line")
        local, _, domain = _address(address).rpartition("@")
        return Address(one_line(name, 80), local, domain)
    except (ValueError, RefusedMailError):
        raise UserError(
            f"JOBFERRY_MAIL_FROM is not a mail address: {one_line(sender, 100)!r}.", "Use name@host."
        ) from None


def compose(mail: Mail, sender: str) -> EmailMessage:
    """The mail as it travels. Every header is one line whatever the mail holds. Raises RefusedMailError for an impossible recipient."""
    origin = sender_address(sender)
    # Local part and domain apart: a local part beyond ASCII is for the server to take or to refuse (RFC 6531).
    local, _, domain = _address(mail.to).rpartition("@")
    message = EmailMessage(policy=_POLICY)
    message["From"] = origin if origin.display_name else Address("jobferry", origin.username, origin.domain)
    message["To"] = Address("", local, domain)
    message["Subject"] = one_line(mail.subject, 200)
    message["Date"] = formatdate()
    message["Message-ID"] = one_line(mail.message_id, 400)
    if mail.references:
        message["In-Reply-To"] = one_line(mail.references, 400)
        message["References"] = one_line(mail.references, 400)
    # RFC 3834, 5: a machine wrote it; vacation answers stay away.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    return message


class Mailer:
    """Sends mails over one connection, kept while it lasts. Not for several threads at once.

    :param timeout: seconds without an answer after which the server counts as away.
    :param context: TLS settings; certificate and host name are verified by default.
    """

    def __init__(self, url: str, sender: str, timeout: float = 60.0, context: ssl.SSLContext | None = None) -> None:
        self._target = parse_url(url)
        self._sender = sender
        sender_address(sender)
        self._timeout = timeout
        self._context = context
        self._connection: smtplib.SMTP | None = None
        self._warned = False

    def send(self, mail: Mail) -> None:
        """Hand the mail to the server. Raises RefusedMailError or LaterError."""
        message = compose(mail, self._sender)
        connection = self._connected()
        try:
            connection.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            self.close()
            code, reason = next(iter(error.recipients.values()))
            raise self._verdict(code, reason, "the address") from None
        except smtplib.SMTPNotSupportedError as error:
            self.close()
            raise RefusedMailError(self._safe(f"the mail server cannot take this address: {error}")) from None
        except smtplib.SMTPSenderRefused as error:
            self.close()
            raise LaterError(self._answer(error.smtp_code, error.smtp_error, "the sender"), everyone=True) from None
        except smtplib.SMTPResponseException as error:
            self.close()
            raise self._verdict(error.smtp_code, error.smtp_error, "the mail") from None
        except (OSError, smtplib.SMTPException, UnicodeError) as error:
            self.close()
            raise LaterError(self._safe(f"the connection to the mail server broke: {error}")) from None

    def close(self) -> None:
        """End the connection; the next mail opens another."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.quit()
        except (OSError, smtplib.SMTPException):
            connection.close()

    def _connected(self) -> smtplib.SMTP:
        if self._connection is not None:
            # A server may have closed an idle connection: asked before the mail, since after it nobody knows.
            try:
                if self._connection.noop()[0] == 250:
                    return self._connection
            except (OSError, smtplib.SMTPException) as error:
                log.debug("The kept SMTP connection had ended: %s", self._safe(str(error)))
            self.close()
        try:
            self._connection = self._connect()
        except smtplib.SMTPResponseException as error:
            raise LaterError(self._answer(error.smtp_code, error.smtp_error, "the connection"), everyone=True) from None
        except (OSError, smtplib.SMTPException, UnicodeError) as error:
            text = f"the mail server {self._target.host}:{self._target.port} cannot be used: {error}"
            raise LaterError(self._safe(text), everyone=True) from None
        return self._connection

    def _warn(self) -> None:
        """Once, and only where a mail is really sent."""
        target = self._target
        if target.password and target.security == "none" and target.host not in _LOOPBACK and not self._warned:
            self._warned = True
            text = "warning: JOBFERRY_SMTP_URL sends a password without TLS to %s; add ?starttls=1 or use smtps://."
            log.warning(text, target.host)

    def _connect(self) -> smtplib.SMTP:
        target = self._target
        self._warn()
        context = self._context or ssl.create_default_context()
        if target.security == "tls":
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                target.host, target.port, timeout=self._timeout, context=context
            )
        else:
            connection = smtplib.SMTP(target.host, target.port, timeout=self._timeout)
        try:
            if target.security == "starttls":
                connection.starttls(context=context)
            if target.user:
                connection.login(target.user, target.password)
        except BaseException:
            connection.close()
            raise
        return connection

    def _verdict(self, code: int, reason: bytes | str, what: str) -> Exception:
        # 421 closes the channel and 4xx may pass (RFC 5321, 4.2.1); 5xx will not.
        text = self._answer(code, reason, what)
        return RefusedMailError(text) if 500 <= code < 600 else LaterError(text, everyone=code == 421)

    def _answer(self, code: int, reason: bytes | str, what: str) -> str:
        said = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
        return self._safe(f"the mail server refused {what}: {code} {said}")

    def _safe(self, text: str) -> str:
        secret = self._target.password
        if secret:
            user = self._target.user
            forms = (secret, *(base64.b64encode(form.encode()).decode() for form in (secret, f"\0{user}\0{secret}")))
            for form in forms:
                text = text.replace(form, "[hidden]")
        return one_line(clean(text), 500)


def _address(value: str) -> str:
    """The address if it is one (`local@domain`, nothing around it), its domain in ASCII. Raises RefusedMailError."""
    local, at, domain = value.strip().rpartition("@")
    plain = one_line(value, 400) == value.strip() and not any(character in value for character in ' ,;:<>()[]\\"\t\r\n')
    if not at or not local or not domain or not plain or len(value) > 320:
        raise RefusedMailError(f"not a mail address: {one_line(value, 100)!r}")
    try:
        return f"{local}@{domain.encode('idna').decode()}"
    except UnicodeError:
        raise RefusedMailError(f"not a mail address: {one_line(value, 100)!r}") from None
