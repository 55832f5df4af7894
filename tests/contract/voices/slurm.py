import re

from helpers.voices import Voice, captured
from project.core.schedulers import base, slurm_text

UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


def row(word: str) -> str:
    fields = {"JobID": "9", "State": word, "JobName": "x", "UID": "1000"}
    names = [field.partition("%")[0] for field in slurm_text.HISTORY_FIELDS]
    return base.SEPARATOR.join([*(fields.get(name, "") for name in names), "\n"])


def reads(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    time = re.search(r"--time=(?:(\d+)-)?(\d+):(\d\d):(\d\d)$", text, re.MULTILINE)
    if time:
        days, hours, minutes, seconds = (int(part or 0) for part in time.groups())
        found["seconds"] = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    for name, option in (("memory_per_cpu", "mem-per-cpu"), ("memory_per_node", "mem")):
        memory = re.search(rf"--{option}=(\d+)([KMG])$", text, re.MULTILINE)
        if memory:
            found[name] = int(memory.group(1)) * UNITS[memory.group(2)]
    return found


VOICE = Voice(
    accepted="12345\n",
    native_id="12345",
    rejected=(1, "", "sbatch: error: Batch job submission failed: Invalid partition name specified"),
    away=(1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"),
    queue=captured("slurm", "queue-young", "queue-mid"),
    history=[captured("slurm", "history-mid"), captured("slurm", "history-end")],
    found=captured("slurm", "find-queue"),
    found_ids=["12"],
    unknown=base.SEPARATOR.join(["9", "ODD", *[""] * 9, ""]),
    done=(0, "", ""),
    gone=(1, "", "scancel: error: Kill job error on job id 5: Invalid job id specified"),
    facts=[captured("slurm", "nodes"), captured("slurm", "jobs")],
    row=row,
    reads=reads,
)
