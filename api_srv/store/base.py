"""`JobStore`: what the services need from a database. SQLite and MongoDB satisfy it; one contract suite holds both to it.

Every writing method is all or nothing and durable when it returns: what was acknowledged survives `kill -9`.
Documents go in and come out as plain JSON values; the store keeps no reference to what it was given.

The rows of the outbox and the five `outbox_…` methods are those of `api_srv.notify.port`.
"""

import abc
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

Document = dict[str, Any]
Event = dict[str, Any]
Row = dict[str, Any]

# The version of what is stored; a store that finds an older one migrates it when it is opened.
SCHEMA_VERSION = 1
# The largest job document as JSON; with its pending events it must fit MongoDB's 16 MiB.
MAX_DOCUMENT_BYTES = 8 * 1024 * 1024


class StoreError(Exception):
    """The database cannot be used: away, locked for too long, damaged, or written by a newer version."""


class DuplicateError(Exception):
    """A job with this UUID exists."""


class TooLargeError(Exception):
    """The database does not take a document of this size."""


class JobRecord(NamedTuple):
    """A job as stored. `version` grows with every change; `last_n` is the number of its last event."""

    document: Document
    version: int
    last_n: int
    server_seq: int
    token_hashes: tuple[str, ...]


class Change(NamedTuple):
    """What `decide` wants written: the new document, events to append, mails to send, a token to add."""

    document: Document
    events: Sequence[Event] = ()
    mails: Sequence[Row] = ()
    token_hash: str = ""


# Called with the job and those of the given event ids that are already in its history. Pure: it may be called
# several times. None: nothing is to be written.
Decide = Callable[[JobRecord, AbstractSet[str]], Change | None]


class Query(NamedTuple):
    """Which jobs. Empty fields do not restrict; `owner` None means everybody's.

    `labels` must all be there, `without` must not: `key=value` or a bare `key`. `before` is the (created, uuid) of the
    last job of the page before.
    """

    owner: str | None = None
    states: frozenset[str] = frozenset()
    cluster: str = ""
    name: str = ""
    labels: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    limit: int = 100
    before: tuple[str, str] | None = None


class ClusterRecord(NamedTuple):
    """A cluster of the inventory; `owner` "" means shared. `heard`: when its status came (ISO 8601), "" never."""

    owner: str
    document: Document
    status: Document
    heard: str


class JobStore(abc.ABC):
    """See the module's docstring. Every method may raise StoreError."""

    # Jobs

    @abc.abstractmethod
    def create(
        self, document: Document, token_hash: str, events: Sequence[Event] = (), mails: Sequence[Row] = ()
    ) -> None:
        """Record a new job, its first events and mails. Raises DuplicateError, TooLargeError."""

    @abc.abstractmethod
    def job(self, uuid: str) -> JobRecord | None:
        """The job of this full UUID."""

    @abc.abstractmethod
    def find(self, prefix: str, owner: str | None = None, limit: int = 3) -> list[str]:
        """UUIDs that begin with `prefix`, at most `limit`."""

    @abc.abstractmethod
    def jobs(self, query: Query) -> list[Document]:
        """Documents, newest first."""

    @abc.abstractmethod
    def change(self, uuid: str, ids: Sequence[str], decide: Decide) -> JobRecord | None:
        """Change a job by one compare-and-set: document, events and mails together or not at all.

        `decide` sees the job as it is and answers what to write. The answer is the job afterwards, None when there
        is no such job. An exception of `decide` writes nothing. Raises TooLargeError.
        """

    @abc.abstractmethod
    def events(self, uuid: str, after: int = 0, limit: int = 0) -> list[Event]:
        """The history in order of arrival; each event has its number `n` > `after`. `limit` 0: all."""

    @abc.abstractmethod
    def delete(self, uuid: str) -> bool:
        """Forget a job and its history; its mails stay until they are sent."""

    @abc.abstractmethod
    def counts(self) -> dict[str, int]:
        """Number of jobs by state."""

    # Outbox

    @abc.abstractmethod
    def outbox_heads(self, now: float, limit: int, kind: str = "mail", after: int = 0) -> list[Row]:
        """Of each job its first waiting row of this kind, where that is due, not leased and above the order `after`; lowest first."""

    @abc.abstractmethod
    def outbox_rows(
        self,
        *,
        job_uuid: str = "",
        owner: str = "",
        to: str = "",
        topic: str = "",
        state: str = "",
        kind: str = "",
        newest: bool = False,
        limit: int = 1000,
    ) -> list[Row]:
        """Rows whose fields equal those that are given, lowest order first (`newest`: highest first)."""

    @abc.abstractmethod
    def outbox_lease(self, ids: Sequence[str], holder: str, now: float, until: float) -> list[str]:
        """Lease each waiting row that is not leased by another; the ids that are now the holder's."""

    @abc.abstractmethod
    def outbox_settle(self, ids: Sequence[str], holder: str, fields: Mapping[str, Any]) -> int:
        """Set `fields` on those rows that `holder` still has, and end their lease; how many."""

    @abc.abstractmethod
    def outbox_release(self, holder: str) -> int:
        """Give back every lease of the holder; how many."""

    @abc.abstractmethod
    def outbox_again(self, row_id: str, fields: Mapping[str, Any]) -> bool:
        """Set `fields` on a row that is no longer waiting, and let it wait again; False when there is no such row."""

    @abc.abstractmethod
    def outbox_counts(self, kind: str = "") -> dict[str, int]:
        """Number of rows (of this kind) by state."""

    @abc.abstractmethod
    def outbox_prune(self, before: str) -> int:
        """Drop rows that were sent before this time (ISO 8601); how many."""

    # Clusters

    @abc.abstractmethod
    def clusters(self, owners: Sequence[str]) -> list[ClusterRecord]:
        """The clusters of these owners ("" = the shared ones), by name."""

    @abc.abstractmethod
    def put_cluster(self, owner: str, document: Document) -> None:
        """Add or replace a cluster by its `name`; its status stays."""

    @abc.abstractmethod
    def put_status(self, owner: str, name: str, status: Document, heard: str) -> bool:
        """Replace a cluster's status; False when there is no such cluster."""

    @abc.abstractmethod
    def delete_cluster(self, owner: str, name: str) -> bool:
        """Take a cluster out; False when there is none."""

    # Accounts

    @abc.abstractmethod
    def account(self, name: str) -> Document | None:
        """{"name", "admin", "password_hash", "tokens": [hash…], "created"}."""

    @abc.abstractmethod
    def accounts(self) -> list[Document]:
        """All accounts by name."""

    @abc.abstractmethod
    def put_account(self, account: Document, new: bool, before: Document | None = None) -> bool:
        """Add (`new`; False when the name is taken) or replace (False when there is none).

        `before`: replace only what still has its password and tokens; False when somebody else changed them.
        """

    @abc.abstractmethod
    def delete_account(self, name: str) -> bool:
        """Remove; False when there is none."""

    # The whole

    @abc.abstractmethod
    def secret(self, name: str) -> bytes:
        """32 random bytes, made at the first call and the same for every process from then on."""

    @abc.abstractmethod
    def dump(self) -> Iterator[Document]:
        """Everything as records for `load`, while others go on writing; each job whole with its history."""

    @abc.abstractmethod
    def load(self, records: Iterable[Document]) -> dict[str, int]:
        """Put records of `dump` back; how many by kind. What is here and as new or newer stays as it is."""

    @abc.abstractmethod
    def ping(self) -> None:
        """Return when the database answers. Raises StoreError."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of connections."""


def encoded(document: Mapping[str, Any]) -> str:
    """The document as compact JSON. Raises TooLargeError."""
    text = json.dumps(document, separators=(",", ":"))
    if len(text) > MAX_DOCUMENT_BYTES:
        raise TooLargeError(f"The job's document has {len(text)} bytes; at most {MAX_DOCUMENT_BYTES} can be kept.")
    return text


def numbered(events: Sequence[Event], last_n: int) -> list[Event]:
    """The events with their numbers in the job's history."""
    return [{**event, "n": last_n + place} for place, event in enumerate(events, 1)]


def server_events(events: Sequence[Event]) -> int:
    """How many of the events are the server's own."""
    return sum(1 for event in events if event.get("source") == "server")


def labels(document: Mapping[str, Any]) -> list[str]:
    """What a selector can ask of a job: each tag as `key=value` and as a bare `key`."""
    found: list[str] = []
    tags = document.get("tags")
    if isinstance(tags, dict):
        for key, value in tags.items():
            found += [f"{key}={value}", str(key)]
    return sorted(set(found))
