"""Jobs as text: the list, one job's page, its history, what it printed of late."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from project.render import times
from project.render.output import Output, in_full
from project.render.text import STATE_STYLES, clean, fields, plural, seconds, table, wrap

Document = Mapping[str, Any]
SHORT = 8


def short(document: Document) -> str:
    """The first characters of a job's UUID: enough to name it."""
    return str(document.get("job_uuid", ""))[:SHORT]


def waits_for_start(document: Document) -> bool:
    """True for a job that was recorded and that nobody has submitted yet (`run --no-submit`)."""
    waits = str((document.get("plan") or {}).get("waits_for") or "")
    return document.get("state") == "PENDING" and waits.startswith("the user: `start ")


def title(document: Document) -> str:
    """`1f2e3d4c (name)`."""
    name = clean(document.get("name") or "")
    return f"{short(document)} ({name})" if name else short(document)


def listing(documents: Sequence[Document], output: Output) -> str:
    """The table of `ls`. A pipe gets whole UUIDs, a narrow terminal their beginnings."""
    if not documents:
        return ""
    whole = not output.terminal or output.columns >= 110
    rows = []
    for document in documents:
        row = [
            str(document["job_uuid"]) if whole else short(document),
            str(document.get("state", "")),
            document.get("cluster") or "-",
            document.get("name") or "-",
            times.age(document.get("created")),
        ]
        if output.columns >= 110 or not whole:
            row.append(brief(document))
        rows.append(row)
    header = ["JOB", "STATE", "CLUSTER", "NAME", "AGE", "WHY"][: len(rows[0])]
    columns = output.columns if output.terminal else 80
    shrink = (2, 3, 5) if len(header) > 5 else (2, 3)
    return table(header, rows, columns=columns, shrink=shrink, palette=output.palette(), paint={1: STATE_STYLES})


def brief(document: Document) -> str:
    """Why a job is in its state, in a few words; empty when there is nothing to say."""
    condition = document.get("condition")
    if condition in (None, "", "ok"):
        return str(document.get("message") or "") if document.get("state") == "BLOCKED" else ""
    text = str(condition).replace("_", " ")
    if condition == "exit_code" and document.get("exit_code") is not None:
        text = f"exit code {document['exit_code']}"
    return text


def page(document: Document, output: Output) -> str:
    """One job, for `status`."""
    palette = output.palette()
    state = str(document.get("state", ""))
    cluster = clean(document.get("cluster") or "-")
    cluster_document = document.get("destination_cluster") or {}
    hostname = clean(cluster_document.get("hostname") or "") if isinstance(cluster_document, dict) else ""
    told = brief(document)
    pairs = [
        ("job", clean(document.get("job_uuid", ""))),
        ("name", clean(document.get("name") or "")),
        ("state", palette.state(state) + (f" ({clean(told)})" if told else "")),
        ("message", clean(document.get("message") or "")),
        *_plan(document.get("plan")),
        ("exit code", "" if document.get("exit_code") is None else str(document["exit_code"])),
        ("cluster", f"{cluster} ({hostname})" if hostname and hostname != cluster else cluster),
        ("native id", clean(document.get("native_id") or "")),
        ("elements", elements(document)),
        ("tags", " ".join(f"{clean(k)}={clean(v)}" for k, v in sorted((document.get("tags") or {}).items()))),
        ("run", str(document.get("run")) if (document.get("run") or 0) > 1 else ""),
        ("submitted", f"{times.local(document.get('created'))} ({times.age(document.get('created'))} ago)"),
        ("changed", f"{times.local(document.get('updated'))} ({times.age(document.get('updated'))} ago)"),
        ("folder", clean(document.get("job_directory") or "")),
        ("cancelling", "asked for, waiting for the cluster" if document.get("cancel_requested") else ""),
    ]
    if state in ("FINISHED", "FAILED", "CANCELLED"):
        pairs = [pair for pair in pairs if pair[0] != "cancelling"]
    return fields(pairs, columns=output.columns, palette=palette)


def _plan(plan: object) -> list[tuple[str, str]]:
    """What a blocked job waits for, and when it is tried again."""
    if not isinstance(plan, dict):
        return []
    tries = (
        f" (tried {clean(plan['tries'])}x so far, every {clean(plan.get('every') or '?')})" if plan.get("tries") else ""
    )
    return [
        ("waits for", in_full(clean(plan.get("waits_for") or ""))),
        ("next try", f"{times.local(plan['next'])}{tries}" if plan.get("next") else ""),
        ("until", times.local(plan["until"]) if plan.get("until") else ""),
    ]


def elements(document: Document) -> str:
    """How many array elements are in which native state: `12 COMPLETED, 3 FAILED`; empty for a job of one."""
    states = (document.get("job_status") or {}).get("State") or []
    if not isinstance(states, list) or len(states) < 2:
        return ""
    counted: dict[str, int] = {}
    for state in states:
        counted[clean(state)] = counted.get(clean(state), 0) + 1
    return ", ".join(f"{count} {state}" for state, count in counted.items())


# `123_4`, and PBS's `123[4].server`.
_INDEX = re.compile(r"(?:_(\d+)|\[(\d+)\])(\.\S*)?\Z")


def array(document: Document) -> list[tuple[int, str]]:
    """The elements of an array with their native states, by index; [] for a job of one. `?`: no state known yet."""
    from project.core import arrays
    from project.core.resources import array_of

    found: dict[int, str] = {}
    offsets = {place.native_id: place.offset for place in arrays.placed(document)}
    status = document.get("job_status") or {}
    names, states = status.get("JobID"), status.get("State")
    for name, state in zip(
        names if isinstance(names, list) else [], states if isinstance(states, list) else [], strict=False
    ):
        match = _INDEX.search(str(name))
        if match:
            # An array in parts has indices of its own in each.
            own = str(name)[: match.start()] + (f"[]{match.group(3) or ''}" if match.group(2) else "")
            found[int(match.group(1) or match.group(2)) + offsets.get(own, 0)] = clean(state)
    asked = array_of((document.get("user_input") or {}).get("resources"))
    for index in asked.indices()[:MOST_ELEMENTS] if asked else ():
        found.setdefault(index, "?")
    return sorted(found.items())


def failed_elements(document: Document) -> list[int]:
    """The indexes of the elements that ended badly."""
    fine = ("COMPLETED", "RUNNING", "PENDING", "?")
    return [index for index, state in array(document) if not state.startswith(fine)]


MOST_ELEMENTS = 100_000


def story(events: Sequence[Mapping[str, Any]], output: Output) -> str:
    """The history: one line an event, with what belongs to it below."""
    palette = output.palette()
    lines = []
    margin = 21
    for event in events:
        head, *rest = told(event) or [""]
        wrapped = wrap(head, max(40, output.columns - margin))
        stamp = palette.paint("dim", times.local(event.get("time")))
        lines.append(f"{stamp}  {_painted(event, wrapped[0], output)}".rstrip())
        below = [piece for text in rest for piece in wrap(text, max(40, output.columns - margin))]
        lines += [(" " * margin + line).rstrip() for line in [*wrapped[1:], *below]]
    return "\n".join(lines)


def _painted(event: Mapping[str, Any], text: str, output: Output) -> str:
    state = str(event.get("state") or "")
    return output.palette().state(state, text) if state else text


def told(event: Mapping[str, Any]) -> list[str]:
    """An event in words: a first line, and lines that go below it."""
    data = event.get("data") or {}
    kind = event.get("kind")
    message = clean(event.get("message") or "")
    state = clean(event.get("state") or "")
    if kind == "command":
        return [_command(data), *_tail(data.get("output"))]
    if kind == "module":
        return [_module(data), *_tail(data.get("stderr")), *_changes(data.get("changed"))]
    if kind == "cluster" and data:
        return [_chosen(data, message), *_rejected(data)]
    if kind == "input" and not message:
        return ["the staging modules changed the input"]
    if kind == "native" and not state:
        return [message or _native(event)]
    condition = clean(event.get("condition") or "")
    head = state
    if condition and condition != "ok":
        head += f" ({condition})"
    if message:
        head = f"{head}: {message}" if head else message
    return [head or clean(kind or "event")]


def _native(event: Mapping[str, Any]) -> str:
    found = event.get("set") or {}
    if found.get("native_id"):
        return f"native id {clean(found['native_id'])}"
    states = (found.get("job_status") or {}).get("State") or []
    return "the workload manager says " + ", ".join(sorted({clean(state) for state in states})) if states else "native"


def _command(data: Mapping[str, Any]) -> str:
    took = _took(data)
    result = data.get("exit_status")
    end = "" if result in (0, None) else f", exit status {clean(result)}"
    return f"{clean(data.get('stage') or 'command')}: {clean(data.get('command') or '')}{took}{end}"


def _module(data: Mapping[str, Any]) -> str:
    result = data.get("exit_status")
    end = "" if result in (0, None) else f", exit status {clean(result)}"
    index = f" {clean(data['index'])}" if data.get("index") is not None else ""
    return f"{clean(data.get('stage') or '')} module{index} {clean(data.get('module') or '')}{_took(data)}{end}".strip()


def _took(data: Mapping[str, Any]) -> str:
    duration = data.get("duration")
    return f" ({seconds(float(duration))})" if isinstance(duration, (int, float)) else ""


def _tail(text: object, count: int = 10) -> list[str]:
    lines = str(text or "").rstrip("\n").split("\n") if text else []
    cut = [f"(… {plural(len(lines) - count, 'line')} before)"] if len(lines) > count else []
    return ["| " + clean(line) for line in [*cut, *lines[-count:]]]


def _changes(changed: object) -> list[str]:
    if not changed:
        return []
    names = changed if isinstance(changed, (list, tuple)) else list(changed) if isinstance(changed, dict) else [changed]
    return ["changed " + ", ".join(clean(name) for name in names)]


def _chosen(data: Mapping[str, Any], message: str) -> str:
    chosen = clean(data.get("chosen") or "none")
    reason = clean(data.get("reason") or "") or message
    return f"cluster {chosen}" + (f": {reason}" if reason else "")


def _rejected(data: Mapping[str, Any]) -> list[str]:
    rejected = [entry for entry in data.get("rejected") or [] if isinstance(entry, dict)]
    return [f"not {clean(entry.get('name', '?'))}: {clean(entry.get('reason', ''))}" for entry in rejected]
