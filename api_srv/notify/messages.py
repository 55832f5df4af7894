"""Which events are worth a mail, and what that mail says. Pure: documents and events in, rows of the outbox out.

Standard library only: the embedded API composes mails too, in a command that must start quickly.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api_srv.notify import body
from api_srv.notify.plain import clean, one_line, redact
from api_srv.notify.port import WAITING, Row
from project.core import jobspec, states
from project.core.history import Document, Event, now
from project.core.resources import array_of

DOMAIN = "jobferry.invalid"
TAIL_LINES = 30
TAIL_CHARACTERS = 6_000
MESSAGE_CHARACTERS = 6_000
# What is looked through at all: a text of megabytes must not hold up the server.
READ_CHARACTERS = 100_000
SUBJECT_CHARACTERS = 150
NAME_CHARACTERS = 80
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
DIGEST_LINES = 40
PLAN = (
    ("waits_for", "Waits for"),
    ("cause", "Cause"),
    ("next", "Next try"),
    ("tries", "Tries so far"),
    ("until", "Given up after"),
)
REASONS = {
    "exit_code": "a command ended unsuccessfully",
    "timeout": "it ran longer than its duration allows",
    "out_of_memory": "it needed more memory than it had asked for",
    "node_failure": "a node failed under it",
    "preempted": "it was preempted",
    "cancelled_by_user": "at its owner's request",
    "cancelled_by_scheduler": "by the workload manager or its administrator",
    "deadline": "its deadline passed",
    "input_staging_failed": "its input could not be brought there",
    "requirements_failed": "a command of `requirements` failed",
    "compilation_failed": "a command of `compilation` failed",
    "preprocessing_failed": "a preprocessing module failed",
    "submission_rejected": "the workload manager did not take it",
    "postprocessing_failed": "a postprocessing module failed",
    "archiving_failed": "its output could not be archived",
    "unreachable": "the cluster could not be reached",
    "parent_failed": "a job that it waits for failed",
    "lost": "the workload manager no longer knows it",
    "internal_error": "by an error of jobferry itself",
}


@dataclass(frozen=True)
class Mail:
    """One mail without its sender. `references` is the Message-ID of the job's first mail, or empty for that one."""

    to: str
    subject: str
    text: str
    html: str
    message_id: str
    references: str = ""


class Notifier:
    """Makes the outbox's rows for one event: one, or none when it is not worth a mail or the job has no `user_mail`.

    :param domain: right-hand side of the Message-IDs.
    :param link: address of a job's page with `{uuid}` in it, or empty.
    """

    def __init__(self, domain: str = DOMAIN, link: str = "") -> None:
        self._domain = domain
        self._link = link

    def __call__(self, before: Document, after: Document, event: Event) -> list[Row]:
        """The rows for `event`, which made `after` of the document `before`."""
        # On one line, since it is logged too; a blank in it makes it an address that is refused.
        address = one_line(str(_input(after).get("user_mail") or ""), 320)
        word = _word(before, after, event)
        if not address or not word:
            return []
        job_uuid, event_id = str(after.get("job_uuid") or ""), str(event.get("id") or "")
        content = _content(event, after, word, self._link.replace("{uuid}", job_uuid))
        return [
            {
                "id": f"{job_uuid}.{event_id}",
                "job_uuid": job_uuid,
                "owner": str(after.get("owner") or ""),
                "kind": "mail",
                "topic": "error" if word == "error" else "state",
                "to": address,
                "subject": subject(after, word),
                "summary": one_line(content.message or content.sentence or content.word, 200),
                "text": body.text(content),
                "html": body.html(content),
                "message_id": message_id(job_uuid, event_id, self._domain),
                "references": "",
                "event_id": event_id,
                "created": now(),
                "attempts": 0,
                "next": 0.0,
                "lease_until": 0.0,
                "lease_by": "",
                "state": WAITING,
                "error": "",
                "settled": "",
            }
        ]


def digest(queue: Sequence[Row]) -> Mail:
    """One mail for many rows of one recipient, under the Message-ID of the first of them."""
    first = queue[0]
    count = len(queue)
    one_job = len({row["job_uuid"] for row in queue}) == 1
    names = Counter(str(row["subject"]).partition(": ")[2] or str(row["subject"]) for row in queue)
    word = "errors" if all(row["topic"] == "error" for row in queue) else "messages"
    title = _subject_name(str(first["subject"])) if one_job else f"{len({row['job_uuid'] for row in queue})} jobs"
    lines = [f"{_moment(row['created'])}  {row['summary'] if one_job else row['subject']}" for row in queue]
    if len(lines) > DIGEST_LINES:
        kept = DIGEST_LINES // 2
        lines = [*lines[:kept], f"… {len(lines) - 2 * kept:,} more …", *lines[-kept:]]
    repeated = [(text, n) for text, n in Counter(str(row["summary"]) for row in queue).most_common(5) if n > 1]
    uuid = str(first["job_uuid"])
    content = body.Content(
        title=title,
        word=word,
        sentence=f"{count:,} {word} came within a short while; this one mail stands for all of them.",
        facts=tuple((f"{n:,} times", text) for text, n in repeated)
        if one_job
        else tuple((f"{n:,}", name) for name, n in names.most_common(12)),
        listing_title="One by one",
        listing=tuple(lines),
        commands=((f"python -m project history {uuid}", "shows every one of them"),)
        if one_job
        else (("python -m project ls", "shows the jobs"),),
    )
    return Mail(
        to=str(first["to"]),
        subject=one_line(f"[jobferry] {title}: {count:,} {word}", SUBJECT_CHARACTERS),
        text=body.text(content),
        html=body.html(content),
        message_id=str(first["message_id"]),
    )


def subject(document: Document, word: str) -> str:
    """`[jobferry] NAME: WORD`, one line; the name is the job's or the first 8 digits of its UUID."""
    return f"[jobferry] {label(document)}: {one_line(word, 40)}"


def label(document: Document) -> str:
    """The job's name, or the first 8 digits of its UUID, on one line."""
    return one_line(str(document.get("name") or ""), NAME_CHARACTERS) or str(document.get("job_uuid") or "")[:8]


def message_id(job_uuid: str, event_id: str, domain: str = DOMAIN) -> str:
    """The Message-ID of an event's mail: the same for every attempt and every server (RFC 5322, 3.6.4)."""
    parts = [
        part if _TOKEN.match(part) else hashlib.sha256(part.encode("utf-8", "replace")).hexdigest()[:32]
        for part in (job_uuid, event_id)
    ]
    safe = domain if re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", domain) else DOMAIN
    return f"<{'.'.join(parts)}@{safe}>"


def chosen(user_input: Mapping[str, Any]) -> tuple[frozenset[str], bool]:
    """The states whose changes are mailed, and whether errors are.

    What `notify` means is said by `jobspec.notify_states` alone. Errors are mailed unless it names no state at all.
    """
    value = user_input.get("notify")
    if value is not None and not isinstance(value, str):
        # A cluster's event may hold anything.
        value = [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
    wanted = frozenset(jobspec.notify_states(value))
    return wanted, bool(wanted)


def plan_facts(plan: Any) -> list[tuple[str, str]]:
    """What a BLOCKED job waits for, as label and value."""
    if not isinstance(plan, dict):
        return []
    known = [(key, name) for key, name in PLAN if key in plan]
    other = [(key, str(key).replace("_", " ").capitalize()) for key in plan if key not in dict(PLAN)]
    found = [(name, plan[key]) for key, name in known + other]
    return [(name, one_line(_moment(value), 300)) for name, value in found if isinstance(value, (str, int, float))]


def _input(document: Document) -> Mapping[str, Any]:
    value = document.get("user_input")
    return value if isinstance(value, dict) else {}


def _word(before: Document, after: Document, event: Event) -> str:
    """What the mail announces: a state in lower case, `error`, a native state; empty for no mail."""
    wanted, errors = chosen(_input(after))
    state = str(after.get("state") or "")
    applied = event.get("applied", True) is not False
    changed = applied and event.get("state") == state and before.get("state") != state
    data = event.get("data") or {}
    if changed and state in wanted:
        return state.lower()
    if event.get("kind") == "error":
        return "error" if errors or data.get("mail") else ""
    if data.get("mail") and (wanted or errors):
        natives = data.get("states")
        words = sorted({one_line(str(word), 40).lower() for word in natives}) if isinstance(natives, list) else []
        return one_line(", ".join(words), 40) or state.lower()
    return ""


def _content(event: Event, document: Document, word: str, link: str) -> body.Content:
    secrets = _input(document)
    data = event.get("data") or {}
    # A failure that has more to say than its one line carries the whole text and a hint in its data.
    said = str(data.get("text") or "") if isinstance(data.get("text"), str) else ""
    message = redact(clean((said or str(event.get("message") or ""))[:READ_CHARACTERS]), secrets).strip()
    title, listing = _output(data, secrets)
    if not listing and message.count("\n") > 2:
        message, _, rest = message.partition("\n")
        title, listing = "What was said", tuple(rest.strip("\n")[-TAIL_CHARACTERS:].split("\n")[-TAIL_LINES:])
    hint = str(data["hint"])[:READ_CHARACTERS] if isinstance(data.get("hint"), str) else ""
    hint = one_line(redact(hint, secrets), 400)
    message = "\n".join(filter(None, (message[:MESSAGE_CHARACTERS], hint)))
    return body.Content(
        title=label(document),
        word=word,
        sentence=_sentence(document, event, word),
        message=message,
        facts=_shown(_facts(document, event), secrets),
        listing_title=title,
        listing=listing,
        commands=_commands(str(document.get("job_uuid") or ""), word, str(event.get("condition") or "")),
        link=link,
    )


def _shown(facts: Sequence[tuple[str, str]], secrets: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((name, one_line(redact(value[:READ_CHARACTERS], secrets), 300)) for name, value in facts if value)


def _sentence(document: Document, event: Event, word: str) -> str:
    where = f" on {document['cluster']}" if document.get("cluster") else ""
    where = one_line(where, 100)
    where = " " + where if where else ""
    condition = REASONS.get(str(event.get("condition") or ""), "")
    sentences = {
        "queued": f"The job waits in the queue{where}.",
        "running": f"The job runs{where}.",
        "finished": f"The job and what follows it are done{where}. Its output can be retrieved.",
        "failed": f"The job failed{where}" + (f": {condition}." if condition else "."),
        "cancelled": f"The job was cancelled{where}" + (f": {condition}." if condition else "."),
        "blocked": f"The job cannot go on{where} just now; it is tried again without your doing.",
        "error": "Something went wrong; the job's state has not changed by it.",
    }
    return sentences.get(word, "")


def _facts(document: Document, event: Event) -> list[tuple[str, str]]:
    native = document.get("job_status")
    native = native if isinstance(native, dict) else {}
    exit_code = event.get("exit_code", document.get("exit_code"))
    array = array_of(_input(document).get("resources"))
    elements = len(array.indices()) if array else 0
    plan = document.get("plan") if event.get("state") == states.BLOCKED else None
    facts = [
        ("Job", str(document.get("job_uuid") or "")),
        ("Cluster", str(document.get("cluster") or "")),
        ("Native job", str(document.get("native_id") or "")),
        ("Exit code", "" if exit_code is None else str(exit_code)),
        ("Reason", str(event.get("condition") or "").replace("_", " ") if event.get("condition") != "ok" else ""),
        ("Submitted", _moment(document.get("created"))),
        (_WHEN.get(str(event.get("state") or ""), "Time"), _moment(event.get("time"))),
        ("Ran for", _first(native.get("Elapsed")) if event.get("state") in states.FINAL else ""),
        ("Nodes", _first(native.get("NodeList"))),
        ("Array", f"{elements} elements{_tally(native.get('State'))}" if elements else ""),
        ("Run", str(document["run"]) if isinstance(document.get("run"), int) and document["run"] > 1 else ""),
    ]
    return [*facts, *plan_facts(plan)]


_WHEN = {
    states.QUEUED: "Queued",
    states.RUNNING: "Started",
    states.FINISHED: "Ended",
    states.FAILED: "Ended",
    states.CANCELLED: "Ended",
    states.BLOCKED: "Blocked",
}


def _tally(values: Any) -> str:
    if not isinstance(values, list) or len(values) < 2:
        return ""
    return ": " + ", ".join(f"{count} {str(word).lower()}" for word, count in Counter(map(str, values)).most_common())


def _first(values: Any) -> str:
    if isinstance(values, list):
        distinct = list(dict.fromkeys(str(value) for value in values if value))
        return ", ".join(distinct[:3]) + (", …" if len(distinct) > 3 else "")
    return str(values or "")


def _moment(stamp: Any) -> str:
    """`2026-11-21T10:00:00.123Z` → `2026-11-21 10:00:00 UTC`; anything else as it is."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z", str(stamp or ""))
    return f"{found[1]} {found[2]} UTC" if found else str(stamp or "")


def _output(data: Mapping[str, Any], secrets: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The last lines of what was printed, under a title that says by whom."""
    for key, title in (
        ("stderr", "Last lines of stderr"),
        ("output", "Last lines of its output"),
        ("stdout", "Last lines of stdout"),
        ("text", "What it said"),
    ):
        value = data.get(key)
        if key == "text" and isinstance(value, str):
            # Its first line is the event's message.
            value = value.partition("\n")[2]
        value = "\n".join(map(str, value)) if isinstance(value, list) else value
        if isinstance(value, str) and value.strip():
            lines = redact(clean(value.rstrip()[-READ_CHARACTERS:]).rstrip(), secrets)[-TAIL_CHARACTERS:].split("\n")[
                -TAIL_LINES:
            ]
            who = one_line(str(data.get("module") or data.get("command") or "")[:READ_CHARACTERS], 80)
            return (f"{title} ({redact(who, secrets)})" if who else title), tuple(lines)
    return "", ()


def _commands(uuid: str, word: str, condition: str) -> tuple[tuple[str, str], ...]:
    verb = "python -m project"
    fetch = (f"{verb} -r {uuid}", "fetches the declared output into the current folder")
    logs = (f"{verb} logs {uuid}", "shows what the job printed")
    why = (f"{verb} why {uuid}", "says what happened and what can be done")
    again = (f"{verb} resubmit {uuid}", "submits the same job again")
    look = (f"{verb} status {uuid}", "shows where the job is")
    stop = (f"{verb} cancel {uuid}", "stops it")
    if word == "finished":
        return (fetch, logs)
    if word in ("failed", "error"):
        return (why, logs, again if condition and word == "failed" else look)
    if word == "cancelled":
        return (why, again)
    if word == "running":
        return ((f"{verb} logs {uuid} -f", "follows what the job prints"), stop)
    if word == "blocked":
        return (why, stop)
    return (look, stop)


def _subject_name(line: str) -> str:
    return line.removeprefix("[jobferry] ").rpartition(": ")[0] or line
