"""The one way in which the API says no: a status, a text, the key it is about."""

from collections.abc import Sequence
from typing import Any

TITLES = {
    400: "Bad request",
    401: "Not signed in",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    422: "Not acceptable content",
    429: "Too many attempts",
    500: "Internal error",
    503: "Not available",
}
CONTENT_TYPE = "application/problem+json"


class RefusedError(Exception):
    """A call that is not carried out.

    :param status: the HTTP status.
    :param error: what is wrong, for people.
    :param key: the failing key of the body or query, dotted (`user_input.resources.duration`).
    :param problems: all that is wrong, when it is more than one thing: {"key", "message"} each.
    :param retry_after: seconds after which to try again (429, 503).
    """

    def __init__(
        self, status: int, error: str, key: str = "", problems: Sequence[dict[str, Any]] = (), retry_after: int = 0
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.key = key
        self.problems = list(problems)
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """The problem as RFC 9457 wants it, with MASI-TFE-friendly `error`."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": TITLES.get(self.status, "Error"),
            "status": self.status,
            "error": self.error,
            "detail": self.error,
        }
        if self.key:
            body["key"] = self.key
        if self.problems:
            body["problems"] = self.problems
        return body


def not_found(what: str) -> RefusedError:
    """404: `what` is a phrase like `job 1234abcd`."""
    return RefusedError(404, f"There is no {what} for these credentials.")


def unacceptable(key: str, message: str) -> RefusedError:
    """422 about one key."""
    return RefusedError(422, f"{key}: {message}" if key else message, key)
