"""at and batch of POSIX, as Debian and others have them (at(1), atd(8)): one machine, the login node itself.

What at is given and runs, and how a job is ended, is in `at_shell`. What follows from at's own nature:

- There is one machine and nothing is reserved: `ranks`, `threads_per_rank` and the like are what the launcher and the job's
  variables say, one node is all there is, memory and GPUs cannot be given or limited.
- Times are whole minutes (the spool keeps no seconds): `begin` is never early and at most a minute late.
- `queue` is at's letter: the higher, the nicer; `b` and capitals wait until the load is low (atd's `-l` and `-b`).
- at keeps nothing of a job that has ended, so the facts of the batch script and of its keeper alone tell how it did.
- Jobs are known on the machine that they were submitted on alone: a cluster's host name must lead to one login node.
"""

import datetime
import math
import os
import re
import shlex
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Sequence, Tuple

from project.core.errors import ClusterError, Problem, UserError
from project.core.resources import local_time
from project.core.schedulers import at_shell, base
from project.core.script import job_name

if TYPE_CHECKING:
    from project.core.jobspec import JobSpec
    from project.core.paths import JobPaths

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SIGNALLED = 128
_JOB = re.compile(r"^job (\d{1,18}) at ", re.MULTILINE)
_QUEUE_ROW = re.compile(r"(job|keeper) (\d{1,18}) (\S+)(?: (\S+))?\s*\Z")
_FOUND = re.compile(r"^found (\d{1,18})\s*$", re.MULTILINE)
_LETTER = re.compile(r"[A-Za-z]\Z")
# atq(1): the letter of the queue, `=` for a job that runs.
RUNNING = "="
_STATES = {chr(code): (base.WAITING, "") for code in (*range(ord("a"), ord("z") + 1), *range(ord("A"), ord("Z") + 1))}
_STATES[RUNNING] = (base.RUNNING, "")
_AWAY = re.compile(
    r"atd|lockfile|no space left|quota|cannot (change|open|create|write)|try again|too many", re.IGNORECASE
)
_SAID = ("ranks", "ranks_per_node", "threads_per_rank", "nodes", "distribution", "seconds", "queue", "begin")


class At(base.Scheduler):
    name = "at"
    states = _STATES
    program = "at"
    expresses = frozenset(_SAID)
    keeps_history = False
    throttles = False
    nodes_expression = "1"
    # There are no arrays; the keeper sets the second one.
    array_index_variable = "JOBFERRY_AT_INDEX"
    job_id_variable = "JOBFERRY_AT_ID"

    def directives(
        self,
        spec: "JobSpec",
        cluster: Mapping[str, Any],
        paths: "JobPaths",  # noqa: ARG002  # the port's signature
        uuid: str,
    ) -> List[str]:
        """`#JOBFERRY-AT key=value` lines, to be read by people: at has no directives."""
        said = {name: getattr(spec.resources, name) for name in _SAID if name in spec.resources.asked()}
        said.setdefault("queue", cluster.get("partition") or "")
        lines = ["#JOBFERRY-AT name=" + job_name(uuid, spec.name)]
        for name, value in said.items():
            if _CONTROL.search(str(value)):
                raise UserError("{!r} cannot stand in a batch script: it holds a control character.".format(value))
            if value != "":
                lines.append("#JOBFERRY-AT {}={}".format(name, value))
        return lines

    def value_problems(self, spec: "JobSpec") -> List[Problem]:
        resources, found = spec.resources, []
        if resources.nodes is not None and resources.nodes != 1:
            found.append(_problem("nodes", "is {}, but at has one machine alone.", resources.nodes))
        if resources.distribution not in (None, "grouped"):
            found.append(_problem("distribution", "is {}, but at has one machine alone.", resources.distribution))
        if resources.queue and not _LETTER.match(resources.queue):
            found.append(_problem("queue", "is {!r}, but a queue of at is one letter.", resources.queue))
        return found

    def option_problem(self, text: str) -> Tuple[str, str]:
        """at's only option that is the user's is `-q LETTER`."""
        if not _CONTROL.search(text) and _queue_option(text):
            return "", ""
        return "is no option that a user may give to at.", "There is -q LETTER alone."

    def option_fields(self, text: str) -> List[str]:
        return ["queue"] if _queue_option(text) else []

    def files(self, spec: "JobSpec", cluster: Mapping[str, Any], paths: "JobPaths", uuid: str) -> Dict[str, str]:  # noqa: ARG002
        """`job.at`, what at is given, and `keeper`, what at runs."""
        name = job_name(uuid, spec.name)
        bell = os.path.join(os.path.dirname(paths.workdir.rstrip("/")), "bell")
        return {
            "job.at": at_shell.given(name, paths.folder),
            "keeper": at_shell.keeper(name, paths.folder, bell, spec.resources.seconds),
        }

    def submit(self, script: str, spec: "JobSpec", cluster: Mapping[str, Any]) -> List[str]:
        """A `begin` in the past is now: at takes such a time (measured on 3.2.5). Nothing is mailed (`-M`)."""
        argv = ["env", "SHELL=/bin/sh", "at", "-M", "-f", script + ".at"]
        options = [letter for letter in map(_queue_option, spec.scheduler_options) if letter]
        queue = (options or [spec.resources.queue or str(cluster.get("partition") or "")])[-1]
        argv += ["-q", queue] if queue else []
        return argv + (["-t", _when(spec.resources.begin)] if spec.resources.begin else ["now"])

    def submitted(self, rc: int, out: str, err: str) -> str:
        ids = _JOB.findall(err + "\n" + out)
        if rc == 0 and ids:
            return str(ids[-1])
        words = _words(err or out)
        if rc <= 0 or rc > _SIGNALLED or ids or not words:
            text = "at gave no job number (exit status {}); it said: {}".format(rc, words or "nothing")
            raise ClusterError(text, transient=True, condition="submission_rejected")
        later = bool(_AWAY.search(words))
        hint = "" if later else "Are you allowed to use at there (man at.allow)? Is resources.queue one letter?"
        raise ClusterError(
            "at did not take the job: {}".format(words), hint=hint, transient=later, condition="submission_rejected"
        )

    def queue(self, user: str) -> List[str]:  # noqa: ARG002  # atq lists one's own jobs
        return ["sh", "-c", at_shell.QUEUE, "atq"]

    def parse_queue(self, out: str, rc: int = 0, err: str = "") -> List[base.Element]:
        """What runs is what has a keeper; the `=` of a job without one is left over from a machine that was restarted."""
        _answered("atq", rc, err or out)
        found = {}  # type: Dict[Tuple[str, str], str]
        numbers = {}  # type: Dict[str, str]
        for match in filter(None, map(_QUEUE_ROW.match, out.splitlines())):
            kind, number, word, name = match.groups("")
            if kind == "keeper":
                # Its third word is the name; what it could not learn stands in a row before.
                found[number.lstrip("0") or numbers.get(word, ""), word] = RUNNING
            elif word == RUNNING:
                numbers[name] = number
            else:
                found.setdefault((number, name), word)
        # A number may be another job's, too: of a spool that began anew, or root sees everybody's processes.
        return [_element(native_id, word, name) for (native_id, name), word in found.items() if native_id]

    def find(self, name: str, since: str) -> List[List[str]]:  # noqa: ARG002
        """Twice the same: a job that at is just starting changes its name in the spool, and one look may miss it."""
        return [["sh", "-c", at_shell.FIND, "atq", name]] * 2

    def parse_find(self, out: str, rc: int = 0, err: str = "", name: str = "") -> List[str]:  # noqa: ARG002
        _answered("atq", rc, err or out)
        return list(dict.fromkeys(_FOUND.findall(out)))

    def cancel(self, native_id: str, name: str = "") -> List[str]:
        return ["sh", "-c", at_shell.CANCEL, "atrm", name, native_id]

    def hold(self, native_id: str) -> List[str]:
        """at has no hold: the command says so and fails."""
        return ["sh", "-c", at_shell.REFUSE, "at", "hold", native_id]

    def release(self, native_id: str) -> List[str]:
        """As `hold`."""
        return ["sh", "-c", at_shell.REFUSE, "at", "release", native_id]

    def acted(self, rc: int, out: str, err: str) -> bool:
        words = out.split()
        if rc == 0 and words and words[-1] in ("cancelled", "gone"):
            return words[-1] == "cancelled"
        text = _words(err or out)
        raise ClusterError(
            text or "at did not do it (exit code {}).".format(rc), transient=rc <= 0 or bool(_AWAY.search(text))
        )

    def facts(self) -> List[List[str]]:
        return [["sh", "-c", at_shell.FACTS, "at"]]

    def parse_facts(self, outs: Sequence[str]) -> Dict[str, Any]:
        """One node; of its CPUs those are idle that the load of the last minute leaves over."""
        pairs = [line.split()[:2] for line in (outs[0] if outs else "").splitlines() if len(line.split()) > 1]
        told = {key: value for key, value in pairs if re.match(r"\d{1,15}(\.\d{1,9})?\Z", value)}
        if not {"cpus", "load", "MemTotal", "MemAvailable"} <= set(told):
            return {}
        letters = [value for key, value in pairs if key == "queue"]
        cpus = int(float(told["cpus"]))
        idle = max(0, cpus - math.ceil(float(told["load"])))
        return {
            "nodes": 1,
            "idle_nodes": int(idle > 0),
            "down_nodes": 0,
            "cpus": cpus,
            "idle_cpus": idle,
            "memory": int(float(told["MemTotal"])) * 1024,
            "idle_memory": int(float(told["MemAvailable"])) * 1024,
            "jobs_running": letters.count(RUNNING),
            "jobs_waiting": len(letters) - letters.count(RUNNING),
        }


def _problem(field: str, message: str, value: Any) -> Problem:
    return Problem("resources." + field, message.format(value), value, "Leave it out, or choose another cluster.")


def _queue_option(text: str) -> str:
    """The letter of `-q LETTER`, "" for anything else."""
    try:
        words = shlex.split(text)
    except ValueError:
        return ""
    joined = "".join(words)
    return joined[2:] if joined.startswith("-q") and len(words) <= 2 and _LETTER.match(joined[2:]) else ""


def _when(begin: str) -> str:
    """The time as `at -t` takes it, rounded up to a whole minute."""
    moment = local_time(begin)
    if moment.second:
        moment += datetime.timedelta(seconds=60 - moment.second)
    return moment.strftime("%Y%m%d%H%M")


def _element(native_id: str, word: str, name: str) -> base.Element:
    state, condition = _STATES.get(word, (base.UNKNOWN, ""))
    fields = {"JobID": native_id, "State": word, "NNodes": "1"}
    return base.Element(native_id, None, word, state, condition, fields=fields, name=name)


def _answered(program: str, rc: int, text: str) -> None:
    if rc != 0:
        words = _words(text) or "exit code {}".format(rc)
        raise ClusterError("{} gave no answer: {}".format(program, words), transient=True)


def _words(text: str) -> str:
    """What at said, without its warning that it uses /bin/sh."""
    lines = [line.strip() for line in text.splitlines()]
    return "; ".join(line for line in lines if line and not line.startswith("warning: commands will be executed"))
