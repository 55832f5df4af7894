import re

from helpers.voices import ENDS, Voice, captured
from project.core.schedulers.sge_text import FINISHED, memory

QUEUE_ROW = """\
<?xml version='1.0'?>
<job_info  xmlns:xsd="http://arc.liv.ac.uk/repos/darcs/sge/source/dist/util/resources/schemas/qstat/qstat.xsd">
  <queue_info>
  </queue_info>
  <job_info>
    <job_list state="pending">
      <JB_job_number>9</JB_job_number>
      <JB_name>x</JB_name>
      <state>{}</state>
      <slots>1</slots>
    </job_list>
  </job_info>
</job_info>
"""
HISTORY_ROW = (
    "{}\njobname      x\njobnumber    9\ntaskid       undefined\nslots        1\nfailed       {}\nexit_status  {}\n"
)


def row(word: str) -> str:
    """Words of the accounting are ours for its codes `failed`."""
    match = re.fullmatch(r"failed (\d+)", word)
    if word != FINISHED and not match:
        return QUEUE_ROW.format(word)
    code = match.group(1) if match else "0"
    status = 137 if code in {"17", "37", "100"} else 0
    # The empty queue that follows is no part of the block.
    return HISTORY_ROW.format("=" * 62, code, status) + captured("sge", "queue-empty")


def reads(text: str) -> dict[str, int]:
    found = {}
    for name, value in re.findall(r"^#\$ -l (h_rt|h_vmem)=(\S+)$", text, re.MULTILINE):
        if name == "h_rt":
            found["seconds"] = int(value)
        else:
            # One slot: a slot's share is the node's.
            found.update(dict.fromkeys(("memory_per_cpu", "memory_per_node"), int(memory(value))))
    return found


NO = 'Unable to run job: Job was rejected because job requests unknown queue "nope"\nExiting.\n'
AWAY = (
    "error: commlib error: got select error (Connection refused)\n"
    'error: unable to send message to qmaster using port 25222 on host "sigma": got send error\n'
)
VOICE = Voice(
    accepted="16.1-3:2\n",
    native_id="16",
    rejected=(1, "", NO),
    words='Job was rejected because job requests unknown queue "nope"',
    away=(1, "", AWAY),
    queue=captured("sge", "queue"),
    history=[captured("sge", "history"), captured("sge", "univa")],
    # The accounting says neither whose qdel it was nor that a host was lost (but for a code that nobody has captured).
    ends=ENDS - {"cancelled_by_user", "node_failure"} | {"out_of_memory", "preempted"},
    found=captured("sge", "find-queue"),
    found_ids=["20"],
    found_name="ok.503d3f77-a21b-4e52-86c4-eec0f0cd9c11",
    unknown=QUEUE_ROW.format("ODD"),
    done=(0, "jdoe has registered the job 4 for deletion\n", ""),
    gone=(1, 'denied: job "999" does not exist\n', ""),
    facts=[captured("sge", "hosts"), captured("sge", "jobs")],
    row=row,
    reads=reads,
    empty=(captured("sge", "queue-empty"), "", captured("sge", "queue-empty")),
    array_id="16",
    element="4",
    cluster={"parallel_environment": {"grouped": "smp", "any": "mpi", "scattered": "spread"}},
    samples={"nodes": ({"ranks": 2}, 1), "gpus_per_rank": ({"ranks": 2, "nodes": 1}, 2)},
)
