"""The server process: waitress, the outbox worker, and an end that loses nothing."""

import logging
import signal
import socket
import sys
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from api_srv import app as app_module
from api_srv import mailing
from api_srv.services import accounts
from api_srv.services.context import Services
from api_srv.settings import Settings
from project.core.errors import UserError

if TYPE_CHECKING:
    from flask import Flask

    from api_srv.mailing import Callbacks
    from api_srv.notify.outbox import Worker

log = logging.getLogger("api_srv")

THREADS = 8
# More than what slow or idle clients may hold open, less than the open files that a process usually may have.
CONNECTIONS = 600
# A body larger than the API's own limit is read so far that it can be refused in the API's words.
MAX_REQUEST = 64 * 1024 * 1024
STOP_SECONDS = 25.0
KEEP_SENT_SECONDS = 30 * 86_400.0
_PRUNE_SECONDS = 3600.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Server:
    """`python -m api_srv`. `listen` binds; `run` serves until `stop`; requests in flight are finished first."""

    def __init__(self, settings: Settings, services: Services) -> None:
        self.settings = settings
        self.services = services
        self._stopping = threading.Event()
        self._http: Any = None

    def listen(self, flask_app: "Flask") -> str:
        """Bind the address; the URL. Raises UserError when it cannot be had."""
        import waitress

        host, port = self.settings.address
        try:
            # Bound here: a name with several addresses would make several servers of one.
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
            listening = socket.create_server((host, port), family=family, backlog=1024)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            message = f"The server cannot listen on {self.settings.listen}: {reason}."
            raise UserError(message, "Choose another address with JOBFERRY_LISTEN.") from error
        self._http = waitress.create_server(
            flask_app,
            sockets=[listening],
            threads=THREADS,
            ident="jobferry",
            max_request_body_size=MAX_REQUEST,
            channel_timeout=60,
            connection_limit=CONNECTIONS,
            asyncore_use_poll=True,
            # Only the pages look at one (X-Forwarded-Proto, for the cookie's Secure flag), nobody trusts them.
            clear_untrusted_proxy_headers=False,
        )
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{listening.getsockname()[1]}"

    def run(self) -> None:
        """Serve until `stop` is called (or SIGTERM, SIGINT), then finish what is in flight."""
        worker = self._start_worker()
        caller = mailing.callback_worker(self.services, self._callbacks())
        caller.start()
        keeper = threading.Thread(target=self._keep_house, name="keeper", daemon=True)
        keeper.start()
        try:
            while not self._stopping.is_set():
                self._turn(0.5)
            self._drain()
        finally:
            if worker is not None:
                worker.stop()
            caller.stop()
            self._http.task_dispatcher.shutdown()
            self._http.close()

    def stop(self, *_signal: "int | FrameType | None") -> None:
        """Ask `run` to end; may be called from a signal handler or another thread."""
        self._stopping.set()
        if self._http is not None:
            self._http.pull_trigger()

    def _turn(self, seconds: float) -> None:
        http = self._http
        http.asyncore.loop(timeout=seconds, map=http._map, use_poll=http.adj.asyncore_use_poll, count=1)

    def _drain(self) -> None:
        """No new connections; those that wait for an answer get it."""
        http = self._http
        http.accepting = False
        http.del_channel()
        http.socket.close()
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and any(_busy(one) for one in list(http.active_channels.values())):
            self._turn(0.05)

    def _callbacks(self) -> "Callbacks":
        settings = self.settings
        return mailing.Callbacks(settings.home, settings.callback_key, allow_private=settings.allow_private_webhooks)

    def _start_worker(self) -> "Worker | None":
        settings = self.settings
        if not settings.smtp_url:
            log.warning("JOBFERRY_SMTP_URL is not set: mails wait in the outbox.")
            return None
        worker = mailing.worker(self.services, settings.smtp_url, settings.mail_from)
        worker.start()
        return worker

    def _keep_house(self) -> None:
        while not self._stopping.wait(_PRUNE_SECONDS):
            before = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - KEEP_SENT_SECONDS))
            try:
                self.services.store.outbox_prune(before)
            except Exception:
                # The database is away: said, and done an hour later.
                log.exception("Old mails could not be dropped from the outbox.")


def _busy(channel: Any) -> bool:
    return bool(channel.requests) or channel.total_outbufs_len > 0 or channel.request is not None


def serve(settings: Settings) -> int:
    """Run the server until a signal ends it. Raises UserError, StoreError."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # A line for every request that has to wait a moment is no news.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    mailing.Callbacks(settings.home, settings.callback_key).sealer().check()
    services = app_module.make_services(settings)
    try:
        _first_account(settings, services)
        server = Server(settings, services)
        url = server.listen(app_module.create_app(settings, services))
        public = urlsplit(settings.public_url)
        if public.scheme == "http" and public.hostname not in _LOOPBACK:
            log.warning("JOBFERRY_PUBLIC_URL is plain http: job tokens travel readable. Use https.")
        if settings.mongo_url and not settings.callback_key:
            log.info("JOBFERRY_CALLBACK_KEY is not set: other servers cannot open what this one seals for callbacks.")
        signal.signal(signal.SIGTERM, server.stop)
        signal.signal(signal.SIGINT, server.stop)
        log.info("jobferry serves on %s.", url)
        server.run()
        log.info("jobferry has stopped.")
    finally:
        services.store.close()
    return 0


def _first_account(settings: Settings, services: Services) -> None:
    if (settings.admin_user or settings.admin_password) and services.store.accounts():
        log.info("There is an account already: JOBFERRY_ADMIN_USER and JOBFERRY_ADMIN_PASSWORD change nothing.")
    made = accounts.first_admin(services, settings.admin_user, settings.admin_password)
    if made is not None:
        name = settings.admin_user or "admin"
        # Shown once and kept nowhere: on the terminal, not in the log.
        sys.stderr.write(f"\nThe first account is {name} with the password {made}\n")
        sys.stderr.write("It is not shown again; change it with: python -m api_srv user passwd " + name + "\n\n")
        sys.stderr.flush()
