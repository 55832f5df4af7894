"""Options of sbatch that a user gives verbatim: which jobferry sets itself, and which say what a key of `resources` says."""

import shlex
from typing import Dict, Iterable, Iterator, List, Sequence, Tuple

from project.core import options

_EXAMPLE = "Give options as --qos=long."
# sbatch(1): what would change where the job runs, what it is called, where its output goes, or keep the submission waiting.
_OWNED = {
    "array": "resources.array makes an array.",
    "job-name": "name gives the job a name.",
    "output": "stdout is found by `logs`.",
    "error": "stderr is found by `logs --stderr`.",
    "chdir": "the job runs in its own folder, or in its `directory`.",
    "clusters": "destination_cluster names the cluster.",
    "wrap": "execution holds the job's commands.",
    "parsable": "",
    "test-only": "",
    "wait": "",
    "quiet": "",
    "help": "",
    "usage": "",
    "version": "",
}
_KEEPS = "it would keep jobferry from following the job."
# Every long option of sbatch(1), Slurm 20.11 to 24.11, and the fields of `Resources` that it says too.
_FIELDS: Dict[str, Tuple[str, ...]] = {
    "account": ("account",),
    "begin": ("begin",),
    "constraint": ("constraint",),
    "prefer": ("constraint",),
    "cpus-per-task": ("threads_per_rank",),
    "exclusive": ("exclusive",),
    "oversubscribe": ("exclusive",),
    "share": ("exclusive",),
    "gpus": ("gpus_per_node", "gpus_per_rank", "gpu_type"),
    "gpus-per-node": ("gpus_per_node", "gpus_per_rank", "gpu_type"),
    "gpus-per-socket": ("gpus_per_node", "gpus_per_rank", "gpu_type"),
    "gpus-per-task": ("gpus_per_node", "gpus_per_rank", "gpu_type"),
    "gres": ("gpus_per_node", "gpus_per_rank", "gpu_type"),
    "licenses": ("licenses",),
    "mem": ("memory_per_node", "memory_per_cpu"),
    "mem-per-cpu": ("memory_per_cpu", "memory_per_node"),
    "mem-per-gpu": ("memory_per_cpu", "memory_per_node"),
    "nice": ("priority",),
    "priority": ("priority",),
    "no-requeue": ("requeue",),
    "requeue": ("requeue",),
    "nodes": ("nodes", "distribution"),
    "ntasks": ("ranks",),
    "ntasks-per-gpu": ("ranks", "ranks_per_node"),
    "ntasks-per-node": ("ranks_per_node", "distribution"),
    "tasks-per-node": ("ranks_per_node", "distribution"),
    "partition": ("queue",),
    "qos": ("qos",),
    "reservation": ("reservation",),
    "signal": ("signal",),
    "time": ("seconds",),
    "time-min": ("seconds",),
}
_OTHERS = (
    "acctg-freq", "batch", "bb", "bbf", "bcast", "cluster-constraint", "comment", "consolidate-segments", "container",
    "container-id", "contiguous", "core-spec", "cores-per-socket", "cpu-bind", "cpu-freq", "cpus-per-gpu", "deadline",
    "delay-boot", "dependency", "distribution", "exclude", "export", "export-file", "extra", "extra-node-info",
    "external-launcher", "get-user-env", "gid", "gpu-bind", "gpu-freq", "gres-flags", "hint", "hold", "ignore-pbs",
    "immediate", "input", "kill-on-invalid-dep", "mail-type", "mail-user", "mcs-label", "mem-bind", "mincpus",
    "network", "no-kill", "nodefile", "nodelist", "ntasks-per-core", "ntasks-per-socket", "open-mode", "overcommit",
    "oom-kill-step", "power", "profile", "propagate", "reboot", "resv-ports", "segment", "sockets-per-node",
    "spread-job", "stepmgr", "switches", "thread-spec", "threads-per-core", "tmp", "tres-bind", "tres-per-task", "uid",
    "use-min-nodes", "verbose", "wait-all-nodes", "wckey",
)  # fmt: skip
_LONG = tuple(sorted({*_OWNED, *_FIELDS, *_OTHERS}))
_SHORT = {
    "a": "array", "A": "account", "b": "begin", "B": "extra-node-info", "c": "cpus-per-task", "C": "constraint",
    "d": "dependency", "D": "chdir", "e": "error", "F": "nodefile", "G": "gpus", "h": "help", "H": "hold", "i": "input",
    "I": "immediate", "J": "job-name", "k": "no-kill", "L": "licenses", "m": "distribution", "M": "clusters", "n": "ntasks",
    "N": "nodes", "o": "output", "O": "overcommit", "p": "partition", "q": "qos", "Q": "quiet", "s": "oversubscribe",
    "S": "core-spec", "t": "time", "u": "usage", "v": "verbose", "V": "version", "w": "nodelist", "W": "wait", "x": "exclude",
}  # fmt: skip
# sbatch(1), INPUT ENVIRONMENT VARIABLES: SBATCH_ and the option's name in capitals. They win over the batch script's directives.
_VARIABLES = frozenset([
    "account", "constraint", "distribution", "exclusive", "export", "gpus", "gpus-per-node", "gpus-per-task", "gres", "hint",
    "mem-per-cpu", "mem-per-gpu", "mem-per-node", "partition", "profile", "qos", "reservation", "signal",
])  # fmt: skip
# Short options that take no value may be written together: -Hv is -H -v.
_FLAGS = "hHIkOQRsuvVW"


def option_problem(text: str) -> Tuple[str, str]:
    """As `Scheduler.option_problem`."""
    message, hint = options.text_problem(text)
    if message:
        return message, hint
    words = shlex.split(text)
    if not words or not words[0].startswith("-") or words[0] in ("-", "--"):
        return "is not an option: it does not start with '-'.", _EXAMPLE
    for name in _names(words):
        if name in _OWNED:
            hint = "Leave it out; {}".format(_OWNED[name] or _KEEPS)
            return "sets --{}, which jobferry sets itself.".format(name), hint
    return "", ""


def option_fields(text: str) -> List[str]:
    """As `Scheduler.option_fields`."""
    try:
        words = shlex.split(text)
    except ValueError:
        return []
    found = []  # type: List[str]
    for name in _names(words):
        if name == "gres" and "gpu" not in text:
            # Other generic resources have no key.
            continue
        found += [field for field in _FIELDS.get(name, ()) if field not in found]
    return found


def variables(fields: Iterable[str], verbatim: Sequence[str]) -> List[str]:
    """The variables of a login that would override what the job says by these fields of `Resources` and these options."""
    said = set(fields)
    names = {name for name, its in _FIELDS.items() if said.intersection(its)}
    names.update(name for text in verbatim for name in _names(shlex.split(text)))
    if "mem" in names:
        names.add("mem-per-node")
    return ["SBATCH_" + name.upper().replace("-", "_") for name in sorted(names & _VARIABLES)]


def _names(words: List[str]) -> Iterator[str]:
    """The long names of the options among the words, those that jobferry sets first where an abbreviation is not clear."""
    for word in words:
        if word.startswith("--"):
            for name in _long(word[2:].partition("=")[0]):
                yield name
        elif word.startswith("-"):
            for letter in word[1:]:
                if letter in _SHORT:
                    yield _SHORT[letter]
                if letter not in _FLAGS:
                    # What follows is its value.
                    break


def _long(name: str) -> List[str]:
    """getopt_long(3) takes any unambiguous beginning of a long option's name for it."""
    if not name or name in _LONG:
        return [name] if name else []
    return sorted([one for one in _LONG if one.startswith(name)], key=lambda one: one not in _OWNED)
