import json
import re
from typing import Any

from helpers.voices import Voice


def row(state: str, number: int = 9, index: int | None = None, **fields: Any) -> str:
    return json.dumps({"id": str(number), "index": index, "state": state, "uid": 1000, **fields}) + "\n"


def reads(text: str) -> dict[str, int]:
    pairs = dict(re.findall(r"^#JOBFERRY --([a-z-]+)=(\d+)$", text, re.MULTILINE))
    keys = {"seconds": "time", "memory_per_cpu": "memory", "memory_per_node": "memory"}
    return {name: int(pairs[key]) for name, key in keys.items() if key in pairs}


ENDED = (
    row("COMPLETED", 1, exit_code=0, elapsed=5, cpus=2, name="x", workdir="/w", node="here")
    + row("FAILED", 2, 0, exit_code=3)
    + row("FAILED", 2, 1, signal=9)
    + row("TIMEOUT", 3, signal=15)
    + row("CANCELLED", 4, cancelled_by=1000)
    + row("CANCELLED", 5, cancelled_by=0)
    + row("NODE_FAIL", 6)
    + row("OUT_OF_MEMORY", 7, signal=15)
)
FACTS = {"cpus": 8, "idle_cpus": 2, "memory": 2**34, "idle_memory": 2**33, "jobs_running": 1, "jobs_waiting": 0}
VOICE = Voice(
    accepted='{"id": "17"}\n',
    native_id="17",
    rejected=(1, "", "array=0-x is not 0-N"),
    away=(75, "", "Permission denied: /home/x"),
    queue=row("PENDING", 10) + row("HELD", 8) + row("RUNNING", 9, 0) + row("PENDING", 9, None, span="1-4") + ENDED,
    history=[ENDED],
    found=row("RUNNING", 9, 0) + row("PENDING", 9, 1) + row("FAILED", 12),
    found_ids=["9", "12"],
    unknown=row("ODD", 9),
    done=(0, '{"done": true}', ""),
    gone=(0, '{"done": false, "reason": "it is over"}', ""),
    facts=[json.dumps(FACTS)],
    row=row,
    reads=reads,
    samples={"nodes": ({}, 1)},
)
