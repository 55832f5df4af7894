"""Ads with the attributes of HTCondor's manual, as `condor_q -json` writes them (tests/captures/htcondor/SOURCES.md)."""

import json
import re
from typing import Any

from helpers.voices import Voice, captured
from project.core.schedulers import htcondor_text

NUMBERS = {word: number for number, word in htcondor_text.NUMBERS.items()}
BY_USER, TOO_LONG = captured("htcondor", "reasons").splitlines()


def ad(cluster: int, status: Any, proc: int = 0, **more: Any) -> dict[str, Any]:
    return {"ClusterId": cluster, "ProcId": proc, "JobStatus": status, "Owner": "tkadelka", "JobBatchName": "x", **more}


def answer(*ads: dict[str, Any]) -> str:
    return "[\n" + "\n,\n".join(json.dumps(one, indent=2) for one in ads) + "\n]\n"


def row(word: str) -> str:
    return answer(ad(9, NUMBERS[word], ExitCode=0, ExitBySignal=False))


def reads(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    seconds = re.search(r"time\(\) - EnteredCurrentStatus > (\d+)\)", text)
    if seconds:
        found["seconds"] = int(seconds.group(1))
    memory = re.search(r"^request_memory = (\d+)$", text, re.MULTILINE)
    if memory:
        found.update(dict.fromkeys(("memory_per_cpu", "memory_per_node"), int(memory.group(1)) * 2**20))
    return found


ENDED = (
    ad(21, 4, ExitCode=0, ExitBySignal=False, RemoteWallClockTime=12.0, LastRemoteHost="slot1@node1"),
    ad(22, 4, ExitCode=3, ExitBySignal=False),
    ad(23, 4, ExitBySignal=True, ExitSignal=9),
    ad(24, 3, RemoveReason=BY_USER),
    ad(25, 3, RemoveReason="via condor_rm (by user root)"),
    ad(26, 3, RemoveReason=TOO_LONG),
    ad(27, 3, RemoveReason=TOO_LONG, HoldReasonCode=34),
    ad(28, 4, 1, ExitCode=0, JobferryIndex=5),
)
SLOTS = (
    {"Machine": "node1", "State": "Unclaimed", "Cpus": 6, "Memory": 12000},
    {"Machine": "node1", "State": "Claimed", "Cpus": 2, "Memory": 4000},
    {"Machine": "node2", "State": "Unclaimed", "Cpus": 8, "Memory": 16000},
)
VOICE = Voice(
    accepted="1351043.0 - 1351043.3\n",
    native_id="1351043",
    rejected=(1, "", "ERROR: Failed to parse command file (line 3)."),
    words="Failed to parse command file (line 3)",
    away=(1, "", captured("htcondor", "away")),
    queue=answer(ad(11, 1), ad(12, 2), ad(13, 5, HoldReason="via condor_hold (by user tkadelka)"), *ENDED),
    history=[answer(*ENDED)],
    found=answer({"ClusterId": 17}, {"ClusterId": 17}, {"ClusterId": 19}),
    found_ids=["17", "19"],
    unknown=answer(ad(9, "ODD")),
    done=(0, captured("htcondor", "removed"), ""),
    gone=(1, captured("htcondor", "not-removed"), ""),
    facts=[answer(*SLOTS), answer({"TotalRunningJobs": 3, "TotalIdleJobs": 40})],
    counts=frozenset(
        ("nodes", "idle_nodes", "cpus", "idle_cpus", "memory", "idle_memory", "jobs_running", "jobs_waiting")
    ),
    ends=frozenset(("ok", "exit_code", "timeout", "out_of_memory", "cancelled_by_user", "cancelled_by_scheduler")),
    row=row,
    reads=reads,
    array_id="17",
    element="ClusterId == 17 && JobferryIndex == 4",
    samples={"nodes": ({}, 1), "ranks_per_node": ({}, 2)},
)
