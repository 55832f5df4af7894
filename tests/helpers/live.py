"""The testbed, the command line and the API server as tests use them. See tests/testbed/README.md."""

import contextlib
import email
import email.message
import email.policy
import json
import os
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from testbed.bed import PASSPHRASE, Testbed
from testbed.parts import namespace, within

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 60.0  # seconds within which anything that will happen has happened, on a busy machine too


def eventually(check: Callable[[], object], what: str = "", seconds: float = PATIENCE, pause: float = 0.1) -> object:
    """The first true thing that `check` returns; fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what or check}; last: {value!r}")
        time.sleep(pause)


@dataclass(frozen=True)
class Ran:
    """What a program printed, and its exit status."""

    argv: list[str]
    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"{shlex.join(self.argv)}\nexit status {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"

    @property
    def last(self) -> str:
        """The last line on stdout."""
        return self.out.strip().rpartition("\n")[2]


def execute(argv: list[str], code: "int | None" = 0, seconds: float = 120, **more: object) -> Ran:
    """Runs a program without a terminal. A status other than `code` fails the test (None: any will do)."""
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="surrogateescape",
        timeout=seconds,
        check=False,
        **more,
    )
    ran = Ran(argv, done.returncode, done.stdout, done.stderr)
    assert code is None or ran.code == code, str(ran)
    return ran


@dataclass
class Cluster:
    """One cluster of the testbed, looked at from outside jobferry."""

    name: str
    bed: Testbed

    @property
    def port(self) -> int:
        return self.bed.ports[self.name]

    def ssh(self, command: str, user: str = "jdoe", code: "int | None" = 0) -> str:
        """What a shell line prints there."""
        config = str(self.bed.folder / "ssh_config")
        return execute(["ssh", "-F", config, "-l", user, self.name, command], code).out

    def slurm(self, command: str, code: "int | None" = 0) -> str:
        """What a Slurm command prints, run as root on this machine."""
        env = {**os.environ, "SLURM_CONF": str(self.bed.folder / self.name / "slurm.conf")}
        return execute(["sh", "-c", command], code, env=env).out

    def home(self, user: str = "jdoe") -> Path:
        """The user's home there, as a path on this machine."""
        return self.bed.folder / self.name / "home" / user

    def here(self, path: str) -> Path:
        """A path in the cluster's /home, as a path on this machine."""
        assert path.startswith("/home/"), path
        return self.bed.folder / self.name / path.lstrip("/")

    def native_jobs(self, text: str) -> list[str]:
        """Ids of all native jobs, ended ones too, whose name holds `text`."""
        queue = self.slurm("squeue -h -t all -o '%F %j'")
        return sorted({line.split()[0] for line in queue.splitlines() if text in line})

    def start(self, part: str) -> None:
        self.bed.start(f"{self.name}.{part}")

    def stop(self, part: str) -> None:
        self.bed.stop(f"{self.name}.{part}")

    def connections(self) -> int:
        """SSH connections since the start."""
        return (self.bed.folder / "log" / f"{self.name}.sshd").read_text().count("Connection from ")

    def memory(self, user: str, word: str) -> list[int]:
        """Resident memory in KiB of the user's processes here whose command line holds `word`."""
        sizes = []
        for pid, line in self._processes(user):
            if word in line:
                with contextlib.suppress(OSError):
                    status = Path(f"/proc/{pid}/status").read_text()
                    sizes += [int(row.split()[1]) for row in status.splitlines() if row.startswith("VmRSS:")]
        return sizes

    def processes(self, user: str = "jdoe") -> list[str]:
        """Command lines of the user's processes on this cluster (not of another testbed's); sshd's own are left out."""
        return [line for _, line in self._processes(user)]

    def _processes(self, user: str) -> list[tuple[int, str]]:
        found = []
        for pid in within(namespace(self.bed.parts[f"{self.name}.home"].pid)):
            with contextlib.suppress(OSError):
                place = Path(f"/proc/{pid}")
                if place.owner() == user:
                    words = (place / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
                    found.append((pid, " ".join(os.fsdecode(word) for word in words)))
        return [(pid, line) for pid, line in found if line and not line.startswith("sshd:")]


@dataclass
class Bed:
    """The running testbed."""

    bed: Testbed = field(default_factory=Testbed)
    passphrase: str = PASSPHRASE

    def __post_init__(self) -> None:
        assert (self.folder / "facts.json").exists(), f"no testbed in {self.folder}: make testbed-up"
        self.alpha = Cluster("alpha", self.bed)
        self.beta = Cluster("beta", self.bed)

    @property
    def folder(self) -> Path:
        return self.bed.folder

    @property
    def clusters(self) -> Path:
        """The inventory file."""
        return self.folder / "clusters.yml"

    @property
    def smtp_url(self) -> str:
        return f"smtp://127.0.0.1:{self.bed.ports['smtp']}"

    @property
    def mongo_url(self) -> str:
        return f"mongodb://127.0.0.1:{self.bed.ports['mongo']}/?directConnection=true"

    def key(self, name: str = "ed25519") -> Path:
        return self.folder / "keys" / name

    def mails(self, to: str = "", text: str = "") -> list[email.message.EmailMessage]:
        """The mails received so far, oldest first: those to `to` that hold `text` anywhere."""
        found = []
        for path in sorted((self.folder / "mail").glob("*.eml")):
            raw = path.read_bytes()
            message = email.message_from_bytes(raw, policy=email.policy.default.clone(refold_source="none"))
            if to in str(message["X-Rcpt"]) and text in whole(message):
                found.append(message)
        return found


def whole(message: email.message.EmailMessage) -> str:
    """Subject and every text part of a mail."""
    parts = [str(part.get_content()) for part in message.walk() if part.get_content_maintype() == "text"]
    return "\n".join([str(message["Subject"]), *parts])


@dataclass
class Cli:
    """`python -m project` with a home of its own, in a process of its own, without a terminal."""

    folder: Path
    known_hosts: "Path | None" = None
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ssh = self.folder / ".ssh"
        ssh.mkdir(parents=True, exist_ok=True)
        ssh.chmod(0o700)
        if self.known_hosts:
            (ssh / "known_hosts").write_bytes(self.known_hosts.read_bytes())

    @property
    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("JOBFERRY_", "SSH_", "XDG_"))}
        own = {"HOME": str(self.folder), "JOBFERRY_HOME": str(self.folder / "data"), "PYTHONPATH": str(ROOT)}
        return {**kept, **own, "NO_COLOR": "1", **self.env}

    def argv(self, *words: object) -> list[str]:
        return [sys.executable, "-m", "project", *map(str, words)]

    def run(self, *words: object, code: "int | None" = 0, cwd: "Path | None" = None, seconds: float = 120) -> Ran:
        """Runs a verb; an exit status other than `code` fails the test."""
        return execute(self.argv(*words), code, seconds, env=self.environment, cwd=cwd or self.folder)

    def json(self, *words: object, code: "int | None" = 0, cwd: "Path | None" = None) -> dict:
        """The one JSON document that a verb prints with --json."""
        ran = self.run(*words, "--json", code=code, cwd=cwd)
        try:
            return json.loads(ran.out)
        except ValueError:
            raise AssertionError(f"not one JSON document: {ran}") from None

    def start(self, *words: object, cwd: "Path | None" = None) -> "subprocess.Popen[str]":
        """Starts a verb and returns its process; the caller ends it."""
        return subprocess.Popen(
            self.argv(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            cwd=cwd or self.folder,
        )

    def until(self, uuid: str, *states: str, seconds: float = PATIENCE) -> dict:
        """The job's document once it is in one of `states` (none named: once it has ended)."""
        wanted = states or ("FINISHED", "FAILED", "CANCELLED")
        seen: list[dict] = []

        def look() -> bool:
            seen[:] = [self.json("status", uuid)]
            return seen[0]["state"] in wanted

        try:
            eventually(look, "", seconds, 0.2)
        except AssertionError:
            history = self.run("history", uuid, code=None).out
            raise AssertionError(f"{uuid} is not {wanted}: {json.dumps(seen, indent=1)}\n{history}") from None
        return seen[0]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """`python -m api_srv` as a process of its own."""

    folder: Path
    env: dict[str, str]
    port: int = field(default_factory=free_port)
    user: str = "owner"
    password: str = "right horse"
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client_env(self) -> dict[str, str]:
        """What the command line needs to use it."""
        return {
            "JOBFERRY_API_URL": self.url,
            "JOBFERRY_API_USER": self.user,
            "JOBFERRY_API_PASSWORD": self.password,
        }

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("JOBFERRY_")}
        own = {
            "JOBFERRY_HOME": str(self.folder / "data"),
            "JOBFERRY_LISTEN": f"127.0.0.1:{self.port}",
            "JOBFERRY_PUBLIC_URL": self.url,
            "JOBFERRY_ADMIN_USER": self.user,
            "JOBFERRY_ADMIN_PASSWORD": self.password,
            "PYTHONPATH": str(ROOT),
        }
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "api_srv"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**kept, **own, **self.env},
            )
        eventually(self._healthy, f"the server answers; its log: {self.folder / 'server.log'}")

    def _healthy(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the server ended: {self.log[-3000:]}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.url}/healthz", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def stop(self, kill: bool = False) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill() if kill else self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(20)


def serving(server: Server) -> Iterator[Server]:
    """Starts a server for a fixture and ends it after it."""
    server.start()
    try:
        yield server
    finally:
        server.stop()
