"""PBS as the table has it: its dialect not known yet, so it is understood as PBS Pro. `tests/core/test_pbs.py` holds Torque."""

import re

from helpers.voices import Voice, captured


def job(native_id: str, **values: object) -> str:
    """One block of `qstat -f`, names with `__` for a dot."""
    lines = [f"Job Id: {native_id}.pbs01", "    Job_Name = x"]
    lines += [f"    {name.replace('__', '.')} = {value}" for name, value in values.items()]
    return "\n".join(lines) + "\n\n"


def over(native_id: str, status: int, substate: int, comment: str = "", **values: object) -> str:
    return job(native_id, job_state="F", substate=substate, comment=comment, Exit_status=status, **values)


def row(word: str) -> str:
    return over("9", 0, 92) if word == "F" else job("9", job_state=word, Exit_status=0)


def reads(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    time = re.search(r"walltime=(\d+):(\d\d):(\d\d)$", text, re.MULTILINE)
    if time:
        hours, minutes, seconds = (int(part) for part in time.groups())
        found["seconds"] = (hours * 60 + minutes) * 60 + seconds
    memory = re.search(r"select=1:ncpus=1:\S*mem=(\d+)kb", text)
    if memory:
        found.update(dict.fromkeys(("memory_per_cpu", "memory_per_node"), int(memory.group(1)) * 1024))
    return found


QUEUE = (
    job("11", job_state="Q", comment="Not Running: Insufficient amount of resource: ncpus ")
    + job("12", job_state="R", exec_host="k242/3")
    + job("13", job_state="H", Hold_Types="u")
    + job("14[]", job_state="B", array="True")
    + job("14[0]", job_state="R")
    + job("14[1]", job_state="X", Exit_status=0)
    + job("14[2]", job_state="Q")
)
RUN = "Job run at Thu Aug 10 at 16:10 on (k242:ncpus=1)"
HISTORY = (
    captured("pbs", "finished", "finished-katana")
    + over("21", 3, 93, RUN + " and failed")
    + over("22", -29, 93, RUN + " and exceeded resource walltime")
    + over("23", -27, 93, RUN + " and exceeded resource mem")
    + over("24", 271, 91, RUN + " and terminated")
    + over("25", -20, 93, RUN + " and failed")
)
VOICE = Voice(
    accepted="12345.pbs01\n",
    native_id="12345",
    rejected=(188, "", "qsub: Job violates queue and/or server resource limits"),
    words="Job violates queue and/or server resource limits",
    away=(
        255,
        "",
        "Connection refused\nqstat: cannot connect to server pbs01 (errno=15010)\n",
    ),
    queue=QUEUE,
    history=[HISTORY],
    found=job("31", job_state="Q", Variable_List="PBS_O_HOME=/home/x,JOBFERRY_BATCH_NAME=job.1,PBS_O_LANG=C")
    + job("32", job_state="Q", Variable_List="PBS_O_HOME=/home/x,JOBFERRY_BATCH_NAME=job.12")
    + job("33[]", job_state="Q", Variable_List="JOBFERRY_BATCH_NAME=job.1"),
    found_ids=["31", "33[]"],
    found_name="job.1",
    unknown=job("9", job_state="ODD"),
    done=(0, "", ""),
    gone=(153, "", "qdel: Unknown Job Id 5.pbs01\n"),
    facts=[captured("pbs", "nodes"), captured("pbs", "server")],
    row=row,
    reads=reads,
    # Who deleted a job is told to its owner by mail alone.
    ends=frozenset(("ok", "exit_code", "timeout", "out_of_memory", "cancelled_by_scheduler", "node_failure")),
    array_id="14[]",
    element="14[4]",
    samples={"licenses": ({}, ["matlab:2", "comsol"]), "memory_per_node": ({"nodes": 1}, 3 * 2**30)},
)
