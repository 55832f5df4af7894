"""One callback to one receiver: a POST to an address that was looked at, without proxies and without following redirects.

Every 2xx is success. All else comes out as `Outcome.error`; the time is bounded as a whole, so that a receiver that answers one byte
every few seconds holds nothing up for longer.
"""

import contextlib
import datetime
import email.utils
import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from api_srv.notify import webhook_address
from api_srv.notify.plain import one_line
from api_srv.notify.port import Row
from api_srv.notify.webhook import CONTENT_TYPE
from api_srv.notify.webhook_seal import Contents, Sealer, UnsealError
from project import __version__
from project.core.signatures import HEADER, sign_message

STEP_SECONDS = 10.0
WHOLE_SECONDS = 20.0
ANSWER_BYTES = 2048
ANSWER_SHOWN = 200
MOST_RETRY_AFTER = 3600.0
_HIDDEN = "[hidden]"
_LATE = "the receiver did not answer in time"


class Outcome(NamedTuple):
    """What came of one attempt.

    `status`: the HTTP status, 0 without one. `error`: why it failed, empty for success. `retry_after`: seconds that the
    receiver asks for, 0 for none. `final`: another attempt would fail alike. `away`: the receiver did not answer at all.
    """

    status: int = 0
    error: str = ""
    answer: str = ""
    retry_after: float = 0.0
    final: bool = False
    away: bool = False
    milliseconds: int = 0


class Sender:
    """Sends rows of the outbox. Any number of threads may call `send` at once.

    :param allow_private: loopback and private addresses are permitted.
    :param context: TLS settings; by default certificate and name are verified against the system's authorities.
    :param step: seconds for the connection, and for each wait for the receiver; `whole` for all of it.
    :param first: seconds for all of a first attempt, twice that for the second, and so on until it is `step`; 0: no such limit.
    """

    def __init__(
        self,
        sealer: Sealer,
        *,
        allow_private: bool = False,
        context: ssl.SSLContext | None = None,
        step: float = STEP_SECONDS,
        whole: float = WHOLE_SECONDS,
        first: float = 0.0,
    ) -> None:
        self._sealer = sealer
        self._allow_private = allow_private
        self._context = context
        self._step = step
        self._whole = whole
        self._first = first

    def send(self, row: Row) -> Outcome:
        """Make one attempt. Raises nothing that a receiver can cause."""
        began = time.monotonic()
        outcome = self._attempt(row)
        return outcome._replace(milliseconds=round((time.monotonic() - began) * 1000))

    def _attempt(self, row: Row) -> Outcome:
        contents = Contents("", {})
        try:
            if row["sealed"]:
                contents = self._sealer.unseal(row["sealed"], row["job_uuid"], row["to"])
            parts = urlsplit(row["to"])
            port = parts.port or (443 if parts.scheme == "https" else 80)
            host = str(parts.hostname)
            targets = webhook_address.resolve(host, port, allow_private=self._allow_private)
            step, whole = self._times(row)
            with self._connection(parts, host, port, targets, step, whole) as (connection, over):
                _request(connection, row, parts, contents)
                response = connection.getresponse()
                if over.is_set():
                    # Cut off within its headers: the library takes those for complete.
                    return Outcome(error=_LATE, away=True)
                return _outcome(response, contents)
        except UnsealError as error:
            # Never sent unsigned; another server, or this one later, may have the key.
            return Outcome(error=str(error))
        except webhook_address.AddressRefusedError as error:
            return Outcome(error=f"the address is refused: {error}", final=True)
        except webhook_address.UnresolvedError as error:
            return Outcome(error=str(error), away=True)
        except ssl.SSLCertVerificationError as error:
            return Outcome(error=f"the receiver's certificate is not good: {error.verify_message}", away=True)
        except TimeoutError:
            return Outcome(error=_LATE, away=True)
        except (OSError, http.client.HTTPException, ValueError) as error:
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            return Outcome(error=_shown(f"the connection to the receiver broke: {said}", contents), away=True)

    def _times(self, row: Row) -> tuple[float, float]:
        """Seconds for each wait and for all of this attempt."""
        least = self._first * (1 + int(row["attempts"]))
        return (min(least, self._step), min(least, self._step)) if self._first else (self._step, self._whole)

    @contextlib.contextmanager
    def _connection(
        self,
        parts: SplitResult,
        host: str,
        port: int,
        targets: Sequence[webhook_address.Target],
        step: float,
        whole: float,
    ) -> Iterator[tuple[http.client.HTTPConnection, threading.Event]]:
        """A connection to one of these addresses; it breaks, and the event is set, when the whole time is over. Raises OSError."""
        deadline = time.monotonic() + whole
        using = [_connected(targets, step, deadline)]
        over = threading.Event()
        watch = threading.Timer(deadline - time.monotonic(), _cut, (using, over))
        watch.daemon = True
        watch.start()
        connection = http.client.HTTPConnection(host, port, timeout=step)
        connection.auto_open = 0
        try:
            if parts.scheme == "https":
                context = self._context or ssl.create_default_context()
                # The name that was asked for is verified, not the address. Not shaken yet, so that it can be cut off from the start.
                secured = context.wrap_socket(using[0], server_hostname=host, do_handshake_on_connect=False)
                using[0] = secured
                secured.do_handshake()
            connection.sock = using[0]
            yield connection, over
        except (OSError, http.client.HTTPException, ValueError):
            if over.is_set():
                raise TimeoutError from None
            raise
        finally:
            watch.cancel()
            connection.close()
            using[0].close()


def _connected(targets: Sequence[webhook_address.Target], step: float, deadline: float) -> socket.socket:
    """The first address that takes a connection. Raises OSError."""
    problem: OSError = TimeoutError()
    for target in targets:
        left = min(step, deadline - time.monotonic())
        if left <= 0:
            break
        one = socket.socket(target.family, socket.SOCK_STREAM)
        one.settimeout(left)
        try:
            one.connect(target.sockaddr)
        except OSError as error:
            one.close()
            problem = error
            continue
        one.settimeout(step)
        return one
    raise problem


def _cut(using: Sequence[socket.socket], over: threading.Event) -> None:
    """Break the connection under whoever waits for it."""
    over.set()
    with contextlib.suppress(OSError):
        # Past a TLS socket's own, which would also forget its state while another thread reads.
        socket.socket.shutdown(using[0], socket.SHUT_RDWR)


def _request(connection: http.client.HTTPConnection, row: Row, parts: SplitResult, contents: Contents) -> None:
    body = str(row["text"]).encode("utf-8")
    path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    connection.putrequest("POST", path, skip_host=True, skip_accept_encoding=True)
    headers = {
        "Host": parts.netloc,
        "User-Agent": f"jobferry/{__version__}",
        "Accept": CONTENT_TYPE,
        **contents.headers,
        "Content-Type": CONTENT_TYPE,
        "Content-Length": str(len(body)),
        "Connection": "close",
        "X-Jobferry-Delivery": str(row["id"]),
    }
    if contents.secret:
        headers[HEADER] = sign_message(body, contents.secret)
    given = {name.lower() for name in contents.headers}
    for name, value in headers.items():
        # The user's own `user-agent` or `accept` takes the place of ours.
        if name in contents.headers or name.lower() not in given:
            connection.putheader(name, value)
    connection.endheaders(body)


def _outcome(response: http.client.HTTPResponse, contents: Contents) -> Outcome:
    status = response.status
    if 200 <= status < 300:
        # Told is told: what it says beside that, and whether it says it to the end, does not matter.
        return Outcome(status, answer=_answer(response, contents))
    answer = _answer(response, contents)
    error = f"the receiver answered {status}" + (" (redirects are not followed)" if 300 <= status < 400 else "")
    return Outcome(status, error, answer, retry_after(response.headers.get("Retry-After", ""), time.time))


def _answer(response: http.client.HTTPResponse, contents: Contents) -> str:
    try:
        raw = response.read(ANSWER_BYTES)
    except (OSError, http.client.HTTPException, ValueError):
        return ""
    return _shown(raw.decode("utf-8", "replace"), contents)


def _shown(text: str, contents: Contents) -> str:
    """The beginning of what somebody else said, on one line, without our secrets."""
    for value in contents.values():
        text = text.replace(value, _HIDDEN)
    return one_line(text, ANSWER_SHOWN)


def retry_after(value: str, clock: Callable[[], float]) -> float:
    """Seconds of a Retry-After header (RFC 9110, 10.2.3: seconds or a date), at most an hour; 0 for none."""
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return min(MOST_RETRY_AFTER, float(value))
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return min(MOST_RETRY_AFTER, max(0.0, moment.timestamp() - clock()))
