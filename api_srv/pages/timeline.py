"""The events of a job as lines of its history. Pure."""

from collections import Counter
from typing import Any

from api_srv.notify.plain import clean
from api_srv.pages import times
from api_srv.pages.tones import tone

Json = dict[str, Any]
BLOCK_CHARACTERS = 20_000


def module(event: Json) -> Json:
    """A module's run, as a row of its table."""
    data = _data(event)
    changed = data.get("changed")
    return {
        "stage": str(data.get("stage") or ""),
        "index": data.get("index"),
        "module": clean(str(data.get("module") or "")),
        "exit_status": data.get("exit_status"),
        "duration": times.duration(data.get("duration")),
        "changed": _changes(changed),
        "stderr": _block(data.get("stderr")),
    }


def _changes(changed: Any) -> list[str]:
    """`key: old → new`, one an entry; the side that is missing is left out."""
    if not isinstance(changed, dict):
        return [clean(str(one)) for one in changed] if isinstance(changed, list) else []
    lines = []
    for key, change in changed.items():
        sides = change if isinstance(change, dict) else {}
        old, new = (f"{clean(str(sides[side]))[:80]}" if side in sides else "" for side in ("from", "to"))
        lines.append(f"{key}: {old} → {new}" if old else f"{key} = {new}" if new else str(key))
    return lines


def line(event: Json) -> Json:
    """An event in the history."""
    kind, data = str(event.get("kind") or ""), _data(event)
    state = str(event.get("state") or "")
    title, text = _titled(event, kind, state, data)
    applied = event.get("applied", True) is not False
    fields = event.get("set")
    rejected = data.get("rejected") if kind == "cluster" else None
    return {
        "time": event.get("time"),
        "source": str(event.get("source") or ""),
        "kind": kind,
        "tone": "bad" if kind == "error" else tone(state) if state and applied else "plain",
        "title": clean(title),
        "text": clean(text),
        "applied": applied,
        "blocks": _blocks(data),
        "rejected": [row for row in rejected if isinstance(row, dict)] if isinstance(rejected, list) else [],
        "set": sorted(str(key) for key in fields)
        if isinstance(fields, dict) and kind not in {"native", "cluster"}
        else [],
    }


def _titled(event: Json, kind: str, state: str, data: Json) -> tuple[str, str]:
    message = str(event.get("message") or "")
    if state:
        condition = str(event.get("condition") or "").replace("_", " ")
        extra = f" ({condition})" if condition and condition != "ok" else ""
        return state.replace("_", " ").lower() + extra, message
    if kind == "module":
        ended = f"exit status {data.get('exit_status')}" if data.get("exit_status") is not None else ""
        spent = times.duration(data.get("duration"))
        return f"{data.get('stage') or ''} module {data.get('module') or ''}".strip(), message or ", ".join(
            filter(None, (ended, spent))
        )
    if kind == "command":
        ended = f"exit status {data.get('exit_status')}" if data.get("exit_status") is not None else ""
        return f"{data.get('stage') or 'command'}: {data.get('command') or ''}", message or ended
    if kind == "cluster":
        return f"cluster {data.get('chosen') or ''}".strip(), message
    if kind == "native":
        fields = event.get("set") or {}
        status = fields.get("job_status") if isinstance(fields, dict) else None
        words = status.get("State") if isinstance(status, dict) else None
        said = (
            ", ".join(f"{n} × {word}" if n > 1 else str(word) for word, n in Counter(map(str, words)).most_common())
            if isinstance(words, list)
            else ""
        )
        number = (
            f"native job {fields['native_id']}"
            if isinstance(fields, dict) and fields.get("native_id")
            else "native state"
        )
        return number, message or said
    return kind, message


def _blocks(data: Json) -> list[tuple[str, str]]:
    titles = (("stderr", "stderr"), ("output", "output"), ("stdout", "stdout"), ("text", "in full"))
    return [(title, _block(data.get(key))) for key, title in titles if data.get(key)]


def _block(value: Any) -> str:
    text = "\n".join(map(str, value)) if isinstance(value, list) else str(value or "")
    text = clean(text).strip("\n")
    return text if len(text) <= BLOCK_CHARACTERS else "…\n" + text[-BLOCK_CHARACTERS:]


def _data(event: Json) -> Json:
    data = event.get("data")
    return data if isinstance(data, dict) else {}
