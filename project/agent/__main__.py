"""The agent's command line.

serve [ROOT]            serve requests on stdin and stdout until stdin ends (`core.protocol`); what a client starts over SSH
watch ROOT              watch all living jobs of ROOT, in the background, until none lives; ends at once if another does
carry-on ROOT WORKDIR UUID   do what is to be done for one job: prepare, submit, postprocess
cancel ROOT UUID        cancel a job
reached ROOT UUID NDX STATE [INFO]   record that a run of a job has reached one of psik's states
check [ROOT]            look at what the agent needs on this machine; one line each
local --root ROOT …     the built-in workload manager (`core.schedulers.local`)

ROOT is `$HOME/.jobferry` by default, or what JOBFERRY_ROOT says.
"""

import os
import sys
from typing import List, Optional


def main(argv: Optional[List[str]] = None) -> int:
    """Run one command; its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    command, rest = (words or ["help"])[0], words[1:]
    if command in _COMMANDS:
        return _COMMANDS[command](rest)
    sys.stderr.write((__doc__ or "") + "\n")
    return 0 if command in ("help", "-h", "--help") else 2


def _root(words: List[str]) -> str:
    from project.agent import texts

    default = os.environ.get("JOBFERRY_ROOT") or os.path.join(os.path.expanduser("~"), ".jobferry")
    return texts.expand(words[0] if words else "", default)


def _serve(words: List[str]) -> int:
    from project.agent.serve import serve

    status = serve(_root(words), sys.stdin.buffer, sys.stdout.buffer)
    try:
        sys.stdout.flush()
    except OSError:
        # The client is gone; Python would complain about what it never read.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return status


def _watch(words: List[str]) -> int:
    from project.agent.watch import watch

    return watch(_root(words))


def _carry_on(words: List[str]) -> int:
    from project.agent.folder import Folder
    from project.agent.runner import Runner
    from project.agent.work import carry_on

    root, workdir, uuid = words
    carry_on(Folder(workdir, uuid), Runner(root), wait=False)
    return 0


def _cancel(words: List[str]) -> int:
    from project.agent.control import cancel_here

    return cancel_here(_root(words[:1]), words[1], sys.stdout)


def _reached(words: List[str]) -> int:
    from project.agent.reached import reached_here

    root, uuid, jobndx, state = words[:4]
    return reached_here(_root([root]), uuid, jobndx, state, " ".join(words[4:]), sys.stdout)


def _check(words: List[str]) -> int:
    from project.agent.check import look

    for finding in look(_root(words), {}):
        sys.stdout.write("{} {}: {}\n".format("ok  " if finding["ok"] else "FAIL", finding["what"], finding["text"]))
    return 0


def _local(words: List[str]) -> int:
    root = _root(words[1:2] if words[:1] == ["--root"] else [])
    words = words[2:] if words[:1] == ["--root"] else words
    if words == ["daemon"]:
        from project.agent.localrun import main as daemon

        return daemon(root)
    from project.agent.localwm import main as local

    return local(root, words, sys.stdout, sys.stderr, os.getcwd())


_COMMANDS = {
    "serve": _serve,
    "watch": _watch,
    "carry-on": _carry_on,
    "cancel": _cancel,
    "reached": _reached,
    "check": _check,
    "local": _local,
}

if __name__ == "__main__":
    sys.exit(main())
