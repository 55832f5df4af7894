"""Run the API server (the same as `python -m api_srv`), with the settings of config.yml too."""

import argparse
import os

from project import bootstrap
from project.commands.base import Answer, Session

EXAMPLES = """\
examples:
  {prog} serve
  {prog} serve --listen 0.0.0.0:7676
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `serve`."""
    parser.add_argument("--listen", metavar="ADDRESS", help="address to listen on (JOBFERRY_LISTEN, 127.0.0.1:7676)")


def run(session: Session) -> Answer:
    """Serve until interrupted."""
    os.environ.update(session.settings.environment())
    if session.args.listen:
        os.environ["JOBFERRY_LISTEN"] = session.args.listen
    return Answer(data={}, exit_code=bootstrap.serve())
