"""Durations and amounts of memory: from the text in an input to seconds and bytes, and back.

A duration is `1d2h30m`, `90s` (MASI-TFE's units, each at most once, largest first), or one of the clock
forms of sbatch(1) `--time`: `MM:SS`, `HH:MM:SS`, `D-HH`, `D-HH:MM`, `D-HH:MM:SS`. A number without a unit
is refused: sbatch takes it for minutes, qsub for seconds, and a job cut 60 times too early is not noticed
before it dies.

Memory is a whole number and a unit: `K`, `M`, `G`, `T`, also written `KB` or `KiB`. All are powers of 1024, as in
sbatch(1) `--mem-per-cpu`.
"""

import re
from typing import Tuple

from project.core.errors import UserError

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
LONGEST = 3660 * DAY

_SECONDS = (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", 1))
# The schema of the input uses the same expressions; a test compares them.
DURATION_UNITS = r"(?= *[0-9]) *([0-9]{1,9} *[dD] *)?([0-9]{1,9} *[hH] *)?([0-9]{1,9} *[mM] *)?([0-9]{1,9} *[sS] *)?"
DURATION_CLOCK = r" *([0-9]{1,9}-[0-9]{1,2}(:[0-9]{1,2}){0,2}|[0-9]{1,9}(:[0-9]{1,2}){1,2}) *"
_UNITS = re.compile(DURATION_UNITS)
_CLOCK = re.compile(DURATION_CLOCK)
_DURATION_HINT = "Write it as 1d2h30m, 90s or HH:MM:SS."

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB
MOST = 1024 * 1024 * TIB

_BYTES = {"k": KIB, "m": MIB, "g": GIB, "t": TIB}
MEMORY = r" *([0-9]{1,18}) *([kKmMgGtT])([iI]?[bB])? *"
_MEMORY = re.compile(MEMORY)
_MEMORY_HINT = "Write it as 2625M or 4G; the units are K, M, G, T (or KiB, MiB, GiB, TiB)."


def parse_duration(text: str) -> int:
    """The seconds in `text`, at least 1. Raises UserError."""
    shown = text.strip()
    if _UNITS.fullmatch(text):
        seconds = sum(int(number) * size for number, size in _unit_parts(text))
    elif _CLOCK.fullmatch(text):
        seconds = _clock_seconds(shown)
    else:
        raise UserError("'{}' is not a duration.".format(shown), _duration_hint(shown))
    if seconds < 1:
        raise UserError("The duration '{}' is zero.".format(shown), "Give the time that the job may take.")
    if seconds > LONGEST:
        raise UserError("The duration '{}' is longer than ten years.".format(shown), _DURATION_HINT)
    return seconds


def _unit_parts(text: str) -> Tuple[Tuple[str, int], ...]:
    sizes = dict(_SECONDS)
    return tuple((number, sizes[unit.lower()]) for number, unit in re.findall(r"([0-9]+)\s*([a-zA-Z])", text))


def _clock_seconds(text: str) -> int:
    days, dash, rest = text.rpartition("-")
    fields = [int(field) for field in rest.split(":")]
    sizes = [HOUR, MINUTE, 1]
    if dash:
        # sbatch reads D-HH, D-HH:MM, D-HH:MM:SS from the left.
        fields = [int(days), *fields, *[0] * (3 - len(fields))]
        sizes = [DAY, *sizes]
    sizes = sizes[-len(fields) :]
    if any(field * size >= above for field, size, above in zip(fields[1:], sizes[1:], sizes)):
        raise UserError(
            "'{}' is not a duration: a field after the first one is too large.".format(text),
            "Minutes and seconds go up to 59, hours after a day up to 23.",
        )
    return sum(field * size for field, size in zip(fields, sizes))


def _duration_hint(text: str) -> str:
    return _hint(text, "write {0}m for minutes or {0}s for seconds", "; the units are d, h, m and s", _DURATION_HINT)


def _hint(text: str, write: str, units: str, form: str) -> str:
    """What is wrong with a number and its unit; `write` tells how it is written with one."""
    if re.fullmatch(r"[0-9]+", text):
        return "It has no unit: {}.".format(write.format(text))
    if re.fullmatch(r"[-+].*", text):
        return "It cannot be negative."
    found = re.fullmatch(r"[0-9]+\s*([a-zA-Z]+)", text)
    if found:
        return "There is no unit '{}'{}. {}".format(found.group(1), units, form)
    return form


def duration_text(seconds: int) -> str:
    """Seconds in MASI-TFE's form: `1d2h30m`; `0s` for nothing."""
    parts = []
    rest = seconds
    for unit, size in _SECONDS:
        count, rest = divmod(rest, size)
        if count:
            parts.append("{}{}".format(count, unit))
    return "".join(parts) or "0s"


def clock(seconds: int) -> str:
    """Seconds in sbatch's form: `D-HH:MM:SS`, without the days below one day."""
    days, rest = divmod(seconds, DAY)
    hours, rest = divmod(rest, HOUR)
    text = "{:02d}:{:02d}:{:02d}".format(hours, *divmod(rest, MINUTE))
    return "{}-{}".format(days, text) if days else text


def parse_memory(text: str) -> int:
    """The bytes in `text`, at least 1024. Raises UserError."""
    shown = text.strip()
    found = _MEMORY.fullmatch(text)
    if not found:
        raise UserError("'{}' is not an amount of memory.".format(shown), _memory_hint(shown))
    size = int(found.group(1)) * _BYTES[found.group(2).lower()]
    if size < 1:
        raise UserError("The memory '{}' is zero.".format(shown), "Give what the job needs, or leave the key out.")
    if size > MOST:
        raise UserError("The memory '{}' is more than an exabyte.".format(shown), _MEMORY_HINT)
    return size


def _memory_hint(text: str) -> str:
    return _hint(text, "write {0}M or {0}G", "", _MEMORY_HINT)


def memory_text(size: int) -> str:
    """Bytes with the largest unit that keeps the number whole: `4G`, `2625M`; rounded up to whole `K`."""
    kib = -(-size // KIB)
    for unit in ("K", "M", "G", "T"):
        if kib % KIB or unit == "T" or not kib:
            return "{}{}".format(kib, unit)
        kib //= KIB
    return "{}T".format(kib)
