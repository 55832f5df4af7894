"""Grid Engine (Sun, Son of, Open, Univa and Altair Grid Engine): what it is asked, and with which directives a job is submitted.

Sources: qsub(1), qstat(1), qacct(1), qdel(1), sge_types(1), sge_status(5), sge_conf(5), accounting(5) of 8.1.9. What its
programs print is understood in `sge_text`.

A job of more than one slot needs a parallel environment, which every site names and sets up in its own way: the cluster's key
`parallel_environment` says which one. A job is placed as a whole; how many hosts it gets is the environment's allocation rule.
"""

import os
import re
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple

from project.core import resources as needs
from project.core import units
from project.core.errors import ClusterError, Problem, UserError
from project.core.schedulers import base, sge_options, sge_text
from project.core.script import job_name

if TYPE_CHECKING:
    from project.core.jobspec import JobSpec
    from project.core.paths import JobPaths
    from project.core.resources import Resources

_SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./*?!|&()-]+\Z")
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_@%+=./-]+\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SIGNALLED = 128
_ID = re.compile(r"(?:Your job(?:-array)? )?(\d+)(?:\.\d+(?:-\d+(?::\d+)?)?)?(?: \(.*)?\Z")
# -p: 0 to -1023 for users, above for operators.
_PRIORITIES = (-1023, 1024)
# So many jobs are asked for one by one; for more, all of the user's of these days are read once.
_EACH = 3


class Sge(base.Scheduler):
    name = "sge"
    program = "qsub"
    launcher = "mpirun"
    nodes_expression = "${NHOSTS:-}"
    directive_prefix = "#$"
    stray_line = r"#\$"
    expresses = frozenset(
        (
            "array", "seconds", "nodes", "ranks", "ranks_per_node", "threads_per_rank", "memory_per_cpu", "memory_per_node",
            "gpus_per_node", "gpus_per_rank", "gpu_type", "distribution", "queue", "account", "reservation", "constraint",
            "exclusive", "licenses", "begin", "priority", "signal", "requeue",
        )
    )  # fmt: skip
    states = sge_text.STATES
    # "0 is an invalid task id"; "-t option only allows one range specification".
    lowest_index = 1
    array_lists = False
    array_index_variable = "SGE_TASK_ID"
    # RESTARTED is 0 or 1 and does not count further.
    restart_variable = ""
    # 99 starts the job again, 100 puts it into an error state (qsub(1), EXIT STATUS of sge_shepherd(8)).
    meaningful_exits = (99, 100)
    job_id_variable = "JOB_ID"

    def directives(
        self,
        spec: "JobSpec",
        cluster: Mapping[str, Any],
        paths: "JobPaths",  # noqa: ARG002  # the port's signature
        uuid: str,
    ) -> List[str]:
        """The `#$` lines; qsub reads those of the whole script (see `value_problems`)."""
        options = [("-N", _native_name(job_name(uuid, spec.name))), ("-S", "/bin/sh")]
        queue = spec.resources.queue or cluster.get("partition")
        # Two -q would be added up.
        if queue and not any("queue" in self.option_fields(option) for option in spec.scheduler_options):
            options.append(("-q", str(queue)))
        options += _resource_options(spec.resources, cluster)
        lines = ["#$ {} {}".format(name, _quoted(value)).rstrip() for name, value in options]
        if spec.inherit_environment:
            lines.append("#$ -V")
        for option in spec.scheduler_options:
            if _CONTROL.search(option) or not option.strip().startswith("-"):
                raise UserError(
                    "scheduler_options: {!r} is no option of qsub.".format(option), hint=sge_options.EXAMPLE
                )
            lines.append("#$ " + option.strip())
        return lines

    def value_problems(self, spec: "JobSpec") -> List[Problem]:
        return _placement_problems(spec.resources) + _other_problems(spec.resources) + _script_problems(spec)

    def cluster_problems(self, spec: "JobSpec", cluster: Mapping[str, Any]) -> List[Problem]:
        resources = spec.resources
        try:
            if _slots(resources) > 1:
                _environment(resources, cluster)
        except UserError as error:
            names = ("distribution", "ranks", "ranks_per_node", "threads_per_rank")
            name = next(name for name in names if getattr(resources, name) is not None)
            message = "cannot be placed: {}".format(error.message)
            return [Problem("resources." + name, message, getattr(resources, name), error.hint)]
        return []

    def option_problem(self, text: str) -> Tuple[str, str]:
        return sge_options.option_problem(text)

    def option_fields(self, text: str) -> List[str]:
        return sge_options.option_fields(text)

    def submit(self, script: str, spec: "JobSpec", cluster: Mapping[str, Any]) -> List[str]:  # noqa: ARG002
        """`qsub`; what Grid Engine itself has to say about the running job goes to `log/scheduler`.

        In the path of `-o` a `:` and a `,` have a meaning, in every path a `$` has one; a path that is none would put the job into
        an error state. The batch script goes to its folder by itself.
        """
        folder = os.path.dirname(os.path.dirname(script))
        words = os.path.join(folder, "log", "scheduler")
        # A plan on another machine has `$HOME` in it, which is a path on the cluster.
        places = [re.sub(r"\A\$HOME(?=/)", "", place) for place in (words, script, spec.directory)]
        here = [] if any("$" in place for place in places) else ["-cwd"]
        return [
            "qsub",
            "-terse",
            "-j",
            "y",
            "-o",
            words if _PLAIN_PATH.match(places[0]) else "/dev/null",
            *here,
            script,
        ]

    def array_limit(self) -> List[str]:
        return ["qconf", "-sconf"]

    def parse_array_limit(self, out: str) -> Optional[base.Limit]:
        most = sge_text.most_tasks(out)
        return None if most == 0 else base.Limit(elements=most)

    def submitted(self, rc: int, out: str, err: str) -> str:
        ids = [match.group(1) for match in map(_ID.match, (line.strip() for line in out.splitlines())) if match]
        if rc == 0 and ids:
            return ids[-1]
        words = sge_text.words(err or out)
        if rc <= 0 or rc > _SIGNALLED or ids or not words:
            # Killed, or cut off: the job may be in the queue all the same.
            text = "qsub gave no job id (exit status {}); it said: {}".format(rc, words or "nothing")
            raise ClusterError(text, transient=True, condition="submission_rejected")
        later = sge_text.away(err + out) or sge_text.full(err + out)
        raise ClusterError(
            "Grid Engine did not take the job: {}.".format(words.rstrip(".")),
            hint="" if later else _hint(words),
            transient=later,
            condition="submission_rejected",
        )

    def queue(self, user: str) -> List[str]:
        """Those that ended a moment ago too (`z`): the master remembers some (`finished_jobs` of sge_conf(5), 100 by default)."""
        return ["qstat", "-u", user, "-s", "prsz", "-xml"]

    def parse_queue(self, out: str, rc: int = 0, err: str = "") -> List[base.Element]:
        return sge_text.queue_elements(out, rc, err)

    def history(self, ids: Sequence[str], since: str) -> List[str]:
        """qacct takes one job at a time, and reads the whole accounting file for it: many jobs are read together."""
        numbers = sorted({native_id.partition("_")[0] for native_id in ids})
        if not numbers:
            return ["true"]
        if len(numbers) <= _EACH:
            return ["sh", "-c", 'code=0; for id do qacct -j "$id" || code=$?; done; exit $code', "qacct", *numbers]
        return ["sh", "-c", 'exec qacct -o "$(id -un)" -d "$1" -j', "qacct", _days(since)]

    def parse_history(self, out: str, rc: int = 0, err: str = "") -> List[base.Element]:
        return sge_text.history_elements(out, rc, err)

    def find(self, name: str, since: str) -> List[List[str]]:
        """qstat cannot look for a name: it lists all of the user's jobs."""
        return [["qstat", "-s", "prsz", "-xml"], ["qacct", "-d", _days(since), "-j", _native_name(name)]]

    def parse_find(self, out: str, rc: int = 0, err: str = "", name: str = "") -> List[str]:
        return sge_text.found_ids(out, rc, err, _native_name(name) if name else "")

    def cancel(self, native_id: str, name: str = "") -> List[str]:  # noqa: ARG002  # qdel takes an id or a name, not both
        return ["qdel", *_target(native_id)]

    def hold(self, native_id: str) -> List[str]:
        return ["qhold", *_target(native_id)]

    def release(self, native_id: str) -> List[str]:
        return ["qrls", *_target(native_id)]

    def acted(self, rc: int, out: str, err: str) -> bool:
        text = out + err
        if sge_text.gone(text):
            return False
        if sge_text.done(text) or (rc == 0 and "error" not in text.lower() and "denied" not in text.lower()):
            return True
        raise ClusterError(
            "Grid Engine did not do it: {}".format(sge_text.words(text) or "exit code {}".format(rc)),
            transient=sge_text.away(text),
        )

    def facts(self) -> List[List[str]]:
        return [["qhost", "-q", "-xml"], ["qstat", "-u", "*", "-s", "pr", "-xml"]]

    def parse_facts(self, outs: Sequence[str]) -> Dict[str, Any]:
        status = sge_text.host_facts(outs[0]) if outs else {}
        if len(outs) > 1 and status:
            try:
                status.update(sge_text.job_counts(outs[1]))
            except ClusterError:
                # The hosts alone are worth telling.
                return status
        return status


# What to change in the input, by a word in what qsub said.
_HINTS = (
    ("parallel environment", "Correct parallel_environment of the cluster; `qconf -spl` lists them."),
    ("queue", "Choose another queue with resources.queue; `qconf -sql` lists them."),
    ("project", "Correct resources.account; `qconf -sprjl` lists the projects."),
    ("reservation", "Correct resources.reservation; `qrstat` lists them."),
    ("unknown resource", "`qconf -sc` lists the resources; the cluster's keys memory_resource and gpu_resource name two of them."),
    ("priority", "Users can only lower it: a resources.priority of 0 or less."),
    ("option", "Correct scheduler_options: qsub does not know one of them."),
)  # fmt: skip


def _hint(words: str) -> str:
    found = [hint for word, hint in _HINTS if word in words.lower()]
    return found[0] if found else "Correct resources or scheduler_options, then submit again."


def _native_name(name: str) -> str:
    """A job's name must not begin with a digit; the other characters of `script.job_name` are all allowed."""
    return "." + name if name[:1].isdigit() else name


def _target(native_id: str) -> List[str]:
    number, _, task = native_id.partition("_")
    return [number, "-t", task] if task else [number]


def _days(since: str) -> str:
    """The number of days in `base.since`."""
    match = re.search(r"\d+", since)
    return match.group() if match else "2"


def _quoted(value: str) -> str:
    """One value as qsub reads it from a directive. Raises UserError for one that no quotes can hold."""
    if _CONTROL.search(value):
        raise UserError("{!r} cannot stand in a batch script: it holds a control character.".format(value))
    if not value or _SAFE.match(value):
        return value
    mark = next((mark for mark in "\"'" if mark not in value), None)
    if mark is None:
        raise UserError("{!r} cannot stand in a batch script: it holds both kinds of quotes.".format(value))
    return mark + value + mark


def _slots(resources: "Resources") -> int:
    return (resources.ranks or resources.ranks_per_node or 1) * (resources.threads_per_rank or 1)


def _together(resources: "Resources") -> bool:
    """True when all slots must be on one host."""
    one = resources.distribution == "grouped" or resources.nodes == 1 or resources.ranks_per_node is not None
    return one or (resources.threads_per_rank or 1) > 1 or _slots(resources) == 1


def _environment(resources: "Resources", cluster: Mapping[str, Any]) -> str:
    """The parallel environment for a job of several slots. Raises UserError when the cluster names none."""
    named = cluster.get("parallel_environment")
    kind = "scattered" if resources.distribution == "scattered" else "grouped" if _together(resources) else "any"
    if isinstance(named, str) and named and kind != "scattered":
        return named
    found = None
    if isinstance(named, Mapping):
        # Where there is room may be on one host.
        found = named.get(kind) or (named.get("grouped") if kind == "any" else None)
    if not found:
        raise UserError(
            "the cluster's parallel_environment names none for {} slots{}.".format(
                _slots(resources), "" if kind == "any" else " ({})".format(kind)
            ),
            hint="Add parallel_environment: {{{}: NAME}} to the cluster; `qconf -spl` there lists the names.".format(
                kind
            ),
        )
    return str(found)


def _resource_options(resources: "Resources", cluster: Mapping[str, Any]) -> List[Tuple[str, str]]:
    slots = _slots(resources)
    options = []
    if slots > 1:
        options.append(("-pe " + _quoted(_environment(resources, cluster)), str(slots)))
    options += [("-l", "{}={}".format(name, value) if value else name) for name, value in _requests(resources, cluster)]
    if resources.account:
        options.append(("-P", resources.account))
    if resources.reservation:
        options.append(("-ar", resources.reservation))
    if resources.begin:
        options.append(("-a", needs.local_time(resources.begin).strftime("%Y%m%d%H%M.%S")))
    if resources.priority is not None:
        options.append(("-p", str(resources.priority)))
    if resources.requeue is not None:
        options.append(("-r", "y" if resources.requeue else "n"))
    if resources.array is not None:
        options.append(("-t", resources.array.span))
        if resources.array.throttle is not None:
            options.append(("-tc", str(resources.array.throttle)))
    return options


def _requests(resources: "Resources", cluster: Mapping[str, Any]) -> List[Tuple[str, str]]:
    """What is asked for with -l; memory is per slot."""
    found = []  # type: List[Tuple[str, str]]
    if resources.seconds is not None:
        found.append(("h_rt", str(resources.seconds)))
        if resources.signal is not None:
            found.append(("s_rt", str(max(1, resources.seconds - resources.signal.seconds))))
    size = resources.memory_per_cpu
    if resources.memory_per_node is not None:
        size = -(-resources.memory_per_node // _slots(resources))
    if size is not None:
        found.append((str(cluster.get("memory_resource") or "h_vmem"), _memory(size)))
    gpus = resources.gpus_per_node
    if resources.gpus_per_rank is not None:
        gpus = resources.gpus_per_rank * (resources.ranks or resources.ranks_per_node or 1)
    if gpus is not None:
        found.append((str(cluster.get("gpu_resource") or "gpu"), str(gpus)))
    if resources.gpu_type:
        found.append(("gpu_type", resources.gpu_type))
    if resources.exclusive:
        found.append(("exclusive", "true"))
    if resources.constraint:
        found.append((resources.constraint, ""))
    for entry in resources.licenses:
        name, _, count = entry.partition(":")
        found.append((name, count or "1"))
    return found


def _memory(size: int) -> str:
    """Whole K or M (units of 1024 when the letter is a capital, sge_types(1)), rounded up."""
    kib = -(-size // units.KIB)
    return "{}K".format(kib) if kib % 1024 else "{}M".format(kib // 1024)


def _placement_problems(resources: "Resources") -> List[Problem]:
    found = []
    choice = (
        "Use distribution: grouped (one host) or scattered, or leave it out: the parallel environment places the slots."
    )
    if resources.nodes is not None and resources.nodes > 1:
        found.append(
            Problem(
                "resources.nodes", "cannot be more than 1 with sge: hosts are not counted.", resources.nodes, choice
            )
        )
    if resources.ranks_per_node is not None and resources.ranks not in (None, resources.ranks_per_node):
        message = "cannot be said with sge for ranks on several hosts."
        found.append(Problem("resources.ranks_per_node", message, resources.ranks_per_node, choice))
    if resources.distribution == "scattered" and (resources.threads_per_rank or 1) > 1:
        message = "cannot be said with sge for ranks of several threads: each slot would get a host of its own."
        found.append(Problem("resources.distribution", message, "scattered", choice))
    if not _together(resources):
        hint = "Say memory_per_cpu, or nodes: 1."
        if resources.memory_per_node is not None:
            message = "cannot be said with sge for ranks that may be on several hosts."
            found.append(Problem("resources.memory_per_node", message, resources.memory_per_node, hint))
        for name in ("gpus_per_node", "gpus_per_rank"):
            if getattr(resources, name) is not None:
                message = "cannot be said with sge for ranks that may be on several hosts."
                found.append(Problem("resources." + name, message, getattr(resources, name), "Say nodes: 1."))
    return found


def _other_problems(resources: "Resources") -> List[Problem]:
    found = []
    if resources.signal is not None and resources.signal.name != "USR1":
        message = "cannot be {} with sge: before the end it sends USR1.".format(resources.signal.name)
        found.append(
            Problem("resources.signal", message, resources.signal.name, "Write USR1@ and how long before the end.")
        )
    if resources.priority is not None and not _PRIORITIES[0] <= resources.priority <= _PRIORITIES[1]:
        message = "is not between {} and {}.".format(*_PRIORITIES)
        found.append(Problem("resources.priority", message, resources.priority, "Users can only lower it: 0 or less."))
    return found


def _script_problems(spec: "JobSpec") -> List[Problem]:
    """qsub reads options in the whole script, also in the middle of a text of several lines."""
    texts = [("execution[{}]".format(number), line) for number, line in enumerate(spec.execution)]
    texts += [("env." + name, value) for name, value in spec.env.items()]
    message = "has a line that begins with #$, which qsub would read as its options."
    return [
        Problem(key, message, None, "Put a space before it.")
        for key, text in texts
        if re.search(r"^#\$", text, re.MULTILINE)
    ]
