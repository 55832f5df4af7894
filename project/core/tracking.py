"""What is known about a submitted job: a verdict from the scheduler's answers and the batch script's facts. Pure.

The watcher's round, for all jobs at once::

    queue = scheduler.parse_queue(…)                  # None when it gave no answer
    ids = wanted(document, queue, known)              # per job; [] = nothing to ask the accounting
    history = scheduler.parse_history(…)              # all jobs' ids in one query; None when it was not asked or gave no answer
    verdict = judge(document, queue, history, ends.read_facts(texts), age, known, scheduler.keeps_history, wished)
    known, age = verdict.ended, age.after(seconds since the last round, verdict)

`known` and `age` may be forgotten (a new watcher starts with `{}` and `Age()`): that costs a query and some waiting.

The rules. The queue's word counts for what lives, the accounting's for what has ended; the queue lists ends too for a while.
Nothing is ended because it is missing: without the accounting, the batch script's own exit code is taken after GRACE (with a
note); without that, the job stays as it was until both have answered for LOST seconds (RUNAWAY, when the accounting still
calls it running) without knowing it: then it is `lost`.
A manager that keeps no history (`Scheduler.keeps_history`): the batch script's exit code is taken at once when the queue does not
show the job any more, and a job that left the queue without one is `lost` after GRACE, or cancelled when that was wished.
A manager whose accounting has only jobs that began (Grid Engine): one that is nowhere and never began was cancelled, when that
was wished, or when the queue says at least that it is over (a row with the condition `lost`).
A row that bears another job's name is another job: an id is used again when a controller lost its state. No clock of one
machine is compared with a clock of another: `age` is the watcher's own count of seconds.
"""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from project.core import arrays, ends, states
from project.core.arrays import Placed
from project.core.ends import Fact
from project.core.resources import Array, array_of
from project.core.schedulers import base
from project.core.schedulers.base import Element

# Seconds. The accounting lags up to 5 s behind; after GRACE other evidence is taken.
SHORT = 1.0
GRACE = 10.0
SIGNALLED = 600.0
# The queue says that it is over, nobody says how, and no line of its script was run: facts of another host may come late.
UNBEGUN = 120.0
LOST = 3600.0
# The accounting says that it lives, the queue does not know it: a controller that lost its state leaves that behind.
RUNAWAY = 24 * 3600.0
# A round counts for at most this much, so that a machine that slept does not pass for a long silence.
ROUND = 120.0
# More elements than this are asked for as a whole job.
ASK_EACH = 100

# What ends a job that is cancelled, as the batch script noted it, and as a shell's exit status (137: KILL).
_ENDING = ("HUP", "INT", "TERM")
_KILLED = (129, 130, 137, 143)

# Ends that Slurm may follow by another run of the same job.
_PASSING = ("node_failure", "preempted")
# Ends of which the accounting often knows more: a step that ran out of memory, who cancelled.
_COARSE = ("exit_code", "cancelled_by_scheduler", "node_failure", "preempted")

_CANCELLED = ("cancelled_by_user", "cancelled_by_scheduler")

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


def elements(document: Mapping[str, Any]) -> Optional[Array]:
    """The array that the document's input asks for, None for a job that is none."""
    return array_of((document.get("user_input") or {}).get("resources"))


def array_size(document: Mapping[str, Any]) -> Optional[int]:
    """The number of elements, None for a job that is no array."""
    array = elements(document)
    return None if array is None else len(array.indices())


def wanted(
    document: Mapping[str, Any], queue: Optional[Sequence[Element]], known: Mapping[Optional[int], Element]
) -> List[str]:
    """The native ids to ask the accounting for: of what the queue does not show alive and whose end is not known yet."""
    places = arrays.placed(document)
    if queue is None or not places:
        return []
    rows = _rows(document, queue)
    open_ones = [index for index in _indices(document) if not _alive(rows.get(index)) and not (known.get(index))]
    if not open_ones:
        return []
    if open_ones == [None]:
        return [places[0].native_id]
    where = _Where(document)
    found = [where.of(index) for index in open_ones if index is not None]
    never = any(index in rows and rows[index].span for index in open_ones)
    if len(open_ones) > ASK_EACH or never:
        # Elements that ended before they started have no rows of their own in Slurm's accounting.
        return list(dict.fromkeys(native_id for native_id, _ in found))
    return ["{}_{}".format(native_id, index) for native_id, index in found]


def judge(
    document: Mapping[str, Any],
    queue: Optional[Sequence[Element]],
    history: Optional[Sequence[Element]],
    facts: Mapping[Optional[int], Fact],
    age: Age,
    known: Mapping[Optional[int], Element],
    keeps_history: bool = True,
    wished: bool = False,
) -> Verdict:
    """The verdict on one job; `queue` and `history` may hold other jobs' rows too.

    :param keeps_history: False when nothing is kept of a job that left the queue; `history` is then None.
    :param wished: that its owner asked to cancel it.
    """
    if queue is None:
        return Verdict("", message="the workload manager's queue gave no answer", ended=dict(known), answered=False)
    in_queue = _rows(document, queue)
    in_history = _rows(document, history or ())
    case = _Case(history is not None, age, wished) if keeps_history else _Forgetful(age, wished)
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
            doubtful[index] = row or record or Element("", index, "", base.UNKNOWN)
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
        job_status=ends.job_status(every, _Where(document).of if elements(document) is not None else None),
        notes=case.notes(document, ended, facts),
        run=run,
        ended=ended,
        unresolved=len(doubtful),
        silent=case.history_answered and bool(doubtful),
    )
    if not doubtful and len(ended) == len(every):
        state, condition, exit_code, message = ends.total(document, case.told(ended), facts)
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

    def __init__(self, history_answered: bool, age: Age, wished: bool = False) -> None:
        self.history_answered = history_answered
        self.age = age
        self._wished = wished
        self._by_script = 0
        self._by_queue = 0

    def resolve(self, row: Optional[Element], record: Optional[Element], fact: Optional[Fact]) -> Optional[Element]:
        """What the element is, None when that is in doubt."""
        if _alive(row):
            return row
        over = record is not None and record.state == base.DONE
        vague = row is not None and row.condition == "lost"
        if row is not None and row.state == base.DONE and not vague:
            return self._ended_in_queue(row, record if over else None)
        if row is not None and not vague:
            # A word that we do not know: only the accounting can tell that it means an end.
            return record if over and record is not None and self.age.gone >= GRACE else None
        if record is not None and over:
            return record if record.condition not in _PASSING or self.age.gone >= GRACE else None
        return self._missing(fact, RUNAWAY if _alive(record) else LOST, row)

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

    def _missing(self, fact: Optional[Fact], patience: float, row: Optional[Element]) -> Optional[Element]:
        """`row`: the queue says that it is over, but not how."""
        if fact is not None and fact.ended and self.age.gone >= (SIGNALLED if fact.signal else GRACE):
            self._by_script += 1
            return ends.from_fact(fact)
        end = row or Element("", None, "UNKNOWN", base.DONE, "lost")
        if fact is None and self._wished and self.age.silent >= (SHORT if row else GRACE):
            return end._replace(condition="cancelled_by_user")
        if fact is None and row and self.age.silent >= UNBEGUN:
            return end._replace(condition="cancelled_by_scheduler")
        return end if self.age.silent >= patience else None

    def told(self, ended: Ended) -> Ended:
        """The ends as they are told: a word that does not say who cancelled is the owner's doing when that was wished."""
        if not self._wished:
            return ended
        return {
            index: one._replace(condition="cancelled_by_user")
            if one.condition == "cancelled_by_scheduler" and " by " not in one.word
            else one
            for index, one in ended.items()
        }

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


class _Forgetful(_Case):
    """The same with a manager that keeps nothing of a job that left its queue."""

    def __init__(self, age: Age, wished: bool) -> None:
        super().__init__(False, age, wished)

    def resolve(self, row: Optional[Element], record: Optional[Element], fact: Optional[Fact]) -> Optional[Element]:  # noqa: ARG002
        if row is not None:
            return row if row.state != base.UNKNOWN else None
        if fact is not None and fact.ended:
            found = ends.from_fact(fact)
            killed = not fact.condition and (fact.signal in _ENDING or fact.exit_code in _KILLED)
            return found._replace(condition="cancelled_by_user") if self._wished and killed else found
        if self.age.gone >= GRACE:
            return Element("", None, "UNKNOWN", base.DONE, "cancelled_by_user" if self._wished else "lost")
        return None


def _alive(row: Optional[Element]) -> bool:
    return row is not None and row.state in (base.WAITING, base.HELD, base.RUNNING)


def _indices(document: Mapping[str, Any]) -> Sequence[Optional[int]]:
    array = elements(document)
    return [None] if array is None else array.indices()


class _Where:
    """In which array of the manager the elements are, and what their indices are there (`core.arrays`)."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._places = arrays.placed(document)
        self._known = {}  # type: Dict[int, Placed]
        if len(self._places) > 1:
            for place in self._places:
                self._known.update((index + place.offset, place) for index in Array(place.span).indices())

    def of(self, index: int) -> Tuple[str, int]:
        """The native id and the index there."""
        place = self._known.get(index) or (self._places[0] if self._places else Placed(""))
        return place.native_id, index - place.offset


def _rows(document: Mapping[str, Any], rows: Sequence[Element]) -> Dict[Optional[int], Element]:
    """The rows of this job by the user's index; a row for many elements stands for those that have no row of their own."""
    uuid = str(document.get("job_uuid") or "")
    places = {place.native_id: place for place in arrays.placed(document)}
    mine = [one for one in rows if one.native_id in places and (not one.name or uuid in one.name)]
    array = elements(document)
    found = {}  # type: Dict[Optional[int], Element]
    if array is None:
        # Several rows are the components of a heterogeneous job: the one that lives counts.
        found.update((None, one) for one in sorted(mine, key=_alive) if one.index is None and not one.span)
        return found
    indices = array.indices()
    known = indices if isinstance(indices, range) else frozenset(indices)
    for one in mine:
        place = places[one.native_id]
        offset = place.offset
        if one.index is None and not one.span and one.condition in _CANCELLED:
            # Cancelled while it waited: the row may have no expression any more, and stands for all that never began.
            one = one._replace(span=place.span or array.span)
        try:
            indices_there = list(base.span_indices(one.span)) if one.span else []
        except ValueError:
            # Cut off: it tells of no element for certain.
            continue
        found.update((index + offset, one) for index in indices_there if index + offset in known)
    for one in mine:
        index = None if one.index is None else one.index + places[one.native_id].offset
        if index is not None and index in known:
            found[index] = one
    return found
