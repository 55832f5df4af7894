"""Show the callbacks of a job with every attempt, or send them once more."""

import argparse

from project.commands.base import Answer, Session, program
from project.core.errors import UserError
from project.render import deliveries

EXAMPLES = """\
examples:
  {prog} deliveries 1f2e3d
  {prog} deliveries 1f2e3d --replay 5f0c2b
  {prog} deliveries 1f2e3d --replay all
"""
MIN_PREFIX = 6


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `deliveries`."""
    parser.add_argument("job", metavar="UUID", help="the job, by 6 or more characters of its UUID")
    parser.add_argument(
        "--replay",
        metavar="ID",
        help="send this one again, by 6 or more characters of its id; `all`: every one that is undeliverable",
    )


def run(session: Session) -> Answer:
    """Show them, oldest first."""
    document = session.document(session.args.job)
    uuid = document["job_uuid"]
    again = _chosen(session) if session.args.replay else []
    for delivery in again:
        session.api.replay(uuid, delivery)
    found = session.api.deliveries(uuid)
    return Answer(
        data={"job_uuid": uuid, "deliveries": found, "replayed": again},
        text=deliveries.listing(found, session.output),
        aside=_aside(session, again, found, bool(document.get("callback"))),
        ids=again if session.args.replay else [one["id"] for one in found],
    )


def _chosen(session: Session) -> list[str]:
    """The ids that `--replay` means. Raises UserError when it means none, or more than one."""
    found = session.api.deliveries(session.args.job)
    wanted = session.args.replay.lower()
    if wanted == "all":
        return [one["id"] for one in found if one["delivery"] == "undeliverable"]
    fitting = [one["id"] for one in found if one["id"].startswith(wanted)]
    if len(fitting) != 1 or len(wanted) < MIN_PREFIX:
        what = "No delivery" if not fitting else "More than one delivery" if len(fitting) > 1 else "Too short an id"
        raise UserError(f"{what}: {session.args.replay}.", f"`{program()} deliveries UUID` shows their ids.")
    return fitting


def _aside(session: Session, again: list[str], found: "list[dict[str, object]]", has_callback: bool) -> str:
    if session.args.replay:
        return f"{len(again)} sent again." if again else "Nothing is undeliverable."
    if found:
        return ""
    return "Nothing was to be told yet." if has_callback else "The job has no callback."
