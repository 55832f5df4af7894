"""When a blocked job is tried again: pure. The cluster's document says how often, else a default by the cause."""

import datetime
from collections.abc import Mapping
from typing import Any, NamedTuple

from project.core import units

Json = dict[str, Any]


class Rhythm(NamedTuple):
    """Seconds: the first pause, which doubles with every try; the longest pause; after how long it is given up."""

    every: float
    most: float
    until: float


# By the condition of the error. A host that is away may be back in a minute, a quota or a limit of the queue takes longer.
DEFAULTS = {
    "unreachable": Rhythm(units.MINUTE, 30 * units.MINUTE, 3 * units.DAY),
    "submission_rejected": Rhythm(5 * units.MINUTE, units.HOUR, 3 * units.DAY),
}
_KEYS = {"every": "every", "max": "most", "until": "until"}


def of(cluster: Mapping[str, Any], condition: str) -> Rhythm:
    """The rhythm for `cluster`, with its own key `retry`."""
    rhythm = DEFAULTS.get(condition, DEFAULTS["unreachable"])
    own = cluster.get("retry") or {}
    rhythm = rhythm._replace(
        **{_KEYS[key]: float(units.parse_duration(str(own[key]))) for key in _KEYS if own.get(key)}
    )
    return rhythm._replace(most=max(rhythm.most, rhythm.every))


def plan(cause: str, waits_for: str, rhythm: Rhythm, before: Mapping[str, Any] | None, moment: float) -> Json | None:
    """The plan after a try that failed at `moment` (seconds since the epoch); None when that was the last one.

    :param before: the plan so far. Its end stays, its tries are counted on.
    """
    known = before or {}
    tries = int(known.get("tries") or 0) + 1
    until = seconds(known.get("until")) or moment + rhythm.until
    if moment >= until:
        return None
    pause = min(rhythm.most, rhythm.every * 2.0 ** min(tries - 1, 32))
    every = units.duration_text(round(rhythm.every))
    grows = f", growing to {units.duration_text(round(rhythm.most))}" if rhythm.most > rhythm.every else ""
    return {
        "cause": cause,
        "waits_for": waits_for,
        "next": stamp(min(moment + pause, until)),
        "tries": tries,
        "every": every + grows,
        "until": stamp(until),
    }


def by_hand(cause: str, waits_for: str, before: Mapping[str, Any] | None) -> Json:
    """The plan of a job that nobody but a person can go on with."""
    return {"cause": cause, "waits_for": waits_for, "tries": int((before or {}).get("tries") or 0) + 1}


def stamp(moment: float) -> str:
    """Seconds since the epoch as documents have it."""
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(text: object) -> float:
    """The inverse of `stamp`; 0 for what is none."""
    try:
        return datetime.datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0
