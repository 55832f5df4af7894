"""A receiver of callbacks on this machine: real HTTP. It knows nothing of jobferry; what it answers is told by the test."""

import contextlib
import hashlib
import hmac
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Got:
    """One request as it arrived."""

    def __init__(self, method: str, path: str, headers: Any, body: bytes) -> None:
        self.method, self.path, self.body = method, path, body
        self.headers = {name.lower(): value for name, value in headers.items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def signed_with(self, secret: str) -> bool:
        """As docs.github.com says ("Validating webhook deliveries"), which is what psik's page refers to."""
        expected = "sha256=" + hmac.new(secret.encode(), self.body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected, self.headers.get("x-hub-signature-256", ""))


# What a test gives: called with the handler after the request was read; it answers.
Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Receiver"
    got: Got

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.got = Got(self.command, self.path, self.headers, body)
        self.server.note(self.got)
        self.server.answer(self)

    do_GET = do_POST

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send an answer; `retry_after` becomes `Retry-After`."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        pass


def fine(handler: Handler) -> None:
    """204."""
    handler.say(204)


class Receiver(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, answer: Answer = fine, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.got: list[Got] = []
        self._changed = threading.Condition()
        # Lets those go that a test keeps waiting.
        self.open = threading.Event()
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def note(self, got: Got) -> None:
        with self._changed:
            self.got.append(got)
            self._changed.notify_all()

    def wait(self, count: int, seconds: float = 60.0) -> list[Got]:
        """The first `count` requests; fails when they do not come."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self.got) >= count, seconds)
            assert came, f"{len(self.got)} of {count} requests within {seconds:.0f} s"
            return list(self.got)

    def url(self, path: str = "/hook", scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.server_address[1]}{path}"

    def handle_error(self, *_args: Any) -> None:
        """A client that went away is no news."""


@contextlib.contextmanager
def receiving(answer: Answer = fine, context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver that runs."""
    receiver = Receiver(answer, context)
    thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.open.set()
        receiver.shutdown()
        receiver.server_close()
