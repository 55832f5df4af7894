"""PBS: PBS Pro and OpenPBS, and Torque (qsub(1B), qstat(1B), qselect(1B), qdel(1B), pbs_resources(7B)).

They have the same programs and different resources; which of the two it is tells the cluster's `dialect`, or
`qstat --version`. What the programs print is understood in `pbs_text`, resources are said in `pbs_resources`.
"""

import os
import re
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple

from project.core.errors import ClusterError, Problem, UserError
from project.core.resources import local_time
from project.core.schedulers import base, headers, pbs_resources, pbs_text
from project.core.script import job_name

if TYPE_CHECKING:
    from project.core.jobspec import JobSpec
    from project.core.paths import JobPaths

PBSPRO, TORQUE = "pbspro", "torque"

_ID = re.compile(r"(\d+(?:\[\])?)\.[A-Za-z0-9._-]+\s*\Z")
_ELEMENT = re.compile(r"(\d+)\[\]_(\d+)\Z")
# Torque's qsub documents 15 characters for a name (qsub(1B), -N); PBS Pro 230.
_SHORT = 15
_LONGEST = 4096
# All of the user's jobs, whole: qstat cannot choose a user and print everything (`-u` and `-f` exclude each other), so
# qselect names the ids. `-t` shows the elements of arrays. A job that leaves in between is complained of, no more.
_ALL = 'ids=$({select}) || exit; [ -z "$ids" ] || exec qstat {options} $ids'


class Pbs(base.Scheduler):
    """PBS of either kind; says resources as PBS Pro as long as the dialect is not known (`plan` on another machine)."""

    name = "pbs"
    states = pbs_text.STATES
    program = "qsub"
    launcher = "mpirun"
    directive_prefix = "#PBS"
    # One line for each rank in PBS_NODEFILE (pbs_resources(7B), mpiprocs): the different ones are the nodes.
    nodes_expression = '$(sort -u "${PBS_NODEFILE:-/dev/null}" 2>/dev/null | wc -l | tr -d " ")'
    expresses = pbs_resources.PRO | pbs_resources.TORQUE
    array_lists = False
    array_index_variable = "PBS_ARRAY_INDEX"
    # PBS_JOBID without the server's name, an element's as its array's (`preamble`).
    job_id_variable = "JOBFERRY_PBS_ID"

    def dialect_command(self) -> List[str]:
        return [] if self.dialect else ["qstat", "--version"]

    def in_dialect(self, text: str) -> "base.Scheduler":
        """PBS Pro says `pbs_version = 2022.1.1…` on stdout, Torque `Version: 6.1.2` on stderr."""
        word = text.strip().lower()
        if word == PBSPRO or re.search(r"pbs_version\s*=|pbspro|openpbs", word):
            return PbsPro()
        if word == TORQUE or re.search(r"^\s*version:\s*\d", word, re.MULTILINE):
            return Torque()
        return Pbs()

    def directives(
        self,
        spec: "JobSpec",
        cluster: Mapping[str, Any],
        paths: "JobPaths",  # noqa: ARG002  # the port's signature; paths are arguments of qsub
        uuid: str,
    ) -> List[str]:
        """The `#PBS` lines. The batch job's whole name is in its variables too, where it is found by it."""
        problems = self.value_problems(spec)
        if problems:
            raise UserError("{} {}".format(problems[0].key, problems[0].message), problems[0].hint)
        name = job_name(uuid, spec.name)
        options = [("-N", self._shown_name(name)), ("-v", "{}={}".format(pbs_text.NAME_VARIABLE, name))]
        # qsub(1B), -m: mails are jobferry's own.
        options += [] if any(one.strip().startswith("-m") for one in spec.scheduler_options) else [("-m", "n")]
        options += self._resource_options(spec, cluster)
        lines = ["#PBS {} {}".format(letter, headers.quoted(value)).rstrip() for letter, value in options]
        for option in spec.scheduler_options:
            message, hint = self.option_problem(option)
            if message:
                raise UserError("scheduler_options: {!r} {}".format(option, message), hint)
            lines.append("#PBS " + option.strip())
        return lines

    def _shown_name(self, name: str) -> str:
        return name

    def preamble(self, spec: "JobSpec") -> List[str]:  # noqa: ARG002
        """The native id as it is known outside: `123` of `123.server`, `123[]` of `123[4].server`."""
        return [
            "JOBFERRY_PBS_ID=${PBS_JOBID:-}",
            "JOBFERRY_PBS_ID=${JOBFERRY_PBS_ID%%.*}",
            "case $JOBFERRY_PBS_ID in *'['*) JOBFERRY_PBS_ID=\"${JOBFERRY_PBS_ID%%'['*}[]\" ;; esac",
        ]

    def _resource_options(self, spec: "JobSpec", cluster: Mapping[str, Any]) -> List[Tuple[str, str]]:
        resources = spec.resources
        options = []
        queue = resources.reservation or resources.queue or cluster.get("partition")
        if queue:
            # pbs_rsub(1B): a reservation is a queue.
            options.append(("-q", str(queue)))
        if resources.account:
            options.append(("-A", resources.account))
        if resources.array is not None:
            # Only what may be run again can be an array, and a site's default may be that nothing may; said before -J, which looks
            # at it (src/cmds/qsub.c, process_opts).
            options += [("-r", "y"), ("-J", pbs_resources.pro_array(resources.array))]
        options += [("-l", text) for text in pbs_resources.pro_lists(resources)]
        if resources.qos:
            # Reached only as long as the dialect is not known: PBS Pro does not express it.
            options.append(("-l", "qos=" + resources.qos))
        return options + self._common_options(spec)

    def _common_options(self, spec: "JobSpec") -> List[Tuple[str, str]]:
        resources = spec.resources
        options = []
        if resources.begin:
            options.append(("-a", local_time(resources.begin).strftime("%Y%m%d%H%M.%S")))
        if resources.priority is not None:
            options.append(("-p", str(resources.priority)))
        if resources.requeue is not None and (resources.array is None or self.dialect == TORQUE):
            options.append(("-r", "y" if resources.requeue else "n"))
        return options

    def value_problems(self, spec: "JobSpec") -> List[Problem]:
        return pbs_resources.problems(spec.resources, torque=self.dialect == TORQUE)

    def option_problem(self, text: str) -> Tuple[str, str]:
        return pbs_resources.option_problem(text, _LONGEST)

    def option_fields(self, text: str) -> List[str]:
        return pbs_resources.option_fields(text)

    def submit(self, script: str, spec: "JobSpec", cluster: Mapping[str, Any]) -> List[str]:  # noqa: ARG002
        """`qsub`; what PBS itself has to say about the job goes to `log/scheduler`.

        The script is sh, whatever the login shell is (`-S`). Options of the command line win over directives. A path with
        a colon is taken whole when it starts with a slash (src/lib/Libcmds/prepare_path.c of both).
        """
        words = os.path.join(os.path.dirname(os.path.dirname(script)), "log", "scheduler")
        if spec.resources.array is not None and self.dialect != TORQUE:
            # Torque appends `-<index>` itself (src/server/job_func.c, job_clone).
            words += ".^array_index^"
        # Without -f PBS Pro's first qsub leaves a process behind that hands over later ones; it keeps open files of ours, and
        # submits what a qsub that was killed has told it (src/cmds/qsub_sup.c, do_daemon_stuff). To Torque -f is another thing.
        alone = ["-f"] if self.dialect == PBSPRO else []
        return ["qsub", *alone, "-S", "/bin/sh", "-j", "oe", "-o", words, script]

    def array_limit(self) -> List[str]:
        return ["qstat", "-B", "-f"]

    def parse_array_limit(self, out: str) -> Optional[base.Limit]:
        """`max_array_size`; PBS Pro's default is 10000 elements (src/include/server_limits.h)."""
        size = pbs_text.array_limit(out)
        if size is None and not list(pbs_text.blocks(out, r"Server:\s*(\S+)")):
            return None
        return base.Limit(size or 10000, None)

    def submitted(self, rc: int, out: str, err: str) -> str:
        ids = [match.group(1) for match in map(_ID.match, (line.strip() for line in out.splitlines())) if match]
        if rc == 0 and ids:
            return ids[-1]
        words = pbs_text.words(err or out)
        # The exit status is the error's number modulo 256: 188 is an answer, no signal.
        if rc <= 0 or ids or "qsub" not in err + out:
            text = "qsub gave no job id (exit status {}); it said: {}".format(rc, words or "nothing")
            raise ClusterError(text, transient=True, condition="submission_rejected")
        later = pbs_text.full(err + out) or pbs_text.away(err + out)
        raise ClusterError(
            "PBS did not take the job: {}.".format(words.split("; usage:")[0].rstrip(".")),
            hint="" if later else _hint(words),
            transient=later,
            condition="submission_rejected",
        )

    def queue(self, user: str) -> List[str]:
        return ["sh", "-c", _ALL.format(select='qselect -u "$0"', options="-f -t"), user]

    def parse_queue(self, out: str, rc: int = 0, err: str = "") -> List[base.Element]:
        pbs_text.answered("qstat", out, rc, err)
        return pbs_text.elements(out, self.dialect == TORQUE)

    def history(self, ids: Sequence[str], since: str) -> List[str]:  # noqa: ARG002  # PBS keeps them for days by itself
        """`-x` shows finished jobs for `job_history_duration` (two weeks by default), if the site keeps a history."""
        if not ids:
            return ["true"]
        return ["qstat", "-x", "-f", "-t"] + [_native(one) for one in ids]

    def parse_history(self, out: str, rc: int = 0, err: str = "") -> List[base.Element]:
        return self.parse_queue(out, rc, err)

    def find(self, name: str, since: str) -> List[List[str]]:  # noqa: ARG002  # `parse_find` looks for the name
        """The queue, then what is over. Names are compared here: `-N` of qselect knows only what qsub did not cut off."""
        return [
            ["sh", "-c", _ALL.format(select='qselect -u "$(id -un)"', options="-f")],
            ["sh", "-c", _ALL.format(select='qselect -x -u "$(id -un)"', options="-x -f")],
        ]

    def parse_find(self, out: str, rc: int = 0, err: str = "", name: str = "") -> List[str]:
        pbs_text.answered("qselect", out, rc, err)
        return pbs_text.found_ids(out, name)

    def cancel(self, native_id: str, name: str = "") -> List[str]:  # noqa: ARG002  # ids go up to 9999999 before they come again
        return ["qdel", _native(native_id)]

    def hold(self, native_id: str) -> List[str]:
        return ["qhold", _native(native_id)]

    def release(self, native_id: str) -> List[str]:
        return ["qrls", _native(native_id)]

    def acted(self, rc: int, out: str, err: str) -> bool:
        text = err + out
        if pbs_text.gone(text):
            return False
        if rc == 0 and not text.strip():
            return True
        words = pbs_text.words(text) or "exit status {}".format(rc)
        raise ClusterError("PBS did not do it: {}".format(words), transient=rc <= 0 or pbs_text.away(text))

    def facts(self) -> List[List[str]]:
        return [["pbsnodes", "-a"], ["qstat", "-B", "-f"]]

    def parse_facts(self, outs: Sequence[str]) -> Dict[str, Any]:
        status = {}  # type: Dict[str, Any]
        if outs:
            status.update(pbs_text.node_facts(outs[0]))
        if len(outs) > 1:
            status.update(pbs_text.server_facts(outs[1]))
        return status


class PbsPro(Pbs):
    """PBS Pro and OpenPBS."""

    dialect = PBSPRO
    states = pbs_text.PRO_STATES
    expresses = pbs_resources.PRO


class Torque(Pbs):
    """Torque, whose jobs stay in the queue for `keep_completed` seconds after their end, and nowhere later."""

    dialect = TORQUE
    states = pbs_text.TORQUE_STATES
    expresses = pbs_resources.TORQUE
    keeps_history = False
    array_lists = True
    array_steps = False
    array_index_variable = "PBS_ARRAYID"
    nodes_expression = '${PBS_NUM_NODES:-$(sort -u "${PBS_NODEFILE:-/dev/null}" 2>/dev/null | wc -l | tr -d " ")}'

    def _shown_name(self, name: str) -> str:
        short = name.partition(".")[0][:_SHORT]
        return short if short[:1].isalpha() else ("j" + short)[:_SHORT]

    def _resource_options(self, spec: "JobSpec", cluster: Mapping[str, Any]) -> List[Tuple[str, str]]:
        resources = spec.resources
        options = []
        queue = resources.queue or cluster.get("partition")
        if queue:
            options.append(("-q", str(queue)))
        if resources.account:
            options.append(("-A", resources.account))
        if resources.array is not None:
            options.append(("-t", resources.array.text))
        options += [("-l", text) for text in pbs_resources.torque_lists(resources)]
        if resources.reservation:
            # Maui's and Moab's word; pbs_sched has no reservations.
            options.append(("-W", "x=FLAGS:ADVRES:{}".format(resources.reservation)))
        if resources.exclusive:
            options.append(("-n", ""))
        return options + self._common_options(spec)

    def parse_array_limit(self, out: str) -> Optional[base.Limit]:
        """`max_job_array_size`; an index is at most 99999 (src/include/server_limits.h, PBS_MAXJOBARRAY)."""
        size = pbs_text.array_limit(out)
        if size is None and not list(pbs_text.blocks(out, r"Server:\s*(\S+)")):
            return None
        return base.Limit(size, 99999)

    def find(self, name: str, since: str) -> List[List[str]]:
        return super().find(name, since)[:1]


_HINTS = (
    ("unknown queue", "Choose another queue in resources.queue; `qstat -q` lists them."),
    ("unknown resource", "Correct scheduler_options or resources: the site has no such resource."),
    ("array job exceeds", "Make the array smaller, or set max_array_size of the cluster so that it is split."),
    ("queue", "Ask for less in resources, or choose another queue in resources.queue."),
    ("illegal", "Correct scheduler_options: qsub does not take one of them."),
    ("account", "Name your account in resources.account."),
)


def _hint(words: str) -> str:
    found = [hint for word, hint in _HINTS if word in words.lower()]
    return found[0] if found else "Correct resources or scheduler_options, then submit again."


def _native(one: str) -> str:
    """`123[]_4`, element 4 of an array here, as PBS writes it: `123[4]`."""
    match = _ELEMENT.match(one)
    return "{}[{}]".format(*match.groups()) if match else one
