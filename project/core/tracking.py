"""What is known about a submitted job: a verdict from the scheduler's answers and the batch script's facts. Pure.

The watcher's round, for all jobs at once::

    queue = scheduler.parse_queue(…)                  # None when it gave no answer
    ids = wanted(document, queue, known)              # per job; [] = nothing to ask the accounting
    history = scheduler.parse_history(…)              # all jobs' ids in one query; None when it was not asked or gave no answer
    verdict = judge(document, queue, history, ends.read_facts(texts), age, known)
    known, age = verdict.ended, age.after(seconds since the last round, verdict)

`known` and `age` may be forgotten (a new watcher starts with `{}` and `Age()`): that costs a query and some waiting.

The rules. The queue's word counts for what lives, the accounting's for what has ended; the queue lists ends too for a while.
Nothing is ended because it is missing: without the accounting, the batch script's own exit code is taken after GRACE (with a
note); without that, the job stays as it was until both have answered for LOST seconds (RUNAWAY, when the accounting still
calls it running) without knowing it: then it is `lost`.
A row that bears another job's name is another job: an id is used again when a controller lost its state. No clock of one
machine is compared with a clock of another: `age` is the watcher's own count of seconds.
"""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from project.core import ends, states
from project.core.ends import Fact
from project.core.schedulers import base
from project.core.schedulers.base import Element

# Seconds. The accounting lags up to 5 s behind; after GRACE other evidence is taken.
SHORT = 1.0
GRACE = 10.0
SIGNALLED = 600.0
LOST = 3600.0
# The accounting says that it lives, the queue does not know it: a controller that lost its state leaves that behind.
RUNAWAY = 24 * 3600.0
# A round counts for at most this much, so that a machine that slept does not pass for a long silence.
ROUND = 120.0
# More elements than this are asked for as a whole job.
ASK_EACH = 100

# Ends that Slurm may follow by another run of the same job.
_PASSING = ("node_failure", "preempted")
# Ends of which the accounting often knows more: a step that ran out of memory, who cancelled.
_COARSE = ("exit_code", "cancelled_by_scheduler", "node_failure", "preempted")

Ended = Dict[Optional[int], Element]


class Verdict(NamedTuple):
    """What a job is, as far as it is known.

    `state`: QUEUED, PAUSED, RUNNING, FINISHED, FAILED, CANCELLED, or "" = nothing new is known, leave it as it is.
    FINISHED means that every element ended well; what follows it (postprocessing) is the watcher's.
    `message` of a live job may change from round to round (a reason for waiting): alone it is worth no event.
    `job_status`: MASI-TFE's form, each value a list with an entry per element; worth an event when it changed.
    `notes`: what the history should say besides. `run`: the highest run that has started, 0 = none.
    `ended`: the elements whose end is known, to be given to the next `judge`; `unresolved`: how many are in doubt.
    `answered`: the queue gave an answer; `silent`: the accounting did too, and there still is doubt.
    """

    state: str
    condition: Optional[str] = None
    exit_code: Optional[int] = None
    message: str = ""
    job_status: Dict[str, List[str]] = {}
    notes: Sequence[str] = ()
    run: int = 0
    ended: Ended = {}
    unresolved: int = 0
    answered: bool = True
    silent: bool = False


class Age(NamedTuple):
    """How long there has been doubt about some elements: by the queue's answers, and by both the queue's and the accounting's."""

    gone: float = 0.0
    silent: float = 0.0
    unresolved: int = 0

    def after(self, seconds: float, verdict: Verdict) -> "Age":
        """The age for the next round, `seconds` after this one began (the watcher's own monotonic clock)."""
        if not verdict.answered:
            return self
        if verdict.unresolved == 0:
            return Age()
        if verdict.unresolved > self.unresolved:
            return Age(unresolved=verdict.unresolved)
        passed = min(max(seconds, 0.0), ROUND)
        silent = self.silent + passed if verdict.silent else self.silent
        return Age(self.gone + passed, silent, verdict.unresolved)


def array_size(document: Mapping[str, Any]) -> Optional[int]:
    """The number of elements, None for a job that is no array."""
    size = ((document.get("user_input") or {}).get("resources") or {}).get("nbr_jobs_in_array")
    return size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else None


def wanted(
    document: Mapping[str, Any], queue: Optional[Sequence[Element]], known: Mapping[Optional[int], Element]
) -> List[str]:
    """The native ids to ask the accounting for: of what the queue does not show alive and whose end is not known yet."""
    native_id = document.get("native_id")
    if queue is None or not native_id:
        return []
    rows = _rows(document, queue)
    open_ones = [index for index in _indices(document) if not _alive(rows.get(index)) and not (known.get(index))]
    if not open_ones:
        return []
    if array_size(document) is None or len(open_ones) > ASK_EACH:
        return [str(native_id)]
    return ["{}_{}".format(native_id, index) for index in open_ones]


def judge(
    document: Mapping[str, Any],
    queue: Optional[Sequence[Element]],
    history: Optional[Sequence[Element]],
    facts: Mapping[Optional[int], Fact],
    age: Age,
    known: Mapping[Optional[int], Element],
) -> Verdict:
    """The verdict on one job; `queue` and `history` may hold other jobs' rows too."""
    if queue is None:
        return Verdict("", message="the workload manager's queue gave no answer", ended=dict(known), answered=False)
    in_queue = _rows(document, queue)
    in_history = _rows(document, history or ())
    case = _Case(history is not None, age)
    found = {}  # type: Dict[Optional[int], Element]
    doubtful = {}  # type: Dict[Optional[int], Element]
    for index in _indices(document):
        row, record = in_queue.get(index), in_history.get(index)
        if not _alive(row) and index in known:
            found[index] = known[index]
            continue
        element = case.resolve(row, record, facts.get(index))
        if element is not None:
            found[index] = element
        else:
            doubtful[index] = row or record or _nothing(document, index)
    return _sum_up(document, found, doubtful, facts, case)


def _sum_up(
    document: Mapping[str, Any],
    found: Dict[Optional[int], Element],
    doubtful: Dict[Optional[int], Element],
    facts: Mapping[Optional[int], Fact],
    case: "_Case",
) -> Verdict:
    ended = {index: element for index, element in found.items() if element.state == base.DONE}
    ended = {index: ends.completed(element, facts.get(index)) for index, element in ended.items()}
    every = dict(found)  # type: Dict[Optional[int], Element]
    every.update(ended)
    every.update(doubtful)
    run = max([fact.run for fact in facts.values()] or [0])
    if any(element.state == base.RUNNING for element in found.values()):
        run = max(run, 1)
    verdict = Verdict(
        "",
        job_status=ends.job_status(every, array_size(document) is not None),
        notes=case.notes(document, ended, facts),
        run=run,
        ended=ended,
        unresolved=len(doubtful),
        silent=case.history_answered and bool(doubtful),
    )
    if not doubtful and len(ended) == len(every):
        state, condition, exit_code, message = ends.total(document, ended, facts)
        return verdict._replace(state=state, condition=condition, exit_code=exit_code, message=message)
    state, message = _live(found, doubtful, len(every))
    return verdict._replace(state=state, message=message)


def _live(
    found: Mapping[Optional[int], Element], doubtful: Mapping[Optional[int], Element], count: int
) -> Tuple[str, str]:
    """State and message of a job that has not ended, or of which that is not known."""
    by_state = {}  # type: Dict[str, int]
    for element in found.values():
        by_state[element.state] = by_state.get(element.state, 0) + 1
    running, waiting, held, done = (by_state.get(key, 0) for key in (base.RUNNING, base.WAITING, base.HELD, base.DONE))
    reasons = [element.reason for element in found.values() if element.state in (base.WAITING, base.HELD)]
    reason = next((text for text in reasons if text), "")
    if running:
        message = "" if count == 1 else "{} of {} elements run, {} ended".format(running, count, done)
        return states.RUNNING, message
    if waiting and done:
        return states.RUNNING, "{} of {} elements ended, {} wait".format(done, count, waiting)
    if waiting:
        return states.QUEUED, "waits: {}".format(reason) if reason else ""
    if held:
        return states.PAUSED, ends.held_message(reason, next(iter(found.values())).word)
    words = sorted({element.word for element in doubtful.values() if element.word})
    return "", "the workload manager says {}".format(", ".join(words) if words else "nothing about the job")


class _Case:
    """One look at one job: what answered, and for how long there has been doubt."""

    def __init__(self, history_answered: bool, age: Age) -> None:
        self.history_answered = history_answered
        self.age = age
        self._by_script = 0
        self._by_queue = 0

    def resolve(self, row: Optional[Element], record: Optional[Element], fact: Optional[Fact]) -> Optional[Element]:
        """What the element is, None when that is in doubt."""
        if _alive(row):
            return row
        over = record is not None and record.state == base.DONE
        if row is not None and row.state == base.DONE:
            return self._ended_in_queue(row, record if over else None)
        if row is not None:
            # A word that we do not know: only the accounting can tell that it means an end.
            return record if over and record is not None and self.age.gone >= GRACE else None
        if record is not None and over:
            return record if record.condition not in _PASSING or self.age.gone >= GRACE else None
        return self._missing(fact, RUNAWAY if _alive(record) else LOST)

    def _ended_in_queue(self, row: Element, record: Optional[Element]) -> Optional[Element]:
        if record is not None:
            # The accounting may still show how the run before this one ended.
            stale = record.condition in _PASSING and row.condition not in _PASSING
            return record if not stale else (row if self.age.gone >= GRACE else None)
        if row.condition in _COARSE:
            enough = self.age.gone >= GRACE
        else:
            enough = not self.history_answered or self.age.gone >= SHORT
        if not enough:
            return None
        self._by_queue += int(row.condition in _COARSE)
        return row

    def _missing(self, fact: Optional[Fact], patience: float) -> Optional[Element]:
        if fact is not None and fact.ended and self.age.gone >= (SIGNALLED if fact.signal else GRACE):
            self._by_script += 1
            return ends.from_fact(fact)
        if self.age.silent >= patience:
            return Element("", None, "UNKNOWN", base.DONE, "lost")
        return None

    def notes(
        self, document: Mapping[str, Any], ended: Mapping[Optional[int], Element], facts: Mapping[Optional[int], Fact]
    ) -> List[str]:
        notes = ends.disagreements(document, ended, facts)
        if self._by_script:
            notes.append(
                "neither queue nor accounting tells how the job ended; the exit code is the batch script's own"
            )
        if self._by_queue:
            notes.append("the accounting did not tell how the job ended; the queue's word is taken")
        return notes


def _alive(row: Optional[Element]) -> bool:
    return row is not None and row.state in (base.WAITING, base.HELD, base.RUNNING)


def _indices(document: Mapping[str, Any]) -> Sequence[Optional[int]]:
    size = array_size(document)
    return [None] if size is None else range(size)


def _nothing(document: Mapping[str, Any], index: Optional[int]) -> Element:
    native_id = str(document.get("native_id") or "")
    return Element(native_id, index, "", base.UNKNOWN)


def _rows(document: Mapping[str, Any], elements: Sequence[Element]) -> Dict[Optional[int], Element]:
    """The rows of this job by index; a row for many elements stands for those that have no row of their own."""
    native_id, uuid = str(document.get("native_id") or ""), str(document.get("job_uuid") or "")
    mine = [one for one in elements if one.native_id == native_id and (not one.name or uuid in one.name)]
    size = array_size(document)
    found = {}  # type: Dict[Optional[int], Element]
    if size is None:
        # Several rows are the components of a heterogeneous job: the one that lives counts.
        found.update((None, one) for one in sorted(mine, key=_alive) if one.index is None and not one.span)
        return found
    for one in mine:
        if one.span:
            found.update((index, one) for index in base.span_indices(one.span) if index < size)
    found.update((one.index, one) for one in mine if one.index is not None and one.index < size)
    return found
