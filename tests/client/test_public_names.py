"""What `import project` costs and offers."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import project

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"argon2", "fabric", "flask", "jsonschema", "keyring", "paramiko", "pymongo", "rich", "waitress", "yaml"}
USER = """\
import asyncio
from pathlib import Path

from project import (
    AsyncClient, BackendConfig, Client, Config, Event, InputError, Job, JobManager, JobRecord, JobSpec, JobState, Progress,
    ResourceSpec, Transition, sign_message,
)


def told(progress: Progress) -> None:
    print(progress.kind, progress.done)


def main() -> None:
    with Client(home=Path("x"), progress=told) as client:
        job: JobRecord = client.wait(client.submit({"script": "true"}, cluster="local"), timeout=1.5)
        states: list[str | None] = [event.state for event in client.events(job, follow=True)]
        paths: list[Path] = client.retrieve(job.uuid, "out")
        code: int | None = job.exit_code
        try:
            client.submit("input.yml", fallback="never")
        except InputError as error:
            print([problem.line for problem in error.problems], states, paths, code)


async def amain() -> None:
    async with AsyncClient() as client:
        jobs: list[JobRecord] = [job async for job in client.jobs({"a": "b"}, state="LIVE")]
        events: list[Event] = [event async for event in client.events(jobs[0])]
        print(events[0].n)
    manager = JobManager(Config(prefix="x", backends={"default": BackendConfig(type="slurm"), "far": "alpha"}))
    spec = JobSpec(script="true", resources=ResourceSpec(duration="60"), backend={"type": "slurm"})
    job: Job = await manager.create(spec)
    ndx, native = await job.submit()
    text: str = await (job.base / "status.csv").read_text()
    history: list[Transition] = (await Job(job.base)).history
    number: int = ndx + spec.resources.duration
    last: JobState = history[-1].state
    header: str = sign_message(text, "secret")
    print(native.upper(), number, last.is_final(), header, [each.stamp async for each in manager.ls()])


asyncio.run(amain())
"""
WRONG = (
    ('client.submit({"script": "true"}, fallback="perhaps")', "arg-type"),
    ("client.wait(3.5)", "arg-type"),
    ("client.get('12345678').nothing", "attr-defined"),
    ("ResourceSpec(minutes=3)", "call-arg"),
)


def imported(line: str) -> set[str]:
    """Modules that a line imports in a new process."""
    program = f"import sys; before = set(sys.modules); {line}; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_else() -> None:
    assert imported("import project") == {"project"}


@pytest.mark.parametrize("name", ["Client", "AsyncClient", "JobManager", "sign_message"])
def test_a_name_brings_nothing_heavy(name: str) -> None:
    tops = {module.partition(".")[0] for module in imported(f"from project import {name}")}
    assert not tops & HEAVY
    assert "asyncio" not in tops or name in {"AsyncClient", "JobManager"}


def test_every_public_name_is_there_and_known_to_type_checkers() -> None:
    assert all(getattr(project, name) is not None for name in project.__all__)
    assert set(project.__all__) == {*project._WHERE, "__version__"} <= set(dir(project))
    tree = ast.parse((ROOT / "project" / "__init__.py").read_text(encoding="utf-8"))
    told = {
        alias.asname: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert told == project._WHERE


def test_a_name_that_is_none() -> None:
    with pytest.raises(AttributeError, match="'project' has no attribute 'nothing'"):
        project.nothing  # noqa: B018


def test_a_typed_program_passes_and_a_wrong_one_does_not(tmp_path: Path) -> None:
    (tmp_path / "right.py").write_text(USER)
    (tmp_path / "wrong.py").write_text(
        "from project import Client, ResourceSpec\n\nclient = Client()\n" + "".join(f"{line}\n" for line, _ in WRONG)
    )
    argv = [sys.executable, "-m", "mypy", "--strict", "--config-file", "/dev/null", "--follow-imports=silent"]
    argv += ["--python-version", "3.10", "--cache-dir", str(tmp_path / "cache"), "--no-error-summary"]
    done = subprocess.run(
        [*argv, str(tmp_path / "right.py"), str(tmp_path / "wrong.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = [line.rpartition("[")[2].rstrip("]") for line in done.stdout.splitlines() if ": error: " in line]
    assert "right.py" not in done.stdout, done.stdout
    assert found == [code for _, code in WRONG], done.stdout + done.stderr
