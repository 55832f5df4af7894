"""Runs the workload manager's commands, and finds the agent's own command line."""

import os
import re
import sys
from typing import Dict, List, Optional, Sequence

from project.agent import plans
from project.core import process
from project.core.errors import ClusterError
from project.core.process import Completed
from project.core.schedulers import base

# Seconds that a scheduler's command may take before it counts as no answer.
TIMEOUT = 120.0
# Nothing of the user's Python is wanted: no PYTHON… variables, no packages of theirs.
_BARE = ["-E", "-s", "-S"]
# A login's defaults that would change what is asked or submitted behind our back: the environment wins over the batch script's
# directives (man sbatch, INPUT ENVIRONMENT VARIABLES), and filters of squeue and sacct make living jobs look gone.
_OVERRIDING = re.compile(
    r"(SQUEUE|SACCT|SINFO|SCANCEL)_|SBATCH_(JOB_NAME|ARRAY_INX|WAIT|TIMELIMIT|OUTPUT|ERROR|INPUT|OPEN_MODE|REQUEUE|NO_REQUEUE)\Z"
    r"|SLURM_TIME_FORMAT\Z"
    # bsub would say nothing, say it elsewhere, or only check what it is given (LSF's "Environment variable reference");
    # qsub would take other lines for its options, and qstat of Torque would hide jobs that are being routed (qsub(1B), qstat(1B)).
    r"|BSUB_(QUIET2?|STDERR|CHK_RESREQ)\Z|PBS_(DPREFIX|QSTAT_EXECONLY)\Z"
)
_RUN_FROM_FOLDER = "import sys; sys.path.insert(0, {!r}); from project.agent.__main__ import main; sys.exit(main())"


def own_command() -> List[str]:
    """The command line that starts this very agent again: the one file, or the source tree it was imported from."""
    place = _archive()
    if place:
        return [sys.executable] + _BARE + [place]
    tree = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return [sys.executable] + _BARE + ["-c", _RUN_FROM_FOLDER.format(tree)]


def _archive() -> str:
    """The one file that this agent was started from; "" when it runs from a source tree."""
    place = os.path.abspath(__file__)
    while place != os.path.dirname(place):
        place = os.path.dirname(place)
        if os.path.isfile(place):
            return place
    return ""


def environment() -> Dict[str, str]:
    """This login's environment for the workload manager's commands."""
    return {key: value for key, value in process.clean_env().items() if not _OVERRIDING.match(key)}


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
            done = process.run(argv, cwd=cwd, env=environment(), timeout=timeout, pass_fds=pass_fds)
        except OSError as error:
            message = "{} cannot be started here ({}).".format(argv[0], error.strerror or error)
            hint = "Is the cluster's workload_manager right, and is it on the PATH of a login without terminal?"
            transient = bool(plans.cause_of(error))
            raise ClusterError(message, hint, transient=transient, condition="submission_rejected") from error
        if done.timed_out:
            message = "{} did not answer within {:g} s.".format(argv[0], timeout)
            raise ClusterError(message, transient=True, condition="submission_rejected")
        return done
