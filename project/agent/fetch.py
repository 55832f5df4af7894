"""Brings a job's files here when the job is an address: a Git repository or a plain URL."""

import os
import shutil
from typing import Callable, Dict, List, Optional, Sequence
from urllib.parse import unquote, urlsplit

from project.agent import texts, workfolder
from project.agent.unpack import remove_tree
from project.core import jobspec, process
from project.core.errors import ClusterError
from project.core.paths import JobPaths

FAILED = "input_staging_failed"
Stop = Callable[[], bool]
Hear = Callable[[str], None]
# Runs a program: None when it went well, else what it said.
Run = Callable[[List[str]], Optional[str]]


def fetch(
    kind: str, job: str, paths: JobPaths, env: Dict[str, str], hear: Hear, stop: Stop, handles: Sequence[int] = ()
) -> None:
    """Bring what `job` names into work/, whole or not at all; `kind` is jobspec.GIT or jobspec.URL.

    Raises ClusterError(condition input_staging_failed) with the program's own words.
    """

    def run(argv: List[str]) -> Optional[str]:
        return _run(argv, env, hear, stop, handles)

    aside = os.path.join(paths.incoming, "files")
    remove_tree(paths.incoming)
    os.mkdir(paths.incoming, 0o700)
    if kind == jobspec.GIT:
        _clone(job, aside, run)
    else:
        os.mkdir(aside)
        _download(job, aside, bool(shutil.which("curl", path=env.get("PATH"))), run)
    workfolder.settle(paths, aside)
    remove_tree(paths.incoming)


def _clone(job: str, target: str, run: Run) -> None:
    address, reference = jobspec.git_url(job)
    options: List[str] = []
    if urlsplit(address).scheme == "file":
        # A repository on this machine may have its submodules here too; Git forbids that by default (CVE-2022-39253).
        options = ["-c", "protocol.file.allow=always"]
    url = texts.to_path(address)
    clone = ["git"] + options + ["clone", "--recursive", "--quiet"]
    branch = ["--branch", texts.to_path(reference)] if reference else []
    result = run(clone + branch + ["--", url, target])
    if result is not None and reference and "not found" in result:
        # `--branch` takes branches and tags; a commit must be checked out.
        remove_tree(target)
        result = run(clone + ["--", url, target])
        for more in (["checkout", "--quiet", reference, "--"], ["submodule", "update", "--init", "--recursive"]):
            result = result or run(["git"] + options + ["-C", target] + more)
    if result is not None:
        raise ClusterError(
            "Cloning {} failed: {}".format(job, result),
            "Can the login node reach it, and does it hold that branch or tag?",
            condition=FAILED,
        )


def _download(job: str, folder: str, curl: bool, run: Run) -> None:
    name = unquote(os.path.basename(urlsplit(job).path)).replace("/", "_").replace("\0", "")
    target = os.path.join(folder, texts.to_path(name if name not in ("", ".", "..") else "download"))
    url = texts.to_path(job)
    if curl:
        argv = ["curl", "--fail", "--silent", "--show-error", "--location", "--retry", "2", "--connect-timeout", "30"]
        result = run(argv + ["--proto", "=http,https,ftp", "--output", target, "--url", url, "--globoff"])
    else:
        result = _by_urllib(url, target)
    if result is not None:
        raise ClusterError(
            "Downloading {} failed: {}".format(job, result), "Can the login node reach it?", condition=FAILED
        )
    if not os.path.exists(target):
        # curl makes no file for an empty answer.
        open(target, "wb").close()


def _by_urllib(url: str, target: str) -> Optional[str]:
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=60) as answer, open(target, "wb") as stream:
            shutil.copyfileobj(answer, stream)
    except (OSError, ValueError) as error:
        return str(error)
    return None


def _run(argv: List[str], env: Dict[str, str], hear: Hear, stop: Stop, handles: Sequence[int]) -> Optional[str]:
    """None when it went well, else the end of what the program said."""

    def on_output(piece: bytes) -> None:
        hear(piece.decode("utf-8", "replace"))

    try:
        done = process.run(argv, env=env, on_output=on_output, limit=65536, stop=stop, pass_fds=handles)
    except FileNotFoundError:
        return "there is no {} on this machine".format(argv[0])
    if done.exit_status == 0:
        return None
    lines = [line.strip() for line in (done.errors() or done.text()).splitlines() if line.strip()]
    return " / ".join(lines[-3:]) or "exit status {}".format(done.exit_status)
