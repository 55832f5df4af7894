"""The files of `scripts/` beside the batch script: what the job runs, and what cancels or submits it by hand."""

import os

from project.agent.runner import own_command
from project.core import files, payload
from project.core.jobspec import JobSpec
from project.core.paths import JobPaths
from project.core.process import quote

_CANCEL = """\
#!/bin/sh
# jobferry: cancels job {uuid}, whether it waits, runs or is not submitted yet. Run it on the login node: sh {name}
# It does what `jobferry cancel` does: the agent writes the wish down and tells the workload manager.
exec {agent} cancel {root} {uuid}
"""
_SUBMIT = """\
#!/bin/sh
# jobferry: goes on with the submission of job {uuid} where it stopped. Run it on the login node: sh {name}
# A job that is in the queue, runs or has ended stays as it is: this never makes a second one. A new run of the same job
# is made by `jobferry start`, never by giving scripts/job to the workload manager: nobody would follow it.
{agent} carry-on {root} {workdir} {uuid} || exit
tail -n 1 {status}
"""


def write(paths: JobPaths, spec: JobSpec, root: str) -> None:
    """Write `scripts/run` (of a job with a `script`), `scripts/cancel` and `scripts/submit`. Raises OSError.

    Only the first is synced: the job does not need the others.
    """
    if spec.script:
        files.write_atomic(paths.run, payload.run_text(spec.script).encode("utf-8", "surrogateescape"), 0o700)
    words = {
        "uuid": paths.uuid,
        "agent": " ".join(quote(word) for word in own_command()),
        "root": quote(root),
        "workdir": quote(paths.workdir),
        "status": quote(paths.status_csv),
    }
    for path, text in ((paths.script_cancel, _CANCEL), (paths.script_submit, _SUBMIT)):
        files.write_atomic(path, text.format(name=os.path.basename(path), **words), 0o700, sync=False)
