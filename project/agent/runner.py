"""Runs the workload manager's commands, and finds the agent's own command line."""

import os
import sys
from typing import List, Optional, Sequence

from project.agent import unzipped
from project.core import process
from project.core.errors import ClusterError
from project.core.process import Completed
from project.core.schedulers import base

# Seconds that a scheduler's command may take before it counts as no answer.
TIMEOUT = 120.0
# Nothing of the user's Python is wanted: no PYTHON… variables, no packages of theirs.
_BARE = ["-E", "-s", "-S"]
_RUN_FROM_FOLDER = "import sys; sys.path.insert(0, {!r}); from project.agent.__main__ import main; sys.exit(main())"


def own_command() -> List[str]:
    """The command line that starts this very agent again: the one file, or the source tree it was imported from."""
    place = unzipped.archive()
    if place:
        return [sys.executable] + _BARE + [place]
    tree = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return [sys.executable] + _BARE + ["-c", _RUN_FROM_FOLDER.format(tree)]


class Runner:
    """Runs argument vectors of `core.schedulers`; those of the built-in workload manager in this process."""

    def __init__(self, root: str) -> None:
        self.root = root

    def run(
        self, argv: List[str], cwd: Optional[str] = None, timeout: float = TIMEOUT, pass_fds: Sequence[int] = ()
    ) -> Completed:
        """The command's answer. Raises ClusterError: transient for one that takes too long, else for one that is not there."""
        if argv[0] == base.LOCAL:
            from project.agent import localwm

            return localwm.call(self.root, argv[1:], cwd)
        try:
            done = process.run(argv, cwd=cwd, timeout=timeout, pass_fds=pass_fds)
        except OSError as error:
            message = "{} cannot be started here ({}).".format(argv[0], error.strerror or error)
            hint = "Is the cluster's workload_manager right, and is it on the PATH of a login without terminal?"
            raise ClusterError(message, hint, condition="submission_rejected") from error
        if done.timed_out:
            message = "{} did not answer within {:g} s.".format(argv[0], timeout)
            raise ClusterError(message, transient=True, condition="submission_rejected")
        return done
