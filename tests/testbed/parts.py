"""Processes of a testbed: started detached, found again by pid and start time, ended one by one."""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

# Every process of a testbed carries this variable; its value is the testbed's own folder.
MARK = "TESTBED_MARK"


def call(*argv: object, env: "dict[str, str] | None" = None, check: bool = True) -> str:
    """Runs a program and returns what it printed; raises with its output when it fails."""
    done = subprocess.run(
        [str(part) for part in argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **(env or {})},
        check=False,
    )
    if check and done.returncode:
        raise RuntimeError(f"{shlex.join(map(str, argv))}: exit status {done.returncode}: {done.stdout[-2000:]}")
    return done.stdout


def listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start_time(pid: int) -> str:
    """The start time of a living process in clock ticks, empty when there is none (a zombie counts as none)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]


def wait_for(check: Callable[[], object], seconds: float, what: str, pause: float = 0.1) -> None:
    """Returns once `check` says something true; raises TimeoutError otherwise."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(pause)


@dataclass
class Part:
    """One long-running process. `inside` names a process whose mount and UTS namespaces it shares."""

    name: str
    argv: list[str]
    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    inside: "Part | None" = None
    ready: Callable[[], object] | None = None
    _child: "subprocess.Popen[bytes] | None" = None

    @property
    def log(self) -> Path:
        return self.folder / "log" / self.name

    @property
    def _pid_file(self) -> Path:
        return self.folder / "run" / f"{self.name}.process"

    @property
    def pid(self) -> int:
        """The pid of the living process, 0 when it is not running."""
        if self._child:
            self._child.poll()
        try:
            pid, started = self._pid_file.read_text().split()
        except (OSError, ValueError):
            return 0
        return int(pid) if start_time(int(pid)) == started else 0

    def start(self, seconds: float = 60) -> None:
        """Starts the process unless it is running, and waits until it is ready."""
        if not self.pid:
            enter = enter_words(self.inside.pid) if self.inside else []
            with self.log.open("ab") as log:
                self._child = subprocess.Popen(
                    enter + self.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **self.env, MARK: str(self.folder)},
                    cwd="/",
                    start_new_session=True,
                )
            self._pid_file.write_text(f"{self._child.pid} {start_time(self._child.pid)}")
        if self.ready:
            wait_for(lambda: self._ready(), seconds, f"{self.name} (its log is {self.log})")

    def _ready(self) -> object:
        if not self.pid:
            raise RuntimeError(f"{self.name} ended at once: {self.log.read_text(errors='replace')[-2000:]}")
        return self.ready() if self.ready else True

    def stop(self, sig: int = signal.SIGTERM, seconds: float = 10) -> None:
        """Ends the process by `sig`, by SIGKILL after `seconds`, and waits until it is gone."""
        pid = self.pid
        if not pid:
            return
        signal_pid(pid, sig)
        try:
            wait_for(lambda: not self.pid, seconds, self.name, 0.02)
        except TimeoutError:
            signal_pid(pid, signal.SIGKILL)
            wait_for(lambda: not self.pid, 10, self.name, 0.02)


def enter_words(pid: int) -> list[str]:
    """The words before a command that run it in the mount and UTS namespaces of a process."""
    return ["nsenter", f"--mount=/proc/{pid}/ns/mnt", f"--uts=/proc/{pid}/ns/uts", "--"]


def home(folder: Path, name: str, more: str = "") -> Part:
    """The process that holds a cluster's namespaces: its own /home, a host name that may change, what the shell line `more` mounts."""
    line = f"mount --bind {shlex.quote(f'{folder}/{name}/home')} /home && {more or ':'} && exec sleep 1000000"
    part = Part(f"{name}.home", ["unshare", "-m", "-u", "sh", "-c", line], folder)

    def ready() -> bool:
        # The shell becomes `sleep` when all is mounted.
        return Path(f"/proc/{part.pid}/comm").read_text().strip() == "sleep"

    part.ready = ready
    return part


def sshd(folder: Path, name: str, port: int, inside: Part) -> Part:
    """A cluster's sshd."""
    argv = ["/usr/sbin/sshd", "-D", "-f", f"{folder}/{name}/sshd_config", "-E", f"{folder}/log/{name}.sshd"]
    return Part(f"{name}.sshd", argv, folder, inside=inside, ready=lambda: listening(port))


def signal_pid(pid: int, sig: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sig)


def namespace(pid: int) -> str:
    """The mount namespace of a process, empty when there is no such process."""
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return ""


def all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def marked(folder: Path) -> list[int]:
    """Living processes that carry the mark of the testbed in `folder`."""
    wanted = f"{MARK}={folder}".encode()
    found = []
    for pid in all_pids():
        with contextlib.suppress(OSError):
            if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") and start_time(pid):
                found.append(pid)
    return found


def within(space: str) -> list[int]:
    """Living processes in a mount namespace."""
    return [pid for pid in all_pids() if space and namespace(pid) == space and start_time(pid)]


def end_all(find: Callable[[], list[int]], patience: float = 3) -> None:
    """Ends everything that `find` finds: SIGTERM, then SIGKILL until nothing is left."""
    for pid in find():
        signal_pid(pid, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while find() and time.monotonic() < deadline:
        time.sleep(0.1)
    deadline = time.monotonic() + 20
    while (left := find()) and time.monotonic() < deadline:
        for pid in left:
            signal_pid(pid, signal.SIGKILL)
        time.sleep(0.1)
