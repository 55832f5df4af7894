"""Which of qsub's options (Grid Engine) are the user's to give, which jobferry sets itself, and which say what `resources` says too."""

import re
import shlex
from typing import Dict, List, Tuple

LONGEST = 4096
EXAMPLE = "Give options as -l scratch=10G."
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_FOLLOW = "it would keep jobferry from following the job."
# qsub(1): what jobferry sets itself, or what would keep the submission from being one.
_OWNED = {
    "-N": "name gives the job a name.",
    "-t": "resources.array makes an array.",
    "-o": "stdout is found by `logs`.",
    "-e": "stderr is found by `logs --stderr`.",
    "-j": "stdout and stderr are found by `logs`.",
    "-cwd": "directory says where the job runs.",
    "-wd": "directory says where the job runs.",
    "-S": "the first line of `script` says what runs it.",
    "-V": "inherit_environment says it.",
    "-shell": _FOLLOW,
    "-b": _FOLLOW,
    "-C": _FOLLOW,
    "-@": _FOLLOW,
    "-clear": _FOLLOW,
    "-terse": _FOLLOW,
    "-sync": _FOLLOW,
    "-now": _FOLLOW,
    "-verify": _FOLLOW,
    "-help": _FOLLOW,
    "-i": "execution reads its own input.",
    "-inherit": _FOLLOW,
    "-pty": _FOLLOW,
    "-tcon": _FOLLOW,
}
_FIELDS: Dict[str, List[str]] = {
    "-pe": ["ranks", "threads_per_rank", "nodes", "ranks_per_node", "distribution"],
    "-q": ["queue"],
    "-P": ["account"],
    "-ar": ["reservation"],
    "-a": ["begin"],
    "-p": ["priority"],
    "-r": ["requeue"],
    "-tc": ["array"],
}
_MEMORY = ["memory_per_cpu", "memory_per_node"]
_REQUESTS = {
    "h_rt": ["seconds"],
    "s_rt": ["signal"],
    "gpu": ["gpus_per_node", "gpus_per_rank"],
    "gpus": ["gpus_per_node", "gpus_per_rank"],
    "ngpus": ["gpus_per_node", "gpus_per_rank"],
    "gpu_type": ["gpu_type"],
    "exclusive": ["exclusive"],
    "excl": ["exclusive"],
}
_REQUESTS.update((name, _MEMORY) for name in ("h_vmem", "mem_free", "virtual_free", "h_rss", "m_mem_free", "mem"))


def option_problem(text: str) -> Tuple[str, str]:
    """What is wrong with one entry of `scheduler_options`, and a hint; two empty texts when it is fine."""
    if len(text) > LONGEST:
        return "has {} characters, at most {} are allowed.".format(len(text), LONGEST), "Give one option an entry."
    if _CONTROL.search(text):
        return "holds a line break or another control character.", "Give one option an entry."
    try:
        words = shlex.split(text)
    except ValueError:
        return "has a quote that is not closed.", EXAMPLE
    if not words or not re.match(r"-[A-Za-z@]", words[0]):
        return "is not an option of qsub: it does not start with '-' and a letter.", EXAMPLE
    for word, value in zip(words, words[1:] + [""]):
        if word in _OWNED:
            return "sets {}, which jobferry sets itself.".format(word), "Leave it out; {}".format(_OWNED[word])
        if word == "-w" and value in ("v", "p"):
            return "has -w {}, which only tries a submission.".format(value), "Leave it out."
    return "", ""


def option_fields(text: str) -> List[str]:
    """The fields of `Resources` that an entry says too."""
    try:
        words = shlex.split(text)
    except ValueError:
        return []
    found = []  # type: List[str]
    for word, value in zip(words, words[1:] + [""]):
        found += _FIELDS.get(word, [])
        if word == "-l":
            for request in value.split(","):
                found += _REQUESTS.get(request.partition("=")[0].strip(), [])
    return list(dict.fromkeys(found))
