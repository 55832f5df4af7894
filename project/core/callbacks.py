"""The callback of a job: what its keys may hold, and what psik's receivers are told. Pure.

`callback`, `cb_secret` and `cb_headers` travel from the input to the API and nowhere else: no module, no cluster and no batch script
sees them (`jobspec.SECRETS`).
"""

import datetime
import re
from typing import Any, Dict, List, Tuple
from urllib.parse import urlsplit

from project.core import schema, states
from project.core.errors import Problem

KEYS = ("callback", "cb_secret", "cb_headers")
MOST_HEADERS = 32
# Framing, connections and what a receiver trusts: these are not a user's to set (RFC 9110, 7.6.1 and 8.6; RFC 9112, 6).
RESERVED = frozenset(
    (
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-hub-signature",
        "x-hub-signature-256",
    )
)
_RESERVED_BEGINNINGS = ("proxy-", "x-jobferry-")
# RFC 9110, 5.6.2: token.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}\Z")
# RFC 9110, 5.5: visible ASCII with blanks inside; a line break would begin another header.
_VALUE = re.compile(r"(?:[!-~](?:[ \t!-~]*[!-~])?)?\Z")


def problems(data: Dict[str, Any]) -> List[Problem]:
    """What the schema cannot say of the callback's keys. No value is in a problem: addresses often hold a token too."""
    found: List[Problem] = []
    url = data.get("callback")
    if isinstance(url, str):
        message, hint = url_problem(url)
        if message:
            found.append(Problem("callback", message, None, hint))
    headers = data.get("cb_headers")
    if isinstance(headers, dict):
        found += _header_problems(headers)
    return found


def url_problem(url: str) -> Tuple[str, str]:
    """What is wrong with the address, and what to do; two empty texts when nothing is."""
    example = "It is an address like https://example.org/hook."
    if not all("!" <= character <= "~" for character in url):
        return "has a blank or another character that no address has.", "Percent-encode it."
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        return "is no http:// or https:// address with a host.", example
    if "@" in parts.netloc:
        return "has a user name or password in it.", "Put an `authorization` header into cb_headers."
    if "\\" in url:
        return "has a backslash in it.", example
    return "", ""


def _header_problems(headers: Dict[Any, Any]) -> List[Problem]:
    found: List[Problem] = []
    if len(headers) > MOST_HEADERS:
        text = "has {} headers, at most {} are allowed.".format(len(headers), MOST_HEADERS)
        return [Problem("cb_headers", text, None)]
    seen: Dict[str, str] = {}
    for name, value in headers.items():
        place = schema.key_text(("cb_headers", str(name)))
        lowered = str(name).lower()
        if not _NAME.match(str(name)):
            found.append(
                Problem(place, "is not the name of a header.", None, "It has letters, digits and any of - _ .")
            )
        elif lowered in RESERVED or lowered.startswith(_RESERVED_BEGINNINGS):
            found.append(Problem(place, "is set by jobferry itself.", None, "Leave it out."))
        elif lowered in seen:
            found.append(Problem(place, "is the same header as {}.".format(seen[lowered]), None, "Keep one of them."))
        elif isinstance(value, str) and not _VALUE.match(value):
            hint = "It is one line of ASCII without blanks at its ends."
            found.append(Problem(place, "has a value that no header can have.", None, hint))
        seen.setdefault(lowered, str(name))
    return found


def stamp(document: Dict[str, Any]) -> str:
    """psik's job id of a job: the time it was recorded, in seconds, with digits of its UUID to tell jobs of one instant apart.

    psik's model wants `^[0-9]+(\\.[0-9]+)?$` (psik/models.py, `JobID`). The same job always has the same stamp.
    """
    digits = "{:015d}".format(int(str(document.get("job_uuid") or "0").replace("-", "")[-12:], 16) % 10**15)
    text = str(document.get("created") or "")
    try:
        moment = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        moment = datetime.datetime.fromtimestamp(0, datetime.timezone.utc)
    return "{}.{:03d}{}".format(int(moment.timestamp()), moment.microsecond // 1000, digits)


def number(document: Dict[str, Any]) -> int:
    """psik's `jobndx`: the number of the run, from 1."""
    run = document.get("run")
    return run if isinstance(run, int) and run > 0 else 1


def word(state: str) -> str:
    """psik's word for the state, empty where psik tells nobody (its state `new`)."""
    found = states.PSIK_WORDS.get(state, "")
    return "" if found == "new" else found


def info(document: Dict[str, Any]) -> str:
    """psik's `info` in digits, which is a number to psik 1 and 2 and a text to psik 3: the native id of a queued job, else the exit code.

    Of a native id that is no number its first digits; `native_id` and `exit_code` beside it have the whole. `0` (psik's
    default) where there is none.
    """
    if word(str(document.get("state"))) in ("queued", "active"):
        digits = re.match(r"[0-9]+", str(document.get("native_id") or ""))
        return digits.group(0) if digits else "0"
    code = document.get("exit_code")
    return str(code) if isinstance(code, int) and not isinstance(code, bool) else "0"


def reached(event: Dict[str, Any]) -> Dict[str, Any]:
    """What an event of the verb `reached` says, in psik's fields; {} for any other event, and for `new`, of which psik tells nobody."""
    data = event.get("data")
    if event.get("kind") != "note" or not isinstance(data, dict):
        return {}
    state, jobndx, said = data.get("reached"), data.get("jobndx"), data.get("info")
    if state not in states.PSIK_WORDS.values() or state == "new" or isinstance(jobndx, bool):
        return {}
    if not isinstance(jobndx, int) or not isinstance(said, str):
        return {}
    return {"jobndx": jobndx, "state": state, "info": said or "0"}


def mark(document: Dict[str, Any]) -> str:
    """What a receiver knows after it was told of this document: the run and psik's word; empty where nobody is told."""
    state = word(str(document.get("state")))
    return "{} {}".format(number(document), state) if state else ""


def body(document: Dict[str, Any], time: str) -> Dict[str, Any]:
    """The message: psik's `Callback` (jobid, jobndx, state, info; it ignores other fields), and what we know beside it."""
    return {
        # A job that was started again goes on under the id of its first run.
        "jobid": (document.get("webhook") or {}).get("jobid") or stamp(document),
        "jobndx": number(document),
        "state": word(str(document.get("state"))),
        "info": info(document),
        "job_uuid": document.get("job_uuid"),
        "jobferry_state": document.get("state"),
        "condition": document.get("condition"),
        "exit_code": document.get("exit_code"),
        "native_id": document.get("native_id"),
        "cluster": document.get("cluster"),
        "name": document.get("name"),
        "time": time,
    }
