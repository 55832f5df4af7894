"""Every error jobferry raises on purpose, sorted by who must act.

JobferryError
 ├─ UserError      exit code 2   the input or the call is wrong; nothing was sent
 │   └─ InputError                all the problems of one file at once
 ├─ ClusterError   exit code 3   unreachable, refused, rejected
 ├─ ApiError       exit code 4   the API server is away or says no
 ├─ JobEnded       exit code 5   the job itself ended unsuccessfully
 ├─ Bug            exit code 70  ours
 └─ Interrupted    exit code 130
"""

from typing import Any, Dict, List, NamedTuple, Optional, Type


class JobferryError(Exception):
    """An error with a message for people.

    :param message: what is wrong, and where.
    :param hint: what to do about it.
    :param transient: True when the same call may succeed later.
    :param condition: the job's `condition` if this error ends a job.

    `job_uuid` is the job that was recorded before it was raised, "" when there is none (set by `project.Client.submit`).
    """

    exit_code = 70
    job_uuid = ""

    def __init__(
        self, message: str, hint: str = "", transient: bool = False, condition: str = "internal_error"
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.transient = transient
        self.condition = condition

    def __str__(self) -> str:
        return self.message + (" " + self.hint if self.hint else "")


class UserError(JobferryError):
    """The input or the call is wrong; the user corrects it."""

    exit_code = 2


class ClusterError(JobferryError):
    """The cluster's side failed: unreachable, refused, rejected."""

    exit_code = 3

    def __init__(self, message: str, hint: str = "", transient: bool = False, condition: str = "unreachable") -> None:
        super().__init__(message, hint, transient, condition)


class ApiError(JobferryError):
    """The API's side failed. `status` is the HTTP status, 0 when there was no answer."""

    exit_code = 4

    def __init__(self, message: str, hint: str = "", transient: bool = False, status: int = 0) -> None:
        super().__init__(message, hint, transient)
        self.status = status


class JobEnded(JobferryError):
    """The job itself ended unsuccessfully."""

    exit_code = 5


class Bug(JobferryError):
    """Something that cannot happen did."""

    exit_code = 70


class Interrupted(JobferryError):
    """The user pressed Ctrl-C."""

    exit_code = 130


class Problem(NamedTuple):
    """One thing wrong in an input. `key` is dotted (`resources.duration`); line and column count from 1, 0 = unknown."""

    key: str
    message: str
    value: Any = None
    hint: str = ""
    file: str = ""
    line: int = 0
    column: int = 0

    def text(self) -> str:
        """One line: where, key, what, hint."""
        where = self.file
        if self.line:
            where += ":{}:{}".format(self.line, self.column)
        parts = [part for part in (where, self.key) if part]
        line = ": ".join(parts + [self.message])
        return line + (" " + self.hint if self.hint else "")


class InputError(UserError):
    """All the problems of one input at once."""

    def __init__(self, problems: List[Problem], what: str = "input") -> None:
        self.problems = list(problems)
        if len(self.problems) == 1:
            message = self.problems[0].text()
        else:
            head = "{} problems in the {}:".format(len(self.problems), what)
            message = "\n".join([head] + ["  " + problem.text() for problem in self.problems])
        super().__init__(message)


_BY_NAME: Dict[str, Type[JobferryError]] = {
    cls.__name__: cls for cls in (JobferryError, UserError, ClusterError, ApiError, JobEnded, Bug, Interrupted)
}


def to_wire(error: JobferryError) -> Dict[str, Any]:
    """The error as fields of a protocol message; `from_wire` is its inverse."""
    name = "UserError" if isinstance(error, InputError) else type(error).__name__
    return {
        "type": "error",
        "error": name if name in _BY_NAME else "JobferryError",
        "message": error.message,
        "hint": error.hint,
        "transient": error.transient,
        "condition": error.condition,
    }


def from_wire(fields: Dict[str, Any]) -> JobferryError:
    """The error that the other side raised."""
    cls = _BY_NAME.get(str(fields.get("error")), JobferryError)
    error = cls(str(fields.get("message", "")), str(fields.get("hint", "")), bool(fields.get("transient")))
    condition: Optional[str] = fields.get("condition")
    if condition:
        error.condition = condition
    return error
