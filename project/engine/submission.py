"""A submission, from the input to the job's native id.

In this order: everything that can be wrong here is looked at; the intent is recorded; staging modules run; a cluster is
chosen; one connection is made; the job goes over it in one stream. Nothing is sent before the API has acknowledged the record.
Once the agent has taken the job it goes on by itself, and a lost connection is no failure any more.
"""

import os
from dataclasses import dataclass, field
from typing import Any

from project.core import callbacks, history, jobspec, states
from project.core.errors import ClusterError, JobferryError
from project.core.modulesfile import Modules
from project.engine import bundle, credentials, ending, expressible, inventory, placement, probing, remembered, staging
from project.engine.context import Background, Context
from project.engine.journal import Journal
from project.engine.link import Link
from project.engine.unfinished import Mark
from project.spec.loader import Loaded
from project.transports.base import Login, Opened, Transport

Json = dict[str, Any]
Probes = dict[str, probing.Probe]


@dataclass(frozen=True)
class Request:
    """What is to be submitted. `fallback` is ask, auto or never; None: the input's, else by the terminal.

    `origin` is the UUID of the job of which this is to be another one. `first_run` is the number of its first run: psik's
    jobndx, which goes on when a job is started again.
    """

    loaded: Loaded
    modules: Modules | None = None
    fallback: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    modules_file: str = ""
    origin: str = ""
    first_run: int = 1

    def data(self) -> Json:
        """The input, with the tags of the call."""
        data = dict(self.loaded.data)
        if self.tags:
            data["tags"] = {**(data.get("tags") or {}), **self.tags}
        return data

    def policy(self, interactive: bool) -> str:
        """Whether a peer may take the place of a cluster that does not answer."""
        chosen = self.fallback or self.loaded.data.get("fallback")
        return str(chosen or (placement.ASK if interactive else placement.AUTO))


def submit(context: Context, request: Request) -> Json:
    """Submit a job; its document. The same call again goes on with a submission that was cut off.

    Raises UserError (nothing was sent), ClusterError, ApiError.
    """
    from project.engine import again

    return again.submit(context, request)


class Submission:
    """One run. `sent` becomes True when the cluster may have the job, `taken` when it has it for certain."""

    def __init__(self, context: Context, request: Request, uuid: str, last_seq: int = 0) -> None:
        self.context = context
        self.ui = context.asks
        self.request = request
        self.uuid = uuid
        self.data = request.data()
        self.folder = request.loaded.folder
        self.modules = request.modules or Modules()
        self.policy = request.policy(self.ui.interactive)
        self.journal = Journal(context.api, uuid, last_seq)
        self.sent = self.taken = False
        self.recorded = self.over = False
        self.cluster: Json = {}
        self.wanted: Json = {}
        self.candidates: list[str] = []
        self.mark: Mark | None = None
        # Of a submission that goes on: its plan so far.
        self.again = last_seq > 0
        self.plan: Json | None = None

    def run(self) -> Json:
        """All of it."""
        # The one key whose value the API looks at itself.
        with self.request.loaded.blame("callback"):
            return self._run()

    def _run(self) -> Json:
        clusters, wanted = self.look()
        login = credentials.from_input(self.context, self.data, self.folder)
        probes = self.probe(clusters, wanted, login)
        if not inventory.is_here(wanted):
            login = credentials.unlock(login, self.ui)
        files = self.collect()
        self.record(wanted, login)
        try:
            self.stage()
            if self.data["destination_cluster"] != wanted["name"]:
                wanted = inventory.find(self.data["destination_cluster"], clusters)
                probes = self.probe(clusters, wanted, login)
            if self.modules.staging:
                expressible.check(self.request.loaded, jobspec.parse(self.data), wanted, self.data)
                # The modules may have made or changed the very files that are sent.
                files = self.collect()
            self.place(clusters, wanted, probes.result(), login, files)
        except KeyboardInterrupt:
            ending.stopped(self)
            raise
        except JobferryError as error:
            ending.failed(self, error)
            raise
        except OSError as error:
            raise ending.no_way_here(self, error) from error
        return self.document()

    # What can be wrong here.

    def look(self) -> tuple[list[Json], Json]:
        """The inventory, and the cluster that the input names. Raises UserError, ApiError."""
        spec = jobspec.parse(self.data)
        clusters = inventory.clusters(self.context.api)
        with self.request.loaded.blame("destination_cluster", "There is no cluster"):
            wanted = inventory.find(self.data["destination_cluster"], clusters)
        self.data["destination_cluster"] = wanted["name"]
        if not self.modules.staging:
            # Else they may still change what the job needs.
            expressible.check(self.request.loaded, spec, wanted)
        return clusters, wanted

    def probe(self, clusters: list[Json], wanted: Json, login: Login) -> "Background[Probes]":
        """Start probing the candidates."""
        self.wanted = wanted
        among = placement.candidates(wanted, clusters, self.policy)
        self.candidates = [str(cluster["name"]) for cluster in among]
        targets = [
            self.stands(target, cluster, login) for target, cluster in zip(probing.targets(among), among, strict=True)
        ]
        return Background(lambda: probing.probe_targets(targets, keep=str(wanted["name"])))

    def stands(self, target: probing.Target, cluster: Json, login: Login) -> probing.Target:
        """The target; a cluster with which an earlier call left a connection needs no knocking."""
        own = login if cluster is self.wanted else self.peer_login(login, cluster)
        if target.known is None and self.context.standing(cluster, own) is not None:
            return target._replace(known=probing.Probe(True, "connected already"))
        return target

    def collect(self) -> bundle.Bundle:
        """What will be sent. Raises UserError."""
        there = {stage: self.modules.stage(stage) for stage in bundle.STAGES_THERE}
        with self.request.loaded.blame("job"):
            return bundle.collect(self.data.get("job", ""), self.folder, there)

    # The record.

    def record(self, wanted: Json, login: Login) -> None:
        """Record the intent; what is remembered here holds no secret."""
        online = jobspec.job_kind(self.data.get("job", "")) != jobspec.LOCAL
        document = history.new_document(
            self.uuid,
            jobspec.public(self.data),
            destination_cluster=wanted,
            modules=self.modules.public() or None,
            online_job_file=online,
            run=self.request.first_run if self.request.first_run > 1 else 0,
            **self.callback(),
        )
        # First what may fail here (a full disk): a record of a job that cannot be gone on with helps nobody.
        remembered.save(
            self.context.home,
            self.uuid,
            cluster=wanted["name"],
            username=login.username,
            private_key=login.private_key,
            input=os.path.abspath(self.request.loaded.file) if self.request.loaded.file else "",
            folder=os.path.abspath(self.folder),
            policy=self.policy,
            accept_new_host_key=self.context.accept_new_host_key,
            modules_file=self.request.modules_file,
        )
        self.recorded = True
        self.journal.create(document)

    def callback(self) -> Json:
        """What the API alone gets: the callback, or whose callback a job that is submitted again takes over."""
        given = {key: self.data[key] for key in callbacks.KEYS if key in self.data}
        return given if "callback" in given or not self.request.origin else {"callback_of": self.request.origin}

    def stage(self) -> None:
        """Run the staging modules."""
        if not self.modules.staging:
            return
        self.journal.flush()
        changed = staging.run(self.modules.staging, self.data, self.journal, self.ui)
        if changed != self.data:
            self.data = changed
            jobspec.parse(changed)
            self.journal.add("input", set={"user_input": jobspec.public(changed)})

    # The cluster.

    def place(
        self,
        clusters: list[Json],
        wanted: Json,
        probes: Probes,
        login: Login,
        files: bundle.Bundle,
    ) -> None:
        """Choose a cluster and give it the job; a peer follows one that certainly did not get it."""
        spec = jobspec.parse(self.data)
        while True:
            found, asked = self.choose(placement.choose(wanted, clusters, probes, self.policy, spec))
            if found.chosen is None:
                self.journal.add("cluster", message=found.reason, data=found.facts(asked))
                remembered.save(self.context.home, self.uuid, cluster=wanted["name"], username=login.username)
                raise unreachable(found)
            self.cluster = found.chosen
            message = found.announcement(wanted)
            if found.rejected:
                self.ui.warn(message)
            chosen = {"cluster": self.cluster["name"], "destination_cluster": self.cluster}
            # That it is the wanted one stands in the record already.
            known = self.cluster is wanted and not found.rejected and not self.modules.staging and not self.again
            self.journal.add("cluster", later=known, message=message, data=found.facts(asked), set=chosen)
            try:
                own = login
                if self.cluster is not wanted:
                    own = self.peer_login(login, self.cluster)
                    # Later verbs reach the job where it is, not where it was wanted.
                    name, user = self.cluster["name"], own.username
                    remembered.save(self.context.home, self.uuid, cluster=name, username=user)
                self.send(own, probes[str(self.cluster["name"])].opened, files)
                return
            except ClusterError as error:
                name = str(self.cluster["name"])
                if self.sent or not error.transient:
                    raise
                if self.policy == placement.NEVER:
                    nobody = placement.Placement(
                        None, [], [placement.Rejected(name, error.message)], "it was never sent"
                    )
                    self.journal.add("cluster", message=nobody.reason, data=nobody.facts())
                    raise
                # It was never asked to take the job, so another one may be.
                probes = {**probes, name: probing.Probe(False, error.message)}

    def choose(self, found: placement.Placement) -> tuple[placement.Placement, bool]:
        """Ask where there is something to ask."""
        if found.chosen is not None or not found.peers:
            return found, False
        why = "; ".join(f"{rejected.name}: {rejected.reason}" for rejected in found.rejected)
        options = {f"{peer.cluster['name']} ({peer.reason})": peer for peer in found.peers}
        answer = self.ui.choose(f"{why}. Submit to another cluster?", list(options)) if self.ui.interactive else None
        if answer is None:
            return found._replace(reason="no other cluster was chosen"), True
        return placement.take(found, options[answer]), True

    def peer_login(self, login: Login, cluster: Json) -> Login:
        """The same person on another cluster; its own user name wins over the input's."""
        return login._replace(username=self.context.username or str(cluster.get("username") or login.username))

    def connect(self, login: Login, opened: Opened | None) -> Transport:
        """Connect while the record travels."""
        name = self.cluster["name"]
        with self.ui.step(f"Connecting to {name}"):
            return self.context.connect(self.cluster, login, opened)

    def send(self, login: Login, opened: Opened | None, files: bundle.Bundle) -> None:
        """Start the agent, or go on with the one that an earlier call started, and give it the job."""
        link = self.context.standing(self.cluster, login)
        transport = self.connect(login, opened) if link is None else None
        try:
            # The intent is on record before anything is sent.
            self.journal.flush()
            if self.journal.cancelled:
                raise ending.Cancelled
        except JobferryError:
            if transport is not None:
                transport.close()
            raise
        if transport is not None:
            link = self.context.start(self.cluster, transport, login)
        assert link is not None
        for warning in files.warnings:
            self.ui.warn(warning)
        self.hand_over(link, files)

    def hand_over(self, link: Link, files: bundle.Bundle, upload: bool = True) -> None:
        """The op `submit`, and what comes of it."""
        upload = upload and bool(files.entries)
        listen = _Listener(self, files.total)
        self.sent = True
        try:
            with self.ui.step(f"Submitting to {self.cluster['name']}"):
                result = link.request(
                    "submit",
                    sending=listen.counted(files.stream()) if upload else None,
                    on_message=listen.hear,
                    **self.fields(files.source, upload),
                )
        except ClusterError as error:
            if not self.taken or not error.transient:
                self.collect_events(link)
                raise
            self.ui.warn(f"{error.message} The cluster has the job and goes on by itself.")
            self.journal.relay([])
            self.journal.settle()
            return
        except JobferryError:
            self.collect_events(link)
            raise
        self.settle(result)
        if self.journal.cancelled:
            # The wish came while the job was on its way.
            link.request("cancel", workdir=str(self.cluster.get("workdir") or ""), uuids=[self.uuid])
            self.collect_events(link)
            self.journal.settle()

    def settle(self, result: Json) -> None:
        """Pass on what the agent says. Raises ClusterError when it could not submit the job."""
        self.taken = True
        self.journal.relay(list(result.get("events") or []), result.get("status") or None)
        problem = self.journal.settle()
        if problem is not None:
            self.ui.warn(f"The job is submitted, but {problem.message[:1].lower()}{problem.message[1:]}")
        url, seq = self.journal.created.get("report_url"), result.get("last_seq")
        fields = {"agent_seq": seq} if isinstance(seq, int) and problem is None else {}
        remembered.save(self.context.home, self.uuid, pushes=bool(url), **fields)
        if result.get("state") == states.FAILED:
            condition = str(result.get("condition") or "internal_error")
            hint = f"More about it: `why {self.uuid[:8]}`."
            raise ClusterError(str(result.get("message") or "The job failed."), hint, condition=condition)

    def fields(self, source: Json, upload: bool) -> Json:
        """The request's fields. No secret is among them but the job's own token."""
        url, token = self.journal.created.get("report_url"), self.journal.created.get("token")
        return {
            "workdir": str(self.cluster.get("workdir") or ""),
            "uuid": self.uuid,
            "spec": jobspec.public(self.data),
            "cluster": {key: value for key, value in self.cluster.items() if key != "status"},
            "modules": {key: value for key, value in self.modules.public().items() if key in bundle.STAGES_THERE},
            "source": source,
            "upload": upload,
            "report": {"url": url, "token": token} if url and token else None,
            "tags": dict(self.data.get("tags") or {}),
            "first_run": self.request.first_run,
        }

    # The ends.

    def collect_events(self, link: Link) -> None:
        """What the agent wrote down before it gave up."""
        try:
            answer = link.request("sync", workdir=str(self.cluster.get("workdir") or ""), jobs={self.uuid: 0})
        except JobferryError:
            # The connection is what failed; the events are fetched when somebody asks for the job.
            return
        self.journal.relay(list((answer.get("jobs") or {}).get(self.uuid, {}).get("events") or []))

    def document(self) -> Json:
        """The job as the API knows it now."""
        return self.context.api.job(self.uuid)


class _Listener:
    """What the agent says while it works."""

    def __init__(self, submission: Submission, total: int) -> None:
        self._submission = submission
        self._total = total
        self._done = 0

    def counted(self, stream: Any) -> Any:
        """The stream, its progress shown."""
        for piece in stream:
            yield piece
            self._done += len(piece)
            self._submission.ui.progress(min(self._done, self._total), self._total)

    def hear(self, header: Json, _payload: bytes) -> None:
        kind = header.get("type")
        if kind == "taken":
            self._submission.taken = True
        elif kind == "progress":
            for line in str(header.get("text", "")).splitlines():
                self._submission.ui.say(line)


def unreachable(found: placement.Placement) -> ClusterError:
    """Nothing took the job."""
    why = "; ".join(f"{rejected.name}: {rejected.reason}" for rejected in found.rejected)
    return ClusterError(f"No cluster takes the job ({why}); {found.reason}.", transient=True)
