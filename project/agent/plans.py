"""What a BLOCKED job waits for: cause, when it is tried next, how often it was, until when. Pure."""

import calendar
import errno
import time
from typing import Any, Dict, Optional

from project.core import units
from project.core.errors import JobferryError, UserError

FIRST, LONGEST = 2.0, 600.0
DAY = 24 * 3600.0
# cause → seconds until it is given up; a cluster's `retry` says otherwise.
LIMITS = {"scheduler": 3 * DAY, "queue_limit": 14 * DAY, "disk": 3 * DAY}
# A login node that is crowded: no process, memory or file more for now.
CROWDED = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE)


def cause_of(error: Exception) -> str:
    """The cause in one word; "" for an error that does not go away by waiting."""
    if isinstance(error, OSError):
        return "disk" if error.errno in DISK else "login node" if error.errno in CROWDED else ""
    if isinstance(error, JobferryError) and error.transient:
        words = error.message.lower()
        return "queue_limit" if "limit" in words or "qos" in words else "scheduler"
    return ""


def following(
    plan: Optional[Dict[str, Any]], cause: str, limits: Dict[str, Any], now: float
) -> Optional[Dict[str, Any]]:
    """The plan after one more try; None when it is time to give up. `limits`: cause → how long (a cluster's `retry`)."""
    tries = 1
    until = now + _limit(limits.get(cause), LIMITS.get(cause, DAY))
    if plan and plan.get("cause") == cause:
        tries = int(plan.get("tries") or 0) + 1
        until = seconds(plan["until"])
    if now >= until:
        return None
    delay = min(LONGEST, FIRST * 2.0 ** min(tries - 1, 20))
    return {"cause": cause, "next": stamp(min(now + delay, until)), "tries": tries, "until": stamp(until)}


def _limit(value: Any, default: float) -> float:
    """A limit in seconds or as a duration (`2d12h`)."""
    try:
        return float(units.parse_duration(value) if isinstance(value, str) else value or default)
    except (UserError, TypeError, ValueError):
        return default


def due(plan: Optional[Dict[str, Any]], now: float) -> bool:
    """True when the next try may be made."""
    return not plan or not plan.get("next") or seconds(plan["next"]) <= now


def stamp(moment: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def seconds(text: str) -> float:
    """ISO 8601 in UTC (with or without a fraction) as seconds since 1970."""
    whole, _, rest = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float("0." + (rest or "0"))
