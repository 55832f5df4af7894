"""Which jobs a listing is about: states, tags, page."""

import base64
import json
import re
from collections.abc import Mapping

from api_srv.problems import unacceptable
from api_srv.services import checks
from api_srv.services.context import Account
from api_srv.store.base import Document, Query
from project.core import states

DEFAULT_LIMIT = 100
MAX_LIMIT = 10_000
GROUPS = {"LIVE": states.LIVE, "FINAL": states.FINAL}
PARAMETERS = ("state", "selector", "cluster", "name", "owner", "limit", "cursor")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,62}\Z")


def query_of(account: Account, parameters: Mapping[str, str]) -> Query:
    """The query that the parameters of `GET /jobs` mean for this account. Raises RefusedError 422."""
    for key in parameters:
        if key not in PARAMETERS:
            raise unacceptable(key, f"there is no such filter; there are {', '.join(PARAMETERS)}")
    labels, without = selector(parameters.get("selector", ""))
    # For an account that is no administrator `owner` can only narrow.
    wanted = parameters.get("owner") or None
    owner = wanted if account.admin else account.name
    if wanted and not account.admin and wanted != account.name:
        raise unacceptable("owner", "only an administrator lists the jobs of others")
    return Query(
        owner=owner,
        states=_states(parameters.get("state", "")),
        cluster=parameters.get("cluster", ""),
        name=parameters.get("name", ""),
        labels=labels,
        without=without,
        limit=checks.whole_number(parameters, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT),
        before=_before(parameters.get("cursor", "")),
    )


def selector(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """`k=v,k!=v,k,!k` (all must hold) as labels that must and must not be there. Raises RefusedError 422."""
    present: list[str] = []
    absent: list[str] = []
    for term in filter(None, (part.strip() for part in text.split(","))):
        found = re.match(r"(!?)([^=!]+?)\s*(?:(==?|!=)\s*(.*))?\Z", term, re.DOTALL)
        if not found or not _KEY.match(found[2]) or (found[1] and found[3]):
            raise unacceptable("selector", f"{term[:80]!r} is none of key=value, key!=value, key, !key")
        label = f"{found[2]}={found[4]}" if found[3] else found[2]
        (absent if found[1] or found[3] == "!=" else present).append(label)
    return tuple(present), tuple(absent)


def _states(text: str) -> frozenset[str]:
    wanted: set[str] = set()
    for word in filter(None, (part.strip().upper() for part in text.split(","))):
        if word not in states.STATES and word not in GROUPS:
            raise unacceptable("state", f"{word[:40]!r} is not one of {', '.join(states.STATES)}, LIVE, FINAL")
        wanted |= GROUPS.get(word, {word})
    return frozenset(wanted)


def cursor_after(document: Document) -> str:
    """The cursor of the page that begins after this job."""
    raw = json.dumps([document["created"], document["job_uuid"]]).encode("ascii")
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def _before(cursor: str) -> tuple[str, str] | None:
    if not cursor:
        return None
    try:
        value = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        value = None
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(isinstance(one, str) and one.isascii() for one in value)
    ):
        raise unacceptable("cursor", "take it from the answer before")
    return value[0], value[1]
