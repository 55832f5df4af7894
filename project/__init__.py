"""jobferry: the command line, the submission engine, and their Python interface.

`Client` and `AsyncClient` submit, watch and fetch jobs (docs/python.md). `Config`, `JobManager`, `JobSpec`, `ResourceSpec`,
`Job` and their kin have psik's shape. Importing this package imports nothing else: each name is loaded when it is first used.
"""

__version__ = "0.1.0"

# As typing.TYPE_CHECKING, whose import would cost more than all the rest here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from project.aclient import AsyncClient as AsyncClient
    from project.client import Client as Client
    from project.core.errors import ApiError as ApiError
    from project.core.errors import ClusterError as ClusterError
    from project.core.errors import InputError as InputError
    from project.core.errors import JobEnded as JobEnded
    from project.core.errors import JobferryError as JobferryError
    from project.core.errors import UserError as UserError
    from project.core.signatures import SignatureError as SignatureError
    from project.core.signatures import sign_message as sign_message
    from project.core.signatures import verify_signature as verify_signature
    from project.psikapi import AnException as AnException
    from project.psikapi import BackendConfig as BackendConfig
    from project.psikapi import Callback as Callback
    from project.psikapi import Config as Config
    from project.psikapi import InvalidJobException as InvalidJobException
    from project.psikapi import Job as Job
    from project.psikapi import JobAttributes as JobAttributes
    from project.psikapi import JobManager as JobManager
    from project.psikapi import JobSpec as JobSpec
    from project.psikapi import JobState as JobState
    from project.psikapi import ResourceSpec as ResourceSpec
    from project.psikapi import SubmitException as SubmitException
    from project.psikapi import Transition as Transition
    from project.records import Event as Event
    from project.records import JobRecord as JobRecord
    from project.records import Progress as Progress
    from project.records import WaitTimeout as WaitTimeout

# Name → the module that has it.
_WHERE = {
    "AnException": "project.psikapi",
    "ApiError": "project.core.errors",
    "AsyncClient": "project.aclient",
    "BackendConfig": "project.psikapi",
    "Callback": "project.psikapi",
    "Client": "project.client",
    "ClusterError": "project.core.errors",
    "Config": "project.psikapi",
    "Event": "project.records",
    "InputError": "project.core.errors",
    "InvalidJobException": "project.psikapi",
    "Job": "project.psikapi",
    "JobAttributes": "project.psikapi",
    "JobEnded": "project.core.errors",
    "JobManager": "project.psikapi",
    "JobRecord": "project.records",
    "JobSpec": "project.psikapi",
    "JobState": "project.psikapi",
    "JobferryError": "project.core.errors",
    "Progress": "project.records",
    "ResourceSpec": "project.psikapi",
    "SignatureError": "project.core.signatures",
    "SubmitException": "project.psikapi",
    "Transition": "project.psikapi",
    "UserError": "project.core.errors",
    "WaitTimeout": "project.records",
    "sign_message": "project.core.signatures",
    "verify_signature": "project.core.signatures",
}

__all__ = [
    "AnException",
    "ApiError",
    "AsyncClient",
    "BackendConfig",
    "Callback",
    "Client",
    "ClusterError",
    "Config",
    "Event",
    "InputError",
    "InvalidJobException",
    "Job",
    "JobAttributes",
    "JobEnded",
    "JobManager",
    "JobRecord",
    "JobSpec",
    "JobState",
    "JobferryError",
    "Progress",
    "ResourceSpec",
    "SignatureError",
    "SubmitException",
    "Transition",
    "UserError",
    "WaitTimeout",
    "__version__",
    "sign_message",
    "verify_signature",
]


def __getattr__(name: str) -> object:
    """Load one of the public names (PEP 562)."""
    where = _WHERE.get(name)
    if where is None:
        message = f"module 'project' has no attribute {name!r}"
        raise AttributeError(message)
    import importlib

    value: object = getattr(importlib.import_module(where), name)
    globals()[name] = value
    return value


def __dir__() -> "list[str]":
    return sorted({*globals(), *__all__})
