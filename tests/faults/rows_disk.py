"""Disks that take nothing more: on the cluster and on this machine."""

import os
import subprocess
from contextlib import contextmanager

from faults.rows import Row


@contextmanager
def read_only(case, jobs):
    case.cluster.ssh(f"chmod 500 {jobs}", case.user)
    try:
        yield
    finally:
        case.cluster.ssh(f"chmod 700 {jobs}", case.user)


def small(options):
    """A tmpfs as the workdir, mounted where the cluster's sshd sees it."""

    @contextmanager
    def mounted(case, jobs):
        pid = (case.field.bed.folder / "run" / f"{case.cluster.name}.sshd.pid").read_text().strip()
        enter = ["nsenter", "-t", pid, "-m", "--"]
        owner = case.cluster.ssh("id -u", case.user).strip()
        mount = ["mount", "-t", "tmpfs", "-o", f"{options},uid={owner},mode=700", "tmpfs", jobs]
        subprocess.run([*enter, *mount], check=True)
        try:
            yield
        finally:
            # The watcher may have a look at it right now.
            subprocess.run([*enter, "umount", "-l", jobs], check=True)

    return mounted


def no_room(breaking, passes):
    """The folder of the jobs takes nothing: a clear text, and nothing runs; where room may come, the job waits for it."""

    def run(case):
        home = case.cluster.ssh("echo $HOME", case.user).strip()
        jobs = f"{home}/faults-{case.field.tag}-{case.name}"
        case.cluster.ssh(f"mkdir -p {jobs}", case.user)
        name = f"{case.cluster.name}-{case.name}".lower()
        inventory = case.folder / "clusters.yml"
        inventory.write_text(
            f"- {{name: {name}, hostname: 127.0.0.1, port: {case.cluster.port}, workload_manager: slurm,"
            f" preferred_jobs: [serial], partition: batch, workdir: '{jobs}'}}\n"
        )
        case.cli.run("clusters", "import", inventory)
        case.write(destination_cluster=name)
        (case.folder / "job" / "noise").write_bytes(os.urandom(300_000))
        for number in range(20):
            (case.folder / "job" / f"{number}.txt").write_text("x")
        with breaking(case, jobs):
            ran = case.submit(code=3)
        if passes:
            case.go_on()
            found = case.check()
        else:
            found = case.check("FAILED", "internal_error", submitted=0, ran=0)
        if "Traceback" in ran.err:
            found.wrong.append("a traceback")
        return found

    return run


def no_room_here(case):
    """The user's own disk is full: nothing is sent, and the next call, with room, does the whole job."""
    case.write()
    data = case.folder / "data"
    data.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(data)], check=True)
    try:
        ran = case.cli.run("submit", case.folder / "input.yml", code=None)
        case.find()
        assert ran.code not in {0, 130}, ran
        assert "No space left" in ran.err, ran
        assert "Traceback" not in ran.err, ran
    finally:
        subprocess.run(["umount", "-l", str(data)], check=True)
    if case.uuid:
        assert case.api.job(case.uuid)["state"] == "FAILED", "what was not sent is over"
    case.submit()
    return case.check()


ROWS = [
    Row("disk01", "workdir is read-only", no_room(read_only, passes=False)),
    Row("disk02", "workdir on a full disk", no_room(small("size=64k"), passes=True)),
    Row("disk03", "no more inodes for the workdir", no_room(small("nr_inodes=12"), passes=True)),
    Row("disk04", "disk of the user's machine full", no_room_here),
]
