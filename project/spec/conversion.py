"""What the readers of other programs' specifications share: fields are taken one by one, and nothing gets lost unseen.

A field that is not known is an error with a suggestion; one that has no counterpart here is an error or a note; every key of
the input that comes out knows the field that it came from, so that a later problem of it is told with the field's place.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from project.core.errors import InputError, Problem
from project.core.resources import KEYS
from project.core.schema import key_text, shown
from project.core.words import did_you_mean

if TYPE_CHECKING:
    from project.core.schedulers.base import Scheduler

_WHOLE = re.compile(r"\s*\+?(\d{1,18})\s*\Z")
_SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./\[\]-]+\Z")

# A script without a shebang is for bash in psik 3 and in PSI/J; where there is none, sh runs it. A bash called as sh stops
# being POSIX's.
BASH_OR_SH = (
    "#!/bin/sh\n"
    'if [ -n "${BASH_VERSION-}" ]; then set +o posix; '
    'elif command -v bash > /dev/null 2>&1; then exec bash "$0" "$@"; fi\n'
)


@dataclass(frozen=True)
class Conversion:
    """An input made of a specification.

    `data` lacks `destination_cluster`: the caller chooses. `sources`: key of the input → field of the specification.
    `notes` are for people: what was added or left out, and why. `backend` is the name of psik 3's backend, `manager` the
    workload manager that psik 1.2's backend names; "" when the specification says neither.
    """

    data: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    backend: str = ""
    manager: str = ""


class Draft:
    """A conversion being made: what was found so far, and what is wrong. `system` is whose specification it is."""

    def __init__(self, system: str, scheduler: Scheduler | None) -> None:
        self.system = system
        self.scheduler = scheduler
        self.data: dict[str, Any] = {}
        self.sources: dict[str, str] = {}
        self.notes: list[str] = []
        self.problems: list[Problem] = []
        self.backend = ""
        self.manager = ""

    def problem(self, key: str, message: str, value: Any = None, hint: str = "") -> None:
        """Note something wrong with the field `key`."""
        self.problems.append(Problem(key, message, value, hint))

    def put(self, key: str, value: Any, source: str) -> None:
        """Set a key of the input (`resources.nodes`); None and "" say nothing."""
        if value is None or value == "":
            return
        holder, _, name = key.rpartition(".")
        (self.data.setdefault(holder, {}) if holder else self.data)[name] = value
        self.sources[key] = source

    def option(self, text: str, source: str) -> None:
        """Add an entry of `scheduler_options`."""
        options = self.data.setdefault("scheduler_options", [])
        self.sources[f"scheduler_options[{len(options)}]"] = source
        self.sources.setdefault("scheduler_options", source)
        options.append(text)

    def default(self, name: str, value: Any, words: str) -> None:
        """Set a need (a field of Resources) that its author left to the other program's default.

        Nobody wrote it, so it is dropped where the workload manager cannot express it or an option says it.
        """
        key = KEYS.get(name, name)
        if key in self.data.get("resources", {}) or self.scheduler is None or name not in self.scheduler.expresses:
            return
        options = self.data.get("scheduler_options", ())
        if any(name in self.scheduler.option_fields(option) for option in options):
            return
        self.put(f"resources.{key}", value, "resources")
        self.notes.append(f"{words} is asked for: {self.system}'s default.")

    def done(self) -> Conversion:
        """The conversion. Raises InputError with every problem; their keys are the specification's."""
        if self.problems:
            raise InputError(self.problems, f"{self.system} specification")
        return Conversion(self.data, self.sources, self.notes, self.backend, self.manager)


class Fields:
    """The fields of one mapping of a specification; `path` is the mapping's own key, "" at the top."""

    def __init__(self, draft: Draft, data: Any, known: Iterable[str], path: str = "") -> None:
        self.draft = draft
        self.path = path
        self.data: dict[str, Any] = data if isinstance(data, dict) else {}
        if data is not None and not isinstance(data, dict):
            draft.problem(path, f"is not a mapping but {shown(data)}.", None)
        known = tuple(known)
        for key in self.data:
            if key not in known:
                hint = did_you_mean(str(key), known) or f"It has: {', '.join(known)}."
                draft.problem(self.at(key), f"is not a field of {draft.system}'s specification.", None, hint)

    def at(self, key: str) -> str:
        """The whole key of a field."""
        text = key_text((str(key),))
        return f"{self.path}{'' if text.startswith('[') else '.'}{text}" if self.path else text

    def text(self, key: str, *, secret: bool = False) -> str:
        """A text; "" when it is not there. `secret`: it is never in a problem."""
        value = self.data.get(key)
        if value is None or isinstance(value, str):
            return value or ""
        self.draft.problem(self.at(key), "is not text." if secret else f"is not text but {shown(value)}.", None)
        return ""

    def whole(self, key: str) -> int | None:
        """A whole number, also one written as text (`"60"`), as pydantic takes it; None when it is not there or 0."""
        value = self.data.get(key)
        number = _number(value)
        if value is not None and number is None:
            self.draft.problem(self.at(key), f"is not a whole number from 0 but {shown(value)}.", None)
        return number or None

    def truth(self, key: str) -> bool | None:
        """True or false; None when it is not there."""
        value = self.data.get(key)
        if value is None or isinstance(value, bool):
            return value
        self.draft.problem(self.at(key), f"is not true or false but {shown(value)}.", None)
        return None

    def mapping(self, key: str, *, secret: bool = False) -> dict[str, Any]:
        """A mapping; empty when it is not there. `secret`: it is never in a problem."""
        value = self.data.get(key)
        if value is not None and not isinstance(value, dict):
            what = "is not a mapping." if secret else f"is not a mapping but {shown(value)}."
            self.draft.problem(self.at(key), what, None)
        return dict(value) if isinstance(value, dict) else {}

    def words(self, key: str, *, secret: bool = False) -> dict[str, str]:
        """A mapping of texts; numbers become text. `secret`: no value is ever in a problem."""
        found = {}
        for name, value in self.mapping(key, secret=secret).items():
            if isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
                found[str(name)] = str(value)
            else:
                what = "is not text." if secret else f"is not text but {shown(value)}."
                self.draft.problem(Fields(self.draft, None, (), self.at(key)).at(name), what)
        return found


def _number(value: Any) -> int | None:
    if isinstance(value, str):
        match = _WHOLE.match(value)
        return int(match.group(1)) if match else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value != value // 1:
        return None
    return int(value)


def option_text(name: str, value: Any) -> str:
    """`--qos` and `x` as one option (`--qos=x`), `-b` and `packed:rs` as another (`-b packed:rs`); no value: a flag."""
    if value is None or value is True or value == "":
        return name
    text = str(value)
    if not _SAFE.match(text):
        text = '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
    return f"{name}={text}" if name.startswith("--") else f"{name} {text}"


def with_shebang(script: str) -> tuple[str, bool]:
    """The script, with a first line that finds its shell when it has none, and whether it had to be given one."""
    script = script.lstrip("\ufeff")
    return (script, False) if script.startswith("#!") else (BASH_OR_SH + script, True)


def shell_words(words: Iterable[str]) -> str:
    """Words as one shell command."""
    return shlex.join(words)


def options_of(draft: Draft, attributes: Mapping[str, Any], at: str) -> None:
    """Attributes whose names are the options themselves (`--qos`, `-b`), as psik has them."""
    for name, value in attributes.items():
        place = Fields(draft, None, (), at).at(name)
        if not str(name).startswith("-"):
            hint = f"psik hands it to the workload manager as it is; write `--{name}`."
            draft.problem(place, "is no option: it does not start with '-'.", None, hint)
        else:
            draft.option(option_text(str(name), value), place)
