"""HTCondor (8.9 and later): condor_submit(1), condor_q(1), condor_history(1), condor_rm(1), condor_status(1), its ClassAd attributes.

What its programs print is understood in `htcondor_text`. What is submitted is a description beside the batch script
(`scripts/job.sub`; of a part of an array `scripts/job.K.sub`). What is assumed, and what follows from HTCondor's own nature:

- The universe is vanilla: a job runs on one machine; `ranks` times `threads_per_rank` are its CPUs.
- The job's folder is on a file system that the execution machines share with the login node under the same path
  (`should_transfer_files = NO`): the batch script writes its facts there.
- There are no queues; `account` is the accounting group, `licenses` are concurrency limits, `constraint` is a ClassAd
  expression that the machine must fulfil.
- There is no time limit of HTCondor's own: `periodic_remove` removes a job that runs for longer than `duration`. The
  schedd looks every minute by default (PERIODIC_EXPR_INTERVAL). It also removes a job that HTCondor held because it used
  more memory than it asked for.
- `begin` makes the job wait on its machine for the time (`deferral_time`), which occupies the slot shortly before.
- A limit on how many elements run at once is not taken: `max_materialize` keeps the others out of the queue, where
  they could not be told from elements that are gone.
"""

import os
import re
import time
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple

from project.core import units
from project.core.errors import ClusterError, Problem, UserError
from project.core.options import text_problem
from project.core.resources import local_time
from project.core.schedulers import base, htcondor_text
from project.core.schedulers.htcondor_text import INDEX
from project.core.script import job_name

if TYPE_CHECKING:
    from project.core.jobspec import JobSpec
    from project.core.paths import JobPaths
    from project.core.resources import Resources

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SIGNALLED = 128
# A deferred job whose time is past when it gets its machine runs all the same, however long ago that was.
_WINDOW = 10**9
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}\Z")
_LICENSE = re.compile(r"[A-Za-z0-9_.-]{1,128}(:[0-9]{1,9}(\.[0-9]{1,9})?)?\Z")
_COMMAND = re.compile(r"\s*(\+?[A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(\S.*)\Z")
# Commands of the description that jobferry gives itself, and what would give the job another form.
_OWNED = frozenset(
    (
        "executable", "arguments", "args", "universe", "initialdir", "initial_dir", "iwd", "output", "error", "input", "log",
        "getenv", "environment", "env", "queue", "batch_name", "should_transfer_files", "when_to_transfer_output",
        "max_materialize", "max_idle", "hold", "leave_in_queue", "on_exit_remove", "notification",
        # Their other names, and those of the attributes that they become (`+Cmd = …`, `MY.Cmd = …`).
        "stdin", "stdout", "stderr", "environment2", "job_iwd", "jobbatchname", "cmd", "in", "out", "err", "jobuniverse",
        "shouldtransferfiles", "leavejobinqueue", "onexitremovecheck", "onexitremove", "jobnotification", "clusterid", "procid",
    )
)  # fmt: skip
# Command → the fields of Resources that it says too.
_SAID = {
    "request_cpus": ["ranks", "ranks_per_node", "threads_per_rank"],
    "request_memory": ["memory_per_node", "memory_per_cpu"],
    "request_gpus": ["gpus_per_node", "gpus_per_rank"],
    "accounting_group": ["account"],
    "priority": ["priority"],
    "prio": ["priority"],
    "concurrency_limits": ["licenses"],
    "requirements": ["constraint"],
    "deferral_time": ["begin"],
    "deferral_window": ["begin"],
    "periodic_remove": ["seconds"],
    "allowed_job_duration": ["seconds"],
    "allowed_execute_duration": ["seconds"],
}
# The attributes that these commands become (src/condor_utils/submit_utils.cpp).
_SAID.update((name.replace("_", ""), fields) for name, fields in list(_SAID.items()))
_SAID.update(jobprio=["priority"], acctgroup=["account"])


class Htcondor(base.Scheduler):
    name = "htcondor"
    states = htcondor_text.STATES
    program = "condor_submit"
    throttles = False
    nodes_expression = "1"
    expresses = frozenset(
        (
            "array", "seconds", "nodes", "ranks", "ranks_per_node", "threads_per_rank", "memory_per_cpu", "memory_per_node",
            "gpus_per_node", "gpus_per_rank", "distribution", "account", "constraint", "licenses", "begin", "priority",
        )
    )  # fmt: skip
    # Both are set by the description. HTCondor does not tell a job how often it was started.
    array_index_variable = "JOBFERRY_CONDOR_INDEX"
    job_id_variable = "JOBFERRY_CONDOR_ID"

    def directives(
        self,
        spec: "JobSpec",
        cluster: Mapping[str, Any],  # noqa: ARG002  # the port's signature
        paths: "JobPaths",  # noqa: ARG002  # the port's signature
        uuid: str,
    ) -> List[str]:
        """None: what HTCondor is told stands in the description. Raises UserError as `files`."""
        _commands(spec, job_name(uuid, spec.name))
        return []

    def value_problems(self, spec: "JobSpec") -> List[Problem]:
        resources, found = spec.resources, []
        if resources.nodes is not None and resources.nodes != 1:
            message = "is {}, but a job of HTCondor's vanilla universe runs on one machine.".format(resources.nodes)
            found.append(Problem("resources.nodes", message, resources.nodes, "Leave it out."))
        if resources.distribution not in (None, "grouped"):
            message = "is {}, but a job of HTCondor's vanilla universe runs on one machine.".format(
                resources.distribution
            )
            found.append(Problem("resources.distribution", message, resources.distribution, "Leave it out."))
        if resources.account and not _NAME.match(resources.account):
            message = "is no accounting group: it has letters, digits and any of _ . -"
            found.append(Problem("resources.account", message, resources.account, ""))
        bad = [one for one in resources.licenses if not _LICENSE.match(one)]
        if bad:
            found.append(Problem("resources.licenses", "holds {!r}, which is no licence.".format(bad[0]), bad[0], ""))
        return found

    def option_problem(self, text: str) -> Tuple[str, str]:
        """An entry is one command of a submit description, such as `request_disk = 2G` or `+WantFlocking = true`."""
        message, hint = text_problem(text)
        if message:
            return message, hint
        match = _COMMAND.match(text)
        if not match:
            return "is no command of a submit description.", "Give commands as request_disk = 2G."
        name = _plain(match.group(1))
        if name in _OWNED or name.startswith("jobferry"):
            return "sets {}, which jobferry sets itself.".format(name), "Leave it out."
        return "", ""

    def option_fields(self, text: str) -> List[str]:
        match = _COMMAND.match(text)
        return _SAID.get(_plain(match.group(1)), []) if match else []

    def files(self, spec: "JobSpec", cluster: Mapping[str, Any], paths: "JobPaths", uuid: str) -> Dict[str, str]:  # noqa: ARG002
        """The description, named after the batch script (a part's is `job.K`). Raises UserError for a value that cannot stand in it."""
        place = os.path.basename(paths.script) + ".sub"
        environment = '"{}={} {}=$(ClusterId)"'.format(self.array_index_variable, "{}", self.job_id_variable)
        array = spec.resources.array
        lines = ["# jobferry: job {}".format(re.sub(r"[^A-Za-z0-9-]", "", uuid))]
        lines += [
            "universe = vanilla",
            "executable = " + _path(paths.script),
            "initialdir = " + _path(paths.work),
            "should_transfer_files = NO",
            # A site may have forbidden it (SUBMIT_ALLOW_GETENV).
            "getenv = {}".format(spec.inherit_environment),
            "notification = Never",
        ]
        lines += _commands(spec, job_name(uuid, spec.name))
        words = _path(paths.log + "/scheduler")
        if array is None:
            lines += ["output = " + words, "error = " + words, "environment = " + environment.format(""), "queue"]
            return {place: "\n".join(lines) + "\n"}
        words += ".$(jobferry_index)"
        lines += ["output = " + words, "error = " + words, "environment = " + environment.format("$(jobferry_index)")]
        lines += [
            "+{} = $(jobferry_index)".format(INDEX),
            "# array {}".format(array.span),
            "queue jobferry_index from (",
        ]
        lines += ["  {}".format(index) for index in array.indices()] + [")"]
        return {place: "\n".join(lines) + "\n"}

    def submit(self, script: str, spec: "JobSpec", cluster: Mapping[str, Any]) -> List[str]:  # noqa: ARG002
        return ["condor_submit", "-terse", script + ".sub"]

    def array_limit(self) -> List[str]:
        return ["condor_config_val", "MAX_JOBS_PER_SUBMISSION"]

    def parse_array_limit(self, out: str) -> Optional[base.Limit]:
        """A number; it holds for one submission (20000 by default)."""
        return base.Limit(int(out)) if re.match(r"\s*[1-9][0-9]{0,8}\s*\Z", out) else None

    def submitted(self, rc: int, out: str, err: str) -> str:
        """`-terse` prints `123.0 - 123.9`, the first and the last job of the cluster."""
        ids = re.findall(r"^(\d{1,18})\.\d{1,9} - \d{1,18}\.\d{1,9}\s*$", out, re.MULTILINE)
        if rc == 0 and ids:
            return str(ids[-1])
        words = htcondor_text.words(err or out)
        if rc <= 0 or rc > _SIGNALLED or ids or not words:
            text = "condor_submit gave no job id (exit status {}); it said: {}".format(rc, words or "nothing")
            raise ClusterError(text, transient=True, condition="submission_rejected")
        later = htcondor_text.away(words) or htcondor_text.full(words)
        hint = "Correct resources or scheduler_options, then submit again."
        if "SUBMIT_ALLOW_GETENV" in words:
            hint = "Write inherit_environment: false, and what the job needs in env."
        raise ClusterError(
            "HTCondor did not take the job: {}.".format(words.rstrip(".")),
            hint="" if later else hint,
            transient=later,
            condition="submission_rejected",
        )

    def queue(self, user: str) -> List[str]:
        return ["condor_q", user, "-json", "-attributes", ",".join(htcondor_text.ATTRIBUTES)]

    def parse_queue(self, out: str, rc: int = 0, err: str = "") -> List[base.Element]:
        return htcondor_text.elements(htcondor_text.answer("condor_q", out, rc, err))

    def history(self, ids: Sequence[str], since: str) -> List[str]:  # noqa: ARG002  # read from the newest on
        if not ids:
            return ["true"]
        clusters = sorted({one.partition("_")[0] for one in ids})
        return ["condor_history", *clusters, "-json", "-attributes", ",".join(htcondor_text.ATTRIBUTES)]

    def parse_history(self, out: str, rc: int = 0, err: str = "") -> List[base.Element]:
        return htcondor_text.elements(htcondor_text.answer("condor_history", out, rc, err))

    def find(self, name: str, since: str) -> List[List[str]]:  # noqa: ARG002
        constraint = _is("JobBatchName", name)
        options = ["-json", "-attributes", "ClusterId", "-constraint", constraint]
        return [["condor_q", *options], ["condor_history", *options]]

    def parse_find(self, out: str, rc: int = 0, err: str = "", name: str = "") -> List[str]:  # noqa: ARG002
        ads = htcondor_text.answer("condor_q or condor_history", out, rc, err)
        ids = [str(ad["ClusterId"]) for ad in ads if isinstance(ad.get("ClusterId"), int)]
        return list(dict.fromkeys(ids))

    def cancel(self, native_id: str, name: str = "") -> List[str]:
        return ["condor_rm", "-constraint", _jobs(native_id) + (" && " + _is("JobBatchName", name) if name else "")]

    def hold(self, native_id: str) -> List[str]:
        """Those that wait alone: a running job would be thrown off its machine."""
        return ["condor_hold", "-constraint", _jobs(native_id) + " && JobStatus == 1"]

    def release(self, native_id: str) -> List[str]:
        return ["condor_release", "-constraint", _jobs(native_id)]

    def acted(self, rc: int, out: str, err: str) -> bool:
        text = err + out
        if htcondor_text.gone(text):
            return False
        if rc == 0:
            return True
        words = htcondor_text.words(text) or "exit code {}".format(rc)
        raise ClusterError("HTCondor did not do it: {}".format(words), transient=rc <= 0 or htcondor_text.away(text))

    def facts(self) -> List[List[str]]:
        return [
            ["condor_status", "-json", "-attributes", "Machine,State,Cpus,Memory"],
            ["condor_status", "-schedd", "-json", "-attributes", "TotalRunningJobs,TotalIdleJobs"],
        ]

    def parse_facts(self, outs: Sequence[str]) -> Dict[str, Any]:
        return htcondor_text.load(outs)


def _plain(name: str) -> str:
    """A command's name, or that of the attribute that it sets."""
    return re.sub(r"\A(\+|my\.)", "", name.lower())


def _commands(spec: "JobSpec", name: str) -> List[str]:
    """The commands of the description that say the job's needs, the user's own last: of two equal ones the last counts."""
    resources = spec.resources
    pairs: List[Tuple[str, Any]] = [
        ("batch_name", name),
        ("request_cpus", _cpus(resources)),
        ("request_memory", _memory(resources)),
        ("request_gpus", _gpus(resources)),
        ("accounting_group", resources.account or None),
        ("concurrency_limits", ",".join(resources.licenses) or None),
        ("requirements", "({})".format(resources.constraint) if resources.constraint else None),
        ("priority", resources.priority),
        ("periodic_remove", _removal(resources.seconds)),
    ]
    if resources.begin:
        moment = int(time.mktime(local_time(resources.begin).timetuple()))
        pairs += [("deferral_time", moment), ("deferral_window", _WINDOW)]
    lines = ["{} = {}".format(key, value) for key, value in pairs if value is not None]
    if resources.ranks_per_node is not None or resources.nodes is not None or resources.distribution:
        lines.append("# on one machine: {}".format(_shape(resources)))
    lines += [option.strip() for option in spec.scheduler_options]
    for line in lines:
        if _CONTROL.search(line) or line.endswith("\\"):
            raise UserError("{!r} cannot stand in a submit description.".format(line))
    return lines


def _shape(resources: "Resources") -> str:
    said = {
        "nodes": resources.nodes,
        "ranks_per_node": resources.ranks_per_node,
        "distribution": resources.distribution,
    }
    return ", ".join("{} {}".format(key, value) for key, value in said.items() if value is not None)


def _ranks(resources: "Resources") -> int:
    return resources.ranks or resources.ranks_per_node or 1


def _cpus(resources: "Resources") -> Optional[int]:
    if resources.ranks is None and resources.ranks_per_node is None and resources.threads_per_rank is None:
        return None
    return _ranks(resources) * (resources.threads_per_rank or 1)


def _memory(resources: "Resources") -> Optional[int]:
    """In MiB, as HTCondor takes a number without a unit; of the whole job."""
    size = resources.memory_per_node
    if resources.memory_per_cpu is not None:
        size = resources.memory_per_cpu * (_cpus(resources) or 1)
    return None if size is None else max(1, -(-size // units.MIB))


def _gpus(resources: "Resources") -> Optional[int]:
    if resources.gpus_per_rank is not None:
        return resources.gpus_per_rank * _ranks(resources)
    return resources.gpus_per_node


def _removal(seconds: Optional[int]) -> str:
    """When the schedd shall remove the job: it runs too long, or was held for its memory (`htcondor_text.starved`)."""
    # An expression that is undefined for a moment would hold the job: =?= and =!= never are.
    starved = (
        "(JobStatus =?= 5 && ((HoldReasonCode =?= 34 && HoldReasonSubCode =!= 104)"
        " || (HoldReasonCode =?= 21 && HoldReasonSubCode =?= 102)))"
    )
    if seconds is None:
        return starved
    return "(JobStatus =?= 2 && time() - EnteredCurrentStatus > {}) || {}".format(seconds, starved)


def _path(path: str) -> str:
    """A path in a description: `$` would begin a macro."""
    if _CONTROL.search(path):
        raise UserError("{!r} cannot stand in a submit description.".format(path))
    return path.replace("$", "$(DOLLAR)")


def _is(attribute: str, text: str) -> str:
    return '{} == "{}"'.format(attribute, re.sub(r'(["\\])', r"\\\1", text))


def _jobs(native_id: str) -> str:
    """A job, or an element by the user's index."""
    cluster, _, index = native_id.partition("_")
    return "ClusterId == {}".format(cluster) + (" && {} == {}".format(INDEX, index) if index else "")
