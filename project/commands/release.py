"""Let held jobs go on."""

import argparse

from project.commands import act
from project.commands.base import Answer, Session, selection_arguments

EXAMPLES = """\
examples:
  {prog} release 1f2e3d
  {prog} release -l project=demo --yes
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `release`."""
    selection_arguments(parser)


def run(session: Session) -> Answer:
    """Do it to every named job."""
    from project.engine import control

    return act.on_selected(session, "release", "releasing", "released", control.release)
