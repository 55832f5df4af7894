"""Set tags (`key=value`) on jobs, or take them away (`key-`)."""

import argparse

from project.commands import act
from project.commands.base import Answer, Session, selection_arguments
from project.core import schema
from project.core.errors import InputError, UserError

EXAMPLES = """\
examples:
  {prog} tag 1f2e3d project=demo
  {prog} tag 1f2e3d project-                   take the tag away
  {prog} tag -l project=demo year=2026 --yes
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `tag`: UUIDs and tags may come in any order."""
    selection_arguments(parser)


def run(session: Session) -> Answer:
    """Change the tags of every named job."""
    words = list(session.args.jobs)
    wanted = {word.partition("=")[0]: word.partition("=")[2] for word in words if "=" in word}
    unwanted = [word[:-1] for word in words if "=" not in word and word.endswith("-")]
    session.args.jobs = [word for word in words if "=" not in word and not word.endswith("-")]
    if not wanted and not unwanted:
        raise UserError("No tag is given.", "A tag is `key=value`; `key-` takes one away.")
    if "" in wanted or "" in unwanted:
        raise UserError("A tag has an empty name.", "A tag is `key=value`.")
    found = schema.problems({"user_input": {}, "tags": wanted}, schema.load("job"))
    if found:
        raise InputError(found, "tags")
    documents, by_selector = session.selected()
    session.sure(f"Change the tags of {len(documents)} jobs?", bulk=by_selector and len(documents) > 1)
    deeds = []
    for document in documents:
        old = dict(document.get("tags") or {})
        new = {key: value for key, value in {**old, **wanted}.items() if key not in unwanted}
        if new == old:
            deeds.append(act.Deed(document["job_uuid"], changed=True, reason="had them already", document=document))
            continue
        session.api.patch(document["job_uuid"], {"tags": new})
        deeds.append(act.Deed(document["job_uuid"], changed=True, reason="", document={**document, "tags": new}))
    return act.report(deeds, "tagged")
