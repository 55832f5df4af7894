"""Follow jobs until they have ended. Without a UUID: every job that lives."""

import argparse

from project.commands import follow
from project.commands.base import Answer, Session, selection_arguments
from project.render.text import plural

EXAMPLES = """\
exit code: 0 when every job finished well, 5 when one did not

examples:
  {prog} watch
  {prog} watch 1f2e3d
  {prog} watch -l project=demo
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `watch`."""
    selection_arguments(parser)


def run(session: Session) -> Answer:
    """Wait, telling each change of state."""
    args = session.args
    if args.jobs or args.selector or args.state:
        documents, _ = session.selected()
    else:
        documents = session.all_jobs({"state": "LIVE"})
    if not documents:
        return Answer(data={"jobs": []}, aside="No job lives.")
    session.output.watching = [document["job_uuid"] for document in documents]
    with session.ui.step(f"Watching {plural(len(documents), 'job')}"):
        for document in documents:
            session.ui.say(follow.change(document))
        ended = follow.to_the_end(session, documents)
    asides = [follow.epilogue(session, document) for document in ended] if len(ended) == 1 else []
    return Answer(
        data={"jobs": ended},
        aside="\n".join(asides),
        ids=[document["job_uuid"] for document in ended],
        exit_code=follow.exit_code(ended),
    )
