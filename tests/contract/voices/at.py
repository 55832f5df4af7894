import re

from helpers.voices import Voice, captured
from project.core.schedulers import base


def row(word: str) -> str:
    return "keeper 09 x\n" if word == "=" else f"job 9 {word} x\n"


def reads(text: str) -> dict[str, int]:
    found = re.search(r"^#JOBFERRY-AT seconds=(\d+)$", text, re.MULTILINE)
    return {"seconds": int(found.group(1))} if found else {}


VOICE = Voice(
    accepted=captured("at", "submitted"),
    native_id="7",
    rejected=(1, "", "You do not have permission to use at."),
    away=(1, "", "Cannot open lockfile /var/spool/cron/atjobs/.SEQ: No such file or directory"),
    queue=captured("at", "queue"),
    history=[],
    found="found 7\nfound 12\n",
    found_ids=["7", "12"],
    unknown="job 9 ODD x\n",
    done=(0, "cancelled\n", ""),
    gone=(0, "gone\n", ""),
    facts=[captured("at", "facts")],
    row=row,
    reads=reads,
    live=frozenset((base.WAITING, base.RUNNING)),
    samples={"nodes": ({}, 1), "ranks_per_node": ({}, 2), "queue": ({}, "c")},
)
