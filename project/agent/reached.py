"""The op `reached` (psik's verb): a job's own steps, told by whoever runs them.

What is told becomes a note in the job's history and a row of status.csv, and the watcher looks at once. The job's state stays what its
workload manager and its batch script say: a step that is over is no job that is over, and a final state never changes.
"""

from typing import TYPE_CHECKING, Any, Dict, TextIO

from project.agent import spawn
from project.agent.folder import Folder, is_uuid
from project.core import files, psikrows
from project.core.errors import UserError
from project.core.paths import Root

if TYPE_CHECKING:
    from project.agent.serve import Session


def reached(session: "Session", request: Dict[str, Any]) -> Dict[str, Any]:
    """Serve `reached`. Raises UserError."""
    folder = Folder(session.workdir(request), str(request.get("uuid")))
    told = tell(folder, request.get("jobndx"), str(request.get("state")), str(request.get("info") or ""))
    spawn.ring(session.root)
    return told


def tell(folder: Folder, jobndx: Any, state: str, info: str) -> Dict[str, Any]:
    """Record that run `jobndx` of a job has reached `state`, one of psik's words; the job's state.

    `info` is one line; psik 1.2 reads whole numbers there only. Raises UserError for what is no such thing or no such job.
    """
    number = psikrows.check(jobndx, state, info)
    if not folder.taken():
        raise UserError("The job {} is not known in {}.".format(folder.uuid, folder.paths.workdir))
    with folder.change() as change:
        message = "reached {} (run {}){}".format(state, number, ": " + info if info else "")
        change.add("note", message=message, data={"reached": state, "jobndx": number, "info": info})
        now = change.record.state
    files.append_line(folder.paths.status_csv, psikrows.row(number, state, info))
    return {"state": now}


def reached_here(root: str, uuid: str, jobndx: str, state: str, info: str, out: TextIO) -> int:
    """The agent's own command line: as `reached`, of a job of this root; the exit status."""
    place = Root(root)
    folder = Folder(spawn.workdir_of(place, uuid) if is_uuid(uuid) else place.jobs, uuid)
    try:
        told = tell(folder, jobndx, state, info)
    except UserError as error:
        out.write("{}\n".format(error))
        return error.exit_code
    out.write("{} {}\n".format(uuid, told["state"]))
    spawn.ring(place)
    return 0
