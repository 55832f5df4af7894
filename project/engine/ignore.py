"""`.jobferryignore`: the syntax of gitignore(5), which see for every rule here."""

import re
from typing import NamedTuple

NAME = ".jobferryignore"
ALWAYS = frozenset((".git",))


class Rule(NamedTuple):
    """One line: what it matches (a path relative to the folder of its file), and what follows from that."""

    base: str
    expression: "re.Pattern[str]"
    keep: bool
    folders_only: bool


def parse(text: str, base: str = "") -> list[Rule]:
    """The rules of one file; `base` is its folder relative to the job's, "" or ending in a slash."""
    rules = []
    for raw in text.splitlines():
        line = re.sub(r"(?<!\\)\s+$", "", raw)
        if not line or line.startswith("#"):
            continue
        keep = line.startswith("!")
        line = line[1:] if keep else line
        folders_only = line.endswith("/")
        line = line.rstrip("/")
        if line:
            rules.append(Rule(base, _expression(line), keep, folders_only))
    return rules


def ignored(path: str, is_folder: bool, rules: list[Rule]) -> bool:
    """True when `path` (relative to the job's folder) stays behind: the last rule that matches decides."""
    for rule in reversed(rules):
        if rule.folders_only and not is_folder:
            continue
        if path.startswith(rule.base) and rule.expression.fullmatch(path[len(rule.base) :]):
            return not rule.keep
    return False


def _expression(line: str) -> "re.Pattern[str]":
    anchored = "/" in line
    parts = line.lstrip("/").split("/")
    text = "" if anchored else "(?:.*/)?"
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            text += ".*" if last else "(?:[^/]*/)*"
        else:
            text += _part(part) + ("" if last else "/")
    return re.compile(text, re.DOTALL)


def _part(part: str) -> str:
    text, place = "", 0
    while place < len(part):
        char = part[place]
        place += 1
        if char == "*":
            text += "[^/]*"
        elif char == "?":
            text += "[^/]"
        elif char == "\\" and place < len(part):
            text += re.escape(part[place])
            place += 1
        elif char == "[" and (match := re.match(r"[!^]?\]?[^\]]*\]", part[place:])):
            inside = match.group()[:-1]
            negated = inside[:1] in {"!", "^"}
            text += "[" + ("^" if negated else "") + re.sub(r"([\\\[])", r"\\\1", inside[negated:]) + "]"
            place += match.end()
        else:
            text += re.escape(char)
    return text
