"""The embedded default: the server's own services in process, over the database in JOBFERRY_HOME. No Flask."""

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from api_srv import endpoints
from api_srv.problems import RefusedError
from api_srv.services import checks
from api_srv.services.context import Account, Services
from api_srv.store.base import StoreError
from project.core.errors import ApiError

if TYPE_CHECKING:
    from api_srv.mailing import Callbacks


class EmbeddedApi:
    """`call` is what `project.core.api_client.ApiClient` wants. The local user owns everything.

    :param home: JOBFERRY_HOME; made when it is missing. The database is opened at the first call.
    """

    def __init__(self, home: str | os.PathLike[str], environment: Mapping[str, str] | None = None) -> None:
        self._home = os.fspath(home)
        self._environment = os.environ if environment is None else environment
        self._services: Services | None = None
        self.account = Account(_user(self._environment), admin=True)

    def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, query: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """One call of the API. Raises ApiError with the status that the server would answer."""
        try:
            endpoint, params = endpoints.match(method, path)
            # The same way in as over HTTP: the same refusals, and nothing shared with the caller.
            document = checks.parse(json.dumps(body or {}).encode("ascii")) if endpoint.body else {}
            answer = endpoints.call(endpoint, self.services(), self.account, params, dict(query or {}), document)
        except RefusedError as refusal:
            raise _api_error(refusal) from refusal
        except StoreError as error:
            raise ApiError(str(error), "Look at JOBFERRY_HOME.", transient=True, status=503) from error
        return answer.body

    def services(self) -> Services:
        """The services; opens the database. Raises StoreError."""
        if self._services is None:
            from api_srv import mailing
            from api_srv.store.sqlite import SqliteStore

            store = SqliteStore.in_home(self._home)
            notifier = mailing.notifier(self._environment.get("JOBFERRY_MAIL_FROM", ""))
            self._services = Services(store, notifier, callbacks=self._callbacks())
        return self._services

    def _callbacks(self) -> "Callbacks":
        from api_srv import mailing

        key = self._environment.get("JOBFERRY_CALLBACK_KEY", "")
        allow_private = self._environment.get("JOBFERRY_ALLOW_PRIVATE_WEBHOOKS", "") == "1"
        return mailing.Callbacks(self._home, key, allow_private=allow_private)

    def deliver_due(self, seconds: float) -> int:
        """Send waiting callbacks and mails, each for at most about `seconds`; how many were tried or settled.

        Mails wait when JOBFERRY_SMTP_URL is not set; what cannot be sent now stays in the outbox for the next call.
        """
        smtp_url = self._environment.get("JOBFERRY_SMTP_URL", "")
        if self._services is None and not smtp_url:
            return 0
        from api_srv import mailing

        mail_from = self._environment.get("JOBFERRY_MAIL_FROM", "")
        try:
            done = mailing.call_back(self.services(), self._callbacks(), seconds)
            return done + mailing.deliver_due(self.services(), smtp_url, mail_from, seconds) if smtp_url else done
        except StoreError as error:
            raise ApiError(str(error), "Look at JOBFERRY_HOME.", transient=True, status=503) from error

    def close(self) -> None:
        """Close the database."""
        if self._services is not None:
            self._services.store.close()
            self._services = None


def _user(environment: Mapping[str, str]) -> str:
    # As getpass.getuser, which costs more to import.
    for key in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        if environment.get(key):
            return str(environment[key])
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid{os.getuid()}"


def _api_error(refusal: RefusedError) -> ApiError:
    transient = refusal.status >= 500 or refusal.status == 429
    return ApiError(refusal.error, transient=transient, status=refusal.status)
