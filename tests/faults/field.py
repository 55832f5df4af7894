"""What a row of the suite works with: a user with a home of their own, a job whose payload counts its runs, the audit."""

import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from faults import audit
from faults.rows import Row

from helpers.live import Bed, Cli, Cluster, Ran, Server, eventually, execute
from helpers.processes import stop_retrier
from project.core.api_client import ApiClient, http_call

HERE = Path(__file__).resolve().parent
GONE = 120.0  # seconds after which a job that has not ended is lost


@dataclass
class Field:
    """The testbed, one API server over one kind of store, a folder."""

    bed: Bed
    server: Server
    folder: Path
    env: dict[str, str]
    # Counters and mail addresses of this run are nobody else's.
    tag: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def case(self, row: Row) -> "Case":
        cluster = getattr(self.bed, row.cluster)
        return Case(self, row.name, cluster, row.user, self.another_server(row.name) if row.own_server else self.server)

    def another_server(self, name: str) -> Server:
        """A server that only one row uses, with a database of its own."""
        env = dict(self.env)
        if "JOBFERRY_MONGO_DB" in env:
            env["JOBFERRY_MONGO_DB"] += name
        server = Server(self.folder / f"server-{name}", env)
        server.start()
        return server


class Case:
    """One row in work."""

    def __init__(self, where: Field, name: str, cluster: Cluster, user: str, server: Server) -> None:
        self.field, self.name, self.cluster, self.user = where, name, cluster, user
        self.server = server
        self.folder = where.folder / name
        self.cli = Cli(self.folder, where.bed.folder / "known_hosts", server.client_env)
        self.mail = f"{name}.{where.tag}@example.org".lower()
        self.counter = f"faults/{where.tag}-{name}"
        # Looking is done over HTTP: a command line for each look would keep both cores busy.
        self.api = ApiClient(http_call(server.url, server.user, server.password))
        self.uuid = ""
        self.cli.run("clusters", "import", where.bed.clusters)

    def close(self) -> None:
        stop_retrier(self.folder / "data")
        if self.server is not self.field.server:
            self.server.stop()

    def write(self, execution: "list[str] | None" = None, **keys: object) -> Path:
        """An input whose payload adds a line to a file in the home of the cluster."""
        import yaml

        job = self.folder / "job"
        job.mkdir(exist_ok=True)
        (job / "payload.txt").write_text("x" * 1000)
        count = f'mkdir -p "$HOME/faults" && echo run >> "$HOME/{self.counter}"'
        document = {
            "name": self.name,
            "username": self.user,
            "private_key": str(self.field.bed.key()),
            "user_mail": self.mail,
            "destination_cluster": self.cluster.name,
            "job": "job",
            "execution": [count, *(execution or [])],
            "output": "payload.txt",
            "resources": {"duration": "2m", "memory_per_thread": "50M"},
            "fallback": "never",
            **keys,
        }
        path = self.folder / "input.yml"
        path.write_text(yaml.safe_dump(document))
        return path

    def submit(self, code: "int | None" = 0) -> Ran:
        ran = self.cli.run("submit", self.folder / "input.yml", code=code)
        self.find()
        return ran

    def submit_killed(self, point: str) -> None:
        """A submission that is killed at `point` (driver.py)."""
        argv = [sys.executable, str(HERE / "driver.py"), point, "--", "submit", str(self.folder / "input.yml")]
        ran = execute(argv, None, env=self.cli.environment, cwd=self.folder)
        assert ran.code == -9, f"was not killed at {point}: {ran}"
        self.find()

    def find(self) -> str:
        """The job's UUID, "" when the API knows none of this name."""
        found = [job for job in self.api.jobs(limit="200") if job["name"] == self.name]
        self.uuid = found[0]["job_uuid"] if found else ""
        return self.uuid

    def go_on(self) -> None:
        """What a user does after a crash: continue the job if it is known, else type the command again."""
        if self.uuid:
            self.cli.run("resubmit", "--resume", self.uuid)
        else:
            self.submit()

    def settled(self) -> dict:
        """The job's document once it has ended, or after GONE."""
        last: list[dict] = []

        def look() -> bool:
            last[:] = [self.api.job(self.uuid)]
            return last[0]["state"] in ("FINISHED", "FAILED", "CANCELLED")

        try:
            eventually(look, f"{self.name} ends", GONE, 0.5)
        except AssertionError:
            return last[0]
        return last[0]

    def check(self, state: str = "FINISHED", condition: str = "ok", submitted: int = 1, ran: int = 1) -> audit.Findings:
        """The whole audit, once the job has ended and its mails have come."""
        findings = audit.Findings()
        document = self.settled()
        history = self.api.events(self.uuid)
        self._mails_came(state)
        audit.native(findings, self.cluster.native_jobs(self.uuid), self.runs(), submitted, ran)
        audit.end(findings, document, state, condition)
        audit.events(findings, history)
        audit.mails(findings, self.subjects(), history)
        return findings

    def runs(self) -> int:
        path = self.cluster.home(self.user) / self.counter
        return len(path.read_text().splitlines()) if path.exists() else 0

    def subjects(self) -> list[str]:
        return [str(message["Subject"]) for message in self.field.bed.mails(self.mail)]

    def _mails_came(self, state: str) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if any(state.lower() in subject.lower() for subject in self.subjects()):
                time.sleep(0.5)
                return
            time.sleep(0.2)
