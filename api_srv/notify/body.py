"""How a mail looks: one `Content`, as plain text and as HTML. Pure."""

import textwrap
from dataclasses import dataclass, field
from html import escape

# Ink and ground of a state: dark enough on white, and the state stands beside it as a word.
COLOURS = {
    "queued": "#6b5b00",
    "running": "#0b57b0",
    "finished": "#176f2c",
    "failed": "#b3261e",
    "error": "#b3261e",
    "errors": "#b3261e",
    "cancelled": "#5f5f68",
    "blocked": "#9a4a00",
}
MARKS = {
    "finished": "✓",
    "failed": "✗",
    "error": "!",
    "errors": "!",
    "running": "▶",
    "queued": "…",
    "cancelled": "■",
    "blocked": "‖",
}
_MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,monospace"
_SANS = "-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"


@dataclass(frozen=True)
class Content:
    """What a mail says.

    `facts` are label and value, `listing` lines shown as they are under `listing_title`, `commands` what to type and what that does.
    """

    title: str
    word: str
    sentence: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    message: str = ""
    listing_title: str = ""
    listing: tuple[str, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    link: str = ""
    footer: str = field(
        default="Sent by jobferry. The key “notify” of the input file chooses which changes are mailed."
    )


def text(content: Content) -> str:
    """The mail as plain text."""
    parts = [f"{content.title}: {content.word}"]
    if content.sentence:
        parts.append(_fill(content.sentence))
    if content.message:
        parts.append("\n".join(_fill(line) for line in content.message.splitlines()))
    if content.facts:
        width = max(len(label) for label, _ in content.facts)
        parts.append("\n".join(f"  {label:<{width}}  {value}" for label, value in content.facts))
    if content.listing:
        parts.append("\n".join([content.listing_title + ":", *("  | " + line for line in content.listing)]))
    if content.commands:
        lines = [f"  {command}\n      {what}" for command, what in content.commands]
        parts.append("\n".join(["What to type next:", *lines]))
    if content.link:
        parts.append("On the web: " + content.link)
    parts.append("-- \n" + content.footer)
    return "\n\n".join(parts) + "\n"


def html(content: Content) -> str:
    """The mail as one HTML page: no picture, no script, nothing from elsewhere, one column that fits a phone."""
    colour = COLOURS.get(content.word, "#444950")
    mark = MARKS.get(content.word, "•")
    inner = [
        f'<p style="margin:0 0 4px;font-size:13px;font-weight:600;color:{colour}">{mark}&nbsp; {escape(content.word)}</p>',
        f'<h1 style="margin:0 0 12px;font-size:20px;line-height:1.3;overflow-wrap:anywhere">{escape(content.title)}</h1>',
    ]
    if content.sentence:
        inner.append(f'<p style="margin:0 0 12px">{escape(content.sentence)}</p>')
    if content.message:
        lines = escape(content.message).replace("\n", "<br>")
        inner.append(
            f'<p style="margin:0 0 16px;padding:10px 12px;border-left:3px solid {colour};background:#f6f7f9;color:#1d2125;'
            f'overflow-wrap:anywhere">{lines}</p>'
        )
    inner.append(_facts(content.facts))
    if content.listing:
        inner.extend([_heading(content.listing_title), _listing(content.listing)])
    if content.commands:
        inner.append(_heading("What to type next"))
        inner.extend(_command(command, what) for command, what in content.commands)
    if content.link:
        address = escape(content.link, quote=True)
        inner.append(
            f'<p style="margin:20px 0 0"><a href="{address}" style="color:{colour};font-weight:600">Look at the job</a></p>'
        )
    inner.append(
        '<p style="margin:24px 0 0;padding-top:12px;border-top:1px solid #d8dce2;font-size:12px;color:#6b7280">'
        f"{escape(content.footer)}</p>"
    )
    body = "\n".join(part for part in inner if part)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light">'
        f"<title>{escape(content.title)}</title></head>\n"
        '<body style="margin:0;padding:16px;background:#eef0f3;color:#1d2125;'
        f'font:15px/1.5 {_SANS}">\n'
        '<div style="max-width:600px;margin:0 auto;padding:20px;background:#ffffff;border-radius:8px;'
        f'border-top:4px solid {colour}">\n{body}\n</div></body></html>\n'
    )


def _fill(line: str) -> str:
    return textwrap.fill(line, 78, break_long_words=False, break_on_hyphens=False) if line.strip() else ""


def _heading(title: str) -> str:
    return f'<h2 style="margin:20px 0 6px;font-size:14px;font-weight:600">{escape(title)}</h2>'


def _facts(facts: tuple[tuple[str, str], ...]) -> str:
    if not facts:
        return ""
    rows = "".join(
        '<tr><th scope="row" style="padding:3px 16px 3px 0;text-align:left;vertical-align:top;font-weight:400;color:#5b6470;'
        f'white-space:nowrap">{escape(label)}</th>'
        f'<td style="padding:3px 0;vertical-align:top;overflow-wrap:anywhere">{escape(value)}</td></tr>'
        for label, value in facts
    )
    return f'<table style="border-collapse:collapse;font-size:14px">{rows}</table>'


def _listing(lines: tuple[str, ...]) -> str:
    return (
        f'<pre style="margin:0;padding:10px 12px;background:#f6f7f9;color:#1d2125;border-radius:6px;font:12px/1.5 {_MONO};'
        f'white-space:pre-wrap;overflow-wrap:anywhere">{escape(chr(10).join(lines))}</pre>'
    )


def _command(command: str, what: str) -> str:
    return (
        f'<p style="margin:0 0 8px"><code style="font:13px/1.5 {_MONO};overflow-wrap:anywhere">{escape(command)}</code><br>'
        f'<span style="font-size:13px;color:#5b6470">{escape(what)}</span></p>'
    )
