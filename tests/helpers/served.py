"""The API over real HTTP: the app behind waitress on a port of this machine, in a thread."""

import contextlib
import functools
import threading
from collections.abc import Iterator

from api_srv.app import create_app
from api_srv.server import Server
from api_srv.services import accounts
from api_srv.services.context import Services
from api_srv.settings import Settings

PASSWORD = "correct horse"


@functools.cache
def _hashed() -> str:
    return accounts.hash_password(PASSWORD)


def add_accounts(services: Services) -> None:
    """`root` (administrator), `ann` and `bob`, all with PASSWORD."""
    hashed = _hashed()
    for name in ("root", "ann", "bob"):
        account = {"name": name, "admin": name == "root", "password_hash": hashed, "tokens": [], "created": ""}
        services.store.put_account(account, new=True)


@contextlib.contextmanager
def serving(services: Services, home: str) -> Iterator[str]:
    """The URL of a running server over these services."""
    settings = Settings(home=home, listen="127.0.0.1:0")
    server = Server(settings, services)
    url = server.listen(create_app(settings, services))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield url
    finally:
        server.stop()
        thread.join(30)
