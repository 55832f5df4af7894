"""`create_app(settings)`: the composition root of the server.

`app.extensions["jobferry"]` is (services, authenticator), for the API's routes and the web pages.
"""

from typing import TYPE_CHECKING

from api_srv import mailing
from api_srv.services.accounts import Authenticator
from api_srv.services.context import Services
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
    callbacks = mailing.Callbacks(settings.home, settings.callback_key, allow_private=settings.allow_private_webhooks)
    return Services(store or open_store(settings), notifier, settings.public_url, callbacks=callbacks)


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
