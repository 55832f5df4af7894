"""psik's Python interface: its README's example, its classes in the forms of 1.2 and 3.x, on this machine's `local` manager."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.receiver import receiving
from project import (
    AnException,
    AsyncClient,
    BackendConfig,
    Callback,
    ClusterError,
    Config,
    InputError,
    Job,
    JobAttributes,
    JobferryError,
    JobManager,
    JobSpec,
    JobState,
    ResourceSpec,
    SubmitException,
    Transition,
    UserError,
    verify_signature,
)
from project.psikapi import load_config, load_jobspec

PATIENCE = 60.0


@pytest.fixture
def run(home: Path) -> Callable[..., Any]:
    """Runs a coroutine function with a client in an event loop of its own."""

    def work(main: Callable[[AsyncClient], Awaitable[Any]]) -> Any:
        async def whole() -> Any:
            async with AsyncClient(home=home) as client:
                return await asyncio.wait_for(main(client), 2 * PATIENCE)

        return asyncio.run(whole())

    return work


def test_the_example_of_psiks_readme(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """But for the import, the prefix, the workload manager and what this machine has no GPUs for, as it stands there."""
    monkeypatch.setenv("JOBFERRY_HOME", str(home))

    async def example() -> None:
        cfg = Config(prefix=home / ".psik", backend={"type": "local", "queue_name": "batch", "project_name": "plaid"})
        mgr = JobManager(cfg)
        rspec = ResourceSpec(duration="60", process_count=1)
        spec = JobSpec(
            name="machine info",
            script="""hostname; pwd;
          cat /proc/cpuinfo /proc/meminfo | head -1
          echo $mpirun,$nodes,$base,$jobndx,$jobid
        """,
            resources=rspec,
        )

        job = await mgr.create(spec)
        await job.submit()

        print(await (job.base / "status.csv").read_text())
        await job.read_info()
        print(job.history)
        job = await Job(job.base)
        print(job.history)

        await job.wait(PATIENCE)
        assert job.history[-1].state is JobState.completed
        printed = await (job.base / "log" / "stdout.1").read_text()
        assert printed.splitlines()[1] == str(job.base / "work")
        assert re.search(rf",1,{re.escape(str(job.base))},1,\d+$", printed.splitlines()[3])
        await mgr.close()

    asyncio.run(example())
    assert re.match(r"\d+\.\d{3},0,new,0\n\d+\.\d{3},1,queued,\d+\n", capsys.readouterr().out)


def test_files_between_create_and_submit(run: Callable[..., Any], home: Path) -> None:
    async def main(client: AsyncClient) -> None:
        mgr = JobManager(Config(prefix=home / "jobs"), client)
        job = await mgr.create(JobSpec(script="cat given; exit 3"))
        assert (job.valid, [step[1:] for step in job.history]) == (True, [(0, JobState.new, "0")])
        assert sorted([path.name async for path in job.base.iterdir()]) == ["jobspec.json", "log", "status.csv", "work"]
        assert (await client.get(job.stamp)).state == "PENDING"
        await (job.base / "work" / "given").write_text("a word\n")
        ndx, native = await job.submit()
        assert ndx == 1
        assert native in [step.info for step in job.history]
        await job.wait(PATIENCE)
        assert [step.state for step in job.history if step.state.is_final()] == [JobState.failed]
        assert job.history[-1].info == "3"
        assert await (job.base / "log" / "stdout.1").read_text() == "a word\n"
        assert job.summarize() == (2, {**{state: set() for state in list(JobState)[1:]}, JobState.failed: {1}})
        assert await job.live_ids() == []

    run(main)


def test_another_run_of_the_same_job(run: Callable[..., Any], home: Path) -> None:
    async def main(client: AsyncClient) -> None:
        mgr = JobManager(Config(prefix=home / "jobs"), client)
        job = await mgr.create(JobSpec(script="echo again >> file; wc -l < file"))
        first = job.base
        assert (await job.submit())[0] == 1
        await job.wait(PATIENCE)
        assert (await job.submit())[0] == 2
        await job.wait(PATIENCE)
        assert job.base != first
        assert job.summarize()[0] == 3
        assert {step.jobndx for step in job.history if step.state is JobState.completed} == {1, 2}
        assert (await (job.base / "log" / "stdout.2").read_text()).strip() == "2", "in the same work folder"

    run(main)


def test_ls_and_cancel(run: Callable[..., Any], home: Path) -> None:
    async def main(client: AsyncClient) -> None:
        mgr = JobManager(Config(prefix=home / "jobs"), client)
        waiting = await mgr.create(JobSpec(name="never", script="true"))
        running = await mgr.create(JobSpec(name="long", script="sleep 600"))
        (home / "jobs" / "something else").mkdir()
        await running.submit()
        assert len(await running.live_ids()) == 1
        assert [job.spec.name async for job in mgr.ls()] == ["never", "long"]
        for job in (waiting, running):
            await job.cancel()
            await client.wait(job.stamp, PATIENCE)
            await job.poll()
            assert job.history[-1].state is JobState.canceled
        rows = (await (waiting.base / "status.csv").read_text()).splitlines()
        assert [row.split(",", 1)[1] for row in rows] == ["0,new,0", "0,canceled,0"]
        assert [job.history[-1].state async for job in mgr.ls()] == [JobState.canceled] * 2

    run(main)


def test_reached(run: Callable[..., Any], home: Path) -> None:
    async def main(client: AsyncClient) -> None:
        mgr = JobManager(Config(prefix=home / "jobs"), client)
        job = await mgr.create(JobSpec(script="true"))
        assert await job.reached(0, JobState.queued, "17", backdate=12.5)
        await job.submit()
        await job.wait(PATIENCE)
        assert await job.reached(1, "active", "by hand")
        await job.read_info()
        assert Transition(12.5, 0, JobState.queued, "17") in job.history
        assert (1, JobState.active, "by hand") in [step[1:] for step in job.history]
        assert "by hand" in str([event.data async for event in client.events(job.stamp)])
        with pytest.raises(UserError, match="none of psik's states"):
            await job.reached(1, "done")

    run(main)


def test_a_folder_that_is_no_jobs(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(UserError, match="not the folder of a job"):
            await Job(tmp_path)

    asyncio.run(main())


@pytest.mark.parametrize(
    "spec",
    [b"[]", b"\xff", b"{", b"null", b'{"execution": 5}', b'{"execution": [5]}', b'{"script": 5, "env": 5}', b"{}"],
)
def test_a_folder_with_a_strange_specification_is_a_job_all_the_same(tmp_path: Path, spec: bytes) -> None:
    (tmp_path / "spec.json").write_bytes(spec)
    (tmp_path / "status.csv").write_text("1.5,1,queued,5\nnonsense\n")

    async def main() -> Job:
        return await Job(tmp_path)

    job = asyncio.run(main())
    assert job.valid and job.history == [Transition(1.5, 1, JobState.queued, "5")]
    assert job.spec.script == ":"


def test_a_backend_by_name_and_a_cluster_of_the_inventory(run: Callable[..., Any], home: Path) -> None:
    async def main(client: AsyncClient) -> None:
        config = Config(prefix=home / "jobs", backends={"here": {"type": "local"}, "listed": "local"})
        mgr = JobManager(config, client)
        with pytest.raises(UserError, match="no backend called 'default'"):
            await mgr.create(JobSpec(script="true"))
        jobs = [await mgr.create(JobSpec(script="echo $jobndx", backend=name)) for name in config.backends]
        for job in jobs:
            await job.submit()
            await job.wait(PATIENCE)
            assert await (job.base / "log" / "stdout.1").read_text() == "1\n"
        assert str(jobs[0].base.parent) == str(home / "jobs")
        assert str(jobs[1].base.parent) == str(home / "local" / "jobs")
        assert {job.stamp async for job in mgr.ls()} == {job.stamp for job in jobs}
        with pytest.raises(UserError, match="no cluster called 'nowhere'"):
            await JobManager(Config(prefix=home, backend="nowhere"), client).create(JobSpec(script="true"))

    run(main)


def test_a_callback_is_told_signed_listed_and_sent_again(
    run: Callable[..., Any], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBFERRY_ALLOW_PRIVATE_WEBHOOKS", "1")
    with receiving() as receiver:

        async def main(client: AsyncClient) -> None:
            spec = JobSpec(script="true", callback=receiver.url(), cb_secret="hidden", cb_headers={"x-mine": "own"})
            job = await JobManager(Config(prefix=home / "jobs"), client).create(spec)
            await job.submit()
            await job.wait(PATIENCE)
            found = await client.deliveries(job.stamp)
            assert [one["delivery"] for one in found] == ["sent"] * len(receiver.got)
            before = len(receiver.got)
            await client.replay(job.stamp, found[-1]["id"])
            assert receiver.wait(before + 1)[-1].body == receiver.got[before - 1].body

        run(main)
        for got in receiver.got:
            assert got.headers["x-mine"] == "own"
            verify_signature(got.body, "hidden", got.headers["x-hub-signature-256"])
            told = Callback.model_validate_json(got.body)
        assert (told.state, told.jobndx) == (JobState.completed, 1)
        assert "hidden" not in everything(home / "jobs")


def everything(folder: Path) -> str:
    """All that the files below a folder hold."""
    return "".join(path.read_text() for path in folder.rglob("*") if path.is_file())


def test_no_secret_is_in_the_job_folder(run: Callable[..., Any], home: Path) -> None:
    async def main(client: AsyncClient) -> None:
        headers = {"authorization": "Bearer A Secret to Everybody"}
        url = "https://example.org/hook"
        spec = JobSpec(script="true", callback=url, cb_secret="It's a Secret to Everybody", cb_headers=headers)
        assert "Secret to" not in repr(spec) and "authorization" in repr(spec)
        with pytest.raises(InputError) as raised:
            JobSpec(script="true", cb_headers="A Secret to Everybody")  # type: ignore[arg-type]  # what is tried here
        assert "Secret to" not in str(raised.value)
        assert spec.cb_secret is not None
        assert spec.cb_secret.get_secret_value() == "It's a Secret to Everybody"
        job = await JobManager(Config(prefix=home / "jobs"), client).create(spec)
        assert "Secret to" not in everything(home / "jobs")
        assert (await Job(job.base)).spec.callback == "https://example.org/hook"

    run(main)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: JobSpec(script=" "), "script"),
        (lambda: JobSpec(script="true", environment={"A": ["b"]}), "environment.A"),  # type: ignore[dict-item]
        (lambda: JobSpec(script="true", resources={"duration": "an hour"}), "resources.duration"),
        (lambda: JobSpec(script="true", resources={"node_cuont": 2}), "node_cuont"),
        (lambda: JobSpec(script="true", attributes={"qos": "x"}), "attributes.qos"),
        (lambda: JobSpec.model_validate({"script": "true", "scirpt": "x"}), "scirpt"),
        (lambda: ResourceSpec(process_count=-1), "resources.process_count"),
        (lambda: BackendConfig.model_validate({"typ": "slurm"}), "typ"),
        (lambda: Config(prefix="x", backend="a", backends={"b": "c"}), "backends"),
        (lambda: Config(prefix="x", backends={}), "backends"),
        (lambda: Config.model_validate({"prefix": "x", "backnd": "a"}), "backnd"),
    ],
)
def test_wrong_data(make: Callable[[], object], key: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert key in [problem.key for problem in caught.value.problems]


def test_a_need_that_the_manager_cannot_express(run: Callable[..., Any], home: Path) -> None:
    async def main(client: AsyncClient) -> None:
        mgr = JobManager(Config(prefix=home / "jobs"), client)
        with pytest.raises(InputError, match="reservation"):
            await mgr.create(JobSpec(script="true", backend={"reservation_id": "mine"}))
        assert [job async for job in mgr.ls()] == []

    run(main)


def test_a_workload_manager_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'slurn'.*'slurm'"):
        JobManager(Config(prefix=tmp_path, backend={"type": "slurn"}))


def test_data_and_back() -> None:
    spec = JobSpec(
        script="true",
        resources=ResourceSpec(duration="60", process_count=2),
        attributes={"--qos": "x"},
        cb_secret="s",
    )
    assert (spec.resources.duration, spec.resources.exclusive_node_use) == (60, True)
    assert spec.model_dump() == {
        "script": "true",
        "resources": {"duration": 60, "process_count": 2},
        "attributes": {"--qos": "x"},
        "cb_secret": "s",
    }
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec
    spec.resources.duration = 5
    spec.name = "later"
    assert (spec.model_dump()["resources"]["duration"], spec.model_dump()["name"]) == (5, "later")
    old = JobSpec(script="true", attributes=JobAttributes(queue_name="batch", attributes={"-b": "packed:rs"}))
    assert old.model_dump()["backend"] == {"queue_name": "batch", "attributes": {"-b": "packed:rs"}}
    assert issubclass(SubmitException, AnException)
    assert (AnException, SubmitException) == (JobferryError, ClusterError)


def test_files_of_psiks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "psik.json"
    path.write_text(json.dumps({"prefix": str(tmp_path), "backend": {"type": "slurm", "attributes": {"-b": "x"}}}))
    monkeypatch.setenv("PSIK_CONFIG", str(path))
    config = load_config()
    assert config == load_config(path)
    assert (config.prefix, config.backend.type, config.backend.attributes) == (tmp_path, "slurm", {"-b": "x"})
    assert Config.model_validate(config.model_dump()) == config
    (tmp_path / "job.yaml").write_text("script: echo hello\nresources: {duration: 5}\n")
    assert load_jobspec(tmp_path / "job.yaml").resources.duration == 5
    with pytest.raises(InputError, match=r"psik\.json:1"):
        path.write_text('{"prefix": "/x", "backend": {"tpye": "slurm"}}')
        load_config(path)


def test_a_job_that_lives_is_not_started_again(run: Callable[..., Any], home: Path) -> None:
    async def main(client: AsyncClient) -> None:
        job = await JobManager(Config(prefix=home / "jobs"), client).create(JobSpec(script="sleep 600"))
        await job.submit()
        with pytest.raises(UserError, match="when it has ended"):
            await job.submit()
        await job.cancel()
        await job.wait(PATIENCE)

    run(main)
