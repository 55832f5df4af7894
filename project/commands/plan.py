"""Show everything that a submission would do, doing none of it: cluster, files, commands, the exact batch script.

FILE is an input, or a job specification of psik or PSI/J, as `run` takes it.
"""

import argparse
from typing import Any

from project.commands import run as run_verb
from project.commands import submit
from project.commands.base import Answer, Session
from project.render import plan

EXAMPLES = """\
examples:
  {prog} plan input.yml
  {prog} plan input.yml --set resources.duration=2h
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `plan`."""
    parser.add_argument("file", metavar="FILE", help="the input file (YAML), or a specification of psik or PSI/J")
    parser.add_argument("-m", "--module", "--modules", metavar="MODULES", dest="module", help="a modules file (YAML)")
    submit.choices(parser, plan=True)
    parser.set_defaults(config="", here=False)


def run(session: Session) -> Answer:
    """Plan."""
    from project.engine.planning import plan as planned
    from project.spec import specfile

    wanted = run_verb.request(session) if specfile.foreign(session.args.file) else submit.request(session)
    found: dict[str, Any] = planned(session.context, wanted)
    return Answer(data=found, text=plan.page(found, session.output))
