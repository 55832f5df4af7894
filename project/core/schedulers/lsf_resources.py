"""Resources in the words of LSF (bsub(1), and "Resource requirements" of its Administrator Guide), and which of bsub's options
are the user's to give. Pure.

A slot is a CPU here: a rank of several threads takes as many slots, which lie on one host (`span[block=…]`).
"""

import datetime
import re
import shlex
from typing import TYPE_CHECKING, Dict, List, Optional, Tuple

from project.core.errors import Problem
from project.core.resources import local_time
from project.core.schedulers.headers import CONTROL
from project.core.units import KIB

if TYPE_CHECKING:
    from project.core.resources import Resources

# There is no QOS in LSF; a service class is another thing, and has its own option (-sla).
EXPRESSES = frozenset(
    (
        "array",
        "seconds",
        "nodes",
        "ranks",
        "ranks_per_node",
        "threads_per_rank",
        "memory_per_cpu",
        "memory_per_node",
        "gpus_per_node",
        "gpus_per_rank",
        "gpu_type",
        "distribution",
        "queue",
        "account",
        "reservation",
        "constraint",
        "exclusive",
        "licenses",
        "begin",
        "priority",
        "signal",
        "requeue",
    )
)

_LICENSE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*):?([0-9]*)\Z")
# A selection string without brackets, such as `haswell && mem > 4000`. A word with a hyphen stands in single quotes (bsub(1), -R).
_SELECT = re.compile(r"(?:[A-Za-z0-9_.&|!=<>()+*/ -]|'[A-Za-z0-9_.+-]+')+\Z")
_MODEL = re.compile(r"[A-Za-z0-9_.-]+\Z")


def _ceil(one: int, other: int) -> int:
    return -(-one // other)


def _size(size: int) -> str:
    """Bytes, rounded up to whole KiB, with the unit: without one the site's LSF_UNIT_FOR_LIMITS holds (lsf.conf(5))."""
    return "{}KB".format(_ceil(size, KIB))


def _minutes(seconds: int) -> str:
    """`[hour:]minute`, rounded up: LSF counts minutes."""
    minutes = _ceil(seconds, 60)
    return "{}:{:02d}".format(minutes // 60, minutes % 60)


def _layout(resources: "Resources") -> Tuple[Optional[int], str]:
    """How many slots, and how they span hosts."""
    threads = resources.threads_per_rank or 1
    ranks, nodes, each = resources.ranks, resources.nodes, resources.ranks_per_node
    if resources.distribution == "distributed" and ranks is None:
        ranks = nodes
    if resources.distribution == "grouped":
        return (ranks or 1) * threads, "hosts=1"
    if resources.distribution == "scattered":
        return (ranks or 1) * threads, "ptile={}".format(threads)
    if nodes is not None:
        each = each or (1 if ranks is None else _ceil(ranks, nodes))
        return (nodes * each if ranks is None else ranks) * threads, "ptile={}".format(each * threads)
    if each is not None:
        ranks = each if ranks is None else ranks
        # A job whose ptile is more than its slots would wait for ever (IBM Support, node 705109).
        return ranks * threads, "ptile={}".format(min(each, ranks) * threads)
    if ranks is None and resources.threads_per_rank is None:
        return None, ""
    if threads > 1:
        return (ranks or 1) * threads, "block={}".format(threads) if (ranks or 1) > 1 else "hosts=1"
    return ranks, ""


def _requirement(resources: "Resources", span: str) -> str:
    """The text of `-R`."""
    parts = []
    if resources.constraint:
        parts.append("select[{}]".format(resources.constraint.strip()))
    usage = []
    if resources.memory_per_cpu is not None:
        # The method is said, so that the site's RESOURCE_RESERVE_PER_TASK does not matter (10.1.0.9). A limit (-M) is not:
        # whether it holds for a process, a host or the job is the site's choice.
        usage.append("mem={}/task".format(_size(resources.memory_per_cpu)))
    elif resources.memory_per_node is not None:
        usage.append("mem={}/host".format(_size(resources.memory_per_node)))
    for text in resources.licenses:
        match = _LICENSE.match(text)
        usage += ["{}={}/job".format(match.group(1), match.group(2) or 1)] if match else []
    parts += ["rusage[{}]".format(":".join(usage))] if usage else []
    parts += ["span[{}]".format(span)] if span else []
    return " ".join(parts)


def _gpu(resources: "Resources") -> str:
    """The text of `-gpu`: `num=N/task` counts for each slot, so GPUs of ranks with threads are counted for each host."""
    number = ""
    if resources.gpus_per_node is not None:
        number = "{}/host".format(resources.gpus_per_node)
    elif resources.gpus_per_rank is not None:
        each = _ranks_on_a_host(resources)
        number = "{}/task".format(resources.gpus_per_rank)
        if (resources.threads_per_rank or 1) > 1 and each is not None:
            number = "{}/host".format(resources.gpus_per_rank * each)
    if not number:
        return ""
    return "num={}{}".format(number, ":gmodel={}".format(resources.gpu_type) if resources.gpu_type else "")


def _ranks_on_a_host(resources: "Resources") -> Optional[int]:
    """Ranks on each host; None when they may differ from host to host."""
    if resources.distribution == "grouped" or resources.ranks in (None, 1):
        return resources.ranks_per_node or resources.ranks or 1
    if resources.distribution == "scattered":
        return 1
    if resources.nodes is not None and resources.ranks is not None:
        return None if resources.ranks % resources.nodes else resources.ranks // resources.nodes
    if resources.ranks_per_node is not None and resources.ranks is not None:
        return None if resources.ranks % resources.ranks_per_node else resources.ranks_per_node
    return None


def options(resources: "Resources") -> List[Tuple[str, str]]:
    """Options of bsub and their values; "" for one without."""
    found = []  # type: List[Tuple[str, str]]
    if resources.seconds is not None:
        found.append(("-W", _minutes(resources.seconds)))
    slots, span = _layout(resources)
    if slots is not None:
        found.append(("-n", str(slots)))
    requirement = _requirement(resources, span)
    found += [("-R", requirement)] if requirement else []
    gpu = _gpu(resources)
    found += [("-gpu", gpu)] if gpu else []
    for letter, value in (("-P", resources.account), ("-U", resources.reservation)):
        found += [(letter, value)] if value else []
    found += [("-x", "")] if resources.exclusive else []
    if resources.begin:
        # [[year:][month:]day:]hour:minute; never earlier than it says.
        moment = local_time(resources.begin)
        moment += datetime.timedelta(seconds=-moment.second % 60)
        found.append(("-b", moment.strftime("%Y:%m:%d:%H:%M")))
    if resources.priority is not None:
        found.append(("-sp", str(resources.priority)))
    if resources.signal is not None:
        found += [("-wa", resources.signal.name), ("-wt", str(_ceil(resources.signal.seconds, 60)))]
    if resources.requeue is not None:
        found.append(("-r" if resources.requeue else "-rn", ""))
    return found


def problems(resources: "Resources") -> List[Problem]:
    """Values that cannot be said."""
    found = []

    def wrong(name: str, message: str, hint: str = "") -> None:
        found.append(Problem("resources." + name, message, getattr(resources, name), hint))

    if resources.priority is not None and resources.priority < 1:
        wrong("priority", "is less than 1, the least that LSF takes.")
    nodes, ranks = resources.nodes, resources.ranks
    if nodes is not None and ranks is not None and _ceil(ranks, max(1, _ceil(ranks, nodes))) != nodes:
        hint = "Ask for a number of ranks that is a multiple of nodes."
        wrong(
            "nodes", "cannot be said to LSF: {} ranks do not go on {} nodes in equal parts.".format(ranks, nodes), hint
        )
    if resources.constraint and not _SELECT.match(resources.constraint.strip()):
        wrong(
            "constraint", "is no selection of hosts that LSF takes.", "Write it as haswell, or haswell && mem > 4000."
        )
    if any(not _LICENSE.match(text) for text in resources.licenses):
        wrong("licenses", "cannot be said to LSF.", "Write them as matlab or matlab:2.")
    if resources.gpu_type and not _MODEL.match(resources.gpu_type):
        wrong("gpu_type", "is no model of a GPU that LSF takes.")
    threads = resources.threads_per_rank or 1
    if resources.gpus_per_rank is not None and threads > 1 and _ranks_on_a_host(resources) is None:
        wrong("gpus_per_rank", "cannot be said to LSF for ranks with threads.", "Say nodes and gpus_per_node instead.")
    return found


# What jobferry sets itself, and what would keep the submission waiting or the job from being followed (bsub(1)).
_LOGS = "stdout and stderr are found by `logs`"
_TERMINAL = "a job runs without a terminal"
_OWNED: Dict[str, str] = {
    "-J": "name gives the job a name, resources.array makes an array",
    "-o": _LOGS,
    "-oo": _LOGS,
    "-e": _LOGS,
    "-eo": _LOGS,
    "-outdir": _LOGS,
    "-i": "execution holds the job's commands",
    "-is": "execution holds the job's commands",
    "-cwd": "the job runs in its own folder",
    "-I": _TERMINAL,
    "-Ip": _TERMINAL,
    "-Is": _TERMINAL,
    "-IS": _TERMINAL,
    "-ISp": _TERMINAL,
    "-ISs": _TERMINAL,
    "-IX": _TERMINAL,
    "-XF": _TERMINAL,
    "-tty": _TERMINAL,
    "-K": "it would keep the submission waiting",
    "-H": "`hold` holds a job",
    "-L": "execution lines are for sh",
    "-env": "env and inherit_environment say which variables there are",
    "-pack": "a submission is one job",
    "-json": "a submission is one job",
    "-yaml": "a submission is one job",
    "-jsdl": "a submission is one job",
    "-jsdl_strict": "a submission is one job",
    "-h": "the job's id is needed",
    "-V": "the job's id is needed",
    "-clusters": "destination_cluster names the cluster",
    "-m_clusters": "destination_cluster names the cluster",
    "-Zs": "the batch script is handed over as it is",
}
_SAYS = {
    "-b": ["begin"],
    "-gpu": ["gpus_per_node", "gpus_per_rank", "gpu_type"],
    "-M": ["memory_per_cpu", "memory_per_node"],
    "-n": ["nodes", "ranks", "ranks_per_node", "threads_per_rank", "distribution"],
    "-P": ["account"],
    "-q": ["queue"],
    "-r": ["requeue"],
    "-rn": ["requeue"],
    "-sp": ["priority"],
    "-U": ["reservation"],
    "-W": ["seconds"],
    "-wa": ["signal"],
    "-wt": ["signal"],
    "-x": ["exclusive"],
}
_REQUIRED = (
    (r"span\[", ["nodes", "ranks_per_node", "threads_per_rank", "distribution"]),
    (r"rusage\[[^]]*\bmem\b", ["memory_per_cpu", "memory_per_node"]),
    (r"rusage\[[^]]*\bngpus", ["gpus_per_node", "gpus_per_rank", "gpu_type"]),
    (r"rusage\[(?!mem\b|ngpus)", ["licenses"]),
    (r"select\[|\A[^\[]*\Z", ["constraint"]),
    (r"affinity\[", ["threads_per_rank"]),
)
_EXAMPLE = "Give options as -app namd, one an entry."


def _words(text: str) -> List[str]:
    """Raises ValueError for a quote that is not closed."""
    return shlex.split(text)


def option_problem(text: str, longest: int) -> Tuple[str, str]:
    """As `Scheduler.option_problem`."""
    if len(text) > longest:
        return "has {} characters, at most {} are allowed.".format(len(text), longest), _EXAMPLE
    if CONTROL.search(text):
        return "holds a line break or another control character.", _EXAMPLE
    try:
        words = _words(text)
    except ValueError:
        return "has a quote that is not closed.", _EXAMPLE
    if not words or not re.match(r"-[A-Za-z][A-Za-z_]*\Z", words[0]):
        return "is not an option of bsub.", _EXAMPLE
    for word in words:
        if word in _OWNED:
            return "sets {}, which jobferry sets itself.".format(word), "Leave it out; {}.".format(_OWNED[word])
    return "", ""


def option_fields(text: str) -> List[str]:
    """As `Scheduler.option_fields`."""
    words = _words(text)
    found = []
    for number, word in enumerate(words):
        found += _SAYS.get(word, [])
        if word == "-R":
            value = words[number + 1] if number + 1 < len(words) else ""
            for pattern, fields in _REQUIRED:
                found += fields if re.search(pattern, value) else []
    return found
