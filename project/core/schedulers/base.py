"""What a workload manager is to jobferry: a pure translator. Text in, text out; nothing is run here.

A scheduler gives argument vectors (`submit`, `queue`, …) and understands what those programs print (`submitted`,
`parse_queue`, …). Whoever runs them (the agent) runs them as they are, with the environment of `process.clean_env()`.
An argument vector whose first word is `LOCAL` is for the built-in workload manager: the runner puts its own command
line in its place (`expand`).

Every ``parse_*`` takes the exit status and the standard error too, both optional; when they, or the text itself, say that
the scheduler did not answer, ClusterError(transient=True) is raised: no answer is never the answer "there is no such job".
"""

import re
from typing import TYPE_CHECKING, Any, Dict, FrozenSet, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from project.core.errors import Problem
from project.core.resources import KEYS

if TYPE_CHECKING:
    from project.core.jobspec import JobSpec
    from project.core.paths import JobPaths

# Element.state: what a row means, whatever the scheduler's word for it.
WAITING = "waiting"
HELD = "held"
RUNNING = "running"
DONE = "done"
UNKNOWN = "unknown"

# First word of the built-in workload manager's commands; `expand` replaces it.
LOCAL = "{local}"

# Between the fields of a row; the unit separator of ASCII, which no name, reason or path of sane people holds.
SEPARATOR = "\x1f"

_DAY = 24 * 3600
_SPAN_PART = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?\Z")


class Element(NamedTuple):
    """One row of a scheduler's answer: a job, one array element, or (`span`) many waiting elements at once.

    `native_id` is the id of the whole job (`123`, also for element `123_4`, whose `index` is 4).
    `word` is the native state, `state` one of WAITING, HELD, RUNNING, DONE, UNKNOWN.
    `condition` is set for DONE: ok, exit_code, timeout, out_of_memory, node_failure, preempted, deadline,
    cancelled_by_user, cancelled_by_scheduler.
    `exit_code` is 128 + n for a death by signal n; None = not known.
    `fields` are MASI-TFE's job_status fields (JobID, State, NodeList, Elapsed, ExitCode, …), as far as the answer has them.
    `restarts` is how often it was requeued; 0 when the answer does not say (the facts of the batch script do).
    `span` is the expression of a row for many elements, such as `5-9,12%2`; `index` is then None (`span_indices`).
    `name` is the job's name, "" when the answer does not say.
    """

    native_id: str
    index: Optional[int]  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    word: str
    state: str
    condition: str = ""
    exit_code: Optional[int] = None
    reason: str = ""
    fields: Mapping[str, str] = {}
    restarts: int = 0
    span: str = ""
    name: str = ""


class Limit(NamedTuple):
    """What one array may be: `elements` how many at most, `highest` the highest index; None = no limit."""

    elements: Optional[int] = None
    highest: Optional[int] = None


class Scheduler:
    """One workload manager. Instances have no state; the table is `schedulers.SCHEDULERS`."""

    name = ""
    # Its submitting program, looked for by `doctor`; LOCAL for the built-in one.
    program = ""
    # The fields of `Resources` that `directives` or `submit` can say. What is not here is an error (`refusals`), never dropped.
    expresses: FrozenSet[str] = frozenset()
    # Its native states, as far as its programs name them: word → (Element.state, Element.condition); any other is UNKNOWN.
    states: Mapping[str, Tuple[str, str]] = {}
    # False: nothing is kept of a job that left the queue; the batch script's facts alone tell how it ended.
    # `history` is then never asked.
    keeps_history = True
    # The lowest index that an element may have, and whether one array may be a list (`1,5-9`) and have a step (`0-8:2`). What
    # does not go into one array becomes several (`core.arrays`); the batch script sees the indices that the user wrote.
    lowest_index = 0
    array_lists = True
    array_steps = True
    # How many characters the text of an array's indices may have.
    longest_span: Optional[int] = None
    # Whether it can keep to `Array.throttle`.
    throttles = True
    # The command that starts a program on all of the allocation, when neither input nor cluster names one; "" = none.
    launcher = ""
    # Shell text that gives the number of the allocation's nodes where a job runs, such as `${SLURM_JOB_NUM_NODES:-}`;
    # anything but a number from 1 counts as not known, and `resources` are asked then.
    nodes_expression = ""
    # Exit codes of a job by which the manager would do more than note them (Grid Engine: 99 = start it again).
    meaningful_exits: Sequence[int] = ()
    # What a header line of the batch script starts with (`#SBATCH`); "" = it reads none.
    directive_prefix = ""
    # What a line begins with that it takes for a header line wherever in the script it stands, as a regular expression; "" = it
    # reads those at the top alone.
    stray_line = ""
    # Which of its dialects this object speaks (`in_dialect`); "" = there is one alone, or it is not known yet.
    dialect = ""
    # Names of the shell variables in the batch script: the element's index, the number of restarts ("" = it does not tell: the
    # batch script counts its facts), the native id.
    array_index_variable = ""
    restart_variable = ""
    job_id_variable = ""

    def dialect_command(self) -> List[str]:
        """The command whose answer tells which dialect is spoken here; [] = there is nothing to ask."""
        return []

    def in_dialect(self, text: str) -> "Scheduler":  # noqa: ARG002
        """The scheduler that speaks the dialect that `text` names, or tells of: a cluster's `dialect`, the answer to `dialect_command`.

        One whose `dialect` is "" when the text tells of none.
        """
        return self

    def directives(self, spec: "JobSpec", cluster: Mapping[str, Any], paths: "JobPaths", uuid: str) -> List[str]:
        """The batch script's header lines after `#!/bin/sh`. Raises UserError for a value that cannot stand there."""
        raise NotImplementedError

    def value_problems(self, spec: "JobSpec") -> List[Problem]:  # noqa: ARG002
        """Values that it cannot express of fields that it can (two nodes of one machine); keys as `resources.nodes`."""
        return []

    def cluster_problems(self, spec: "JobSpec", cluster: Mapping[str, Any]) -> List[Problem]:  # noqa: ARG002
        """What the job needs and the cluster's entry does not say; `directives` raises UserError for it."""
        return []

    def option_problem(self, text: str) -> Tuple[str, str]:
        """What is wrong with one entry of `scheduler_options` (it sets what jobferry sets itself, …) and a hint; ("", "") = fine."""
        raise NotImplementedError

    def option_fields(self, text: str) -> List[str]:
        """The fields of `Resources` that this entry of `scheduler_options` says too: with a typed one it contradicts."""
        raise NotImplementedError

    def preamble(self, spec: "JobSpec") -> List[str]:  # noqa: ARG002
        """Lines of POSIX sh that come before all others in the batch script; none for most."""
        return []

    def files(self, spec: "JobSpec", cluster: Mapping[str, Any], paths: "JobPaths", uuid: str) -> Dict[str, str]:  # noqa: ARG002
        """Further files that `submit` needs, name in `scripts/` → text; none for most."""
        return {}

    def submit(self, script: str, spec: "JobSpec", cluster: Mapping[str, Any]) -> List[str]:
        """The command that submits `script` (`<folder>/scripts/job`); run it in the job's working directory (`work/`)."""
        raise NotImplementedError

    def array_limit(self) -> List[str]:
        """The command that tells the site's limit on arrays; [] when there is none to ask for."""
        return []

    def parse_array_limit(self, out: str) -> Optional["Limit"]:  # noqa: ARG002
        """The answer to `array_limit`; None when it does not tell."""
        return None

    def submitted(self, rc: int, out: str, err: str) -> str:
        """The native id from the answer to `submit`.

        Raises ClusterError(condition="submission_rejected") with the scheduler's own words; `transient` when it may
        be accepted later, or may have been accepted without our having heard of it: look for the name (`find`) first.
        """
        raise NotImplementedError

    def queue(self, user: str) -> List[str]:
        """The one command that lists all of the user's jobs that wait, run or ended a moment ago."""
        raise NotImplementedError

    def parse_queue(self, out: str, rc: int = 0, err: str = "") -> List[Element]:
        """The rows of `queue`."""
        raise NotImplementedError

    def history(self, ids: Sequence[str], since: str) -> List[str]:
        """The command that asks the accounting for these native ids; `since` comes from `since()`."""
        raise NotImplementedError

    def parse_history(self, out: str, rc: int = 0, err: str = "") -> List[Element]:
        """The rows of `history`, steps folded into their job."""
        raise NotImplementedError

    def find(self, name: str, since: str) -> List[List[str]]:
        """The commands that look for a job by its name, in this order; the second one may lag some seconds behind."""
        raise NotImplementedError

    def parse_find(self, out: str, rc: int = 0, err: str = "", name: str = "") -> List[str]:
        """Native ids in the answer to one of `find`'s commands, without repetition.

        `name` is the one that was looked for, for a manager that can only list all jobs.
        """
        raise NotImplementedError

    def cancel(self, native_id: str, name: str = "") -> List[str]:
        """The command that cancels a job (`123`) or an element, if it has that name (when one is given).

        Here and in `history`, `hold` and `release` an element is its job's native id, `_` and its index, whatever form
        the manager itself writes it in.
        """
        raise NotImplementedError

    def hold(self, native_id: str) -> List[str]:
        """The command that keeps a waiting job from starting."""
        raise NotImplementedError

    def release(self, native_id: str) -> List[str]:
        """The command that ends a hold."""
        raise NotImplementedError

    def acted(self, rc: int, out: str, err: str) -> bool:
        """What `cancel`, `hold` or `release` answered: True = done, False = no such job, or it is over.

        Raises ClusterError with the scheduler's own words for anything else.
        """
        raise NotImplementedError

    def facts(self) -> List[List[str]]:
        """The commands whose outputs tell the cluster's load."""
        raise NotImplementedError

    def parse_facts(self, outs: Sequence[str]) -> Dict[str, Any]:
        """The cluster's status: counts, memory in bytes; a key is missing when the answer does not tell.

        `nodes`, `idle_nodes`, `down_nodes`, `cpus`, `idle_cpus`, `memory`, `idle_memory`,
        `jobs_running`, `jobs_waiting`, `partitions`: {name: {the same keys but jobs}}.
        """
        raise NotImplementedError


def refusals(scheduler: Scheduler, spec: "JobSpec") -> List[Problem]:
    """What of a job this workload manager cannot do: needs it cannot express, options that are wrong or contradict a need."""
    asked = spec.resources.asked()
    found = [
        Problem(
            "resources." + KEYS.get(name, name),
            "cannot be expressed by the workload manager '{}'.".format(scheduler.name),
            None,
            "Leave it out, or choose a cluster with another workload manager.",
        )
        for name in asked
        if name not in scheduler.expresses
    ]
    array = spec.resources.array
    if array is not None and array.throttle is not None and "array" in scheduler.expresses and not scheduler.throttles:
        message = "limits how many elements run at once, which the workload manager {} cannot do.".format(
            scheduler.name
        )
        found.append(Problem("resources.array", message, array.text, "Leave the % and what follows it out."))
    found += scheduler.value_problems(spec)
    for number, option in enumerate(spec.scheduler_options):
        key = "scheduler_options[{}]".format(number)
        message, hint = scheduler.option_problem(option)
        if message:
            found.append(Problem(key, message, option, hint))
            continue
        said = [KEYS.get(name, name) for name in scheduler.option_fields(option) if name in asked]
        if said:
            message = "says what resources.{} says too.".format(said[0])
            found.append(Problem(key, message, option, "Leave one of the two out."))
    return found


def expand(argv: Sequence[str], program: Sequence[str]) -> List[str]:
    """`argv` with `program` (`python agent.pyz local --root ROOT`) in the place of a leading LOCAL."""
    if argv and argv[0] == LOCAL:
        return list(program) + list(argv[1:])
    return list(argv)


def since(age: float) -> str:
    """A start for `history` and `find` that surely lies before something `age` seconds old.

    It is relative (`now-3days`), so that no clock of another machine is compared with ours, and a day or two early,
    so that a clock that is wrong by hours does no harm.
    """
    return "now-{}days".format(int(max(age, 0) // _DAY) + 2)


def span_indices(span: str) -> Iterator[int]:
    """The indices in a task expression such as `0-14`, `1,5-9:2%3`. Raises ValueError for anything else."""
    for first, last, step in _span_parts(span):
        for index in range(first, last + 1, step):
            yield index


def span_count(span: str) -> int:
    """How many indices a task expression has; it is not expanded."""
    return sum((last - first) // step + 1 for first, last, step in _span_parts(span))


def _span_parts(span: str) -> List[Tuple[int, int, int]]:
    parts = []
    for part in span.partition("%")[0].strip("[]").split(","):
        match = _SPAN_PART.match(part.strip())
        if not match:
            raise ValueError("no task expression: {!r}".format(span))
        first = int(match.group(1))
        parts.append((first, int(match.group(2) or first), int(match.group(3) or 1)))
    return parts
