"""Keep waiting jobs from starting, until they are released."""

import argparse

from project.commands import act
from project.commands.base import Answer, Session, selection_arguments

EXAMPLES = """\
examples:
  {prog} hold 1f2e3d
  {prog} hold -l project=demo --yes
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `hold`."""
    selection_arguments(parser)


def run(session: Session) -> Answer:
    """Do it to every named job."""
    from project.engine import control

    return act.on_selected(session, "hold", "holding", "held", control.hold)
