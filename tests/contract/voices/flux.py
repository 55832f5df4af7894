"""Rows in our own format, with the values that flux-jobs(1) documents (tests/captures/flux/SOURCES.md)."""

import re

from helpers.voices import Voice, captured
from project.core.schedulers import base

ENDED = ("COMPLETED", "FAILED", "CANCELED", "TIMEOUT")


def job(native_id: str, word: str, code: str = "", urgency: str = "16", kind: str = "", note: str = "") -> str:
    state, result = ("INACTIVE", word) if word in ENDED else (word, "")
    fields = [native_id, state, result, code, urgency, "1", "1", "node1", "1.5", kind, "x", note]
    return "".join(field + base.SEPARATOR for field in fields) + "\n"


def row(word: str) -> str:
    return job("f2SLdmS4F", word, "0" if word == "COMPLETED" else "")


def reads(text: str) -> dict[str, int]:
    found = re.search(r"--time-limit=(\d+)s$", text, re.MULTILINE)
    return {"seconds": int(found.group(1))} if found else {}


HISTORY = (
    job("f2RYByw1h", "COMPLETED", "0")
    + job("f2SLdmS4F", "FAILED", "3")
    + job("f2SLfFRLb", "FAILED", "-9")
    + job("f2TRHV5mR", "CANCELED", "-128", kind="cancel")
    + job("f2TRHV5mS", "TIMEOUT", "142", kind="timeout", note="resource allocation expired")
    + job("f2TRHV5mT", "FAILED", "137", kind="node-failure", note="lost contact with job shell on node2")
)
VOICE = Voice(
    accepted="ƒM7Zq9AKHno\n",
    native_id="fM7Zq9AKHno",
    rejected=(1, "", "flux-batch: ERROR: [Errno 22] Invalid queue specified: nope"),
    words="Invalid queue specified: nope",
    away=(
        1,
        "",
        "flux-jobs: ERROR: Unable to connect to Flux: broker socket /run/flux/local was not found",
    ),
    queue=job("ƒ112345", "SCHED") + job("f112346", "SCHED", urgency="0") + job("f112347", "RUN") + HISTORY,
    history=[HISTORY],
    found="f112345" + base.SEPARATOR + "\nf112346" + base.SEPARATOR + "\n",
    found_ids=["f112345", "f112346"],
    unknown=job("f112345", "ODD"),
    done=(0, "", ""),
    gone=(1, "", "flux-cancel: ERROR: f112345: job is inactive"),
    facts=["free 3 12\nallocated 1 4\ndown 0 0\n", captured("flux", "stats")],
    counts=frozenset(("nodes", "idle_nodes", "down_nodes", "cpus", "idle_cpus", "jobs_running", "jobs_waiting")),
    ends=frozenset(("ok", "exit_code", "timeout", "cancelled_by_scheduler", "node_failure")),
    row=row,
    reads=reads,
)
