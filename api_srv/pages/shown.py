"""Documents, events and rows as the templates show them. Pure; the templates escape."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from api_srv.notify.messages import REASONS, label, plan_facts
from api_srv.notify.plain import clean
from api_srv.pages import timeline, times
from api_srv.pages.tones import native_tone, tone
from project.core import states

Json = dict[str, Any]
CHOICES = (
    ("", "All"),
    ("LIVE", "Going on"),
    ("FINAL", "Ended"),
    *((state, state.replace("_", " ").lower()) for state in states.STATES),
)
EVENTS_SHOWN = 200
ELEMENTS_SHOWN = 500

# The way of a job, as steps of the page: a step's title and the states that it stands for.
_STEPS = (
    (
        "Prepared",
        (states.PENDING, states.AWAITING_PARENTS, states.STAGING_INPUTS, states.PREPROCESSING, states.SUBMITTING),
    ),
    ("Queued", (states.QUEUED,)),
    ("Run", (states.RUNNING,)),
    ("Wrapped up", (states.POSTPROCESSING, states.ARCHIVING)),
)


@dataclass(frozen=True)
class Asked:
    """What the list of jobs was asked for: `search` is a name, the beginning of a UUID, or tags (`key=value`)."""

    state: str = ""
    search: str = ""
    cluster: str = ""
    cursor: str = ""

    @classmethod
    def of(cls, arguments: Mapping[str, str]) -> "Asked":
        return cls(*(arguments.get(key, "").strip()[:200] for key in ("state", "search", "cluster", "cursor")))

    def is_uuid(self) -> bool:
        return 6 <= len(self.search) <= 36 and all(
            character in "0123456789abcdef-" for character in self.search.lower()
        )

    def parameters(self) -> dict[str, str]:
        """The parameters of `GET /jobs`."""
        by_tag = "=" in self.search or self.search.startswith("!")
        found = {
            "state": self.state,
            "selector": self.search if by_tag else "",
            "name": "" if by_tag else self.search,
            "cluster": self.cluster,
            "cursor": self.cursor,
        }
        return {key: value for key, value in found.items() if value}

    def query(self, **changes: str) -> str:
        """The same question with changes, as a query string."""
        fields = {"state": self.state, "search": self.search, "cluster": self.cluster, **changes}
        return "?" + urlencode({key: value for key, value in fields.items() if value})


def brief(document: Json) -> Json:
    """A job in the list."""
    return {
        "uuid": str(document["job_uuid"]),
        "name": label(document),
        "state": str(document["state"]),
        "cluster": str(document.get("cluster") or ""),
        "owner": str(document.get("owner") or ""),
        "created": document.get("created"),
        "message": clean(str(document.get("message") or "")),
        "exit_code": document.get("exit_code"),
        "tags": _tags(document),
    }


def whole(document: Json, events: Sequence[Json]) -> Json:
    """A job on its own page."""
    uuid, state = str(document["job_uuid"]), str(document["state"])
    return {
        **brief(document),
        "live": state in states.LIVE,
        "cancel_requested": bool(document.get("cancel_requested")),
        "reason": REASONS.get(str(document.get("condition") or ""), ""),
        "steps": _steps(document, events),
        "facts": [(name, value) for name, value in _facts(document, events) if value],
        "elements": elements(document),
        "modules": [timeline.module(event) for event in events if event.get("kind") == "module"],
        "lines": [timeline.line(event) for event in events],
        "hidden": max(0, len(events) - EVENTS_SHOWN),
        "shown": EVENTS_SHOWN,
        "callback": str(document.get("callback") or "").partition("?")[0],
        "input": _outline(document.get("user_input") or {}),
        "commands": _commands(uuid, state),
    }


def _tags(document: Json) -> list[str]:
    tags = document.get("tags")
    return [f"{key}={value}" for key, value in tags.items()] if isinstance(tags, dict) else []


def _commands(uuid: str, state: str) -> list[str]:
    verb = "python -m project"
    if state == states.FINISHED:
        return [f"{verb} -r {uuid}", f"{verb} logs {uuid}"]
    if state in states.FINAL:
        return [f"{verb} why {uuid}", f"{verb} logs {uuid}"]
    return [f"{verb} logs {uuid} -f", f"{verb} status {uuid}"]


def _steps(document: Json, events: Sequence[Json]) -> list[Json]:
    """The way that the job has gone: each step with when it was reached and whether it is done, now or still to come."""
    reached: dict[str, str] = {str(states.PENDING): str(document.get("created") or "")}
    for event in events:
        if event.get("state") and event.get("applied", True):
            reached.setdefault(str(event["state"]), str(event.get("time") or ""))
    state = str(document["state"])
    places = [any(one in reached for one in group) for _, group in _STEPS]
    furthest = max(place for place, seen in enumerate(places) if seen)
    here = next((place for place, (_, group) in enumerate(_STEPS) if state in group), furthest)
    found: list[Json] = []
    for place, (title, group) in enumerate(_STEPS):
        time = next((reached[one] for one in group if one in reached), "")
        if state in states.FINAL:
            standing = "done" if time or (state == states.FINISHED) else "left"
        else:
            standing = "done" if place < here else "now" if place == here else "next"
        found.append({"title": title, "time": time, "standing": standing})
    end = state if state in states.FINAL else states.FINISHED
    standing = tone(end) if state in states.FINAL else "next"
    found.append(
        {
            "title": end.capitalize(),
            "time": reached.get(state, "") if state in states.FINAL else "",
            "standing": standing,
        }
    )
    return found


def _facts(document: Json, events: Sequence[Json]) -> list[tuple[str, str]]:
    first: dict[str, str] = {}
    last: dict[str, str] = {}
    for event in events:
        if event.get("state") and event.get("applied", True):
            first.setdefault(str(event["state"]), str(event.get("time") or ""))
            last[str(event["state"])] = str(event.get("time") or "")
    end = next((last[one] for one in states.FINAL if one in last), "")
    run = times.between(last.get(states.RUNNING), last.get(states.POSTPROCESSING) or end)
    plan = document.get("plan")
    exit_code = document.get("exit_code")
    facts = [
        ("Cluster", str(document.get("cluster") or "")),
        ("Native job", str(document.get("native_id") or "")),
        ("Exit code", "" if exit_code is None else str(exit_code)),
        ("Condition", str(document.get("condition") or "").replace("_", " ")),
        ("Submitted", times.moment(document.get("created"))),
        ("Waited", times.duration(times.between(first.get(states.QUEUED), first.get(states.RUNNING)))),
        ("Ran", times.duration(run)),
        ("Ended", times.moment(end)),
        ("Nodes", _several((document.get("job_status") or {}).get("NodeList"))),
        ("Run", str(document.get("run") or "") if (document.get("run") or 0) > 1 else ""),
        ("Owner", str(document.get("owner") or "")),
        ("Folder", str(document.get("job_directory") or "")),
    ]
    return [(name, clean(value)) for name, value in (*facts, *plan_facts(plan))]


def elements(document: Json) -> Json:
    """The native states of an array: how many of each, and each element's fields."""
    status = document.get("job_status")
    status = status if isinstance(status, dict) else {}
    words = status.get("State")
    if not isinstance(words, list) or len(words) < 2:
        return {}
    columns = [
        key for key in ("JobID", "State", "ExitCode", "Elapsed", "NodeList") if isinstance(status.get(key), list)
    ]
    rows = [
        [str(status[key][place]) if place < len(status[key]) else "" for key in columns] for place in range(len(words))
    ]
    tally = [
        {"word": word, "count": count, "tone": native_tone(word)}
        for word, count in Counter(str(word) for word in words).most_common()
    ]
    return {"tally": tally, "columns": columns, "rows": rows[:ELEMENTS_SHOWN], "count": len(rows)}


def mail(row: Json) -> Json:
    """A mail and what became of it."""
    state = str(row.get("state") or "")
    return {
        "subject": str(row.get("subject") or ""),
        "to": str(row.get("to") or ""),
        "created": row.get("created"),
        "settled": row.get("settled"),
        "state": state,
        "tone": {"sent": "good", "undeliverable": "bad"}.get(state, "wait"),
        "attempts": int(row.get("attempts") or 0),
        "error": clean(str(row.get("error") or "")),
        "uuid": str(row.get("job_uuid") or ""),
    }


def callback(delivery: Json) -> Json:
    """A callback and what became of it; of its attempts the last ones, newest first."""
    state = str(delivery["delivery"])
    attempts = [
        {
            "time": one.get("time"),
            "said": clean(str(one.get("error") or f"answered {one.get('status')}")),
            "ms": one.get("ms"),
            "answer": clean(str(one.get("answer") or "")),
        }
        for one in reversed(delivery["attempts"])
    ]
    tone_of = {"sent": "good", "undeliverable": "bad"}.get(state, "wait")
    return {**delivery, "tone": tone_of, "attempts": attempts, "error": clean(str(delivery["error"]))}


def _several(values: Any) -> str:
    distinct = list(dict.fromkeys(str(value) for value in values if value)) if isinstance(values, list) else []
    return ", ".join(distinct[:6]) + (", …" if len(distinct) > 6 else "")


def _plain(value: Any) -> str:
    return clean(str(value))[:300] if isinstance(value, (str, int, float)) else ""


def _outline(value: Any, depth: int = 0) -> str:
    """JSON as indented lines, like the YAML that it came from."""
    pad = "  " * depth
    if isinstance(value, dict):
        lines = []
        for key, inner in value.items():
            if isinstance(inner, (dict, list)) and inner:
                lines.append(f"{pad}{key}:\n{_outline(inner, depth + 1)}")
            else:
                lines.append(f"{pad}{key}: {_scalar(inner)}")
        return "\n".join(lines)
    if isinstance(value, list):
        return "\n".join(
            f"{pad}- {_scalar(one) if not isinstance(one, (dict, list)) else _outline(one, depth + 1).lstrip()}"
            for one in value
        )
    return pad + _scalar(value)


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return clean(str(value)) if value not in ({}, []) else str(value)
