"""A server with something on every page: accounts, clusters, jobs in many states, mails of every fate."""

import datetime
import threading
from pathlib import Path
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from api_srv import mailing, settings
from api_srv.app import create_app, make_services
from api_srv.services import accounts, clusters, jobs, reports
from api_srv.services.context import Account, Services
from api_srv.store.base import JobStore
from project.core import history

ANN, BOB, ADMIN = Account("ann"), Account("bob"), Account("root", admin=True)
PASSWORD = "a long password"
HOSTILE = "<script>document.title='owned'</script>\"'& \u202eلا"


def services_in(folder: Path) -> Services:
    made = make_services(settings.read({"JOBFERRY_HOME": str(folder)}))
    return made._replace(notifier=mailing.notifier("jobferry@host.example"))


def app_of(services: Services, folder: Path) -> Any:
    return create_app(settings.read({"JOBFERRY_HOME": str(folder)}), services)


def people(services: Services) -> None:
    for account in (ANN, BOB, ADMIN):
        accounts.add(services, account.name, PASSWORD, admin=account.admin)


def uuid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-{number:012x}"


def submit(services: Services, number: int, account: Account = ANN, **fields: Any) -> str:
    given = {
        "job": "hello.sh",
        "execution": ["./hello.sh"],
        "user_mail": f"{account.name}@example.org",
        "destination_cluster": "lemaitre3",
    }
    body = {"user_input": {**given, **fields}, "name": str(fields.get("name") or ""), "cluster": "lemaitre3"}
    body["tags"] = dict(fields.get("tags") or {})
    jobs.create(services, account, uuid(number), body)
    return uuid(number)


class Story:
    """Events of one job, some minutes apart, ending about now."""

    def __init__(self, services: Services, job: str, minutes: float = 30) -> None:
        self.services, self.job, self.seq = services, job, 0
        self.time = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=minutes)

    def tell(self, kind: str, minutes: float = 1.0, **fields: Any) -> "Story":
        self.seq += 1
        self.time += datetime.timedelta(minutes=minutes)
        event = {
            **history.make("agent", self.seq, kind, **fields),
            "time": self.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        record = self.services.store.job(self.job)
        reports.report(self.services, ADMIN, record, {"events": [event]})
        return self

    def states(self, *names: str) -> "Story":
        for name in names:
            self.tell("state", state=name)
        return self


def fill(services: Services) -> None:
    people(services)
    _clusters(services)
    _finished(services)
    _failed(services)
    _others(services)
    _mails(services)


def _clusters(services: Services) -> None:
    gib = 1024**3
    load = {
        "nodes": 80,
        "idle_nodes": 12,
        "down_nodes": 2,
        "cpus": 1920,
        "idle_cpus": 311,
        "memory": 7680 * gib,
        "idle_memory": 2100 * gib,
        "jobs_running": 214,
        "jobs_waiting": 37,
    }
    full = {
        "nodes": 40,
        "idle_nodes": 0,
        "down_nodes": 0,
        "cpus": 640,
        "idle_cpus": 0,
        "memory": 2560 * gib,
        "idle_memory": 40 * gib,
        "jobs_running": 160,
        "jobs_waiting": 1204,
    }
    for name, preferred, status in (
        ("lemaitre3", ["mpi"], load),
        ("nic5", ["mpi", "smp"], full),
        ("hercules", ["serial", "smp"], None),
    ):
        document = {
            "name": name,
            "hostname": f"{name}.example.org",
            "port": 22,
            "workload_manager": "slurm",
            "preferred_jobs": preferred,
            "partition": "batch",
        }
        clusters.put(services, ADMIN, name, document)
        if status:
            services.store.put_status("", name, status, history.now())


def _finished(services: Services) -> None:
    job = submit(services, 0xA1, name="turbulence sweep 12", tags={"project": "alpha", "run": "12"})
    story = Story(services, job)
    story.tell(
        "cluster",
        message="nic5 does not answer; lemaitre3 shares mpi.",
        data={"chosen": "lemaitre3", "rejected": [{"name": "nic5", "reason": "no answer within 3 s"}]},
    )
    story.tell(
        "module",
        data={
            "stage": "staging",
            "index": 1,
            "module": "estimate.py",
            "exit_status": 0,
            "duration": 0.42,
            "changed": {"resources.duration": {"from": "1h", "to": "2h"}},
            "stderr": "estimated 4 GiB\n",
        },
    )
    story.states("STAGING_INPUTS")
    story.tell(
        "command",
        data={
            "stage": "compilation",
            "command": "gcc -O2 -o job job.c",
            "exit_status": 0,
            "duration": 1.9,
            "output": "job.c: In function 'main':\nwarning: unused variable",
        },
    )
    story.states("SUBMITTING").tell("native", set={"native_id": "67873032"}).states("QUEUED")
    story.tell("state", 6, state="RUNNING").tell(
        "native", 0.1, set={"job_status": {"State": ["RUNNING"], "NodeList": ["lm3-w080"]}}
    )
    story.tell("state", 12, state="POSTPROCESSING")
    story.tell(
        "module",
        data={"stage": "postprocessing", "index": 1, "module": "check_output.sh", "exit_status": 0, "duration": 0.03},
    )
    story.tell("state", 0.2, state="FINISHED", condition="ok", exit_code=0)


def _failed(services: Services) -> None:
    callback = "https://hooks.example/" + "a-long-path/" * 12 + "?token=geheim"
    job = submit(services, 0xB2, name="mesh refinement", resources={"nbr_jobs_in_array": 4}, callback=callback)
    story = Story(services, job, 300).states("SUBMITTING", "QUEUED", "RUNNING")
    story.tell(
        "error",
        message="Element 2 ended with exit code 3.",
        data={"stderr": 'Traceback (most recent call last):\n  File "mesh.py", line 12\nMemoryError\n'},
    )
    status = {
        "State": ["COMPLETED", "COMPLETED", "FAILED", "COMPLETED"],
        "JobID": [f"67873040_{n}" for n in range(4)],
        "ExitCode": ["0:0", "0:0", "3:0", "0:0"],
        "Elapsed": ["00:08:20"] * 4,
        "NodeList": ["lm3-w081"] * 4,
    }
    story.tell(
        "state",
        state="FAILED",
        condition="exit_code",
        exit_code=3,
        message="1 of 4 elements failed: element 2 ended with exit code 3.",
        set={"job_status": status},
        data={"stderr": "MemoryError\n"},
    )
    story.tell("state", state="RUNNING")


def _others(services: Services) -> None:
    Story(services, submit(services, 0xC3, name="protein folding"), 8).states("SUBMITTING", "QUEUED", "RUNNING")
    Story(services, submit(services, 0xD4), 3).states("SUBMITTING", "QUEUED")
    blocked = Story(services, submit(services, 0xE5, name="nightly build"), 90)
    blocked.tell(
        "state",
        state="BLOCKED",
        condition="unreachable",
        message="lemaitre3 refuses connections.",
        set={
            "plan": {
                "waits_for": "lemaitre3 to answer",
                "next": "2026-11-21T11:00:00Z",
                "until": "2026-11-24T11:00:00Z",
                "tries": 4,
            }
        },
    )
    Story(services, submit(services, 0xF6, name="old run"), 2000).tell(
        "state", state="CANCELLED", condition="cancelled_by_user"
    )
    Story(services, submit(services, 0x17, name=HOSTILE, tags={"note": "a"}), 50).tell(
        "error", message=HOSTILE, data={"stderr": HOSTILE}
    )
    submit(services, 0x28, BOB, name="of bob")


def _mails(services: Services) -> None:
    store = services.store
    _callbacks(store)
    rows = store.outbox_rows(kind="mail")
    fates = [{"state": "sent", "settled": history.now(), "attempts": 1}] * (len(rows) - 2)
    fates += [
        {"state": "undeliverable", "error": "the mail server refused the address: 550 no such user", "attempts": 1}
    ]
    for row, fate in zip(rows, fates, strict=False):
        store.outbox_lease([row["id"]], "seed", 0.0, 1.0)
        store.outbox_settle([row["id"]], "seed", fate)
    last = rows[-1]
    store.outbox_lease([last["id"]], "seed", 0.0, 1.0)
    store.outbox_settle(
        [last["id"]],
        "seed",
        {"attempts": 3, "next": 4e9, "error": "the mail server refused the address: 450 greylisted"},
    )


def _callbacks(store: JobStore) -> None:
    """One that arrived, one that never did, one that is tried again."""
    attempt = {"time": history.now(), "status": 200, "ms": 12, "error": "", "answer": ""}
    bad = {**attempt, "status": 503, "error": "the receiver answered 503", "answer": HOSTILE}
    fates = (
        {"state": "sent", "settled": history.now(), "attempts": 2, "log": [bad, attempt]},
        {"state": "undeliverable", "settled": history.now(), "attempts": 9, "log": [bad] * 9, "error": bad["error"]},
        {"attempts": 1, "next": 4e9, "log": [bad], "error": bad["error"]},
    )
    for row, fate in zip(store.outbox_rows(kind="webhook"), fates, strict=True):
        store.outbox_lease([row["id"]], "seed", 0.0, 1.0)
        store.outbox_settle([row["id"]], "seed", fate)


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass


class Site:
    """`with Site(app) as site:` serves it on loopback; `site.url`."""

    def __init__(self, app: Any) -> None:
        self._server: BaseWSGIServer = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "Site":  # noqa: PYI034 - typing.Self is newer than 3.10
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(30)
        self._server.server_close()
