"""Finding jobs at the API: one by its UUID or the beginning of it, many by tags and states."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from project.core.api_client import ApiClient
from project.core.errors import ApiError, UserError
from project.core.states import FINAL, LIVE, STATES
from project.core.words import did_you_mean

Json = dict[str, Any]
SHORTEST_PREFIX = 6
PAGE = 1000
# States by group, as the API knows them too.
GROUPS = {"LIVE": LIVE, "FINAL": FINAL}
# The API's answers to a filter that it does not understand.
REFUSED = (400, 422)
HINT = "`jobferry ls` lists the jobs with their UUIDs."
_NAME = re.compile(r"[0-9a-f-]+\Z")
_UUID_LENGTH = 36


def find(api: ApiClient, name: str, hint: str = HINT) -> Json:
    """The document of the job with that UUID or prefix. Raises UserError when there is none or more than one, ApiError."""
    wanted = name.strip().lower()
    if not _NAME.match(wanted) or len(wanted) > _UUID_LENGTH:
        message = f"{name!r} is not the UUID of a job."
        raise UserError(message, hint)
    if len(wanted) < SHORTEST_PREFIX:
        message = f"{name!r} is too short to name a job."
        raise UserError(message, f"Give at least {SHORTEST_PREFIX} characters of its UUID.")
    try:
        return api.job(wanted)
    except ApiError as error:
        if error.status == 404:
            message = f"There is no job {wanted}."
            raise UserError(message, hint) from error
        if error.status == 409:
            raise UserError(error.message, error.hint) from error
        raise


def pages(api: ApiClient, filters: dict[str, str], limit: int = 0) -> Iterator[list[Json]]:
    """Every job that the filters match, newest first, page by page; `limit` 0 is no limit. Raises UserError, ApiError."""
    found = 0
    cursor = ""
    while True:
        size = min(limit - found, PAGE) if limit else PAGE
        try:
            page = api.jobs_page(**filters, limit=str(size), cursor=cursor)
        except ApiError as error:
            if error.status in REFUSED:
                raise UserError(error.message, error.hint) from error
            raise
        yield list(page["jobs"])
        found += len(page["jobs"])
        cursor = str(page.get("cursor") or "")
        if not cursor or (limit and found >= limit):
            return


def filters(selector: "Iterable[str] | None", state: "Iterable[str] | None") -> dict[str, str]:
    """Selectors (`k=v`, `k!=v`, `k`, `!k`) and states as the API's filters; None is no filter. Raises UserError."""
    found: dict[str, str] = {}
    if selector is not None:
        terms = [term.strip() for word in selector for term in word.split(",") if term.strip()]
        if not terms:
            raise UserError("The selector is empty.", "A selector is `key=value`, for example `-l project=demo`.")
        found["selector"] = ",".join(terms)
    if state is not None:
        words = [_state(word) for given in state for word in given.split(",") if word.strip()]
        if not words:
            raise UserError("`--state` is empty.", "Name a state, for example RUNNING.")
        found["state"] = ",".join(words)
    return found


def expanded(states: str) -> frozenset[str]:
    """The states of a `state` filter, its groups taken apart."""
    return frozenset(state for word in states.split(",") for state in GROUPS.get(word, (word,)))


def _state(word: str) -> str:
    state = word.strip().upper()
    if state not in STATES and state not in GROUPS:
        message = f"{word!r} is not a state."
        raise UserError(message, did_you_mean(state, (*STATES, *GROUPS)))
    return state
