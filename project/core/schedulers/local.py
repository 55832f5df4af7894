r"""The built-in workload manager: jobs as processes of this machine, run by the agent (`agent.localwm`).

Its commands and what they print (the runner puts its own `python agent.pyz local …` in the place of `{local}`):

``{local} submit --output FILE SCRIPT``
    reads the lines `#JOBFERRY --key=value` at the head of SCRIPT: `job-name`, `array` (as sbatch's), `time=SECONDS`, `processes`,
    `threads`, `memory=BYTES` (of the whole element; one that uses more is ended), `exclusive=1` (nothing else runs beside it),
    `begin=SECONDS` (since the epoch), `priority=N` (larger = earlier), `signal=NAME@SECONDS` (to all its processes, before
    the time limit); `nodes` and `distribution` say nothing new. Prints `{"id": "17"}`. The script runs in the directory of the call, with its
    environment, by `/bin/sh SCRIPT`, stdout and stderr appended to FILE, as a session of its own, with the variables
    JOBFERRY_LOCAL_ID (`17`), JOBFERRY_LOCAL_RESTARTS (`0`), and for an element JOBFERRY_LOCAL_INDEX.
``{local} queue``
    every job that waits, is held, runs, or ended less than 300 s ago, one JSON object a line and array element:
    `{"id": "17", "index": null | n, "name": …, "state": …, "reason": "", "exit_code": null | n, "signal": null | n,
    "restarts": 0, "elapsed": seconds, "cpus": n, "workdir": …, "node": host, "cancelled_by": null | uid, "uid": uid}`.
    `state` is PENDING, HELD, RUNNING, COMPLETED, FAILED, TIMEOUT, OUT_OF_MEMORY, CANCELLED or NODE_FAIL (the machine was restarted, or the
    job's process is gone without its end having been written). Elements that wait may be one line: `"span": "5-9"` and no `index`.
``{local} history ID…``
    the same lines for these jobs, for as long as their records are kept.
``{local} find NAME``
    the same lines for jobs of this name.
``{local} cancel ID``, ``hold ID``, ``release ID``
    ID is `17` or `17_4`; they print `{"done": true}`, or `{"done": false, "reason": …}` when there is no such job or it is over.
    `cancel` sends SIGTERM to the job's session, SIGKILL three seconds later, and so does the time limit.
``{local} facts``
    `{"cpus": n, "idle_cpus": n, "memory": bytes, "idle_memory": bytes, "jobs_running": n, "jobs_waiting": n}`.

A command that fails prints a sentence on stderr and ends with 1, or with 75 (EX_TEMPFAIL) when it may succeed later.
"""

import json
import os
import re
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple

from project.core import units
from project.core.errors import ClusterError, Problem
from project.core.options import text_problem
from project.core.resources import local_time
from project.core.schedulers import base
from project.core.script import job_name

if TYPE_CHECKING:
    from project.core.jobspec import JobSpec
    from project.core.paths import JobPaths

TEMPFAIL = 75
# A shell's exit statuses above this are deaths by signal.
_SIGNALLED = 128

_STATES = {
    "PENDING": (base.WAITING, ""),
    "HELD": (base.HELD, ""),
    "RUNNING": (base.RUNNING, ""),
    "COMPLETED": (base.DONE, "ok"),
    "FAILED": (base.DONE, "exit_code"),
    "TIMEOUT": (base.DONE, "timeout"),
    "OUT_OF_MEMORY": (base.DONE, "out_of_memory"),
    "CANCELLED": (base.DONE, "cancelled_by_scheduler"),
    "NODE_FAIL": (base.DONE, "node_failure"),
}
_NO_OPTIONS = ("is an option, but the workload manager local takes none.", "Say what the job needs in resources.")
_COUNTS = ("cpus", "idle_cpus", "memory", "idle_memory", "jobs_running", "jobs_waiting")


class Local(base.Scheduler):
    name = "local"
    states = _STATES
    program = base.LOCAL
    expresses = frozenset(
        (
            "array", "seconds", "nodes", "ranks", "ranks_per_node", "threads_per_rank", "memory_per_cpu", "memory_per_node",
            "distribution", "exclusive", "begin", "priority", "signal",
        )
    )  # fmt: skip
    nodes_expression = "1"
    directive_prefix = "#JOBFERRY"
    array_index_variable = "JOBFERRY_LOCAL_INDEX"
    restart_variable = "JOBFERRY_LOCAL_RESTARTS"
    job_id_variable = "JOBFERRY_LOCAL_ID"

    def directives(
        self,
        spec: "JobSpec",
        cluster: Mapping[str, Any],  # noqa: ARG002  # the port's signature
        paths: "JobPaths",  # noqa: ARG002  # the port's signature
        uuid: str,
    ) -> List[str]:
        """`#JOBFERRY --key=value` lines; there is one node, so the cluster's partition means nothing here."""
        resources = spec.resources
        options = {"job-name": job_name(uuid, spec.name)}  # type: Dict[str, Any]
        options["array"] = resources.array.text if resources.array else None
        options["nodes"] = resources.nodes
        options["distribution"] = resources.distribution
        options["time"] = resources.seconds
        options["processes"] = resources.ranks or resources.ranks_per_node
        options["threads"] = resources.threads_per_rank
        options["memory"] = resources.memory_per_node
        if resources.memory_per_cpu is not None:
            cpus = (options["processes"] or 1) * (resources.threads_per_rank or 1)
            options["memory"] = resources.memory_per_cpu * cpus
        options["exclusive"] = 1 if resources.exclusive else None
        options["begin"] = int(local_time(resources.begin).timestamp()) if resources.begin else None
        options["priority"] = resources.priority
        options["signal"] = "{}@{}".format(*resources.signal) if resources.signal else None
        return ["#JOBFERRY --{}={}".format(key, value) for key, value in options.items() if value is not None]

    def value_problems(self, spec: "JobSpec") -> List[Problem]:
        """There is one node."""
        resources, found = spec.resources, []
        hint = "Leave it out, or choose a cluster with another workload manager."
        if (resources.nodes or 1) > 1:
            message = "is {}, but the workload manager local has one node.".format(resources.nodes)
            found.append(Problem("resources.nodes", message, resources.nodes, hint))
        if resources.distribution == "scattered" and (resources.ranks or 1) > 1:
            message = "wants a node for each rank, but the workload manager local has one node."
            found.append(Problem("resources.distribution", message, resources.distribution, hint))
        return found

    def preamble(self, spec: "JobSpec") -> List[str]:
        # The warning goes to every process; this shell outlives it.
        return ["trap : " + spec.resources.signal.name] if spec.resources.signal else []

    def option_problem(self, text: str) -> Tuple[str, str]:
        return text_problem(text) if text_problem(text)[0] else _NO_OPTIONS

    def option_fields(self, text: str) -> List[str]:  # noqa: ARG002
        return []

    def submit(self, script: str, spec: "JobSpec", cluster: Mapping[str, Any]) -> List[str]:  # noqa: ARG002
        folder = os.path.dirname(os.path.dirname(script))
        return [base.LOCAL, "submit", "--output", os.path.join(folder, "log", "scheduler"), script]

    def submitted(self, rc: int, out: str, err: str) -> str:
        ids = [row["id"] for row in _objects(out) if re.match(r"\d+\Z", str(row.get("id", "")))]
        if rc == 0 and ids:
            return str(ids[-1])
        raise ClusterError(
            "the local workload manager did not take the job: {}".format(_words(err, out, rc)),
            # Killed or cut off: the job may be there all the same.
            transient=rc <= 0 or rc > _SIGNALLED or rc == TEMPFAIL,
            condition="submission_rejected",
        )

    def queue(self, user: str) -> List[str]:  # noqa: ARG002  # the port's signature
        return [base.LOCAL, "queue"]

    def parse_queue(self, out: str, rc: int = 0, err: str = "") -> List[base.Element]:
        _answered(out, rc, err)
        return [_element(row) for row in _objects(out) if re.match(r"\d+\Z", str(row.get("id", "")))]

    def history(self, ids: Sequence[str], since: str) -> List[str]:  # noqa: ARG002  # the port's signature
        # An element's id means its whole job here.
        return [base.LOCAL, "history"] + sorted({native_id.partition("_")[0] for native_id in ids}, key=int)

    def parse_history(self, out: str, rc: int = 0, err: str = "") -> List[base.Element]:
        return self.parse_queue(out, rc, err)

    def find(self, name: str, since: str) -> List[List[str]]:  # noqa: ARG002  # the port's signature
        return [[base.LOCAL, "find", name]]

    def parse_find(self, out: str, rc: int = 0, err: str = "", name: str = "") -> List[str]:  # noqa: ARG002
        return sorted({element.native_id for element in self.parse_queue(out, rc, err)}, key=int)

    def cancel(self, native_id: str, name: str = "") -> List[str]:  # noqa: ARG002  # ids are never used again here
        return [base.LOCAL, "cancel", native_id]

    def hold(self, native_id: str) -> List[str]:
        return [base.LOCAL, "hold", native_id]

    def release(self, native_id: str) -> List[str]:
        return [base.LOCAL, "release", native_id]

    def acted(self, rc: int, out: str, err: str) -> bool:
        answers = [row["done"] for row in _objects(out) if isinstance(row.get("done"), bool)]
        if rc == 0 and answers:
            return bool(answers[-1])
        raise ClusterError(
            "the local workload manager did not do it: {}".format(_words(err, out, rc)), transient=rc in (0, TEMPFAIL)
        )

    def facts(self) -> List[List[str]]:
        return [[base.LOCAL, "facts"]]

    def parse_facts(self, outs: Sequence[str]) -> Dict[str, Any]:
        rows = _objects(outs[0]) if outs else []
        status = {key: rows[-1][key] for key in _COUNTS if isinstance(rows[-1].get(key), int)} if rows else {}
        if status:
            busy = status.get("idle_cpus") == 0
            status.update(nodes=1, idle_nodes=0 if busy else 1, down_nodes=0)
        return status


def _objects(text: str) -> List[Dict[str, Any]]:
    """The JSON objects among the lines; anything else (a site's greeting) is left out."""
    found = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def _answered(out: str, rc: int, err: str) -> None:
    torn = out.strip() and not _objects(out)
    if rc != 0 or torn:
        raise ClusterError("the local workload manager gave no answer: {}".format(_words(err, out, rc)), transient=True)


def _words(err: str, out: str, rc: int) -> str:
    return " ".join((err or out).split()) or "exit code {}".format(rc)


def _element(row: Mapping[str, Any]) -> base.Element:
    word = str(row.get("state", ""))
    state, condition = _STATES.get(word, (base.UNKNOWN, ""))
    uid = row.get("uid")
    if word == "CANCELLED" and uid is not None and row.get("cancelled_by") == uid:
        condition = "cancelled_by_user"
    native_id, index = str(row["id"]), _whole(row.get("index"))
    exit_code = _whole(row.get("exit_code"))
    signal = _whole(row.get("signal"))
    if state == base.DONE and exit_code is None and signal:
        exit_code = 128 + signal
    job_id = native_id if index is None else "{}_{}".format(native_id, index)
    span = str(row.get("span") or "")
    elapsed = _whole(row.get("elapsed")) or 0
    cpus = _whole(row.get("cpus")) or 1
    fields = {
        "JobID": "{}_[{}]".format(native_id, span) if span else job_id,
        "State": word,
        "Elapsed": units.clock(elapsed),
        "CPUTime": units.clock(elapsed * cpus),
        "NCPUS": str(cpus),
        "NNodes": "1",
        "NodeList": str(row.get("node") or ""),
        "ReqTRES": "cpu={},node=1".format(cpus),
        "AllocTRES": "cpu={},node=1".format(cpus) if state in (base.RUNNING, base.DONE) else "",
        "WorkDir": str(row.get("workdir") or ""),
    }
    if state == base.DONE:
        fields["ExitCode"] = "{}:{}".format(0 if signal else exit_code or 0, signal or 0)
    return base.Element(
        native_id, index, word, state, condition, exit_code if state == base.DONE else None, str(row.get("reason") or ""),
        {key: value for key, value in fields.items() if value}, _whole(row.get("restarts")) or 0, span,
        str(row.get("name") or ""),
    )  # fmt: skip


def _whole(value: Any) -> Optional[int]:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
