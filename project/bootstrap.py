"""The one place where concrete parts are put together: which API, which user interface, which home."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from project.core.api_client import ApiClient, Call, http_call
from project.core.errors import UserError
from project.settings import Settings

if TYPE_CHECKING:
    from project.engine.context import Context
    from project.engine.ui import Ui


class Api(NamedTuple):
    """The way to the API, and what the embedded one has to do before the program ends."""

    call: Call
    deliver: Callable[[float], int]
    close: Callable[[], None]


def open_api(settings: Settings) -> Api:
    """The API over HTTP if an address is set, else the server's own services in this process."""
    url = settings.get("api_url")
    if url:
        user, password, token = (settings.get(key) for key in ("api_user", "api_password", "api_token"))
        if password and not user and not token:
            message = "JOBFERRY_API_PASSWORD is set without JOBFERRY_API_USER."
            raise UserError(message, "Set both, or JOBFERRY_API_TOKEN.")
        return Api(http_call(url, user, password, token), lambda _seconds: 0, lambda: None)
    from api_srv.embedded import EmbeddedApi

    embedded = EmbeddedApi(settings.home, {**os.environ, **settings.environment()})
    return Api(embedded.call, embedded.deliver_due, embedded.close)


class _Telling(ApiClient):
    """Tells which job is being recorded, before it is."""

    def __init__(self, call: Call, tell: Callable[[str], None]) -> None:
        super().__init__(call)
        self._tell = tell

    def create(self, document: dict[str, Any]) -> dict[str, Any]:
        self._tell(str(document["job_uuid"]))
        return super().create(document)

    def token(self, uuid: str) -> dict[str, Any]:
        """The first thing of a submission that goes on."""
        self._tell(uuid)
        return super().token(uuid)


def api_client(call: Call, on_create: Callable[[str], None]) -> ApiClient:
    """The API's calls by name. `on_create` is told the UUID of a job that is about to be recorded, or to go on."""
    return _Telling(call, on_create)


def context(
    settings: Settings,
    api: ApiClient,
    ui: "Ui",
    *,
    no_input: bool,
    accept_new_host_key: bool = False,
    username: str = "",
    private_key: str = "",
) -> "Context":
    """What the engine works with."""
    from project.engine.context import Context

    return Context(
        api=api,
        ui=ui,
        home=settings.home,
        no_input=no_input,
        accept_new_host_key=accept_new_host_key,
        username=username,
        private_key=private_key,
    )


def serve() -> int:
    """Run the API server in this process, as `python -m api_srv` does, until it is stopped."""
    from api_srv.__main__ import main

    return int(main(["serve"]) or 0)
