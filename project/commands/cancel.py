"""Cancel jobs. The workload manager confirms it."""

import argparse

from project.commands import act
from project.commands.base import Answer, Session, selection_arguments

EXAMPLES = """\
examples:
  {prog} cancel 1f2e3d
  {prog} cancel -l project=demo --yes
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `cancel`."""
    selection_arguments(parser)


def run(session: Session) -> Answer:
    """Do it to every named job."""
    from project.engine import control

    return act.on_selected(session, "cancel", "cancelling", "cancelled", control.cancel)
