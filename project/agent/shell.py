"""The user's shell lines on the login node: requirements and compilation.

Each line is run by its own `/bin/sh` in work/, and what it changed of the folder and the exported environment (`cd`,
`export`, `module load`) holds for the lines after it, as in one script. The first failure stops.
"""

import os
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence

from project.agent import texts
from project.core import files, process
from project.core.paths import JobPaths

TAIL = 64 * 1024
# $1: where the environment is left, $2: where the folder is left, $3: the line. An EXIT trap runs however the line ends.
_WRAPPER = r"""
state=$1 folder=$2 line=$3
trap 'status=$?; trap - EXIT; umask 077; { env -0 > "$state.new" && mv -f "$state.new" "$state"; pwd > "$folder"; } 2>/dev/null
exit $status' EXIT
shift 3
eval "$line"
"""


class Ran(NamedTuple):
    """What one line did; `output` is the end of what it printed, both streams as they came."""

    line: str
    exit_status: int
    seconds: float
    output: str
    stopped: bool


def run_lines(
    lines: List[str],
    paths: JobPaths,
    env: Dict[str, str],
    on_output: Callable[[str], None],
    stop: Callable[[], bool],
    done: Optional[Callable[[Ran], None]] = None,
    handles: Sequence[int] = (),
) -> Optional[Ran]:
    """Run the lines in order; the one that failed (or was stopped), None when all went well.

    :param handles: descriptors that they keep open.
    """
    folder = paths.work
    for line in lines:
        ran = _run(line, paths, folder, dict(env, **_kept_environment(paths)), on_output, stop, handles)
        if done is not None:
            done(ran)
        if ran.exit_status != 0 or ran.stopped:
            return ran
        folder = _kept_folder(paths)
    return None


def _run(
    line: str,
    paths: JobPaths,
    folder: str,
    env: Dict[str, str],
    on_output: Callable[[str], None],
    stop: Callable[[], bool],
    handles: Sequence[int],
) -> Ran:
    kept: List[bytes] = []
    size = [0]

    def hear(piece: bytes) -> None:
        kept.append(piece)
        size[0] += len(piece)
        if size[0] > 4 * TAIL:
            kept[:] = [b"".join(kept)[-TAIL:]]
            size[0] = len(kept[0])
        on_output(piece.decode("utf-8", "replace"))

    argv = ["/bin/sh", "-c", _WRAPPER, "sh", paths.shell_state, paths.shell_state + ".cwd", texts.to_path(line)]
    completed = process.run(argv, cwd=folder, env=env, on_output=hear, limit=1024, stop=stop, pass_fds=handles)
    return Ran(line, completed.exit_status, completed.seconds, texts.tail(b"".join(kept), TAIL), completed.stopped)


def _kept_environment(paths: JobPaths) -> Dict[str, str]:
    """What the lines before this one exported; also those of an earlier stage or of an agent that died."""
    text = files.read_text(paths.shell_state) or ""
    pairs = (texts.to_path(item).partition("=") for item in text.split("\0"))
    return {name: value for name, equals, value in pairs if name and equals and name not in ("PWD", "OLDPWD", "_")}


def _kept_folder(paths: JobPaths) -> str:
    folder = texts.to_path((files.read_text(paths.shell_state + ".cwd") or "")[:-1])
    return folder if folder and os.path.isdir(folder) else paths.work


def environment(extra: Dict[str, str]) -> Dict[str, str]:
    """The environment of the user's programs: this login's, without our secrets, and the input's `env`."""
    env = process.clean_env({texts.to_path(key): texts.to_path(value) for key, value in extra.items()})
    # Nothing can be typed here: a program that would ask fails at once.
    env["GIT_TERMINAL_PROMPT"] = "0"
    env.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    return env
