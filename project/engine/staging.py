"""The staging modules: they run here, before anything is sent."""

import shutil
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from project.core.errors import Interrupted, JobferryError

if TYPE_CHECKING:
    from project.core.modulesfile import Step
    from project.engine.journal import Journal
    from project.engine.ui import Ui


def run(steps: Sequence["Step"], data: dict[str, Any], journal: "Journal", ui: "Ui") -> dict[str, Any]:
    """The input after the staging modules; the secrets in it are kept from them and stay as they were.

    A failure on a terminal asks whether to go on with the input as it was (as MASI-TFE does). Raises UserError
    (`input_staging_failed`) elsewhere, and Interrupted when the answer is no.
    """
    if not steps:
        return data
    from project.core import modules

    def on_event(kind: str, **fields: Any) -> None:
        journal.add(kind, **fields)

    folder = tempfile.mkdtemp(prefix="jobferry-staging-")
    try:
        with ui.step(f"Staging modules ({', '.join(step.module for step in steps)})"):
            return modules.run_stage(steps, data, folder, on_event)
    except Interrupted:
        raise
    except JobferryError as error:
        if not ui.interactive:
            raise
        ui.warn(str(error))
        if ui.confirm("A staging module failed. Submit the job without what the staging modules change?"):
            journal.add("note", message="The user went on after a failed staging module.")
            return data
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
