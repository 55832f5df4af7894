"""The outbox in MongoDB (the port: `api_srv.notify.port`). A row is a document of its own; its id is `_id`."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any

from api_srv.store.base import JobStore, Row
from api_srv.store.mongo_base import Connection, translated

_CHUNK = 1000


class MongoOutbox(JobStore):
    """The part of the store that keeps mails and callbacks."""

    connection: Connection

    @abc.abstractmethod
    def recover(self) -> None:
        """Move what a process that died left inside job documents to where it belongs."""

    def outbox_heads(self, now: float, limit: int, kind: str = "mail", after: int = 0) -> list[Row]:
        with translated():
            self.recover()
            outbox = self.connection.database.outbox
            firsts = outbox.aggregate(
                [
                    {"$match": {"state": "waiting", "kind": kind}},
                    {"$group": {"_id": "$job_uuid", "order": {"$min": "$order"}}},
                ]
            )
            orders = sorted(first["order"] for first in firsts if first["order"] > after)
            heads: list[Row] = []
            for start in range(0, len(orders), _CHUNK):
                due = {
                    "order": {"$in": orders[start : start + _CHUNK]},
                    "state": "waiting",
                    "next": {"$lte": now},
                    "lease_until": {"$lte": now},
                }
                heads += [_row(one) for one in outbox.find(due).sort("order", 1).limit(limit - len(heads))]
                if len(heads) >= limit:
                    break
            return heads

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
        wanted = {"job_uuid": job_uuid, "owner": owner, "to": to, "topic": topic, "state": state, "kind": kind}
        given = {key: value for key, value in wanted.items() if value}
        with translated():
            found = self.connection.database.outbox.find(given).sort("order", -1 if newest else 1).limit(limit)
            return [_row(one) for one in found]

    def outbox_lease(self, ids: Sequence[str], holder: str, now: float, until: float) -> list[str]:
        taken: list[str] = []
        free = [{"lease_until": {"$lte": now}}, {"lease_by": holder}]
        lease = {"lease_by": holder, "lease_until": until}
        with translated():
            outbox = self.connection.database.outbox
            for start in range(0, len(ids), _CHUNK):
                part = {"_id": {"$in": list(ids[start : start + _CHUNK])}, "state": "waiting"}
                # Compare-and-set in each row by itself; what carries the new lease afterwards is ours.
                outbox.update_many({**part, "$or": free}, {"$set": lease})
                ours = outbox.find({**part, **lease}, {"order": 1}).sort("order", 1)
                taken += [str(one["_id"]) for one in ours]
        return taken

    def outbox_settle(self, ids: Sequence[str], holder: str, fields: Mapping[str, Any]) -> int:
        settled = 0
        change = {"$set": {**fields, "lease_by": "", "lease_until": 0.0}}
        with translated():
            for start in range(0, len(ids), _CHUNK):
                held = {"_id": {"$in": list(ids[start : start + _CHUNK])}, "lease_by": holder}
                settled += self.connection.database.outbox.update_many(held, change).matched_count
        return settled

    def outbox_release(self, holder: str) -> int:
        with translated():
            change = {"$set": {"lease_by": "", "lease_until": 0.0}}
            return int(self.connection.database.outbox.update_many({"lease_by": holder}, change).matched_count)

    def outbox_again(self, row_id: str, fields: Mapping[str, Any]) -> bool:
        change = {"$set": {**fields, "state": "waiting", "lease_by": "", "lease_until": 0.0}}
        with translated():
            done = {"_id": row_id, "state": {"$ne": "waiting"}}
            return bool(self.connection.database.outbox.update_one(done, change).matched_count)

    def outbox_counts(self, kind: str = "") -> dict[str, int]:
        wanted = {"kind": kind} if kind else {}
        with translated():
            groups = [{"$match": wanted}, {"$group": {"_id": "$state", "count": {"$sum": 1}}}]
            counted = self.connection.database.outbox.aggregate(groups)
            return {one["_id"]: one["count"] for one in counted}

    def outbox_prune(self, before: str) -> int:
        with translated():
            old = {"state": "sent", "settled": {"$lt": before}}
            return int(self.connection.database.outbox.delete_many(old).deleted_count)


def stored_row(row: Row, order: int) -> dict[str, Any]:
    """A row as MongoDB keeps it."""
    return {**{key: value for key, value in row.items() if key != "id"}, "_id": row["id"], "order": order}


def _row(found: dict[str, Any]) -> Row:
    return {"id": found["_id"], **{key: value for key, value in found.items() if key != "_id"}}
