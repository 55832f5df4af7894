"""psik's Python interface on jobferry: a program for psik needs its imports changed, nothing else.

>>> from project import Config, JobManager, JobSpec, ResourceSpec
>>> cfg = Config(prefix="/proj/SB1/jobs", backend={"type": "slurm", "queue_name": "batch", "project_name": "plaid"})
>>> mgr = JobManager(cfg)
>>> job = await mgr.create(JobSpec(script="hostname", resources=ResourceSpec(duration=60)))
>>> await job.submit()
>>> print(await (job.base / "status.csv").read_text())

Names, fields and meanings are those of psik 1.2 and 3.x (its modules models, config, manager, job); both forms are taken. Under
it is the same engine as everywhere: the jobs are in `jobferry ls` too, and a backend may be a cluster of the inventory, over SSH.
psik's exceptions are names of jobferry's: AnException is JobferryError, SubmitException ClusterError.
"""

from project.core.errors import ClusterError as SubmitException
from project.core.errors import JobferryError as AnException
from project.core.errors import UserError as InvalidJobException
from project.psikapi.config import Config, load_config, load_jobspec
from project.psikapi.job import Job
from project.psikapi.manager import JobManager
from project.psikapi.models import (
    BackendConfig,
    Callback,
    JobAttributes,
    JobSpec,
    JobState,
    ResourceSpec,
    Transition,
)
from project.psikapi.paths import AsyncPath, RemotePath

__all__ = [
    "AnException",
    "AsyncPath",
    "BackendConfig",
    "Callback",
    "Config",
    "InvalidJobException",
    "Job",
    "JobAttributes",
    "JobManager",
    "JobSpec",
    "JobState",
    "RemotePath",
    "ResourceSpec",
    "SubmitException",
    "Transition",
    "load_config",
    "load_jobspec",
]
