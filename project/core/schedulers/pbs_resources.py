"""Resources in the words of PBS: `-l select=…` of PBS Pro (pbs_resources(7B)), `-l nodes=…` of Torque (its Administrator
Guide, "Requesting Resources"), and which of qsub's options are the user's to give. Pure.
"""

import re
import shlex
from typing import TYPE_CHECKING, List, NamedTuple, Optional, Tuple

from project.core.errors import Problem
from project.core.resources import Array
from project.core.schedulers.headers import CONTROL
from project.core.units import KIB

if TYPE_CHECKING:
    from project.core.resources import Resources

_BOTH = frozenset(
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
        "distribution",
        "queue",
        "account",
        "reservation",
        "constraint",
        "exclusive",
        "begin",
        "priority",
        "requeue",
    )
)
# A GPU's type has no name that all sites share (constraint says it); no signal can be asked for before the end.
PRO = _BOTH | {"licenses"}
# Licences are the scheduler's affair there (Moab, Maui); QOS is Moab's and Maui's, and goes by qsub.
TORQUE = _BOTH | {"qos"}

_WORD = r"[A-Za-z_][A-Za-z0-9_.-]*"
_CONSTRAINT = re.compile(r"{0}(=[A-Za-z0-9_.+-]+)?( *[&,:] *{0}(=[A-Za-z0-9_.+-]+)?)*\Z".format(_WORD))
_FEATURES = re.compile(r"{0}( *[&,:] *{0})*\Z".format(_WORD))
_LICENSE = re.compile(r"({}):?([0-9]*)\Z".format(_WORD))
_NAME = re.compile(r"[A-Za-z0-9_.@-]+\Z")


class Chunk(NamedTuple):
    """`pieces` equal parts of the job, each on one node: ranks and CPUs of one."""

    pieces: int
    ranks: int
    cpus: int


def chunks(resources: "Resources") -> List[Chunk]:
    """The job in equal pieces; [] when nothing was said that needs them."""
    threads = resources.threads_per_rank or 1
    ranks, nodes, each = resources.ranks, resources.nodes, resources.ranks_per_node
    if resources.distribution == "grouped":
        ranks = ranks or 1
        return [Chunk(1, ranks, ranks * threads)]
    if resources.distribution == "distributed" and ranks is None and nodes is not None:
        ranks = nodes
    if nodes is not None and ranks is None:
        return [Chunk(nodes, each or 1, (each or 1) * threads)]
    if nodes is not None and ranks is not None:
        share, more = divmod(ranks, nodes)
        parts = [(more, share + 1), (nodes - more, share)]
        return [Chunk(count, size, size * threads) for count, size in parts if count]
    if each is not None:
        whole, rest = divmod(ranks if ranks is not None else each, each)
        parts = [(whole, each), (1 if rest else 0, rest)]
        return [Chunk(count, size, size * threads) for count, size in parts if count]
    if ranks is not None:
        return [Chunk(ranks, 1, threads)]
    said = (
        resources.threads_per_rank,
        resources.memory_per_cpu,
        resources.memory_per_node,
        resources.gpus_per_node,
        resources.gpus_per_rank,
        resources.distribution,
        resources.constraint or None,
        resources.exclusive or None,
    )
    return [Chunk(1, 1, threads)] if any(one is not None for one in said) else []


def _size(size: int) -> str:
    """Bytes, rounded up to whole KiB: pbs_resources(7B), "Size": kb is 1024 bytes."""
    return "{}kb".format(-(-size // KIB))


def _clock(seconds: int) -> str:
    return "{:02d}:{:02d}:{:02d}".format(seconds // 3600, seconds // 60 % 60, seconds % 60)


def _gpus(resources: "Resources", chunk: Chunk) -> Optional[int]:
    if resources.gpus_per_rank is not None:
        return resources.gpus_per_rank * chunk.ranks
    return resources.gpus_per_node


def pro_lists(resources: "Resources") -> List[str]:
    """What follows `-l`, one entry each."""
    found = []
    if resources.seconds is not None:
        found.append("walltime=" + _clock(resources.seconds))
    parts = chunks(resources)
    if parts:
        found.append("select=" + "+".join(_pro_chunk(resources, chunk) for chunk in parts))
        place = _place(resources)
        found += ["place=" + place] if place else []
    for text in resources.licenses:
        match = _LICENSE.match(text)
        if match:
            found.append("{}={}".format(match.group(1), match.group(2) or 1))
    return found


def _pro_chunk(resources: "Resources", chunk: Chunk) -> str:
    words = ["{}:ncpus={}:mpiprocs={}".format(chunk.pieces, chunk.cpus, chunk.ranks)]
    if resources.threads_per_rank is not None:
        words.append("ompthreads={}".format(resources.threads_per_rank))
    if resources.memory_per_cpu is not None:
        words.append("mem=" + _size(resources.memory_per_cpu * chunk.cpus))
    elif resources.memory_per_node is not None:
        words.append("mem=" + _size(resources.memory_per_node))
    gpus = _gpus(resources, chunk)
    words += [] if gpus is None else ["ngpus={}".format(gpus)]
    for need in re.split(r" *[&,:] *", resources.constraint.strip()) if resources.constraint else ():
        # A feature of a node is a custom resource there, a boolean one unless a value is given.
        words.append(need if "=" in need else need + "=True")
    return ":".join(words)


def _place(resources: "Resources") -> str:
    """pbs_resources(7B), "place": `scatter` puts each chunk on a host of its own, `exclhost` shares the hosts with no other job.

    `excl` would keep others from the job's vnodes alone, of which a host may have several.
    """
    words = []
    if resources.nodes is not None or resources.ranks_per_node is not None or resources.distribution == "scattered":
        words.append("scatter")
    elif resources.distribution == "grouped":
        words.append("pack")
    words += ["exclhost"] if resources.exclusive else []
    return ":".join(words)


def pro_array(array: Array) -> str:
    """`-J X-Y[:Z][%M]`. Y must be more than X (src/lib/Libcmds/chk_Jrange.c), so a single index has a step past it."""
    span = array.span
    if re.match(r"[0-9]+\Z", span):
        span = "{}-{}:2".format(span, int(span) + 1)
    return span if array.throttle is None else "{}%{}".format(span, array.throttle)


def torque_lists(resources: "Resources") -> List[str]:
    """What follows `-l`, one entry each."""
    found = []
    if resources.seconds is not None:
        found.append("walltime=" + _clock(resources.seconds))
    parts = chunks(resources)
    if parts:
        found.append(_torque_nodes(resources, parts))
    if resources.memory_per_cpu is not None and (resources.threads_per_rank or 1) > 1:
        # pmem would keep a process of several threads to the memory of one (src/resmom/linux/mom_mach.c).
        found.append("mem=" + _size(resources.memory_per_cpu * sum(chunk.pieces * chunk.cpus for chunk in parts)))
    elif resources.memory_per_cpu is not None:
        # Of each process; Maui and Moab count it for each CPU.
        found.append("pmem=" + _size(resources.memory_per_cpu))
    elif resources.memory_per_node is not None:
        # Of the whole job.
        found.append("mem=" + _size(resources.memory_per_node * sum(chunk.pieces for chunk in parts)))
    if resources.qos:
        found.append("qos=" + resources.qos)
    return found


def _torque_nodes(resources: "Resources", parts: List[Chunk]) -> str:
    loose = resources.nodes is None and resources.ranks_per_node is None and resources.distribution is None
    alone = all(one is None for one in (resources.gpus_per_node, resources.gpus_per_rank)) and not resources.constraint
    if loose and alone and len(parts) == 1 and parts[0].cpus == 1 and parts[0].pieces > 1:
        # On any nodes: `nodes=N` would wait for that many different ones where the site wants it so.
        return "procs={}".format(parts[0].pieces)
    texts = []
    for chunk in parts:
        words = ["{}:ppn={}".format(chunk.pieces, chunk.cpus)]
        gpus = _gpus(resources, chunk)
        words += [] if gpus is None else ["gpus={}".format(gpus)]
        words += re.split(r" *[&,:] *", resources.constraint.strip()) if resources.constraint else []
        texts.append(":".join(words))
    return "nodes=" + "+".join(texts)


def problems(resources: "Resources", torque: bool) -> List[Problem]:
    """Values that cannot be said."""
    found = []

    def wrong(name: str, message: str, hint: str = "") -> None:
        found.append(Problem("resources." + name, message, getattr(resources, name), hint))

    if resources.priority is not None and not -1024 <= resources.priority <= 1023:
        wrong("priority", "is not between -1024 and 1023, which is all that PBS takes.")
    if resources.nodes is not None and resources.ranks is not None and resources.ranks < resources.nodes:
        wrong("nodes", "are more than there are ranks.", "Ask for fewer nodes, or more ranks.")
    loose = resources.nodes is None and resources.ranks_per_node is None and resources.distribution is None
    if loose and (resources.ranks or 1) > 1:
        for name in ("memory_per_node", "gpus_per_node"):
            if getattr(resources, name) is not None:
                wrong(name, "cannot be said of ranks on any number of nodes.", "Say how many nodes: nodes: 2.")
    if resources.constraint and not (_FEATURES if torque else _CONSTRAINT).match(resources.constraint.strip()):
        hint = "Write features with & between them{}.".format("" if torque else ", with a value as in model=has")
        wrong("constraint", "cannot be said to PBS.", hint)
    if resources.reservation and (resources.queue and not torque):
        wrong("reservation", "is a queue in PBS, and there is another one in resources.queue.", "Leave queue out.")
    for name in ("reservation", "qos") if torque else ("qos",):
        if getattr(resources, name) and not _NAME.match(getattr(resources, name)):
            wrong(name, "is no name that PBS takes.")
    if any(not _LICENSE.match(text) for text in resources.licenses):
        wrong("licenses", "cannot be said to PBS.", "Write them as matlab or matlab:2.")
    if resources.requeue is False and resources.array is not None and not torque:
        # qsub(1B), -J: job arrays are always rerunnable.
        wrong("requeue", "cannot be false for an array: PBS may always run its elements again.", "Leave it out.")
    return found


# What jobferry sets itself, and what would keep the submission waiting or the job from being followed (qsub(1B)).
_OWNED = {
    "-C": "its directives are read as #PBS",
    "-e": "stderr is found by `logs --stderr`",
    "-I": "a job runs without a terminal",
    "-j": "stdout and stderr are found by `logs`",
    "-J": "resources.array makes an array",
    "-k": "stdout and stderr are found by `logs`",
    "-N": "name gives the job a name",
    "-o": "stdout is found by `logs`",
    "-R": "stdout and stderr are found by `logs`",
    "-S": "execution lines are for sh",
    "-t": "resources.array makes an array",
    "-u": "a job runs as its owner",
    "-v": "env sets variables",
    "-V": "env sets variables",
    "-X": "a job runs without a terminal",
    "-z": "the job's id is needed",
    "-d": "the job runs in its own folder",
    "-D": "the job runs in its own folder",
    "-F": "execution holds the job's commands",
    "-x": "a job runs without a terminal",
    "-w": "the job runs in its own folder",
    "-h": "`hold` holds a job",
}
_OWNED_ATTRIBUTES = ("block", "interactive", "sandbox", "pwd")
_FLAGS = "fhIVXznxE"
_EXAMPLE = "Give options as -W umask=022, one an entry."
_SAYS = {
    "-a": ["begin"],
    "-A": ["account"],
    "-n": ["exclusive"],
    "-p": ["priority"],
    "-P": ["account"],
    "-q": ["queue", "reservation"],
    "-r": ["requeue"],
}
_SIZED = ["nodes", "ranks", "ranks_per_node", "threads_per_rank", "distribution"]
_LISTED = {
    "select": [*_SIZED, "memory_per_cpu", "memory_per_node", "gpus_per_node", "gpus_per_rank", "constraint"],
    "nodes": [*_SIZED, "gpus_per_node", "gpus_per_rank", "constraint"],
    "procs": _SIZED,
    "ncpus": _SIZED,
    "mpiprocs": _SIZED,
    "ompthreads": ["threads_per_rank"],
    "ngpus": ["gpus_per_node", "gpus_per_rank"],
    "gpus": ["gpus_per_node", "gpus_per_rank"],
    "place": ["exclusive", "distribution", "nodes", "ranks_per_node"],
    "walltime": ["seconds"],
    "mem": ["memory_per_cpu", "memory_per_node"],
    "pmem": ["memory_per_cpu", "memory_per_node"],
    "qos": ["qos"],
    "advres": ["reservation"],
    "naccesspolicy": ["exclusive"],
}


def _words(text: str) -> List[Tuple[str, str]]:
    """Option and value of each option in an entry: `-l x`, `-lx`. Raises ValueError."""
    words = shlex.split(text)
    found = []  # type: List[Tuple[str, str]]
    while words:
        word = words.pop(0)
        if not re.match(r"-[A-Za-z]", word):
            raise ValueError(word)
        letter, value = word[:2], word[2:]
        if letter[1] in _FLAGS:
            if value:
                words.insert(0, "-" + value)
            found.append((letter, ""))
            continue
        found.append((letter, value or (words.pop(0) if words else "")))
    return found


def _attributes(value: str) -> List[str]:
    """The names in `-W umask=022,block=true`."""
    return [part.partition("=")[0].strip() for part in value.split(",")]


def option_problem(text: str, longest: int) -> Tuple[str, str]:
    """As `Scheduler.option_problem`."""
    if len(text) > longest:
        return "has {} characters, at most {} are allowed.".format(len(text), longest), _EXAMPLE
    if CONTROL.search(text):
        return "holds a line break or another control character.", _EXAMPLE
    try:
        options = _words(text)
    except ValueError:
        return "is not an option of qsub.", _EXAMPLE
    if not options:
        return "is not an option of qsub.", _EXAMPLE
    for letter, value in options:
        if letter in _OWNED:
            return "sets {}, which jobferry sets itself.".format(letter), "Leave it out; {}.".format(_OWNED[letter])
        owned = [one for one in _attributes(value) if one in _OWNED_ATTRIBUTES] if letter == "-W" else []
        if owned:
            return "sets {}, which jobferry sets itself.".format(owned[0]), "Leave it out."
    return "", ""


def option_fields(text: str) -> List[str]:
    """As `Scheduler.option_fields`."""
    found = []
    for letter, value in _words(text):
        found += _SAYS.get(letter, [])
        if letter == "-l":
            for part in value.split(","):
                found += _LISTED.get(part.partition("=")[0].strip(), [])
        if letter == "-W" and "ADVRES" in value.upper():
            found.append("reservation")
        if letter == "-W" and "max_run_subjobs" in _attributes(value):
            found.append("array")
    return found
