"""Measures jobferry beside the raw commands of the same run, on the testbed, and writes docs/benchmarks.md.

    make testbed-up && make bench

Every pair is measured in turns (one of each, then again), so that a busy moment meets both; medians are printed.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from helpers.live import Bed, Cli, Server, eventually  # noqa: E402  # the path is set above

# The two clusters are one machine with two /home: a process is on this cluster when it has this mount namespace.
HERE = (
    "for p in $(pgrep -u $(id -un)); do"
    ' [ "$(readlink /proc/$p/ns/mnt)" = "$(readlink /proc/self/ns/mnt)" ] && ps -o rss=,args= -p $p; done; true'
)
JOB = "#!/bin/sh\n#SBATCH --partition=closed\ntrue\n"


class Row:
    """One line of the table: what, its figure, beside what, the bound, whether it holds."""

    def __init__(self, what, value, beside, bound, holds):
        self.cells = (what, value, beside, bound, "yes" if holds else "NO")
        self.holds = holds


def seconds(argv, **more):
    begin = time.perf_counter()
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, **more)
    spent = time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(f"{argv} ended with {done.returncode}: {done.stderr.decode(errors='replace')}")
    return spent


def in_turns(rounds, *works):
    """The medians of the works, each called once to warm up, then `rounds` times in turns."""
    for work in works:
        work()
    spent = [[] for _ in works]
    for _ in range(rounds):
        for times, work in zip(spent, works, strict=True):
            times.append(work())
    return [statistics.median(times) for times in spent]


def cold_help(rounds, env):
    ours, fabric = in_turns(
        rounds,
        lambda: seconds([sys.executable, "-m", "project", "--help"], env=env),
        lambda: seconds([sys.executable, "-c", "import fabric"], env=env),
    )
    return Row(
        "cold `--help`", f"{ours:.3f} s", f'`python -c "import fabric"` {fabric:.3f} s', "at most that", ours <= fabric
    )


def cold_submission(rounds, bed, cli, name, before):
    """A small job to a partition that is closed, so that nothing runs meanwhile; `before` is the input."""
    config = str(bed.folder / "ssh_config")
    script = cli.folder / "job.sh"
    script.write_text(JOB)

    def raw():
        return seconds(["scp", "-q", "-F", config, str(script), "alpha:job.sh"]) + seconds(
            ["ssh", "-F", config, "alpha", "sbatch job.sh"]
        )

    def ours():
        return seconds(cli.argv("-q", "-u", str(before)), env=cli.environment, cwd=cli.folder)

    mine, baseline = in_turns(rounds, ours, raw)
    ratio = mine / baseline
    return Row(
        f"cold submission, {name}",
        f"{mine:.3f} s ({ratio:.2f} ×)",
        f"`scp job.sh` + `ssh sbatch job.sh` {baseline:.3f} s",
        "at most 1.5 ×",
        ratio <= 1.5,
    )


def connections(bed, cli, path):
    counts = []
    for _ in range(3):
        before = bed.alpha.connections()
        cli.run("-q", "-u", path)
        counts.append(bed.alpha.connections() - before)
    # Somebody else's connections only add.
    return Row("SSH connections a submission", str(min(counts)), "", "1", min(counts) == 1)


def left_behind(bed, cli, path):
    cli.run("-q", "-u", path)

    def look():
        lines = bed.alpha.ssh(HERE).splitlines()
        ours = [line.split(None, 1) for line in lines if "/agent/agent-" in line and "ps -o" not in line]
        return ours if all(" watch " in args for _, args in ours) else None

    left = eventually(look, "the submission's own processes have ended") or []
    size = max((int(rss) / 1024 for rss, _ in left), default=0.0)
    shown = f"{len(left)}, {size:.0f} MB"
    return Row(
        "processes left on the login node, resident size", shown, "", "1, under 30 MB", len(left) <= 1 and size < 30
    )


def latency(rounds, bed, cli, folder):
    """From the moment the job's own script sees to the moment the API has stored the event."""
    text = "date +%s.%N > begin; sleep 2; date +%s.%N > end"
    path = write(folder / "latency", bed, [text], job="job.sh")
    worst = []
    for _ in range(rounds):
        document = cli.json("submit", path)
        uuid = document["job_uuid"]
        document = cli.until(uuid)
        work = bed.alpha.here(document["working_directory"])
        events = cli.json("history", uuid)["events"]
        for state, name in (("RUNNING", "begin"), ("FINISHED", "end")):
            moment = float((work / name).read_text())
            known = next(stamp(event["received"]) for event in events if event.get("state") == state)
            worst.append(known - moment)
    middle = statistics.median(worst)
    return Row(
        "state known to the API after the change",
        f"{middle:.2f} s, at most {max(worst):.2f} s",
        "",
        "within 2 s",
        middle <= 2,
    )


def stamp(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def write(folder, bed, execution, **more):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.sh").write_text(JOB)
    data = {
        "username": "jdoe",
        "private_key": str(bed.key()),
        "destination_cluster": "alpha",
        "execution": execution,
        **more,
    }
    path = folder / "input.yml"
    path.write_text(json.dumps(data))
    return path


def measure(rounds):
    bed = Bed()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alone = Cli(folder / "alone", bed.folder / "known_hosts")
        alone.run("clusters", "import", bed.clusters)
        closed = write(folder / "closed", bed, ["true"], job="job.sh", scheduler_options=["--partition=closed"])
        rows.append(cold_help(2 * rounds, alone.environment))
        rows.append(cold_submission(rounds, bed, alone, "embedded API", closed))
        server = Server(folder / "server", {"JOBFERRY_SMTP_URL": bed.smtp_url})
        server.start()
        try:
            remote = Cli(folder / "remote", bed.folder / "known_hosts", server.client_env)
            remote.run("clusters", "import", bed.clusters)
            rows.append(cold_submission(rounds, bed, remote, "API server", closed))
            rows.append(connections(bed, remote, closed))
            rows.append(left_behind(bed, remote, closed))
            rows.append(latency(max(3, rounds // 3), bed, remote, folder))
            for cli in (alone, remote):
                cli.run("cancel", "--state", "QUEUED", "--yes", code=None)
        finally:
            server.stop()
        bed.alpha.slurm("scancel -u jdoe --partition=closed --name=job.sh", code=None)
    return rows


def page(rows):
    head = ("what", "measured", "beside it", "bound", "holds")
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ("---",) * 5, *(row.cells for row in rows))]
    where = f"{os.cpu_count()} CPUs, Python {platform.python_version()}, Slurm 22.05, everything on one machine over loopback"
    return (
        "# Benchmarks\n\n"
        "Written by `make bench` (on a running testbed: `make testbed-up`). Medians of cold calls, ours and the raw\n"
        "commands in turns, so that both meet the same moments of the machine.\n\n"
        + "\n".join(lines)
        + f"\n\nMeasured {datetime.date.today().isoformat()}: {where}.\n"
    )


def main():
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="calls of each kind (default 10)")
    parser.add_argument("--dry", action="store_true", help="print only, leave docs/benchmarks.md as it is")
    args = parser.parse_args()
    rows = measure(args.rounds)
    text = page(rows)
    print(text)
    if not args.dry:
        (ROOT / "docs" / "benchmarks.md").write_text(text)
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
