"""LSF: IBM Spectrum LSF 10.1 (bsub(1), bjobs(1), bhist(1), bkill(1), bhosts(1), bparams(1)).

What its programs print is understood in `lsf_text`, resources are said in `lsf_resources`.
"""

import os
import re
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple

from project.core.errors import ClusterError, Problem, UserError
from project.core.schedulers import base, headers, lsf_resources, lsf_text
from project.core.script import job_name

if TYPE_CHECKING:
    from project.core.jobspec import JobSpec
    from project.core.paths import JobPaths

_ID = re.compile(r"Job <(\d+)> is submitted to (?:default )?queue <")
_ELEMENT = re.compile(r"(\d+)_(\d+)\Z")
_LONGEST = 4096
# bhist(1), -n: how many event log files are searched, from the newest.
_LOGS = "20"


class Lsf(base.Scheduler):
    name = "lsf"
    states = lsf_text.STATES
    program = "bsub"
    launcher = "mpirun"
    directive_prefix = "#BSUB"
    stray_line = "#BSUB"
    # `host slots host slots …` (LSF Configuration Reference, LSB_MCPU_HOSTS).
    nodes_expression = "$(set -- ${LSB_MCPU_HOSTS:-}; echo $(( $# / 2 )))"
    expresses = lsf_resources.EXPRESSES
    # bsub(1), -J: indices are "unique positive integers". 0 is what LSB_JOBINDEX says in a job that is no array.
    lowest_index = 1
    # "The maximum length of this specification is 255 characters", the job's name (at most 102) and the throttle among them (IBM
    # Spectrum LSF 10.1, "Job Arrays").
    longest_span = 140
    array_index_variable = "LSB_JOBINDEX"
    job_id_variable = "LSB_JOBID"

    def directives(
        self,
        spec: "JobSpec",
        cluster: Mapping[str, Any],
        paths: "JobPaths",  # noqa: ARG002  # the port's signature; paths are arguments of bsub
        uuid: str,
    ) -> List[str]:
        """The `#BSUB` lines."""
        problems = self.value_problems(spec)
        if problems:
            raise UserError("{} {}".format(problems[0].key, problems[0].message), problems[0].hint)
        array = spec.resources.array
        name = job_name(uuid, spec.name)
        if array is not None:
            name += "[{}]".format(array.span)
            name += "" if array.throttle is None else "%{}".format(array.throttle)
        options = [("-J", name)]
        queue = spec.resources.queue or cluster.get("partition")
        if queue:
            options.append(("-q", str(queue)))
        options += lsf_resources.options(spec.resources)
        lines = ["#BSUB {} {}".format(letter, headers.quoted(value)).rstrip() for letter, value in options]
        for option in spec.scheduler_options:
            message, hint = self.option_problem(option)
            if message:
                raise UserError("scheduler_options: {!r} {}".format(option, message), hint)
            lines.append("#BSUB " + option.strip())
        return lines

    def value_problems(self, spec: "JobSpec") -> List[Problem]:
        """bsub reads the `#BSUB` lines of the whole script (bsub(1), job_script: its example has one at the end)."""
        return lsf_resources.problems(spec.resources) + headers.stray(spec, self.directive_prefix, self.program)

    def option_problem(self, text: str) -> Tuple[str, str]:
        return lsf_resources.option_problem(text, _LONGEST)

    def option_fields(self, text: str) -> List[str]:
        return lsf_resources.option_fields(text)

    def submit(self, script: str, spec: "JobSpec", cluster: Mapping[str, Any]) -> List[str]:  # noqa: ARG002
        """`bsub` reads directives from its standard input only. LSF's report on the job goes to `log/scheduler`.

        A `%J` or `%I` in a path would be replaced, and cannot be escaped (bsub(1), -o): such a job's report is dropped.
        """
        words = os.path.join(os.path.dirname(os.path.dirname(script)), "log", "scheduler")
        if "%" in words:
            words = "/dev/null"
        elif spec.resources.array is not None:
            words += ".%I"
        return ["sh", "-c", 'exec bsub -o "$1" < "$0"', script, words]

    def array_limit(self) -> List[str]:
        return ["bparams", "-a"]

    def parse_array_limit(self, out: str) -> Optional[base.Limit]:
        """`MAX_JOB_ARRAY_SIZE` (lsb.params(5)): the number of elements, and the highest index."""
        size = lsf_text.array_limit(out)
        return None if size is None else base.Limit(size, size)

    def submitted(self, rc: int, out: str, err: str) -> str:
        ids = _ID.findall(out)
        if rc == 0 and ids:
            return str(ids[-1])
        text = err if err.strip() else out
        words = lsf_text.words(text)
        refused = "not submitted" in err + out or (rc > 0 and bool(err.strip()))
        if rc < 0 or ids or not refused:
            text = "bsub gave no job id (exit status {}); it said: {}".format(rc, words or "nothing")
            raise ClusterError(text, transient=True, condition="submission_rejected")
        # bsub ends with 255 whatever it was.
        later = lsf_text.full(err + out) or (lsf_text.away(err + out) and "No such queue" not in err + out)
        raise ClusterError(
            "LSF did not take the job: {}.".format(words.rstrip(".")),
            hint="" if later else _hint(words),
            transient=later,
            condition="submission_rejected",
        )

    def queue(self, user: str) -> List[str]:
        """Also what ended within CLEAN_PERIOD (an hour by default), with its end (lsb.params(5))."""
        return ["bjobs", "-noheader", "-a", "-u", user, "-o", lsf_text.FORMAT]

    def parse_queue(self, out: str, rc: int = 0, err: str = "") -> List[base.Element]:
        lsf_text.answered("bjobs", out, rc, err)
        return lsf_text.queue_elements(out)

    def history(self, ids: Sequence[str], since: str) -> List[str]:  # noqa: ARG002
        if not ids:
            return ["true"]
        return ["bhist", "-n", _LOGS, "-l"] + [_native(one) for one in ids]

    def parse_history(self, out: str, rc: int = 0, err: str = "") -> List[base.Element]:
        lsf_text.answered("bhist", out, rc, err)
        return lsf_text.history_elements(out)

    def find(self, name: str, since: str) -> List[List[str]]:  # noqa: ARG002
        """All of the user's jobs, and names compared here: the name of an array is another one to `-J` than that of a job."""
        return [
            ["bjobs", "-noheader", "-a", "-o", lsf_text.FIND_FORMAT],
            ["bhist", "-n", _LOGS, "-a", "-l", "-J", name],
        ]

    def parse_find(self, out: str, rc: int = 0, err: str = "", name: str = "") -> List[str]:
        lsf_text.answered("bjobs or bhist", out, rc, err)
        return lsf_text.found_ids(out, name)

    def cancel(self, native_id: str, name: str = "") -> List[str]:  # noqa: ARG002  # ids come again after MAX_JOBID only
        return ["bkill", _native(native_id)]

    def hold(self, native_id: str) -> List[str]:
        return ["bstop", _native(native_id)]

    def release(self, native_id: str) -> List[str]:
        return ["bresume", _native(native_id)]

    def acted(self, rc: int, out: str, err: str) -> bool:
        text = err + out
        if rc >= 0 and lsf_text.acted(text):
            return True
        if lsf_text.gone(text):
            return False
        words = lsf_text.words(text) or "exit status {}".format(rc)
        raise ClusterError("LSF did not do it: {}".format(words), transient=rc <= 0 or lsf_text.away(text))

    def facts(self) -> List[List[str]]:
        return [["bhosts", "-w"], ["bqueues", "-w"], ["lshosts", "-w"]]

    def parse_facts(self, outs: Sequence[str]) -> Dict[str, Any]:
        status = {}  # type: Dict[str, Any]
        readers = (lsf_text.host_facts, lsf_text.queue_facts, lsf_text.memory_facts)
        for out, reader in zip(outs, readers):
            status.update(reader(out))
        return status


_HINTS = (
    ("no such queue", "Choose another queue in resources.queue; `bqueues` lists them."),
    ("queue", "Ask for less in resources, or choose another queue in resources.queue."),
    ("resource requirement", "Correct resources.constraint, resources.licenses or a -R in scheduler_options."),
    ("project", "Name your project in resources.account."),
    ("array", "Make the array smaller, or set max_array_size of the cluster so that it is split."),
    ("illegal option", "Correct scheduler_options: bsub does not know one of them."),
    ("bad argument", "Correct scheduler_options: bsub does not take one of them."),
)


def _hint(words: str) -> str:
    found = [hint for word, hint in _HINTS if word in words.lower()]
    return found[0] if found else "Correct resources or scheduler_options, then submit again."


def _native(one: str) -> str:
    """`123_4`, element 4 of an array here, as LSF writes it: `123[4]`."""
    match = _ELEMENT.match(one)
    return "{}[{}]".format(*match.groups()) if match else one
