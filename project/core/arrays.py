"""Arrays that are more than one array of the workload manager. Pure.

A manager takes arrays of some size and form only (`Scheduler.lowest_index`, `array_lists`, `array_steps`, `base.Limit`). What
does not go into one is split into parts, each an array of its own. The user's index is the manager's plus the part's
offset; only the manager and `parts` of the job document know the other one.
"""

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from project.core.errors import Problem, UserError
from project.core.resources import Array, Resources
from project.core.schedulers.base import Limit, Scheduler

if TYPE_CHECKING:
    from project.core.jobspec import JobSpec

# Arrays within these are not asked about: Slurm's MaxArraySize and LSF's MAX_JOB_ARRAY_SIZE have about this default
# (slurm.conf(5): 1001, so that 1000 is the highest index; lsb.params(5): 1000).
COMMON = Limit(1000, 1000)
# Nobody means more parts than this; each is a job of its own in the queue.
MOST_PARTS = 200


class Part(NamedTuple):
    """One array of the manager: user's index = its index + `offset`. `span` is in its indices."""

    offset: int
    span: str
    throttle: Optional[int] = None

    def array(self) -> Array:
        return Array(self.span, self.throttle)


class Placed(NamedTuple):
    """A part that is in the queue; `span` is "" for a job that is one array, or none."""

    native_id: str
    offset: int = 0
    span: str = ""


def limit_of(scheduler: Scheduler, cluster: Mapping[str, Any]) -> Optional[Limit]:
    """What the cluster's `max_array_size` says; None when it says nothing."""
    size = cluster.get("max_array_size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        return None
    return Limit(size, size - 1 + scheduler.lowest_index)


def common(array: Array, limit: Limit = COMMON) -> bool:
    """True when an array is within the limit, by number and by highest index."""
    indices = array.indices()
    return _room(limit.elements) >= len(indices) and _room(limit.highest) >= indices[-1]


def split(array: Array, limit: Limit, scheduler: Scheduler) -> List[Part]:
    """The parts of an array; one for most. Raises UserError when the throttle cannot be kept, or for far too many parts."""
    indices, lowest = array.indices(), scheduler.lowest_index
    runs = _runs(indices, scheduler.array_steps)
    plain = scheduler.array_lists or len(runs) == 1
    short = _room(scheduler.longest_span) >= len(array.span)
    if plain and short and common(array, limit) and indices[0] >= lowest and _formed(array, scheduler):
        return [Part(0, array.span, array.throttle)]
    pieces = []  # type: List[Tuple[int, Sequence[int]]]
    for run in [indices] if scheduler.array_lists else runs:
        for piece in _pieces(run, limit, lowest):
            pieces += _short_pieces(piece, scheduler)
        if len(pieces) > MOST_PARTS:
            message = "the array '{}' would become more than {} arrays of the workload manager {}."
            hint = "Give each element more to do, or write indices that follow one another."
            raise UserError(message.format(array.text[:100], MOST_PARTS, scheduler.name), hint)
    shares = _shares(array, [len(piece) for _, piece in pieces])
    return [
        Part(offset, _text([index - offset for index in piece], scheduler), share)
        for (offset, piece), share in zip(pieces, shares)
    ]


def problems(spec: "JobSpec", scheduler: Scheduler, cluster: Mapping[str, Any]) -> List[Problem]:
    """What is wrong with the job's array on this cluster, as far as it is known without asking it."""
    array = spec.resources.array
    if array is None or "array" not in scheduler.expresses:
        return []
    try:
        split(array, limit_of(scheduler, cluster) or Limit(), scheduler)
    except UserError as error:
        return [Problem("resources.array", error.message, array.text, error.hint)]
    return []


def _room(value: Optional[int]) -> float:
    return float("inf") if value is None else value


def _formed(array: Array, scheduler: Scheduler) -> bool:
    """True when the manager can say the array in the words that it is written in."""
    return (scheduler.array_lists or "," not in array.span) and (scheduler.array_steps or ":" not in array.span)


def _pieces(indices: Sequence[int], limit: Limit, lowest: int) -> List[Tuple[int, Sequence[int]]]:
    """Cut into pieces that fit, each with its offset; indices stay as they are where that costs no further piece."""
    found = []
    start = 0
    while start < len(indices):
        as_is = _fitting(indices, start, 0, limit, lowest)
        offset = indices[start] - lowest
        moved = _fitting(indices, start, offset, limit, lowest)
        count = max(as_is, moved)
        found.append((0 if as_is >= moved else offset, indices[start : start + count]))
        start += count
    return found


def _short_pieces(piece: Tuple[int, Sequence[int]], scheduler: Scheduler) -> List[Tuple[int, Sequence[int]]]:
    """A piece in halves until the text of each is short enough."""
    if scheduler.longest_span is None:
        return [piece]
    offset, indices = piece
    text = _text([index - offset for index in indices], scheduler)
    if len(text) <= scheduler.longest_span or len(indices) == 1:
        return [piece]
    middle = len(indices) // 2
    halves = ((offset, indices[:middle]), (offset, indices[middle:]))
    return [short for half in halves for short in _short_pieces(half, scheduler)]


def _fitting(indices: Sequence[int], start: int, offset: int, limit: Limit, lowest: int) -> int:
    if indices[start] - offset < lowest:
        return 0
    most = int(min(len(indices) - start, _room(limit.elements)))
    highest = _room(limit.highest) + offset
    if indices[start + most - 1] <= highest:
        return most
    return next(number for number in range(most) if indices[start + number] > highest)


def _shares(array: Array, sizes: Sequence[int]) -> List[Optional[int]]:
    """The throttle over the parts by their size, so that the sum is never more than it."""
    if array.throttle is None:
        return [None] * len(sizes)
    if array.throttle < len(sizes):
        raise UserError(
            "the array '{}' is too large for one array here: it becomes {} of them, of each of which at least one "
            "element runs at once, and no more than {} may.".format(array.text[:100], len(sizes), array.throttle),
            "Let more elements run at once, or make the array smaller.",
        )
    rest, total = array.throttle - len(sizes), sum(sizes)
    shares = [1 + rest * size // total for size in sizes]
    for _ in range(array.throttle - sum(shares)):
        shares[max(range(len(sizes)), key=lambda number: sizes[number] / shares[number])] += 1
    return list(shares)


def _runs(indices: Sequence[int], steps: bool = True) -> List[Sequence[int]]:
    """The indices as runs that have one step each."""
    if isinstance(indices, range) and (steps or indices.step == 1):
        return [indices]
    found = []  # type: List[Sequence[int]]
    start = 0
    while start < len(indices):
        end = start + 1
        step = indices[end] - indices[start] if end < len(indices) else 1
        while end < len(indices) and indices[end] - indices[end - 1] == step:
            end += 1
        if step > 1 and (not steps or end - start < 3):
            end = start + 1
        found.append(indices[start:end])
        start = end
    return found


def _text(indices: Sequence[int], scheduler: Scheduler) -> str:
    texts = []
    for run in _runs(indices, scheduler.array_steps):
        first, last = run[0], run[-1]
        step = run[1] - first if len(run) > 1 else 1
        text = str(first) if first == last else "{}-{}".format(first, last)
        texts.append(text if step == 1 else "{}:{}".format(text, step))
    return ",".join(texts)


def for_part(resources: Resources, part: Part) -> Resources:
    """The resources of one part."""
    return resources._replace(array=part.array())


def part_name(uuid: str, number: int) -> str:
    """What stands for the UUID in the name of part `number` (from 1): each is found by its own name."""
    return "{}.p{}".format(uuid, number)


def placed(document: Mapping[str, Any]) -> List[Placed]:
    """The arrays (or the one job) of a document that are in the queue; nothing when it was not submitted."""
    rows = document.get("parts")
    if isinstance(rows, list) and rows:
        found = [row for row in rows if isinstance(row, dict) and row.get("native_id")]
        return [Placed(str(row["native_id"]), int(row.get("offset") or 0), str(row.get("span") or "")) for row in found]
    native_id = document.get("native_id")
    return [Placed(str(native_id))] if native_id else []


def fields(parts: Sequence[Part], ids: Sequence[str]) -> Dict[str, Any]:
    """What the job document says of them: `parts` when the manager's indices are not simply the user's."""
    found = {"native_id": ",".join(ids)}  # type: Dict[str, Any]
    if len(parts) > 1 or any(part.offset for part in parts):
        found["parts"] = [
            {"native_id": native_id, "offset": part.offset, "span": part.span} for part, native_id in zip(parts, ids)
        ]
    return found
