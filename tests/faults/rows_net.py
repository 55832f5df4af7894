"""The SSH connection, broken by a proxy at different places of the stream."""

from faults.proxy import Proxy
from faults.rows import Row

# Bytes from the client: the key exchange takes about 3,000, the request and 300,000 bytes of files follow.
PLACES = [("during the key exchange", 1_500), ("among the files", 150_000)]


def behind(case, proxy, more=""):
    """An input for the cluster as it is reached through the proxy."""
    inventory = case.folder / "clusters.yml"
    name = f"{case.cluster.name}-{case.name}".lower()
    inventory.write_text(
        f"- {{name: {name}, hostname: 127.0.0.1, port: {proxy.port}, workload_manager: slurm,"
        f" preferred_jobs: [serial], partition: batch{more}}}\n"
    )
    case.cli.run("clusters", "import", inventory)
    case.write(destination_cluster=name)


def away(case):
    """Nobody does anything: the job goes on by itself."""
    proxy = Proxy(case.cluster.port, "refuse", 0)
    try:
        behind(case, proxy, ", retry: {every: 1s, max: 2s}")
        ran = case.cli.run("submit", case.folder / "input.yml", "--accept-new-host-key", code=3)
        case.find()
        assert case.api.job(case.uuid)["state"] == "BLOCKED", ran
        proxy.heal()
        return case.check()
    finally:
        proxy.close()


def broken(mode, limit):
    def run(case):
        proxy = Proxy(case.cluster.port, mode, limit)
        try:
            behind(case, proxy)
            import random

            (case.folder / "job" / "noise").write_bytes(random.Random(1).randbytes(300_000))
            ran = case.cli.run("submit", case.folder / "input.yml", "--accept-new-host-key", code=3)
            assert "Traceback" not in ran.err, ran
            case.find()
            proxy.heal()
            if case.api.job(case.uuid)["state"] == "FAILED":
                raise AssertionError(f"failed for good: {ran}")
            case.cli.run("resubmit", "--resume", case.uuid, "--accept-new-host-key")
            return case.check()
        finally:
            proxy.close()

    return run


ROWS = [
    Row(f"ssh{number:02d}", f"SSH connection: {mode} {where}", broken(mode, limit))
    for number, (mode, where, limit) in enumerate(
        [(mode, where, limit) for mode in ("stall", "drop", "truncate") for where, limit in PLACES], 1
    )
] + [Row("away", "cluster away at the submission, back later", away)]
