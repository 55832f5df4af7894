"""Every path of a job's folder on the cluster comes from here."""

import os
from typing import Optional

# The contract's tree: <workdir>/<uuid>/{spec.json,status.csv,events.jsonl,scripts/job,work/,log/}.


class JobPaths:
    """Paths of one job. `workdir` is absolute; all results are absolute texts."""

    def __init__(self, workdir: str, uuid: str) -> None:
        self.workdir = workdir
        self.uuid = uuid
        self.folder = os.path.join(workdir, uuid)
        self.spec = self._in("spec.json")
        self.status_csv = self._in("status.csv")
        self.events = self._in("events.jsonl")
        self.scripts = self._in("scripts")
        self.script = self._in("scripts", "job")
        self.run = self._in("scripts", "run")
        self.script_submit = self._in("scripts", "submit")
        self.script_cancel = self._in("scripts", "cancel")
        self.work = self._in("work")
        self.log = self._in("log")
        self.modules = self._in("modules")
        self.facts = self._in("facts")
        self.state = self._in("state")
        self.record = self._in("state", "record.json")
        self.native = self._in("state", "native")
        self.intent = self._in("state", "intent")
        self.token = self._in("state", "token")
        self.lock = self._in("state", "lock")
        self.sent = self._in("state", "sent.json")
        self.cancel = self._in("state", "cancel")
        self.request = self._in("state", "request.json")
        self.busy = self._in("state", "busy")
        self.shell_state = self._in("state", "shell")
        self.incoming = self._in("incoming")

    def _in(self, *names: str) -> str:
        return os.path.join(self.folder, *names)

    def stdout(self, run: int, index: Optional[int] = None) -> str:
        """Standard output of run number `run` (from 1), of one array element if `index` is given."""
        return os.path.join(self.log, _numbered("stdout", run, index))

    def stderr(self, run: int, index: Optional[int] = None) -> str:
        """Standard error; as `stdout`."""
        return os.path.join(self.log, _numbered("stderr", run, index))

    def started(self, run: int, index: Optional[int] = None) -> str:
        """The fact "the batch script started"; holds the time and the node."""
        return os.path.join(self.facts, _numbered("started", run, index))

    def ended(self, run: int, index: Optional[int] = None) -> str:
        """The fact "the batch script ended"; holds the exit code and the time."""
        return os.path.join(self.facts, _numbered("ended", run, index))


class Root:
    """What jobferry keeps for one user on one cluster, besides the jobs. Default `$HOME/.jobferry`."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.agent_dir = os.path.join(root, "agent")
        self.jobs = os.path.join(root, "jobs")
        self.watch_lock = os.path.join(root, "watch.lock")
        self.watch_log = os.path.join(root, "watch.log")
        self.bell = os.path.join(root, "bell")
        self.looked = os.path.join(root, "looked")
        self.live = os.path.join(root, "live")
        self.local = os.path.join(root, "local")


def _numbered(word: str, run: int, index: Optional[int]) -> str:
    name = "{}.{}".format(word, run)
    return name if index is None else "{}.{}".format(name, index)
