"""What a job needs of its cluster: the input's `resources`, in MASI-TFE's words and in the field's, normalised. Pure.

Every need has one key; `ALIASES` are other names for it. Which of them a workload manager can express is told by its
`Scheduler.expresses`, by these names (the fields of Resources).
"""

import datetime
import re
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from project.core import schema, units
from project.core.errors import Problem, UserError

# Another name → the name; each means exactly the same.
ALIASES = {
    "nbr_of_nodes": "nodes",
    "nbr_processes": "ranks",
    "nbr_threads_per_process": "threads_per_rank",
    "memory_per_thread": "memory_per_cpu",
    "walltime": "duration",
    "partition": "queue",
    "project": "account",
    "features": "constraint",
    "licences": "licenses",
    "start_after": "begin",
}
# More elements than this are refused: nobody means them.
MOST_ELEMENTS = 1000000
HIGHEST_INDEX = 2**31 - 2

# sbatch(1), --array: single indices and ranges with a step, then how many may run at once. The schema uses the same one.
ARRAY = r" *[0-9]{1,9}(-[0-9]{1,9}(:[0-9]{1,9})?)?( *, *[0-9]{1,9}(-[0-9]{1,9}(:[0-9]{1,9})?)?)*( *% *[0-9]{1,9})? *"
# ISO 8601, to the minute at least; without a zone it is the cluster's time.
BEGIN = r" *[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:?[0-9]{2})?)? *"
SIGNAL = r" *(?:SIG)?[A-Za-z][A-Za-z0-9+]{1,9} *@ *[^@]+"
_PART = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?\Z")
# What a job can catch and still mean by it (signal(7)).
SIGNALS = ("HUP", "INT", "QUIT", "USR1", "USR2", "TERM", "CONT", "XCPU", "ALRM", "URG")


class Array(NamedTuple):
    """The elements of an array job. `span` is normalised (`0-99`, `1,5-9:2`), `throttle` how many may run at once."""

    span: str
    throttle: Optional[int] = None

    def indices(self) -> Sequence[int]:
        """Every index, ascending, each once."""
        parts = _parts(self.span)
        if len(parts) == 1:
            return range(parts[0][0], parts[0][1] + 1, parts[0][2])
        return sorted({index for first, last, step in parts for index in range(first, last + 1, step)})

    @property
    def text(self) -> str:
        """As sbatch(1) writes it: `0-99%10`."""
        return self.span if self.throttle is None else "{}%{}".format(self.span, self.throttle)


class Signal(NamedTuple):
    """A warning before the time limit: `name` without SIG, `seconds` before it."""

    name: str
    seconds: int


class Resources(NamedTuple):
    """What the job needs; None (or empty) = not said. Times are seconds, memory is bytes, ranks are MPI ranks or processes.

    `ranks` is the total. `memory_per_cpu` is MASI-TFE's `memory_per_thread`. `gpu_type` is the site's word (`a100`).
    `begin` is ISO 8601 as given, without a zone the cluster's own time (`local_time`). `priority` is the workload
    manager's number, larger = earlier. `requeue`: may it be run again after a node failure.
    """

    array: Optional[Array] = None
    seconds: Optional[int] = None
    nodes: Optional[int] = None
    ranks: Optional[int] = None
    ranks_per_node: Optional[int] = None
    threads_per_rank: Optional[int] = None
    memory_per_cpu: Optional[int] = None
    memory_per_node: Optional[int] = None
    gpus_per_node: Optional[int] = None
    gpus_per_rank: Optional[int] = None
    gpu_type: str = ""
    distribution: Optional[str] = None
    queue: str = ""
    account: str = ""
    qos: str = ""
    reservation: str = ""
    constraint: str = ""
    exclusive: Optional[bool] = None
    licenses: List[str] = []
    begin: str = ""
    priority: Optional[int] = None
    signal: Optional[Signal] = None
    requeue: Optional[bool] = None

    def asked(self) -> List[str]:
        """The names of the fields that say something, in their order; `exclusive: false` says nothing."""
        return [name for name in self._fields if getattr(self, name) not in (None, "", []) and not self._idle(name)]

    def _idle(self, name: str) -> bool:
        return name == "exclusive" and self.exclusive is False


# The input's key of a field that has another name.
KEYS = {"seconds": "duration"}


def parse(data: Dict[str, Any]) -> Resources:
    """The resources of an input that has no problems. `data` is the mapping under `resources`."""
    said = {ALIASES.get(key, key): value for key, value in data.items() if key != "nbr_jobs_in_array"}
    fields: Dict[str, Any] = {}
    for name in Resources._fields:
        key = KEYS.get(name, name)
        if said.get(key) is not None:
            fields[name] = _READ.get(name, _as_it_is)(said[key])
    if data.get("nbr_jobs_in_array") is not None:
        fields["array"] = Array("0-{}".format(int(data["nbr_jobs_in_array"]) - 1))
    return Resources(**fields)


def array_of(data: Any) -> Optional[Array]:
    """The array that an input's `resources` ask for, None for one job; never raises, nonsense is no array."""
    if not isinstance(data, dict):
        return None
    size, expression = data.get("nbr_jobs_in_array"), data.get("array")
    if isinstance(size, int) and not isinstance(size, bool) and size > 0:
        return Array("0-{}".format(size - 1))
    if isinstance(expression, str):
        try:
            return parse_array(expression)
        except UserError:
            return None
    return None


def parse_array(text: str) -> Array:
    """An array expression such as `0-99%10`, `1,5,9-20:2`. Raises UserError."""
    hint = "Write it as 0-99, 0-99%10 (ten at once), 1,5,9 or 0-20:2 (every second one)."
    if not re.fullmatch(ARRAY, text):
        raise UserError("'{}' is not an array of indices.".format(text.strip()), hint)
    span, _, throttle = re.sub(r"\s", "", text).partition("%")
    parts = _parts(span)
    for first, last, step in parts:
        if last < first:
            raise UserError("'{}' is not an array of indices: {} comes after {}.".format(text, first, last), hint)
        if step < 1:
            raise UserError("'{}' is not an array of indices: a step is at least 1.".format(text), hint)
    if sum((last - first) // step + 1 for first, last, step in parts) > MOST_ELEMENTS:
        raise UserError("'{}' has more than {} elements.".format(text, MOST_ELEMENTS), "Give each element more to do.")
    if throttle and int(throttle) < 1:
        raise UserError("'{}' lets no element run at all.".format(text), "After the % stands how many may run at once.")
    return Array(",".join(_part_text(*part) for part in parts), int(throttle) if throttle else None)


def _part_text(first: int, last: int, step: int) -> str:
    if first == last:
        return str(first)
    return "{}-{}".format(first, last) if step == 1 else "{}-{}:{}".format(first, last, step)


def _parts(span: str) -> List[Tuple[int, int, int]]:
    parts = []
    for part in span.split(","):
        match = _PART.match(part)
        if not match:
            raise ValueError("no array of indices: {!r}".format(span))
        first = int(match.group(1))
        parts.append((first, int(match.group(2) or first), int(match.group(3) or 1)))
    return parts


def parse_signal(text: str) -> Signal:
    """`USR1@5m`: the signal and how long before the end. Raises UserError."""
    name, _, before = text.strip().partition("@")
    name = re.sub(r"\ASIG", "", name.strip().upper())
    if name not in SIGNALS:
        raise UserError(
            "there is no signal '{}' to be sent.".format(name), "It is one of {}.".format(", ".join(SIGNALS))
        )
    if not before.strip():
        raise UserError("'{}' does not say how long before the end.".format(text.strip()), "Write it as USR1@5m.")
    return Signal(name, units.parse_duration(before))


def local_time(begin: str) -> datetime.datetime:
    """`Resources.begin` as the local time of this machine, without a zone. Raises UserError for a day that is none."""
    match = re.fullmatch(r"(\d+)-(\d+)-(\d+)(?:[T ](\d+):(\d+)(?::(\d+))?(Z|[+-]\d\d:?\d\d)?)?", begin.strip())
    try:
        if not match:
            raise ValueError
        moment = datetime.datetime(*[int(part or 0) for part in match.groups()[:6]])  # type: ignore[arg-type]
        zone = match.group(7)
        if not zone:
            return moment
        sign, digits = (1, "0000") if zone == "Z" else (-1 if zone[0] == "-" else 1, zone[1:].replace(":", ""))
        away = sign * datetime.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        aware = moment.replace(tzinfo=datetime.timezone(away))
        return aware.astimezone().replace(tzinfo=None)
    except (ValueError, OverflowError):
        hint = "Write it as 2027-01-31, 2027-01-31T18:30 or 2027-01-31T18:30:00Z."
        raise UserError("'{}' is not a date.".format(begin), hint) from None


def _as_it_is(value: Any) -> Any:
    return int(value) if isinstance(value, float) else value


def _licenses(value: Union[str, List[str]]) -> List[str]:
    texts = [value] if isinstance(value, str) else list(value)
    return [part.strip() for text in texts for part in text.split(",") if part.strip()]


_READ: Dict[str, Callable[[Any], Any]] = {
    "array": parse_array,
    "seconds": units.parse_duration,
    "memory_per_cpu": units.parse_memory,
    "memory_per_node": units.parse_memory,
    "licenses": _licenses,
    "signal": parse_signal,
}


def problems(data: Dict[str, Any]) -> List[Problem]:
    """What the schema cannot say about the mapping under `resources`; keys are given with `resources.` before them."""
    return _unreadable(data) + _twice(data) + _contradictions(data)


def as_written(found: Sequence[Problem], data: Any) -> List[Problem]:
    """Problems that name each need by the key that stands in `data`, the mapping under `resources`, which may be another name for it."""
    said: Dict[str, Any] = data if isinstance(data, dict) else {}
    names = {ALIASES.get(key, key): key for key in said}
    if "nbr_jobs_in_array" in said:
        names["array"] = "nbr_jobs_in_array"

    def written(text: str) -> str:
        return re.sub(
            r"\bresources\.(\w+)", lambda match: "resources." + names.get(match.group(1), match.group(1)), text
        )

    return [one._replace(key=written(one.key), message=written(one.message), hint=written(one.hint)) for one in found]


def _place(key: str) -> str:
    return schema.key_text(("resources", key))


def _unreadable(data: Dict[str, Any]) -> List[Problem]:
    found = []
    readers = dict(_READ, begin=local_time)
    for key, value in data.items():
        name = ALIASES.get(key, key)
        reader = readers.get("seconds" if name == "duration" else name)
        # A number here is one without a unit, which the readers explain best.
        wanted = (str, int, float) if reader in (units.parse_duration, units.parse_memory) else str
        if reader is None or reader is _licenses or isinstance(value, bool) or not isinstance(value, wanted):
            continue
        try:
            reader(str(value))
        except UserError as error:
            found.append(Problem(_place(key), error.message, value, error.hint))
    return found


def _twice(data: Dict[str, Any]) -> List[Problem]:
    """Two names of one need."""
    found = []
    meanings: Dict[str, str] = {}
    for key in data:
        name = "array" if key == "nbr_jobs_in_array" else ALIASES.get(key, key)
        if name in meanings:
            message = "says the same as {}.".format(meanings[name])
            found.append(Problem(_place(key), message, data[key], "Leave one of the two out."))
        meanings.setdefault(name, key)
    return found


def _contradictions(data: Dict[str, Any]) -> List[Problem]:
    names = {ALIASES.get(key, key): key for key in data}
    found = _distribution_problems(data, names)

    def clash(one: str, other: str, hint: str) -> None:
        if one in names and other in names:
            message = "does not go with {}.".format(names[other])
            found.append(Problem(_place(names[one]), message, data[names[one]], hint))

    clash("memory_per_node", "memory_per_cpu", "Say how much memory a node gives, or how much each CPU; not both.")
    clash("gpus_per_rank", "gpus_per_node", "Say how many GPUs a node gives, or how many each rank; not both.")
    if "gpu_type" in names and "gpus_per_node" not in names and "gpus_per_rank" not in names:
        hint = "Say how many: gpus_per_node: 1, or gpus_per_rank: 1."
        found.append(Problem(_place("gpu_type"), "is there, but no number of GPUs.", data["gpu_type"], hint))
    if "signal" in names and "duration" not in names:
        found.append(Problem(_place("signal"), "needs a duration: it is sent before its end.", data["signal"], ""))
    found += _early_warning(data, names)
    counts = [data.get(names.get(name, "")) for name in ("ranks", "nodes", "ranks_per_node")]
    ranks, nodes, each = [one if isinstance(one, int) and not isinstance(one, bool) else None for one in counts]
    if ranks is not None and nodes is not None and each is not None and ranks != nodes * each:
        message = "is {}, but {} nodes with {} ranks each are {}.".format(ranks, nodes, each, nodes * each)
        found.append(Problem(_place(names["ranks"]), message, ranks, "Leave one of the three out."))
    return found


def _early_warning(data: Dict[str, Any], names: Dict[str, str]) -> List[Problem]:
    """A warning before the job has begun: it would come at its first moment, and end most programs."""
    try:
        before = parse_signal(str(data["signal"])).seconds
        whole = units.parse_duration(str(data[names["duration"]]))
    except (KeyError, UserError):
        # Not there, or told of elsewhere.
        return []
    if before < whole:
        return []
    message = "comes {} s before the end, but the job has {} s in all.".format(before, whole)
    return [Problem(_place("signal"), message, data["signal"], "Give a shorter time, such as USR1@5m.")]


def _distribution_problems(data: Dict[str, Any], names: Dict[str, str]) -> List[Problem]:
    found = []
    distribution, key = data.get("distribution"), names.get("nodes", "nbr_of_nodes")
    if distribution == "distributed" and "nodes" not in names:
        hint = "Say over how many nodes: nbr_of_nodes: 4."
        found.append(Problem(_place(key), "is missing; distribution: distributed needs it.", None, hint))
    if distribution in ("grouped", "scattered"):
        hint = "Take distribution: distributed, or leave nbr_of_nodes out."
        for name in ("nodes", "ranks_per_node"):
            if name in names:
                message = "does not go with distribution: {}.".format(distribution)
                found.append(Problem(_place(names[name]), message, data[names[name]], hint))
    return found
