"""Plain text for terminals: neutral, measured and cut to width, coloured when wanted.

Job names, messages and logs come from other people and other machines. Whatever is shown passes through `clean` (one
line) or `clean_stream` (logs), so that no control sequence of theirs reaches the terminal.
"""

import re
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence

NARROWEST = 40
# Before each line that a program printed.
QUOTED = "  | "
# Controls of C0 and C1, line and paragraph separators, and the characters that change the direction of text
# (a "bidi override" can make one file name look like another). Lone surrogates cannot be encoded.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
_UNSAFE_IN_LOG = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_COLOUR = re.compile("\x1b\\[[0-9;]{0,20}m")
_ESCAPE = re.compile("\x1b")

STYLES = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36", "dim": "2", "bold": "1"}


def _visible(match: "re.Match[str]") -> str:
    code = ord(match.group())
    short = {10: "\\n", 13: "\\r", 9: "\\t"}.get(code)
    if short:
        return short
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def clean(value: object) -> str:
    """One harmless line: every control character is shown by its number instead of being obeyed."""
    return _UNSAFE.sub(_visible, str(value))


def clean_block(value: object) -> str:
    """Some harmless lines: as `clean`, but line ends stay and tabs become spaces."""
    lines = str(value).replace("\r\n", "\n").split("\n")
    return "\n".join(clean(line.expandtabs(4)) for line in lines)


def clean_stream(text: str, *, colour: bool) -> str:
    """A piece of a log for a terminal. Line ends and tabs stay; colours stay if `colour`; the rest is shown by number."""
    text = _UNSAFE_IN_LOG.sub(_visible, text.replace("\r\n", "\n"))
    kept = []
    last = 0
    for match in _COLOUR.finditer(text):
        kept.append(_ESCAPE.sub("\\\\x1b", text[last : match.start()]))
        kept.append(match.group() if colour else "")
        last = match.end()
    kept.append(_ESCAPE.sub("\\\\x1b", text[last:]))
    return "".join(kept)


def width(text: str) -> int:
    """Columns that a clean line takes on a terminal."""
    if text.isascii():
        return len(text)
    total = 0
    for character in text:
        if unicodedata.combining(character) or unicodedata.category(character) == "Cf":
            continue
        total += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return total


def cut(text: str, columns: int) -> str:
    """The text, shortened with `…` to at most that many columns."""
    if width(text) <= columns:
        return text
    if columns < 1:
        return ""
    kept = ""
    for character in text:
        if width(kept + character) > columns - 1:
            break
        kept += character
    return kept.rstrip() + "…"


def folded(text: str, columns: int) -> list[str]:
    """A clean line in pieces of at most that many columns, broken anywhere: together they are the line."""
    pieces, taken = [""], 0
    for character in text:
        at = width(character)
        if taken + at > columns and pieces[-1]:
            pieces.append("")
            taken = 0
        pieces[-1] += character
        taken += at
    return pieces


def quoted(line: str, columns: int) -> list[str]:
    """A clean line that a program printed: in pieces that fit, none of its spaces moved. `columns` 0: whole."""
    first, *rest = folded(line, max(NARROWEST // 2, columns - len(QUOTED))) if columns else [line]
    return [QUOTED + first, *("  ┊ " + piece for piece in rest)]


def pad(text: str, columns: int) -> str:
    """The text, filled with spaces to that many columns."""
    return text + " " * max(0, columns - width(text))


class Palette:
    """Colours, or none of them (`NO_COLOR`, `--no-color`, not a terminal)."""

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled

    def paint(self, style: str, text: str) -> str:
        """The text in a style of `STYLES`."""
        if not self.enabled or style not in STYLES or not text:
            return text
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m"

    def state(self, state: str, text: str = "") -> str:
        """A state in its colour."""
        return self.paint(STATE_STYLES.get(state, ""), text or state)


STATE_STYLES = {
    "FINISHED": "green",
    "FAILED": "red",
    "CANCELLED": "yellow",
    "BLOCKED": "yellow",
    "PAUSED": "yellow",
    "RUNNING": "cyan",
}
PLAIN = Palette(enabled=False)


def _widths(rows: Sequence[Sequence[str]], columns: int, shrink: Sequence[int]) -> list[int]:
    """Natural widths, taken back from the columns in `shrink` (first to give is the last named) until they fit."""
    count = max(len(row) for row in rows)
    widths = [max(width(row[at]) for row in rows if at < len(row)) for at in range(count)]
    over = sum(widths) + 2 * (count - 1) - columns
    for at in reversed(shrink):
        if over <= 0:
            break
        give = min(over, max(0, widths[at] - 8))
        widths[at] -= give
        over -= give
    return widths


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    columns: int = 80,
    shrink: Sequence[int] = (),
    palette: Palette = PLAIN,
    paint: "dict[int, dict[str, str]] | None" = None,
) -> str:
    """A table of at most `columns` columns. `shrink` names the ones that may be shortened, `paint` a column's styles by value."""
    body = [[clean(cell) for cell in row] for row in rows]
    if not body:
        return ""
    widths = _widths([list(header), *body], columns, shrink)
    lines = [palette.paint("bold", "  ".join(pad(text, at) for text, at in zip(header, widths, strict=True)).rstrip())]
    for row in body:
        cells = []
        for at, cell in enumerate(row):
            text = pad(cut(cell, widths[at]), widths[at])
            styles = (paint or {}).get(at, {})
            cells.append(palette.paint(styles.get(cell, ""), text))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def fields(
    pairs: Iterable["tuple[str, object]"], *, columns: int = 80, palette: Palette = PLAIN, below: bool = False
) -> str:
    """`name: value` lines with the values in one column; long values go on below, empty ones are left out.

    :param below: a path too long for the column has lines of its own (on a terminal; programs want it beside its name).
    """
    shown = [(name, str(value)) for name, value in pairs if value not in (None, "", [], {})]
    if not shown:
        return ""
    margin = max(width(name) for name, _ in shown) + 2
    lines = []
    for name, value in shown:
        wrapped = wrap(value, max(NARROWEST, columns - margin))
        if not below or max(map(width, wrapped)) <= max(NARROWEST, columns - margin):
            lines.append(palette.paint("dim", pad(name, margin)) + wrapped[0])
            lines.extend(" " * margin + line for line in wrapped[1:])
        else:
            # A long path stays whole, and has more room on lines of its own.
            lines.append(palette.paint("dim", name))
            lines.extend("  " + line for line in wrap(value, columns - 2))
    return "\n".join(lines)


_COMMAND = re.compile(r"`[^`\n]*`")
_GLUE = "\0"


def wrap(text: str, columns: int) -> list[str]:
    """Lines of at most `columns`, broken at spaces only and never inside backticks: paths and commands can be copied."""

    def glue(match: "re.Match[str]") -> str:
        return match.group().replace(" ", _GLUE) if width(match.group()) < columns else match.group()

    glued = _COMMAND.sub(glue, text)
    lines: list[str] = []
    for part in glued.split("\n"):
        lines.extend(textwrap.wrap(part, columns, break_long_words=False, break_on_hyphens=False) or [""])
    return [line.replace(_GLUE, " ") for line in lines]


def plural(count: int, noun: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def size(count: float) -> str:
    """Bytes for people: `512 B`, `1.5 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def seconds(count: float) -> str:
    """A duration for people: `0.3 s`, `42 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`."""
    if count < 10:
        return f"{max(0.0, count):.1f} s"
    whole = int(count)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
