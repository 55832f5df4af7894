import re

from helpers.voices import Voice, captured


def row(native_id: str, stat: str, index: int = 0, code: str = "-", reason: str = "-", pend: str = "-") -> str:
    """A line of `bjobs -o`."""
    name = "x" if index == 0 else f"x[{index}]"
    return (
        "|".join([native_id, str(index), stat, code, reason, name, "normal", "1", "hostA", "5 second(s)", "-", pend])
        + "\n"
    )


def reads(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    time = re.search(r"-W (\d+):(\d\d)$", text, re.MULTILINE)
    if time:
        found["seconds"] = (int(time.group(1)) * 60 + int(time.group(2))) * 60
    memory = re.search(r"mem=(\d+)KB/(task|host)", text)
    if memory:
        name = "memory_per_cpu" if memory.group(2) == "task" else "memory_per_node"
        found[name] = int(memory.group(1)) * 1024
    return found


def block(native_id: str, *lines: str) -> str:
    """A job in `bhist -l`."""
    head = f"Job <{native_id}>, Job Name <x>, User <user1>, Project <default>, Command <#!/bin/sh>\n"
    sentences = ["Submitted from host <hostA>, to Queue <normal>, CWD <$HOME>;", "Starting (Pid 4711);", *lines]
    return head + "".join(f"Thu Nov  2 11:01:5{number}: {line}\n" for number, line in enumerate(sentences)) + "\n"


EXITED = "Exited with exit code {}. The CPU time used is 0.1 seconds;"
COMPLETED = "Completed <exit>; {};"
QUEUE = (
    row("11", "PEND", pend="Not enough job slot(s): 3 hosts; | more")
    + row("12", "RUN")
    + row("13", "PSUSP")
    + row("14", "RUN", 1)
    + row("14", "PEND", 2)
    + row("14", "EXIT", 3, "3")
    + row("15", "DONE")
)
HISTORY = (
    block("20", "Done successfully. The CPU time used is 0.1 seconds;")
    + block("21[2]", EXITED.format(3), COMPLETED.format("TERM_EXTERNAL_SIGNAL: job killed by a signal external to LSF"))
    + block("22", EXITED.format(140), COMPLETED.format("TERM_RUNLIMIT: job killed after reaching LSF run time limit"))
    + block("23", EXITED.format(130), COMPLETED.format("TERM_OWNER: job killed by owner"))
    + block("24", EXITED.format(130), COMPLETED.format("TERM_ADMIN: job killed by root or LSF administrator"))
    + block("25", EXITED.format(255), COMPLETED.format("TERM_ZOMBIE: Job exited while LSF is not available"))
    + "Job <26>, User <jharvard>, Command <x>\n"
    + captured("lsf", "bhist-memlimit")
)
VOICE = Voice(
    accepted="Job <12345> is submitted to queue <normal>.\n",
    native_id="12345",
    rejected=(255, "", "nosuch: No such queue. Job not submitted."),
    words="nosuch: No such queue. Job not submitted",
    away=(255, "", "LSF is down. Please wait ..."),
    queue=QUEUE,
    history=[HISTORY],
    found="31|job.1\n31|job.1[2]\n32|job.12\n33|job.1[1]\n",
    found_ids=["31", "33"],
    found_name="job.1",
    unknown=row("9", "ODD"),
    done=(0, "Job <17> is being terminated\n", ""),
    gone=(255, "", "Job <5>: No matching job found"),
    facts=[captured("lsf", "bhosts"), captured("lsf", "bqueues"), captured("lsf", "lshosts")],
    row=lambda word: row("9", word),
    reads=reads,
    # LSF tells no memory that is free without asking each host.
    counts=frozenset(("nodes", "idle_nodes", "down_nodes", "cpus", "idle_cpus", "jobs_running", "jobs_waiting")),
    element="12345[4]",
)
