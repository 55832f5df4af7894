"""A testbed: clusters with real workload managers behind sshd, one that is down, an SMTP sink, a MongoDB wire server."""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import pwd
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from testbed import configs, parts
from testbed.at import Tau
from testbed.others import Other
from testbed.parts import Part, call, listening, wait_for
from testbed.sge import Sigma

# Clusters with another workload manager than Slurm.
OTHERS: tuple[type[Other], ...] = (Sigma, Tau)

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MARKER = ".jobferry-testbed"
PASSPHRASE = "sesame"
KEYS = {
    "rsa": ["-t", "rsa", "-b", "3072", "-N", ""],
    "rsa_pass": ["-t", "rsa", "-b", "3072", "-N", PASSPHRASE],
    "ed25519": ["-t", "ed25519", "-N", ""],
    "ecdsa": ["-t", "ecdsa", "-N", ""],
    # The passphrase of MASI-TFE's sample input, which is used as it is.
    "masi": ["-t", "ed25519", "-N", "private_key_passphrase"],
}


def default_folder() -> Path:
    """`JOBFERRY_TESTBED`, or a folder in the first temporary directory that other users may enter."""
    named = os.environ.get("JOBFERRY_TESTBED")
    if named:
        return Path(named).absolute()
    for base in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        path = Path(base).resolve()
        open_to_all = all(p.stat().st_mode & 0o001 for p in (path, *path.parents))
        if open_to_all and len(str(path)) < 60 and not str(path).startswith("/home"):
            return path / "jobferry-testbed"
    sys.exit("testbed: no temporary directory that other users may enter; set JOBFERRY_TESTBED")


def usable_python() -> str:
    """A Python that has the test extra: this one, or the one of the project's environment."""
    for candidate in (sys.executable, str(ROOT / ".venv/bin/python")):
        probe = "import aiosmtpd, secantus"
        if subprocess.run([candidate, "-c", probe], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return candidate
    sys.exit("testbed: no Python here has the packages of the test extra: make env")


class Testbed:
    """The parts of one testbed in `folder`. Names of parts: `mariadb`, `alpha.slurmctld`, `alpha.alpha1`, `alpha.sshd` …"""

    __test__ = False

    def __init__(self, folder: "Path | None" = None) -> None:
        self.folder = folder or default_folder()

    # ---- what it is made of

    @functools.cached_property
    def ports(self) -> dict[str, int]:
        return configs.ports(int((self.folder / "port").read_text()))

    @functools.cached_property
    def parts(self) -> dict[str, Part]:
        """Every part in the order in which they start."""
        table = {part.name: part for part in self._shared_parts()}
        for name in configs.CLUSTERS:
            table.update({part.name: part for part in self._cluster_parts(name)})
        for other in self.others:
            table.update({part.name: part for part in other.parts})
        return table

    @functools.cached_property
    def others(self) -> list[Other]:
        return [kind(self.folder, self.ports) for kind in OTHERS]

    def _part(self, name: str, *argv: object, **more: object) -> Part:
        return Part(name, [str(part) for part in argv], self.folder, **more)  # type: ignore[arg-type] # named fields

    def _shared_parts(self) -> Iterator[Part]:
        run, python, database = self.folder / "run", usable_python(), self.folder / "mysql"
        yield self._part(
            "mariadb",
            *(shutil.which("mariadbd") or "/usr/sbin/mariadbd", "--no-defaults", "--user=mysql"),
            *(f"--datadir={database}/data", f"--socket={database}/socket", "--skip-networking"),
            *(f"--pid-file={database}/pid", "--innodb-buffer-pool-size=64M", "--performance-schema=off"),
            ready=lambda: (
                (database / "socket").exists()
                and "alive" in call("mysqladmin", "--no-defaults", f"--socket={database}/socket", "ping", check=False)
            ),
        )
        yield self._part(
            "munged",
            *("/usr/sbin/munged", "-F", "--force", f"--socket={run}/munge.socket", f"--key-file={run}/munge.key"),
            *(f"--pid-file={run}/munged.pid", f"--log-file={self.folder}/log/munged.log"),
            f"--seed-file={run}/munged.seed",
            ready=lambda: "MUNGE" in call("munge", f"--socket={run}/munge.socket", "-n", check=False),
        )
        yield self._part(
            "slurmdbd",
            *("slurmdbd", "-D"),
            env={"SLURM_CONF": f"{self.folder}/slurm.conf", "MYSQL_UNIX_PORT": f"{database}/socket"},
            ready=lambda: listening(self.ports["slurmdbd"]),
        )
        yield self._part(
            "smtp",
            *(python, HERE / "smtp_sink.py", self.folder / "mail", self.ports["smtp"]),
            ready=lambda: listening(self.ports["smtp"]),
        )
        yield self._part(
            "mongo",
            *(python, "-m", "secantus", "--host", "127.0.0.1", "--port", self.ports["mongo"], "--sync-on-commit"),
            *("--storage-path", self.folder / "mongo", "--log-level", "WARNING", "--cache-size", "128M"),
            ready=lambda: listening(self.ports["mongo"]),
        )

    def _cluster_parts(self, name: str) -> Iterator[Part]:
        own = self.folder / name
        env = {"SLURM_CONF": f"{own}/slurm.conf"}
        home = parts.home(self.folder, name)
        yield home
        yield self._part(
            f"{name}.slurmctld",
            *("slurmctld", "-D"),
            env=env,
            inside=home,
            ready=lambda: listening(self.ports[f"{name}.slurmctld"]),
        )
        for number in range(1, configs.CLUSTERS[name] + 1):
            yield self._part(f"{name}.{name}{number}", "slurmd", "-D", "-N", f"{name}{number}", env=env, inside=home)
        yield parts.sshd(self.folder, name, self.ports[name], home)

    # ---- up and down

    def up(self) -> None:
        """Starts what is not running. Leftovers of a testbed that has ended are cleared first."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock():
            if not self._running():
                self._wipe()
                self._take_ports()
            shared = [part for name, part in self.parts.items() if "." not in name]
            with ThreadPoolExecutor(16) as pool:
                independent = [pool.submit(part.start) for part in shared if part.name not in {"mariadb", "slurmdbd"}]
                aside = [pool.submit(other.start) for other in self.others]
                self._start_database()
                for done in independent:
                    done.result()
                self.parts["slurmdbd"].start()
                for name in configs.CLUSTERS:
                    self._register(name)
                list(pool.map(self._start_cluster, configs.CLUSTERS))
                for done in aside:
                    done.result()
            self._write_facts()

    def down(self) -> None:
        """Ends every process of this testbed, whatever they started included, and nothing else."""
        if not (self.folder / MARKER).exists():
            return
        with self._lock():
            self._end()

    def remove(self) -> None:
        """Ends the testbed and removes its folder."""
        self.down()
        if (self.folder / MARKER).exists():
            shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self) -> None:
        spaces = set()
        if (self.folder / "port").exists():
            homes = [part for name, part in self.parts.items() if name.endswith(".home")]
            spaces = {parts.namespace(home.pid) for home in homes} - {""}
        here = parts.namespace(os.getpid())

        def mine() -> list[int]:
            found = set(parts.marked(self.folder))
            for space in spaces - {here}:
                found.update(parts.within(space))
            return sorted(found)

        parts.end_all(mine)

    def _running(self) -> bool:
        if not (self.folder / "port").exists():
            return False
        return any(part.pid for part in self.parts.values())

    def _wipe(self) -> None:
        names = {path.name for path in self.folder.iterdir()} - {"lock"}
        if names and MARKER not in names:
            sys.exit(f"testbed: {self.folder} holds other things; set JOBFERRY_TESTBED to a folder of its own")
        self._end()
        for name in names:
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for name in ("parts", "ports", "others"):
            self.__dict__.pop(name, None)
        (self.folder / MARKER).touch()
        self.folder.chmod(0o755)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.folder / "lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _take_ports(self) -> None:
        """Finds a block of free ports, and lays out every file."""
        wanted = int(os.environ.get("JOBFERRY_TESTBED_PORT", "0"))
        spread = int(hashlib.sha256(str(self.folder).encode()).hexdigest(), 16) % 200
        turns = [wanted] if wanted else [20200 + configs.BLOCK * ((at + spread) % 200) for at in range(200)]
        for base in turns:
            with socket.socket() as guard:  # held on the block's last port while the files are written
                try:
                    guard.bind(("127.0.0.1", base + configs.BLOCK - 1))
                    for port in range(base, base + configs.BLOCK - 1):
                        with socket.socket() as probe:
                            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                            probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                (self.folder / "port").write_text(str(base))
                self._lay_out()
                return
        sys.exit("testbed: no free ports" + (f" from {wanted} on" if wanted else ""))

    # ---- files

    def _lay_out(self) -> None:
        for name in ("run", "log", "keys", "mail", "mongo", "mysql"):
            (self.folder / name).mkdir()
        (self.folder / "run/munge.key").write_bytes(secrets.token_bytes(1024))
        (self.folder / "run/munge.key").chmod(0o400)
        for name in configs.USERS:
            self._user(name)
        with ThreadPoolExecutor() as pool:
            keys = [(name, self.folder / "keys" / name) for name in KEYS]
            list(pool.map(lambda key: call("ssh-keygen", "-q", *KEYS[key[0]], "-f", key[1]), keys))
        public = "".join((self.folder / f"keys/{name}.pub").read_text() for name in KEYS)
        (self.folder / "keys/authorized_keys").write_text(public)
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        dbd = self.folder / "slurmdbd.conf"
        dbd.write_text(configs.slurmdbd(self.folder, self.ports))
        dbd.chmod(0o600)
        known = "".join(self._lay_out_cluster(name) for name in configs.CLUSTERS)
        for other in self.others:
            known += self._lay_out_login(other.name, other.session())
            other.lay_out()
        (self.folder / "known_hosts").write_text(known)
        names = (*configs.CLUSTERS, "gamma", *(other.name for other in self.others))
        (self.folder / "ssh_config").write_text(configs.ssh_client(self.folder, self.ports, names))
        inventory = configs.clusters_file(self.ports) + "".join(other.inventory() for other in self.others)
        (self.folder / "clusters.yml").write_text(inventory)

    @staticmethod
    def _user(name: str) -> None:
        for attempt in range(5):  # another testbed may hold the lock of the password file
            with contextlib.suppress(KeyError):
                pwd.getpwnam(name)
                return
            call("useradd", "-M", "-d", f"/home/{name}", "-s", "/bin/bash", "-p", "*", name, check=False)
            time.sleep(0.2 * attempt)
        pwd.getpwnam(name)

    def _lay_out_cluster(self, name: str) -> str:
        own, host = self.folder / name, socket.gethostname().split(".")[0]
        (own / "state").mkdir(parents=True)
        for number in range(1, configs.CLUSTERS[name] + 1):
            (own / "spool" / f"{name}{number}").mkdir(parents=True)
        (own / "slurm.conf").write_text(configs.slurm(self.folder, name, host, self.ports))
        return self._lay_out_login(name, {"SLURM_CONF": f"{own}/slurm.conf"})

    def _lay_out_login(self, name: str, session: "dict[str, str]") -> str:
        """A cluster's homes and sshd, which gives `session` to its sessions. Returns the line for known_hosts."""
        own = self.folder / name
        (own / "home").mkdir(parents=True)
        (own / "home" / f".{name}").touch()
        for user in configs.USERS:
            (own / "home" / user).mkdir()
            shutil.chown(own / "home" / user, user, pwd.getpwnam(user).pw_gid)
        Path("/home").mkdir(exist_ok=True)
        session = {**session, parts.MARK: str(self.folder), "LANG": "C.UTF-8"}
        (own / "sshd_config").write_text(configs.sshd(self.folder, name, self.ports, session))
        call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", own / "hostkey")
        kind, key = (own / "hostkey.pub").read_text().split()[:2]
        return f"[127.0.0.1]:{self.ports[name]} {kind} {key}\n"

    # ---- starting

    def _start_database(self) -> None:
        folder = self.folder / "mysql"
        if not (folder / "data").exists():
            install = shutil.which("mariadb-install-db") or "mysql_install_db"
            shutil.chown(folder, "mysql")
            call(install, "--no-defaults", "--user=mysql", f"--datadir={folder}/data", "--skip-test-db")
        self.parts["mariadb"].start()

    def _register(self, name: str) -> None:
        """Makes the cluster and its users known to the accounting, one cluster after the other: they share the account."""
        env = {"SLURM_CONF": str(self.folder / name / "slurm.conf")}
        users = ",".join(configs.USERS)
        if name not in call("sacctmgr", "-n", "show", "cluster", name, "format=cluster", env=env).split():
            call("sacctmgr", "-i", "-Q", "add", "cluster", name, env=env)
            call("sacctmgr", "-i", "-Q", "add", "account", "default", f"cluster={name}", env=env)
            call("sacctmgr", "-i", "-Q", "add", "user", users, "account=default", f"cluster={name}", env=env)

    def _start_cluster(self, name: str) -> None:
        env = {"SLURM_CONF": str(self.folder / name / "slurm.conf")}
        for part in self.parts.values():
            if part.name.startswith(f"{name}."):
                part.start()
        wanted = configs.CLUSTERS[name]

        def idle() -> bool:
            words = call("sinfo", "-h", "-N", "-p", "batch", "-o", "%T", env=env, check=False).split()
            return sum(word in {"idle", "mixed", "allocated", "completing"} for word in words) == wanted

        wait_for(idle, 60, f"nodes of {name}", 0.25)

    def _write_facts(self) -> None:
        exports = self.exports()
        lines = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in exports.items())
        (self.folder / "env").write_text(lines)
        (self.folder / "facts.json").write_text(json.dumps({"ports": self.ports, "env": exports}, indent=1))

    def exports(self) -> dict[str, str]:
        """What `source <folder>/env` sets."""
        port = self.ports
        clusters = (*configs.CLUSTERS, "gamma", *(other.name for other in self.others))
        return {
            "JOBFERRY_TESTBED": str(self.folder),
            "JOBFERRY_TESTBED_SMTP_URL": f"smtp://127.0.0.1:{port['smtp']}",
            "JOBFERRY_TESTBED_MAIL": str(self.folder / "mail"),
            "JOBFERRY_TESTBED_MONGO_URL": f"mongodb://127.0.0.1:{port['mongo']}/?directConnection=true",
            **{f"JOBFERRY_TESTBED_{name.upper()}_PORT": str(port[name]) for name in clusters},
        }

    # ---- breaking and mending

    def start(self, name: str) -> None:
        self.parts[name].start()

    def stop(self, name: str, sig: int = signal.SIGTERM) -> None:
        self.parts[name].stop(sig)
