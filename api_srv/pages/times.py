"""Times and durations as people read them. Pure."""

import datetime

_STEPS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def parsed(stamp: object) -> datetime.datetime | None:
    """The time in UTC; None for what is not an ISO 8601 time."""
    try:
        found = datetime.datetime.fromisoformat(str(stamp or "").replace("Z", "+00:00"))
        aware = found if found.tzinfo else found.replace(tzinfo=datetime.timezone.utc)
        # The first and the last day there are may have no UTC.
        return aware.astimezone(datetime.timezone.utc)
    except (ValueError, OverflowError):
        return None


def moment(stamp: object) -> str:
    """`2026-11-21 10:00:00 UTC`; anything else as it is."""
    found = parsed(stamp)
    return found.strftime("%Y-%m-%d %H:%M:%S UTC") if found else str(stamp or "")


def ago(stamp: object, now: datetime.datetime | None = None) -> str:
    """`just now`, `3 minutes ago`, `yesterday`-like words; the date after thirty days, the text itself when it is no time."""
    found = parsed(stamp)
    if found is None:
        return str(stamp or "")
    now = now or datetime.datetime.now(datetime.timezone.utc)
    seconds = (now - found).total_seconds()
    if seconds < -60 or seconds > 30 * 86_400:
        return found.strftime("%Y-%m-%d")
    for unit, word in _STEPS:
        if seconds >= unit:
            count = int(seconds // unit)
            return f"{count} {word}{'s' if count != 1 else ''} ago"
    return "just now" if seconds < 5 else f"{int(seconds)} seconds ago"


def duration(seconds: object) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `1 d 3 h`."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds < 0:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3_600} h {whole % 3_600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3_600} h"


def between(start: object, end: object) -> float | None:
    """Seconds from one time to the other; None when one is missing or they are the wrong way round."""
    first, last = parsed(start), parsed(end)
    if first is None or last is None or last < first:
        return None
    return (last - first).total_seconds()
