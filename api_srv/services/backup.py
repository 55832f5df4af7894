"""Everything in one file, taken and put back while servers run; it fits either store.

The file is gzipped JSON, a record a line: first what it is, then the records of `JobStore.dump`, last how many there were.
Passwords are in it only as hashes, tokens too; sessions' keys are not.
"""

import gzip
import json
import os
import zlib
from collections.abc import Iterator

from api_srv.store.base import SCHEMA_VERSION, Document, JobStore
from project.core import history
from project.core.errors import UserError

FORMAT = "jobferry-backup"
KINDS = ("account", "cluster", "job", "mail")


def save(store: JobStore, path: str) -> dict[str, int]:
    """Write a backup, whole or not at all; how many records by kind. Raises OSError, StoreError."""
    counts: dict[str, int] = {}
    aside = f"{path}.{os.getpid()}.aside"
    try:
        # Streamed: a whole database does not fit `write_atomic`'s memory.
        with open(os.open(aside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as raw:
            with gzip.GzipFile(fileobj=raw, mode="wb", filename="") as stream:
                head = {"kind": "head", "format": FORMAT, "version": SCHEMA_VERSION, "made": history.now()}
                stream.write(_line(head))
                for record in store.dump():
                    stream.write(_line(record))
                    counts[record["kind"]] = counts.get(record["kind"], 0) + 1
                stream.write(_line({"kind": "end", "counts": counts}))
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(aside, path)
    finally:
        if os.path.exists(aside):
            os.unlink(aside)
    return counts


def restore(store: JobStore, path: str) -> dict[str, int]:
    """Put a backup back; how many records were written, by kind.

    A job that has gone further since stays as it is, an account too; nothing is removed. The file is read to its end
    before anything is written. Raises UserError for a file that is no whole backup, OSError, StoreError.
    """
    for _ in _records(path):
        pass
    return store.load(_records(path))


def _records(path: str) -> Iterator[Document]:
    ended = False
    try:
        with gzip.open(path, "rb") as stream:
            head = json.loads(stream.readline())
            if head.get("format") != FORMAT:
                raise _broken(path, "it is no backup")
            if head["version"] > SCHEMA_VERSION:
                raise _broken(path, f"it was made by a newer program (version {head['version']})")
            for line in stream:
                record = json.loads(line)
                if record["kind"] == "end":
                    ended = True
                elif record["kind"] in KINDS:
                    yield record
                else:
                    raise _broken(path, "it holds a record of an unknown kind")
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _broken(path, str(error) or "it is damaged") from error
    if not ended:
        raise _broken(path, "its end is missing")


def _broken(path: str, why: str) -> UserError:
    return UserError(f"{path} cannot be restored: {why}.", "Take another backup file. Nothing was changed.")


def _line(record: Document) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode("ascii") + b"\n"
