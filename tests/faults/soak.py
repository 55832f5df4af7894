"""`make soak`: many short jobs over two clusters while command lines, agents, watchers and the API server are killed at random.

    PYTHONPATH=tests:. python -m faults.soak [--jobs 2000] [--minutes 10] [--seed 1] [--out FILE]

Each submission is a process of its own (forked from one that has the program loaded, so that two cores can start thousands), and
one in ten of them is killed by SIGKILL within its first second. Beside that, every few seconds an agent or a watcher on
a cluster, or the server, is killed; the server is started again. What was cut off is gone on with (`resubmit --resume`) as a
user would. The end: each acknowledged job ran once and is FINISHED, no native job is there twice, every event of it is there once.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import yaml
from faults import audit

from helpers.live import Bed, Cli, Cluster, Server
from project.core.api_client import ApiClient, http_call
from project.core.errors import ApiError

SIDE_BY_SIDE = 6
KILLED = 10  # one in so many submissions
# Testbeds share the machine's processes; those of one cluster share its mount namespace.
KILL = """me=$(readlink /proc/self/ns/mnt)
for i in $(seq 20); do
  found=
  for p in $(pgrep -u $(id -u) -f '{word}'); do
    [ "$(readlink /proc/$p/ns/mnt)" = "$me" ] && kill -9 $p && echo $p && found=yes
  done
  [ -n "$found" ] && break
  sleep 0.02
done; true"""


class Soak:
    def __init__(self, jobs: int, seconds: float, seed: int, folder: Path) -> None:
        self.jobs, self.deadline, self.random = jobs, time.monotonic() + seconds, random.Random(seed)
        self.bed, self.folder = Bed(), folder
        self.tag = f"soak{os.getpid()}"
        self.server = Server(folder / "server", {"JOBFERRY_SMTP_URL": self.bed.smtp_url})
        self.server.start()
        self.cli = Cli(folder / "user", self.bed.folder / "known_hosts", self.server.client_env)
        self.cli.run("clusters", "import", self.bed.clusters)
        self.api = ApiClient(http_call(self.server.url, self.server.user, self.server.password, timeout=60))
        self.kills: Counter[str] = Counter()
        self.done = threading.Event()

    @property
    def clusters(self) -> list[Cluster]:
        return [self.bed.alpha, self.bed.beta]

    def write(self, number: int) -> Path:
        cluster = self.clusters[number % 2]
        path = self.folder / "user" / f"{number}.yml"
        document = {
            "name": f"{self.tag}-{number}",
            "username": "jdoe",
            "private_key": str(self.bed.key()),
            "destination_cluster": cluster.name,
            "job": str(self.payload),
            "execution": f'echo {number} >> "$HOME/{self.tag}"',
            "resources": {"duration": "1m", "memory_per_thread": "10M"},
            "fallback": "never",
            "notify": "none",
        }
        path.write_text(yaml.safe_dump(document))
        return path

    @property
    def payload(self) -> Path:
        path = self.folder / "payload.txt"
        if not path.exists():
            path.write_text("payload")
        return path

    def child(self, *words: object) -> int:
        """A command line in a process of its own; its pid."""
        pid = os.fork()
        if pid:
            return pid
        try:
            os.environ.clear()
            os.environ.update(self.cli.environment)
            os.chdir(self.cli.folder)
            null = os.open(os.devnull, os.O_RDWR)
            log = os.open(self.folder / "cli.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(null, 0)
            os.dup2(log, 1)
            os.dup2(log, 2)
            from project.__main__ import main

            sys.argv = ["project", *map(str, words)]
            code = main()
            os._exit(int(code or 0))
        except SystemExit as leaving:
            os._exit(int(leaving.code or 0) if isinstance(leaving.code, int | None) else 1)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(99)

    def run_all(self, calls: "list[tuple[object, ...]]", kill: bool) -> list[int]:
        """Runs command lines, several side by side; the indexes of those that were killed or failed."""
        running: dict[int, tuple[int, float]] = {}
        bad: list[int] = []
        todo = list(enumerate(calls))[::-1]
        while todo or running:
            while todo and len(running) < SIDE_BY_SIDE:
                index, words = todo.pop()
                dies = time.monotonic() + self.random.random() if kill and self.random.randrange(KILLED) == 0 else 0.0
                running[self.child(*words)] = (index, dies)
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid in running:
                index, _ = running.pop(pid)
                if status:
                    bad.append(index)
            elif not pid:
                time.sleep(0.005)
            for each, (index, dies) in list(running.items()):
                if dies and time.monotonic() > dies:
                    os.kill(each, signal.SIGKILL)
                    self.kills["command line"] += 1
                    running[each] = (index, 0.0)
        return bad

    def chaos(self) -> None:
        """Kills something every few seconds until the jobs have ended."""
        choice = random.Random(self.random.random())
        while not self.done.wait(choice.uniform(2, 6)):
            what = choice.choice(["watcher", "watcher", "agent", "server"])
            if what == "server":
                self.server.stop(kill=True)
                self.server.start()
                self.kills["server"] += 1
                continue
            word = "pyz [w]atch" if what == "watcher" else "base64;[e]xec"
            cluster = choice.choice(self.clusters)
            self.kills[what] += len(cluster.ssh(KILL.format(word=word), code=None).split())

    def documents(self) -> list[dict]:
        found: dict[str, dict] = {}
        cursor = ""
        while True:
            answer = self.api._call("GET", "/jobs", None, {"limit": "200", **({"cursor": cursor} if cursor else {})})
            found.update((job["job_uuid"], job) for job in answer["jobs"] if job["name"].startswith(self.tag))
            cursor = answer.get("next") or answer.get("cursor") or ""
            if not cursor:
                return list(found.values())

    def patiently(self, call):
        """The server may be dead for a moment."""
        for _ in range(30):
            try:
                return call()
            except ApiError as error:
                if not error.transient:
                    raise
                time.sleep(1)
        return call()

    def settle(self) -> list[dict]:
        """Go on with what was cut off, until all have ended or the time is over."""
        while True:
            documents = self.patiently(self.documents)
            live = [job for job in documents if job["state"] not in ("FINISHED", "FAILED", "CANCELLED")]
            if not live or time.monotonic() > self.deadline:
                return documents
            early = [job for job in live if not job["native_id"]]
            self.run_all([("resubmit", "--resume", job["job_uuid"]) for job in early], kill=False)
            # Any call that reaches a cluster starts its watcher again.
            for name in ("alpha", "beta"):
                some = [job for job in live if job["native_id"] and job["cluster"] == name]
                if some:
                    self.run_all([("logs", some[0]["job_uuid"])], kill=False)
            time.sleep(2)

    def run(self) -> dict:
        begin = time.monotonic()
        calls = [("submit", self.write(number)) for number in range(self.jobs)]
        chaos = threading.Thread(target=self.chaos)
        chaos.start()
        try:
            cut = self.run_all(calls, kill=True)
            submitted = time.monotonic() - begin
            documents = self.settle()
            # A call that died before the intent was recorded, or found no server, left nothing: it is typed again.
            again = 0
            while time.monotonic() < self.deadline:
                known = {job["name"] for job in documents}
                missing = [calls[index] for index in range(self.jobs) if f"{self.tag}-{index}" not in known]
                if not missing:
                    break
                again += len(missing)
                self.run_all(missing, kill=False)
                documents = self.settle()
        finally:
            self.done.set()
            chaos.join()
        documents = self.patiently(self.documents)
        return {**self.audit(documents), "cut_off": len(cut), "typed_again": again,
                "submitting_seconds": round(submitted), "seconds": round(time.monotonic() - begin),
                "killed": dict(self.kills)}  # fmt: skip

    def audit(self, documents: list[dict]) -> dict:
        findings = audit.Findings()
        runs: Counter[str] = Counter()
        natives: Counter[str] = Counter()
        for cluster in self.clusters:
            path = cluster.home() / self.tag
            runs.update(path.read_text().split() if path.exists() else [])
            queue = cluster.slurm("squeue -h -t all -o '%F %j'").splitlines()
            natives.update(job["job_uuid"] for line in queue for job in documents if job["job_uuid"] in line)
        by_name = Counter(job["name"] for job in documents)
        for number in range(self.jobs):
            audit.native(findings, ["?"] * by_name[f"{self.tag}-{number}"], runs[str(number)])
        for job in documents:
            audit.end(findings, job, "FINISHED", "ok")
            if natives[job["job_uuid"]] > 1:
                findings.doubled.append(f"native jobs of {job['job_uuid']}")
            audit.events(findings, self.patiently(lambda job=job: self.api.events(job["job_uuid"])))
        return {"jobs": self.jobs, "lost": len(findings.lost), "doubled": len(findings.doubled),
                "wrong": len(findings.wrong), "first": str(findings)[:2000]}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    # What each child needs is loaded once.
    for name in (
        "project.cli",
        "project.engine.submission",
        "project.engine.resuming",
        "project.transports.ssh",
        "fabric",
        "rich",
    ):
        __import__(name)
    with tempfile.TemporaryDirectory(prefix="jobferry-soak-") as folder:
        soak = Soak(args.jobs, args.minutes * 60, args.seed, Path(folder))
        try:
            figures = soak.run()
        finally:
            soak.server.stop()
    print(json.dumps(figures, indent=1))
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1) + "\n")
    return 1 if figures["lost"] or figures["doubled"] or figures["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
