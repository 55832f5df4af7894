"""The outbox's port in memory, straight from its description: what the worker's tests run on."""

import threading

from api_srv.notify.port import Row


class MemoryOutbox:
    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._lock = threading.Lock()

    def add(self, *rows: Row) -> None:
        with self._lock:
            known = {row["id"] for row in self.rows}
            for row in rows:
                if row["id"] not in known:
                    self.rows.append({**row, "order": len(self.rows) + 1})

    def outbox_heads(self, now: float, limit: int, kind: str = "mail", after: int = 0) -> list[Row]:
        with self._lock:
            first: dict[str, Row] = {}
            for row in self.rows:
                if row["state"] == "waiting" and row["kind"] == kind:
                    first.setdefault(row["job_uuid"], row)
            due = [dict(row) for row in first.values() if row["next"] <= now and row["lease_until"] <= now]
            return sorted((row for row in due if row["order"] > after), key=lambda row: int(row["order"]))[:limit]

    def outbox_rows(self, *, newest: bool = False, limit: int = 1000, **filters: str) -> list[Row]:
        with self._lock:
            wanted = {key: value for key, value in filters.items() if value}
            rows = [dict(row) for row in self.rows if all(row[key] == value for key, value in wanted.items())]
            return (rows[::-1] if newest else rows)[:limit]

    def outbox_lease(self, ids: list[str], holder: str, now: float, until: float) -> list[str]:
        with self._lock:
            ours, wanted = [], set(ids)
            for row in self.rows:
                free = row["lease_until"] <= now or row["lease_by"] == holder
                if row["id"] in wanted and row["state"] == "waiting" and free:
                    row.update(lease_by=holder, lease_until=until)
                    ours.append(row["id"])
            return ours

    def outbox_settle(self, ids: list[str], holder: str, fields: Row) -> int:
        with self._lock:
            wanted = set(ids)
            mine = [row for row in self.rows if row["id"] in wanted and row["lease_by"] == holder]
            for row in mine:
                row.update({**fields, "lease_by": "", "lease_until": 0.0})
            return len(mine)

    def outbox_release(self, holder: str) -> int:
        with self._lock:
            mine = [row for row in self.rows if row["lease_by"] == holder]
            for row in mine:
                row.update(lease_by="", lease_until=0.0)
            return len(mine)
