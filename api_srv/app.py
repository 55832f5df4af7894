"""`create_app(settings)`: the composition root of the server.

For the web pages: `services_of(app)` and `authenticator_of(app)`. Signing in with a form is
`authenticator_of(app).basic(name, password, address)`, which raises RefusedError (401, 429); the session then keeps the
name, and `account_of(services, name)` answers the account of later requests, None when it is gone. Service functions take
(services, account, …) and raise RefusedError. The API itself never looks at cookies.
"""

from typing import TYPE_CHECKING

from api_srv import mailing
from api_srv.services.accounts import Authenticator
from api_srv.services.context import Account, Services
from api_srv.settings import Settings

if TYPE_CHECKING:
    from flask import Flask

    from api_srv.store.base import JobStore


def open_store(settings: Settings) -> "JobStore":
    """The store that the settings name. Raises StoreError."""
    if settings.mongo_url:
        from api_srv.store.mongo import open_mongo

        return open_mongo(settings.mongo_url, settings.mongo_db)
    from api_srv.store.sqlite import SqliteStore

    return SqliteStore.in_home(settings.home)


def make_services(settings: Settings, store: "JobStore | None" = None) -> Services:
    """The services over the settings' store (or the one given)."""
    notifier = mailing.notifier(settings.mail_from, settings.public_url)
    return Services(store or open_store(settings), notifier, settings.public_url)


def create_app(settings: Settings, services: Services | None = None) -> "Flask":
    """The WSGI application: the API's endpoints and the web pages."""
    from flask import Flask

    from api_srv import pages
    from api_srv.routes import api

    services = services or make_services(settings)
    app = Flask(__name__)
    app.secret_key = services.store.secret("session")
    app.config.update(SESSION_COOKIE_HTTPONLY=True, SESSION_COOKIE_SAMESITE="Lax")
    app.extensions["jobferry"] = (services, Authenticator(services))
    api.register(app)
    pages.register(app)
    return app


def services_of(app: "Flask") -> Services:
    """The services of an app made by `create_app`."""
    services: Services = app.extensions["jobferry"][0]
    return services


def authenticator_of(app: "Flask") -> Authenticator:
    """The authenticator of an app made by `create_app`."""
    authenticator: Authenticator = app.extensions["jobferry"][1]
    return authenticator


def account_of(services: Services, name: str) -> Account | None:
    """The account of this name as it is now; None when there is none (any more)."""
    account = services.store.account(name)
    return Account(str(account["name"]), bool(account["admin"])) if account else None
