"""The callbacks of a job as text."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from project.render import times
from project.render.output import Output
from project.render.text import NARROWEST, clean, wrap

# Columns that the time of a delivery takes.
MARGIN = 21
_TONE = {"sent": "FINISHED", "undeliverable": "FAILED"}


def listing(deliveries: Sequence[Mapping[str, Any]], output: Output) -> str:
    """One line a delivery, its attempts below."""
    palette = output.palette()
    lines: list[str] = []
    before = False
    for one in deliveries:
        word = clean(str(one.get("delivery") or ""))
        state = _TONE.get(word)
        shown = palette.state(state, f"{word:<13}") if state else f"{word:<13}"
        stamp = palette.paint("dim", times.local(one.get("time")))
        named = f"{one.get('state') or ''} (run {one.get('jobndx')})"
        lines.append(f"{stamp}  {shown} {clean(named):<18} {clean(str(one.get('id') or ''))[:12]}".rstrip())
        for attempt in one.get("attempts") or []:
            lines += [
                " " * MARGIN + piece for piece in wrap(_attempt(attempt), max(NARROWEST, output.columns - MARGIN))
            ]
        if one.get("next"):
            # The messages of a job come in order.
            when = "sent after the one before" if before else _when(one["next"])
            lines.append(" " * MARGIN + when)
            before = True
    if deliveries:
        lines.insert(0, f"to {clean(str(deliveries[0].get('url') or ''))}")
    return "\n".join(lines)


def _when(moment: str) -> str:
    then = times.parse(moment)
    return "due now" if then is not None and then <= datetime.now(timezone.utc) else f"next try {times.local(moment)}"


def _attempt(attempt: Mapping[str, Any]) -> str:
    said = clean(str(attempt.get("error") or "")) or f"answered {attempt.get('status')}"
    answer = clean(str(attempt.get("answer") or ""))
    tail = f": {answer}" if answer else ""
    return f"{times.local(attempt.get('time'))}  {said} after {attempt.get('ms')} ms{tail}"
