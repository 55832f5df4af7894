"""Flux (flux-core 0.48 and later): flux-batch(1), flux-jobs(1), flux-cancel(1), flux-job(1), flux-resource(1), RFC 36.

What follows from Flux's own nature:

- A batch job is an instance of Flux of its own; its resources are slots: one slot a rank, of `threads_per_rank` cores.
  Memory cannot be asked for.
- There are no arrays: `flux bulksubmit` and `--cc` make as many jobs of their own, with nothing in common.
- An id is never used again (RFC 19). It is asked for and kept in ASCII, `f2SLdmS4F` for `ƒ2SLdmS4F`.
- An inactive job is listed until the instance purges it; Flux tells that a job was cancelled, not by whom.
- In the job, `flux` speaks to the job's own instance, so a program is started on all of it by `flux run`.
"""

import json
import os
import re
import shlex
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple

from project.core.errors import ClusterError, Problem, UserError
from project.core.options import text_problem
from project.core.process import quote
from project.core.resources import local_time
from project.core.schedulers import base
from project.core.schedulers.base import SEPARATOR
from project.core.script import job_name

if TYPE_CHECKING:
    from project.core.jobspec import JobSpec
    from project.core.paths import JobPaths
    from project.core.resources import Resources

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SIGNALLED = 128
# RFC 19, F58: base58 without 0, O, I and l.
_ID = re.compile("(?:ƒ|f)([1-9A-HJ-NP-Za-km-z]{1,12})\\Z")
_ASCII = ["env", "FLUX_F58_FORCE_ASCII=1"]
# flux-jobs(1), OUTPUT FORMAT. Free text stands last.
_FIELDS = (
    "id.f58", "state", "result", "returncode", "urgency", "nnodes", "ntasks", "nodelist", "runtime", "exception.type",
    "name", "exception.note",
)  # fmt: skip
_FORMAT = "".join("{" + field + "}" + SEPARATOR for field in _FIELDS)
_FOUND_FORMAT = "{id.f58}" + SEPARATOR
# RFC 21, and flux-jobs(1), JOB STATUS: the state, of an INACTIVE job its result.
_STATES = {
    "NEW": (base.WAITING, ""),
    "DEPEND": (base.WAITING, ""),
    "PRIORITY": (base.WAITING, ""),
    "SCHED": (base.WAITING, ""),
    "RUN": (base.RUNNING, ""),
    "CLEANUP": (base.RUNNING, ""),
    "COMPLETED": (base.DONE, "ok"),
    "FAILED": (base.DONE, "exit_code"),
    "CANCELED": (base.DONE, "cancelled_by_scheduler"),
    "TIMEOUT": (base.DONE, "timeout"),
}
# Exceptions of a FAILED job that say more than its exit code (job-exec of flux-core; RFC 21, "exception").
_LOST = ("node-failure", "node-fail")
# The return code of a job that was cancelled before it started (flux-jobs(1), returncode).
_NEVER = -128
_AWAY = re.compile(
    r"unable to connect|connection (refused|reset)|no such file or directory.*socket|flux_open|host is down|"
    r"function not implemented|timed out|lost connection|broker",
    re.IGNORECASE,
)
_GONE = re.compile(r"inactive|unknown (job ?)?id|unknown job|job ?id \S+ unknown|no such job", re.IGNORECASE)
_STATS = re.compile(r"(\d{1,9}) (running|pending)")
# RFC 36: a line anywhere in the script that would be taken for a directive, and an error after the first line that is none.
_STRAY = r"[^A-Za-z0-9\n]*(?:flux|FLUX):"
_DIRECTIVE = re.compile(r"\n" + _STRAY)
# What jobferry gives itself, and what would give the job another form or keep the submission waiting.
_OWNED = (
    "job-name", "output", "error", "input", "cwd", "wrap", "dry-run", "wait", "watch", "cc", "bcc", "quiet", "help",
)  # fmt: skip
# Option → the fields of Resources that it says too.
_SAID = {
    "-N": ["nodes"], "--nodes": ["nodes"], "-n": ["ranks"], "--nslots": ["ranks"],
    "-c": ["threads_per_rank"], "--cores-per-slot": ["threads_per_rank"],
    "-g": ["gpus_per_rank", "gpus_per_node"], "--gpus-per-slot": ["gpus_per_rank", "gpus_per_node"],
    "-t": ["seconds"], "--time-limit": ["seconds"], "-q": ["queue"], "--queue": ["queue"],
    "-B": ["account"], "--bank": ["account"], "-x": ["exclusive"], "--exclusive": ["exclusive"],
    "--requires": ["constraint"], "--begin-time": ["begin"], "--urgency": ["priority"], "--signal": ["signal"],
}  # fmt: skip
HIGHEST_URGENCY = 31


class Flux(base.Scheduler):
    name = "flux"
    states = _STATES
    program = "flux"
    launcher = "flux run"
    # The job's own instance has a broker on each of its nodes (flux-broker-attributes(7), size).
    nodes_expression = "$(flux getattr size 2>/dev/null)"
    directive_prefix = "#flux:"
    stray_line = _STRAY
    throttles = False
    expresses = frozenset(
        (
            "seconds", "nodes", "ranks", "ranks_per_node", "threads_per_rank", "gpus_per_node", "gpus_per_rank", "distribution",
            "queue", "account", "constraint", "exclusive", "begin", "priority", "signal",
        )
    )  # fmt: skip
    # There are no arrays.
    array_index_variable = "JOBFERRY_FLUX_INDEX"
    # The id that the job has in the instance around its own (`preamble`).
    job_id_variable = "JOBFERRY_FLUX_ID"

    def directives(
        self,
        spec: "JobSpec",
        cluster: Mapping[str, Any],
        paths: "JobPaths",  # noqa: ARG002  # the port's signature
        uuid: str,
    ) -> List[str]:
        """`#flux:` lines. They are split as a shell does (RFC 36), so values are quoted for one."""
        options = ["--job-name=" + job_name(uuid, spec.name)]
        queue = spec.resources.queue or cluster.get("partition")
        if queue:
            options.append("--queue={}".format(queue))
        options += _shape(spec.resources) + _others(spec.resources)
        lines = []
        for option in options:
            if _CONTROL.search(option) or '"""' in option:
                raise UserError("{!r} cannot stand in a batch script.".format(option))
            lines.append("#flux: " + quote(option))
        for option in spec.scheduler_options:
            message, hint = self.option_problem(option)
            if message:
                raise UserError("scheduler_options: {!r} {}".format(option, message), hint=hint)
            lines.append("#flux: " + option.strip())
        return lines

    def preamble(self, spec: "JobSpec") -> List[str]:  # noqa: ARG002  # the port's signature
        """FLUX_ENCLOSING_ID (flux-environment(7)) is there from 0.71 on; the attribute it is made of is older."""
        return ["JOBFERRY_FLUX_ID=${FLUX_ENCLOSING_ID:-$(flux getattr jobid 2>/dev/null)}"]

    def value_problems(self, spec: "JobSpec") -> List[Problem]:
        resources, found = spec.resources, []
        if resources.nodes is not None and resources.nodes > _slots(resources):
            hint = "Ask for fewer nodes, or more ranks."
            found.append(Problem("resources.nodes", "are more than there are ranks.", resources.nodes, hint))
        if resources.gpus_per_node is not None and _gpus_per_slot(resources) is None:
            message = "cannot be shared out to the ranks of a node, which Flux needs."
            hint = "Say gpus_per_rank, or nodes and ranks_per_node that divide it."
            found.append(Problem("resources.gpus_per_node", message, resources.gpus_per_node, hint))
        if resources.priority is not None and not 1 <= resources.priority <= HIGHEST_URGENCY:
            message = "is {}, but an urgency of Flux is 1 to {}.".format(resources.priority, HIGHEST_URGENCY)
            found.append(Problem("resources.priority", message, resources.priority, "16 is the default."))
        texts = [("execution[{}]".format(number), line) for number, line in enumerate(spec.execution)]
        texts += [("env." + name, value) for name, value in spec.env.items()]
        message = "has a line that begins with 'flux:', which Flux would take for a directive."
        found += [
            Problem(key, message, None, "Put a word before it.") for key, text in texts if _DIRECTIVE.search(text)
        ]
        return found

    def option_problem(self, text: str) -> Tuple[str, str]:
        message, hint = text_problem(text)
        if message:
            return message, hint
        words = shlex.split(text)
        if not words[0].startswith("-") or words[0] in ("-", "--"):
            return "is not an option: it does not start with '-'.", "Give options as --urgency=20."
        if '"""' in text or "#" in text:
            return "holds '\"\"\"' or '#', which mean something else in Flux's directives.", ""
        for word in words:
            name = word[2:].partition("=")[0]
            if word == "-h" or (word.startswith("--") and name and any(owned.startswith(name) for owned in _OWNED)):
                return "sets --{}, which jobferry sets itself.".format(name), "Leave it out."
        return "", ""

    def option_fields(self, text: str) -> List[str]:
        found: List[str] = []
        for word in shlex.split(text):
            name = word.partition("=")[0] if word.startswith("--") else word[:2]
            found += _SAID.get(name, [])
            found += ["account"] if re.search(r"(\A|=|-S)(system\.)?bank=", word) else []
        return found

    def submit(self, script: str, spec: "JobSpec", cluster: Mapping[str, Any]) -> List[str]:  # noqa: ARG002
        """`flux batch`; what Flux itself has to say about the job goes to `log/scheduler`."""
        folder = os.path.dirname(os.path.dirname(script))
        return _ASCII + ["flux", "batch", "--output=" + os.path.join(folder, "log", "scheduler"), script]

    def submitted(self, rc: int, out: str, err: str) -> str:
        ids = [match.group(1) for match in map(_ID.match, (line.strip() for line in out.splitlines())) if match]
        if rc == 0 and ids:
            return "f" + ids[-1]
        words = _words(err or out)
        if rc <= 0 or rc > _SIGNALLED or ids or not words:
            text = "flux batch gave no job id (exit status {}); it said: {}".format(rc, words or "nothing")
            raise ClusterError(text, transient=True, condition="submission_rejected")
        later = bool(_AWAY.search(words))
        raise ClusterError(
            "Flux did not take the job: {}.".format(words.rstrip(".")),
            hint="" if later else "Correct resources or scheduler_options, then submit again.",
            transient=later,
            condition="submission_rejected",
        )

    def queue(self, user: str) -> List[str]:
        """All that is active, and what became inactive in the last ten minutes."""
        return _ASCII + [
            "flux", "jobs", "-n", "--user=" + user, "--count=0", "--since=-10m", "--filter=pending,running,inactive",
            "--format=" + _FORMAT,
        ]  # fmt: skip

    def parse_queue(self, out: str, rc: int = 0, err: str = "") -> List[base.Element]:
        _answered("flux jobs", out, rc, err)
        return [element for element in map(_element, _rows(out, len(_FIELDS))) if element is not None]

    def history(self, ids: Sequence[str], since: str) -> List[str]:  # noqa: ARG002  # by id, whenever it was
        if not ids:
            return ["true"]
        return _ASCII + ["flux", "jobs", "-n", "--format=" + _FORMAT] + [one.partition("_")[0] for one in ids]

    def parse_history(self, out: str, rc: int = 0, err: str = "") -> List[base.Element]:
        """An id that was purged is a complaint, and the others are told all the same."""
        return self.parse_queue(out, 0 if rc > 0 and _GONE.search(err) else rc, err)

    def find(self, name: str, since: str) -> List[List[str]]:  # noqa: ARG002
        """Twice the same: the list of jobs follows the events of the job manager, a little behind it."""
        look = _ASCII + ["flux", "jobs", "-n", "-a", "--count=0", "--name=" + name, "--format=" + _FOUND_FORMAT]
        return [look, look]

    def parse_find(self, out: str, rc: int = 0, err: str = "", name: str = "") -> List[str]:  # noqa: ARG002
        _answered("flux jobs", out, rc, err)
        ids = (_native_id(row[0]) for row in _rows(out, 1))
        return list(dict.fromkeys(one for one in ids if one))

    def cancel(self, native_id: str, name: str = "") -> List[str]:  # noqa: ARG002  # ids are never used again
        return ["flux", "cancel", native_id]

    def hold(self, native_id: str) -> List[str]:
        """An urgency of 0 keeps a job from being considered (flux-job(1), urgency)."""
        return ["flux", "job", "urgency", native_id, "hold"]

    def release(self, native_id: str) -> List[str]:
        return ["flux", "job", "urgency", native_id, "default"]

    def acted(self, rc: int, out: str, err: str) -> bool:
        text = err + out
        if rc == 0:
            return True
        if _GONE.search(text):
            return False
        words = _words(text) or "exit code {}".format(rc)
        raise ClusterError("Flux did not do it: {}".format(words), transient=rc <= 0 or bool(_AWAY.search(text)))

    def facts(self) -> List[List[str]]:
        return [
            ["flux", "resource", "list", "-n", "--states=free,allocated,down", "--format={state} {nnodes} {ncores}"],
            ["flux", "jobs", "--stats-only"],
        ]

    def parse_facts(self, outs: Sequence[str]) -> Dict[str, Any]:
        """A node that is partly allocated is counted as both by Flux, so it is taken for idle."""
        rows = re.findall(r"^(free|allocated|down) (\d{1,9}) (\d{1,12})\s*$", outs[0] if outs else "", re.MULTILINE)
        if not rows:
            return {}
        nodes, cores = dict.fromkeys(("free", "allocated", "down"), 0), dict.fromkeys(("free", "allocated", "down"), 0)
        for state, some, many in rows:
            nodes[state] += int(some)
            cores[state] += int(many)
        status: Dict[str, Any] = {
            "nodes": sum(nodes.values()),
            "idle_nodes": nodes["free"],
            "down_nodes": nodes["down"],
            "cpus": sum(cores.values()),
            "idle_cpus": cores["free"],
        }
        told = {word: int(number) for number, word in _STATS.findall(outs[1] if len(outs) > 1 else "")}
        for key, word in (("jobs_running", "running"), ("jobs_waiting", "pending")):
            if word in told:
                status[key] = told[word]
        return status


def _slots(resources: "Resources") -> int:
    if resources.ranks is not None:
        return resources.ranks
    return (resources.nodes or 1) * (resources.ranks_per_node or 1)


def _nodes(resources: "Resources") -> Optional[int]:
    """On how many nodes; None = as Flux likes."""
    if resources.distribution == "grouped":
        return 1
    if resources.distribution == "scattered":
        return _slots(resources)
    if resources.nodes is not None:
        return resources.nodes
    if resources.ranks_per_node is not None:
        return -(-_slots(resources) // resources.ranks_per_node)
    # --exclusive needs a number of nodes; GPUs of a node are those of its slots.
    alone = resources.exclusive or (resources.gpus_per_node is not None and _slots(resources) == 1)
    return 1 if alone else None


def _gpus_per_slot(resources: "Resources") -> Optional[int]:
    """`gpus_per_node` as so many a slot; None when that cannot be said."""
    nodes, slots = _nodes(resources), _slots(resources)
    if resources.gpus_per_node is None or nodes is None or slots % nodes:
        return None
    each, rest = divmod(resources.gpus_per_node, slots // nodes)
    return None if rest else each


def _shape(resources: "Resources") -> List[str]:
    options = ["--nslots={}".format(_slots(resources))]
    nodes = _nodes(resources)
    if nodes is not None:
        options.append("--nodes={}".format(nodes))
    if resources.threads_per_rank is not None:
        options.append("--cores-per-slot={}".format(resources.threads_per_rank))
    gpus = _gpus_per_slot(resources) if resources.gpus_per_rank is None else resources.gpus_per_rank
    if gpus:
        options.append("--gpus-per-slot={}".format(gpus))
    if resources.exclusive:
        options.append("--exclusive")
    return options


def _others(resources: "Resources") -> List[str]:
    options = []
    if resources.seconds is not None:
        options.append("--time-limit={}s".format(resources.seconds))
    if resources.account:
        # What --bank of newer versions sets; as JSON, so that a number stays a text.
        options.append("--setattr=system.bank={}".format(json.dumps(resources.account, ensure_ascii=False)))
    if resources.constraint:
        options.append("--requires={}".format(resources.constraint))
    if resources.begin:
        options.append("--begin-time={}".format(local_time(resources.begin).strftime("%Y-%m-%d %H:%M:%S")))
    if resources.priority is not None:
        options.append("--urgency={}".format(resources.priority))
    if resources.signal is not None:
        options.append("--signal=SIG{}@{}s".format(resources.signal.name, resources.signal.seconds))
    return options


def _native_id(text: str) -> str:
    match = _ID.match(text.strip())
    return "f" + match.group(1) if match else ""


def _rows(out: str, count: int) -> List[List[str]]:
    """Rows of so many fields, each with a separator behind it; what is torn off is left out."""
    fields = out.split(SEPARATOR)[:-1]
    rows = [fields[start : start + count] for start in range(0, len(fields) - count + 1, count)]
    # Before a row's first field stand the line break of the row before it, and a site's greeting.
    return [[row[0].rpartition("\n")[2]] + row[1:] for row in rows]


def _element(row: Sequence[str]) -> Optional[base.Element]:
    fields = dict(zip(_FIELDS, (value.strip() for value in row)))
    native_id = _native_id(fields["id.f58"])
    if not native_id:
        return None
    word = fields["result"] if fields["state"] == "INACTIVE" and fields["result"] else fields["state"]
    state, condition = _STATES.get(word, (base.UNKNOWN, ""))
    if state == base.WAITING and fields["urgency"] == "0":
        state = base.HELD
    if word == "FAILED" and fields["exception.type"] in _LOST:
        condition = "node_failure"
    note = fields["exception.note"]
    shown = {
        "JobID": native_id,
        "State": word,
        "NNodes": fields["nnodes"],
        "NodeList": fields["nodelist"],
        "Elapsed": fields["runtime"],
    }
    return base.Element(
        native_id, None, word, state, condition, _exit_code(fields["returncode"], condition), note,
        {key: value for key, value in shown.items() if value}, name=fields["name"],
    )  # fmt: skip


def _exit_code(text: str, condition: str) -> Optional[int]:
    if condition == "ok":
        return 0
    if condition != "exit_code" or not re.match(r"-?\d{1,9}\Z", text):
        return None
    code = int(text)
    if code == _NEVER:
        return None
    return _SIGNALLED - code if code < 0 else code


def _answered(program: str, out: str, rc: int, err: str) -> None:
    if rc != 0:
        words = _words(err or out) or "exit code {}".format(rc)
        raise ClusterError("{} gave no answer: {}".format(program, words), transient=True)


def _words(text: str) -> str:
    """What Flux said, in one line and without the names of its programs."""
    lines = [re.sub(r"^flux-[a-z]+: (?:ERROR: )?", "", line.strip()) for line in text.splitlines()]
    return "; ".join(line for line in lines if line)
