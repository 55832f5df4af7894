r"""A job's folder: its events, and the record that they add up to.

`events.jsonl` is the truth: one event a line, appended and synced before anything is done because of it. `state/record.json`
is what the events fold to, with the bytes already folded, so that reading a job does not mean reading its history. A crash
between the two, or a line that was cut off, is mended by the next writer. Both change only under the lock `state/lock`.

`state/request.json` is what the client asked for; it does not change, and its presence means that the job is *taken*.
"""

import contextlib
import json
import os
import re
from typing import Any, Dict, Iterator, List, Optional, Tuple

from project.agent import locks, plans, texts
from project.core import files, history, states
from project.core.errors import UserError
from project.core.history import Document, Event
from project.core.paths import JobPaths

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
SOURCE = "agent"


def is_uuid(text: Any) -> bool:
    """True for a UUID in its usual form: nothing else ever becomes a path."""
    return isinstance(text, str) and _UUID.fullmatch(text) is not None


class Record:
    """What is known of a job: its document, the last event's number, what was done.

    `steps`: names of finished steps; `memo`: small things that the agent keeps for itself. Neither is an event.
    """

    def __init__(self, document: Document, seq: int = 0, offset: int = 0) -> None:
        self.document = document
        self.seq = seq
        self.offset = offset
        self.steps: Dict[str, Any] = {}
        self.memo: Dict[str, Any] = {}

    @property
    def state(self) -> str:
        return str(self.document["state"])

    @property
    def final(self) -> bool:
        return self.state in states.FINAL

    @property
    def first_run(self) -> int:
        """The number of the first run: above 1 for a job that was started again as another one (`request.json`)."""
        return max(1, int(self.document.get("run") or 1))

    def to_json(self) -> Dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_json(cls, value: Dict[str, Any]) -> "Record":
        record = cls(value["document"], value["seq"], value["offset"])
        record.steps = value["steps"]
        record.memo = value["memo"]
        return record

    def fold(self, event: Event) -> None:
        self.document, _ = history.fold(self.document, event)
        self.seq = max(self.seq, int(event["seq"]))


class Change:
    """One change of a job, under its lock: events are added, then written together when the block ends well."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.events: List[Event] = []
        self.states: List[Tuple[str, str, Any]] = []

    @property
    def document(self) -> Document:
        return self.record.document

    def add(self, kind: str, **fields: Any) -> Event:
        """Add an event; the record shows it at once."""
        event = history.make(SOURCE, self.record.seq + 1, kind, **fields)
        before = states.PSIK_WORDS[self.record.state]
        self.record.fold(event)
        self.events.append(event)
        if states.PSIK_WORDS[self.record.state] != before or not self.record.memo.get("listed"):
            self.record.memo["listed"] = True
            self.states.append((event["time"], self.record.state, _info(self.record.document)))
        return event

    def move(self, state: str, **fields: Any) -> bool:
        """Change the state if it may follow; False (and nothing added) when it may not or when nothing would change."""
        now = self.record.document
        same = state == now["state"]
        if same and not any(now.get(key) != fields[key] for key in ("condition", "message") if key in fields):
            return False
        if self.record.final or not (same or states.may_follow(now["state"], state)):
            return False
        self.add("state", state=state, **fields)
        return True


class Folder:
    """One job's folder on the cluster."""

    def __init__(self, workdir: str, uuid: str) -> None:
        if not is_uuid(uuid):
            raise UserError("{!r} is not the UUID of a job.".format(uuid))
        self.uuid = uuid
        self.paths = JobPaths(workdir, uuid)

    def __repr__(self) -> str:
        return "Folder({!r})".format(self.paths.folder)

    def exists(self) -> bool:
        return os.path.isdir(self.paths.state)

    def taken(self) -> bool:
        """True when everything has arrived: the job is the agent's."""
        return os.path.exists(self.paths.request)

    def create(self) -> None:
        """Make the folder and its rooms. Idempotent. Raises OSError."""
        os.makedirs(self.paths.workdir, exist_ok=True)
        for path in (self.paths.folder, self.paths.state):
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
        for path in (self.paths.scripts, self.paths.log, self.paths.facts, self.paths.modules):
            with contextlib.suppress(FileExistsError):
                os.mkdir(path)

    def request(self) -> Dict[str, Any]:
        """What the client asked for. Raises UserError when the job is not taken."""
        value = files.read_json(self.paths.request)
        if not isinstance(value, dict):
            raise UserError("The job {} is not known in {}.".format(self.uuid, self.paths.workdir))
        return value

    def read(self) -> Record:
        """The record now, without waiting for a writer; a torn last line is not there yet."""
        record = self._cached()
        for event, end in self._lines(record.offset):
            record.fold(event)
            record.offset = end
        return record

    @contextlib.contextmanager
    def change(self) -> Iterator[Change]:
        """Change the job: events and steps added to the yielded Change are written when the block ends without an error."""
        with locks.held(self.paths.lock):
            self._mend()
            change = Change(self.read())
            before = repr((change.record.steps, change.record.memo))
            yield change
            if not change.events and repr((change.record.steps, change.record.memo)) == before:
                return
            if change.events:
                lines = "\n".join(json.dumps(event, sort_keys=True) for event in change.events)
                files.append_line(self.paths.events, lines)
                change.record.offset = os.stat(self.paths.events).st_size
            files.write_json(self.paths.record, change.record.to_json(), sync=False)
            for stamp, state, info in change.states:
                self._status_row(stamp, change.document.get("run") or 1, state, info)

    def note(self, kind: str, **fields: Any) -> Event:
        """Add one event that changes no state."""
        with self.change() as change:
            return change.add(kind, **fields)

    def step_done(self, name: str) -> bool:
        return name in self.read().steps

    def events_after(self, seq: int, max_bytes: int) -> Tuple[List[Event], bool]:
        """Events with a number above `seq`, of about `max_bytes` at most (at least one), and whether there are more."""
        found: List[Event] = []
        total = start = 0
        for event, end in self._lines(0):
            length, start = end - start, end
            if event["seq"] <= seq:
                continue
            if found and total + length > max_bytes:
                return found, True
            found.append(event)
            total += length
        return found, False

    def events_from(self, offset: int, max_bytes: int, max_count: int) -> Tuple[List[Event], int]:
        """Events from a byte offset on, and the offset after them: a reader that remembers it need not begin again."""
        found: List[Event] = []
        last = offset
        for event, end in self._lines(offset):
            if found and (end - offset > max_bytes or len(found) >= max_count):
                break
            found.append(event)
            last = end
        return found, last

    def _cached(self) -> Record:
        try:
            value = files.read_json(self.paths.record)
            if value is not None:
                return Record.from_json(value)
        except (ValueError, KeyError, TypeError):
            # A power cut can leave it empty: the events are the truth, and steps may be done twice.
            pass
        request = files.read_json(self.paths.request) or {}
        spec = request.get("spec") or {}
        cluster = request.get("cluster") or {}
        fields = {"cluster": cluster.get("name") or "", "job_directory": texts.from_path(self.paths.folder)}
        # psik counts the starts of one job: its jobndx.
        first = request.get("first_run")
        if isinstance(first, int) and first > 1:
            fields["run"] = first
        return Record(history.new_document(self.uuid, spec, **fields))

    def _lines(self, offset: int) -> Iterator[Tuple[Event, int]]:
        try:
            stream = open(self.paths.events, "rb")
        except FileNotFoundError:
            return
        with stream:
            stream.seek(offset)
            for line in stream:
                offset += len(line)
                if not line.endswith(b"\n"):
                    return
                try:
                    event = json.loads(line.decode("utf-8"))
                except ValueError:
                    continue
                if isinstance(event, dict) and isinstance(event.get("seq"), int):
                    yield event, offset

    def _mend(self) -> None:
        """Cut off a last line that a crash or a full disk left unfinished: it was never acknowledged."""
        try:
            stream = open(self.paths.events, "r+b")
        except FileNotFoundError:
            return
        with stream:
            end = keep = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, end - 1))
            if stream.read(1) == b"\n":
                return
            while keep > 0:
                start = max(0, keep - 65536)
                stream.seek(start)
                piece = stream.read(keep - start)
                newline = piece.rfind(b"\n")
                keep = start + newline + 1
                if newline >= 0:
                    break
            if keep != end:
                stream.truncate(keep)

    def _status_row(self, stamp: str, run: int, state: str, info: Any) -> None:
        """One row of psik's history; the batch script writes those of a run's start and end itself, none is written twice."""
        word = states.PSIK_WORDS[state]
        rows = (files.read_text(self.paths.status_csv) or "").split()
        # As in psik: a new job has no run yet.
        run = 0 if word == "new" else run
        if word == "active" or (rows and rows[-1].split(",")[2:3] == [word]):
            return
        files.append_line(self.paths.status_csv, "{:.3f},{},{},{}".format(plans.seconds(stamp), run, word, info))


def _info(document: Document) -> Any:
    """psik's fourth column, a whole number: the native id when queued (its leading digits), else an exit code or 0."""
    if document["state"] == states.QUEUED:
        digits = re.match(r"\d+", str(document.get("native_id") or ""))
        return digits.group() if digits else 0
    code: Optional[int] = document.get("exit_code")
    if code is not None and document["state"] in states.FINAL:
        return code
    return 0
