"""Starts the watcher when there is something to watch and none runs."""

import os
import subprocess
from typing import List

from project.agent import locks, runner, texts
from project.agent.folder import Folder
from project.core import files, process
from project.core.paths import Root


def live_marker(root: Root, uuid: str) -> str:
    """The file that says: this job lives, or has events to deliver. It holds the job's workdir."""
    return os.path.join(root.live, uuid)


def mark_live(root: Root, uuid: str, workdir: str) -> None:
    """Put the job on the watcher's list."""
    os.makedirs(root.live, mode=0o700, exist_ok=True)
    files.write_atomic(live_marker(root, uuid), workdir + "\n", sync=False)


def keep_live(root: Root, folder: Folder) -> None:
    """Put a job that lives on the list again if it fell off."""
    # In this order: the watcher takes a job off the list only after its end is written.
    if not os.path.exists(live_marker(root, folder.uuid)) and not folder.read().final:
        mark_live(root, folder.uuid, folder.paths.workdir)


def workdir_of(root: Root, uuid: str) -> str:
    """The workdir of a job on the list; the root's own when it does not say."""
    return texts.to_path((files.read_text(live_marker(root, uuid)) or "").rstrip("\n")) or root.jobs


def ring(root: Root) -> None:
    """Make the watcher look at once."""
    handle = os.open(root.bell, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.utime(root.bell)
    finally:
        os.close(handle)


def watcher_if_needed(root: Root) -> bool:
    """Start a watcher if jobs live and none watches; True when one was started."""
    try:
        if not any(True for entry in os.scandir(root.live)):
            return False
        if locks.is_held(root.watch_lock):
            return False
    except OSError:
        return False
    start_watcher(root)
    return True


def start_watcher(root: Root) -> None:
    """Start a watcher with no tie to us; one too many ends by itself."""
    detached(runner.own_command() + ["watch", root.root])


def detached(argv: List[str]) -> None:
    """Start a program in a session of its own, a child of nobody here, with nothing of ours open."""
    # The shell leaves at once and its background child is init's: the double fork.
    subprocess.run(
        ["/bin/sh", "-c", '"$@" &', "sh"] + argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        close_fds=True,
        start_new_session=True,
        cwd="/",
        env=process.clean_env(),
        check=True,
    )
