"""Which of sbatch's options are the user's to give, and which jobferry sets itself."""

import re
import shlex
from typing import Tuple

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

LONGEST = 4096
# sbatch(1): what would change where the job runs, what it is called, where its output goes, or keep the submission waiting.
OWNED_LONG = (
    "array",
    "job-name",
    "output",
    "error",
    "chdir",
    "wrap",
    "parsable",
    "clusters",
    "test-only",
    "wait",
    "quiet",
    "help",
    "usage",
    "version",
)
OWNED_SHORT = "aJoeDMWQhV"
# Short options that take no value may be written together: -Hv is -H -v.
_FLAGS = "HIOkRsv"
_EXAMPLE = "Give options as --qos=long."


def option_problem(text: str) -> Tuple[str, str]:
    """What is wrong with one entry of `scheduler_options`, and a hint; two empty texts when it is fine."""
    if len(text) > LONGEST:
        return "has {} characters, at most {} are allowed.".format(len(text), LONGEST), "Give one option an entry."
    if _CONTROL.search(text):
        return "holds a line break or another control character.", "Give one option an entry."
    try:
        words = shlex.split(text)
    except ValueError:
        return "has a quote that is not closed.", _EXAMPLE
    if not words or not words[0].startswith("-") or words[0] in ("-", "--"):
        return "is not an option: it does not start with '-'.", _EXAMPLE
    for word in words:
        owned = _owned(word)
        if owned:
            hint = "Leave it out; {}".format(_INSTEAD.get(owned, "it would keep jobferry from following the job."))
            return "sets {}, which jobferry sets itself.".format(owned), hint
    return "", ""


_INSTEAD = {
    "--array": "resources.nbr_jobs_in_array makes an array.",
    "--job-name": "name gives the job a name.",
    "--output": "stdout is found by `logs`.",
    "--error": "stderr is found by `logs --stderr`.",
    "--chdir": "the job runs in its own folder.",
    "--clusters": "destination_cluster names the cluster.",
    "--wrap": "execution holds the job's commands.",
}
_SHORT_OF = {
    "a": "--array",
    "J": "--job-name",
    "o": "--output",
    "e": "--error",
    "D": "--chdir",
    "M": "--clusters",
    "W": "--wait",
    "Q": "--quiet",
    "h": "--help",
    "V": "--version",
}


def _owned(word: str) -> str:
    if word.startswith("--"):
        name = word[2:].partition("=")[0]
        # getopt_long(3) takes any unambiguous beginning of a long option's name for it.
        return next(("--" + owned for owned in OWNED_LONG if name and owned.startswith(name)), "")
    if word.startswith("-"):
        letters = word[1:].lstrip(_FLAGS)
        return _SHORT_OF.get(letters[:1], "")
    return ""
