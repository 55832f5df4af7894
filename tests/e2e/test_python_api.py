"""The Python interface on real Slurm behind real sshd, without a server."""

import asyncio
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.live import PATIENCE, Bed
from helpers.processes import end_of_home
from project import AsyncClient, Client, Config, Job, JobManager, JobSpec, JobState, ResourceSpec, Transition, UserError

SMALL = {"duration": "5m", "memory_per_thread": "50M"}


@pytest.fixture
def home(testbed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """JOBFERRY_HOME of a user who knows the clusters' host keys and has imported the inventory."""
    for name in list(os.environ):
        if name.startswith(("JOBFERRY_", "XDG_", "SSH_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JOBFERRY_HOME", str(tmp_path / "data"))
    (tmp_path / ".ssh").mkdir(mode=0o700)
    (tmp_path / ".ssh" / "known_hosts").write_bytes((testbed.folder / "known_hosts").read_bytes())
    with Client() as client:
        for cluster in (testbed.alpha, testbed.beta):
            where = {"hostname": "127.0.0.1", "port": cluster.port, "partition": "batch"}
            client.add_cluster({"name": cluster.name, "workload_manager": "slurm", **where})
    yield tmp_path / "data"
    end_of_home(tmp_path)


def logins(testbed: Bed, user: str) -> int:
    """SSH connections of a user to alpha since the start."""
    log = (testbed.folder / "log" / "alpha.sshd").read_text(errors="replace")
    return log.count(f"Accepted publickey for {user} ")


def test_one_connection_carries_two_submissions_and_all_that_follows(home: Path, testbed: Bed, tmp_path: Path) -> None:
    before = logins(testbed, "asmith")
    data = {"username": "asmith", "destination_cluster": "alpha", "resources": SMALL, "output": "made.txt"}
    with Client(private_key=testbed.key()) as client:
        jobs = [client.submit({**data, "script": f"echo {word} | tee made.txt"}) for word in ("one", "two")]
        ended = [client.wait(job, PATIENCE) for job in jobs]
        assert [(job.state, job.condition, job.exit_code) for job in ended] == [("FINISHED", "ok", 0)] * 2
        assert [client.logs(job) for job in jobs] == ["one\n", "two\n"]
        assert client.retrieve(jobs[1], tmp_path / "out")[0].read_text() == "two\n"
        held = client.hold(client.submit({**data, "script": "true", "resources": {**SMALL, "begin": "2099-01-01"}}))
        assert client.release(held).state == "QUEUED"
        assert client.cancel(held).state == "CANCELLED"
        assert logins(testbed, "asmith") - before == 1
        assert [testbed.alpha.native_jobs(job.uuid) for job in ended] == [[job.native_id] for job in ended]
        for job in (*jobs, held):
            client.remove(job)


def test_a_locked_key_is_never_asked_about(home: Path, testbed: Bed) -> None:
    locked = {"username": "jdoe", "private_key": testbed.key("rsa_pass"), "destination_cluster": "alpha"}
    with Client() as client:
        with pytest.raises(UserError, match="passphrase"):
            client.submit({**locked, "script": "true", "resources": SMALL})
        assert list(client.jobs()) == []
        job = client.submit({**locked, "script": "true", "resources": SMALL, "passphrase": testbed.passphrase})
        # The connection stands: nobody needs the passphrase again, and nothing keeps it.
        assert client.wait(job, PATIENCE).ok
        assert testbed.passphrase not in str(client.get(job).document)


def test_five_jobs_awaited_at_once(home: Path, testbed: Bed) -> None:
    data = {"username": "jdoe", "private_key": testbed.key(), "destination_cluster": "alpha", "resources": SMALL}

    async def main() -> None:
        async with AsyncClient() as client:
            inputs = [{**data, "script": f"srun echo number {number}"} for number in range(5)]
            jobs = await asyncio.gather(*(client.submit(given) for given in inputs))
            ended = await asyncio.gather(*(client.wait(job, PATIENCE, check=True) for job in jobs))
            assert await asyncio.gather(*(client.logs(job) for job in ended)) == [f"number {n}\n" for n in range(5)]
            assert [event.state async for event in client.events(ended[0])][-1] == "FINISHED"

    asyncio.run(main())


def test_the_example_of_psiks_readme_over_ssh(home: Path, testbed: Bed, capsys: pytest.CaptureFixture[str]) -> None:
    """But for the imports, the backend, which is a cluster here, and the GPUs, which it has not, as it stands there."""

    async def example() -> None:
        cfg = Config(prefix="/proj/SB1/.psik", backend={"cluster": "alpha", "queue_name": "batch"})
        mgr = JobManager(cfg, AsyncClient(username="jdoe", private_key=testbed.key()))
        rspec = ResourceSpec(duration="60", process_count=2, exclusive_node_use=False)
        spec = JobSpec(
            name="machine info",
            script="""hostname; pwd;
          cat /proc/cpuinfo /proc/meminfo | grep -c processor
          echo $mpirun,$nodes,$base,$jobndx,$jobid
        """,
            resources=rspec,
            attributes={"--mem": "50M"},
        )

        job = await mgr.create(spec)
        assert not await job.base.is_dir(), "no cluster has heard of it"
        ndx, native = await job.submit()

        # Read job status updates directly from the filesystem, which is the cluster's.
        print(await (job.base / "status.csv").read_text())
        await job.read_info()
        print(job.history)
        job = await Job(job.base)
        print(job.history)
        await job.wait(PATIENCE)

        assert (ndx, testbed.alpha.native_jobs(job.stamp)) == (1, [native])
        assert isinstance(job.history[0], Transition)
        assert job.history[-1].state is JobState.completed
        assert str(job.base) == f"$HOME/.jobferry/jobs/{job.stamp}"
        printed = (await (job.base / "log" / "stdout.1").read_text()).splitlines()
        assert re.fullmatch(
            rf"srun[^,]*,1,/home/jdoe/\.jobferry/jobs/{job.stamp},1,{native}", printed[-1].replace("\x01", " ")
        )
        assert {"log", "scripts", "spec.json", "status.csv", "work"} <= {path.name async for path in job.base.iterdir()}
        assert job.spec.name == "machine info"
        assert job.stamp in [each.stamp async for each in mgr.ls()]
        with pytest.raises(FileNotFoundError):
            await (job.base / "nothing").read_text()
        with pytest.raises(UserError):
            await mgr.create(JobSpec(script="true", backend="elsewhere"))
        await mgr.client.close()

    asyncio.run(example())
    assert re.search(r"^\d+\.\d{3},1,queued,\d+$", capsys.readouterr().out, re.MULTILINE)


def test_psik_on_this_machines_own_slurm(
    home: Path, testbed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend of the type slurm is this machine's, without SSH, as on a login node."""
    monkeypatch.setenv("SLURM_CONF", str(testbed.folder / "alpha" / "slurm.conf"))

    async def main() -> None:
        cfg = Config(prefix=tmp_path / ".psik", backend={"type": "slurm", "queue_name": "batch"})
        async with JobManager(cfg) as mgr:
            resources = ResourceSpec(duration=5, process_count=2, exclusive_node_use=False)
            attributes = {"--mem": "50M"}
            jobs = [
                await mgr.create(JobSpec(script=script, resources=resources, attributes=attributes))
                for script in ("srun echo rank", "sleep 600")
            ]
            for job in jobs:
                ndx, native = await job.submit()
                assert (ndx, testbed.alpha.native_jobs(job.stamp)) == (1, [native])
            await jobs[1].cancel()
            for job, state in zip(jobs, (JobState.completed, JobState.canceled), strict=True):
                await job.wait(PATIENCE)
                assert job.history[-1].state is state
            assert await (jobs[0].base / "log" / "stdout.1").read_text() == "rank\nrank\n"
            assert str(jobs[0].base.parent) == str(tmp_path / ".psik")

    asyncio.run(main())
