"""Forget jobs and remove their folders on the cluster. A job that lives must be cancelled first, or use --force."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from project.commands import act
from project.commands.base import Answer, Document, Session, selection_arguments
from project.core.errors import ClusterError

EXAMPLES = """\
examples:
  {prog} rm 1f2e3d
  {prog} rm --state FAILED --yes
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `rm`."""
    selection_arguments(parser)
    parser.add_argument(
        "--force", action="store_true", help="cancel jobs that live; forget ended ones whose cluster is gone"
    )


def run(session: Session) -> Answer:
    """Remove every named job."""
    from project.engine import control

    def remove(context: Any, documents: Sequence[Document]) -> Sequence[Any]:
        return control.remove(context, list(documents), force=session.args.force)

    answer = act.on_selected(session, "remove", "removing", "removed", remove)
    if answer.exit_code == ClusterError.exit_code and not session.args.force:
        hint = "`--force` forgets an ended job whose cluster cannot be asked; its folder there stays."
        return replace(answer, aside=f"{answer.aside}\n{hint}")
    return answer
