"""Moments (`2026-11-21T10:00:00.123Z`) for people."""

from datetime import datetime, timezone

from project.render.text import clean


def parse(moment: object) -> "datetime | None":
    """The moment, or None when it is not one (an old or foreign document)."""
    try:
        then = datetime.fromisoformat(str(moment).replace("Z", "+00:00"))
    except ValueError:
        return None
    return then if then.tzinfo else then.replace(tzinfo=timezone.utc)


def age(moment: object, now: "datetime | None" = None) -> str:
    """How long ago, in one short word: `12s`, `5m`, `3h`, `2d`."""
    then = parse(moment)
    if then is None:
        return "-"
    elapsed = int(((now or datetime.now(timezone.utc)) - then).total_seconds())
    if elapsed < 60:
        return f"{max(0, elapsed)}s"
    if elapsed < 3600:
        return f"{elapsed // 60}m"
    if elapsed < 86400:
        return f"{elapsed // 3600}h"
    return f"{elapsed // 86400}d"


def local(moment: object) -> str:
    """The moment in the reader's own zone: `2026-11-21 11:00:00`."""
    then = parse(moment)
    return clean(moment) if then is None else then.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def between(start: object, end: object) -> "float | None":
    """Seconds between two moments, or None when one is not known."""
    first, second = parse(start), parse(end)
    return None if first is None or second is None else (second - first).total_seconds()
