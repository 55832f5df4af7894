"""What runs on the cluster: the agent, the watcher, Slurm, the disk."""

import time

from faults import wrappers
from faults.rows import LINE, Row

from helpers.live import eventually

ONCE = 'test -e "$HOME/{flag}" || {{ touch "$HOME/{flag}"; kill -9 $PPID; }}'


def agent_killed_in(key):
    """The user's own command line kills the agent, which is its parent, once."""

    def run(case):
        flag = f"faults-{case.field.tag}-{case.name}"
        case.write(**{key: [ONCE.format(flag=flag)]})
        # The job was taken: its owner has the UUID, and the answer says to go on with it.
        case.submit(code=None)
        case.go_on()
        return case.check()

    return run


def agent_killed_around_sbatch(flag):
    def run(case):
        wrappers.install(case.cluster)
        case.write()
        (case.folder / "job" / flag).write_text("")
        case.submit(code=None)
        if case.api.job(case.uuid)["state"] in ("BLOCKED", "SUBMITTING", "PREPROCESSING"):
            case.go_on()
        return case.check()

    return run


def agent_killed_between_parts(flag):
    """An array with an index above MaxArraySize becomes two of Slurm's."""

    def run(case):
        wrappers.install(case.cluster)
        array = {"duration": "2m", "memory_per_cpu": "50M", "array": "0-2,20000-20001"}
        case.write(resources=array)
        (case.folder / "job" / flag).write_text("")
        case.submit(code=None)
        if case.api.job(case.uuid)["state"] in ("BLOCKED", "SUBMITTING", "PREPROCESSING"):
            case.go_on()
        return case.check(submitted=2, ran=5)

    return run


def squeue_fails_one_in_ten(case):
    wrappers.install(case.cluster)
    case.write(["sleep 12"])
    case.submit()
    return case.check()


# All clusters share the machine's processes; those of one cluster share its mount namespace.
WATCHERS = """me=$(readlink /proc/self/ns/mnt)
for p in $(pgrep -u $(id -u) -f 'pyz [w]atch '); do [ "$(readlink /proc/$p/ns/mnt)" = "$me" ] && echo $p; done; true"""


def watchers(case):
    return case.cluster.ssh(WATCHERS, case.user).split()


def watcher_killed(case):
    case.write(["sleep 6"])
    case.submit()
    found = eventually(lambda: watchers(case), "a watcher runs")
    case.cluster.ssh("kill -9 " + " ".join(found), case.user, code=None)
    time.sleep(1)
    # The next contact starts one again.
    case.cli.run("logs", case.uuid, code=None)
    return case.check()


def watcher_killed_until_the_end(case):
    """The job ends while nobody watches; the next contact hears all of it."""
    case.write(["sleep 3"])
    case.submit()
    found = eventually(lambda: watchers(case), "a watcher runs")
    case.cluster.ssh("kill -9 " + " ".join(found), case.user, code=None)
    eventually(case.runs, "the payload ran")
    time.sleep(6)
    case.cli.run("logs", case.uuid, code=None)
    return case.check()


def two_watchers(case):
    case.write(["sleep 5"])
    case.submit()
    line = 'a=$(ls -t $HOME/.jobferry/agent/*.pyz | head -1); for i in 1 2 3; do python3 "$a" watch "$HOME/.jobferry" & done; true'
    case.cluster.ssh(line + " >/dev/null 2>&1 </dev/null", case.user)
    # One that finds the lock held leaves at once; a look may still see it on its way out.
    eventually(lambda: len(watchers(case)) == 1, "one watcher is left", 20)
    return case.check()


def slurmctld_down_at_submission(case):
    case.write()
    case.cluster.stop("slurmctld")
    try:
        case.submit(code=None)
        time.sleep(3)
    finally:
        case.cluster.start("slurmctld")
    return case.check()


def slurmctld_down_while_running(case):
    case.write(["sleep 8"])
    case.submit()
    case.cli.until(case.uuid, "RUNNING", "FINISHED")
    case.cluster.stop("slurmctld")
    time.sleep(4)
    case.cluster.start("slurmctld")
    return case.check()


def slurmdbd_down_at_the_end(case):
    case.write(["sleep 3"])
    case.submit()
    case.field.bed.bed.stop("slurmdbd")
    try:
        eventually(case.runs, "the payload ran")
        time.sleep(6)
    finally:
        case.field.bed.bed.start("slurmdbd")
    return case.check()


ROWS = [
    Row("agent01", "agent killed during requirements", agent_killed_in("requirements")),
    Row("agent02", "agent killed during compilation", agent_killed_in("compilation")),
    Row("agent03", "agent killed just before sbatch", agent_killed_around_sbatch("die-before-sbatch"), user="asmith"),
    Row("agent04", "agent killed just after sbatch", agent_killed_around_sbatch("die-after-sbatch"), user="asmith"),
    Row(
        "agent05",
        "sbatch accepts the job, its answer is lost",
        agent_killed_around_sbatch("no-answer-after-sbatch"),
        user="asmith",
    ),
    Row(
        "agent06",
        "agent killed between two parts of an array",
        agent_killed_between_parts("die-before-part"),
        user="asmith",
    ),
    Row(
        "agent07",
        "agent killed when the second part was accepted",
        agent_killed_between_parts("die-after-part"),
        user="asmith",
    ),
    Row("slurm01", "squeue fails once in ten calls", squeue_fails_one_in_ten, user="asmith"),
    Row("watch01", "three more watchers started", two_watchers),
    Row("watch02", "watcher killed while the job runs", watcher_killed, cluster="beta", lane=LINE),
    Row("watch03", "watcher killed, the job ends unwatched", watcher_killed_until_the_end, cluster="beta", lane=LINE),
    Row("slurm02", "slurmctld down at the submission", slurmctld_down_at_submission, cluster="beta", lane=LINE),
    Row("slurm03", "slurmctld down while the job runs", slurmctld_down_while_running, cluster="beta", lane=LINE),
    Row("slurm04", "slurmdbd down while the job ends", slurmdbd_down_at_the_end, cluster="beta", lane=LINE),
]
