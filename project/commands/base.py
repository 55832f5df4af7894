"""What every verb works with: the session, and the choice of jobs by name or by selector."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from project import bootstrap, settings
from project.core.errors import ApiError, ClusterError, UserError
from project.core.states import FINAL
from project.render.output import Answer, Output, program

if TYPE_CHECKING:
    from project.core.api_client import ApiClient
    from project.engine.context import Context
    from project.engine.ui import Ui

__all__ = ["Answer", "Document", "Session", "program", "selection_arguments"]

Document = dict[str, Any]


class Session:
    """One call of the program. Its parts are made when they are first wanted."""

    def __init__(self, args: argparse.Namespace, output: Output) -> None:
        self.args = args
        self.output = output
        self._settings: settings.Settings | None = None
        self._ui: Ui | None = None
        self._way: bootstrap.Api | None = None
        self._api: ApiClient | None = None
        self._context: Context | None = None
        self._told: set[str] = set()

    def close(self) -> None:
        """Close every connection; send the mails that wait, for a few seconds at most."""
        if self._context is not None:
            self._context.close()
        if self._way is not None:
            try:
                self._way.deliver(MAIL_SECONDS)
            except ApiError as error:
                self.output.warn(f"Mails wait in the outbox: {error}")
            finally:
                self._way.close()
        if self._settings is not None:
            self._go_on()

    def _go_on(self) -> None:
        """See to it that somebody goes on with the submissions that are blocked on this machine."""
        home = self.settings.home
        if not (home / "submitting").exists():
            return
        from project.engine import retrier

        try:
            retrier.ensure(home, "project.retrier")
        except OSError as error:
            self.output.warn(f"Blocked submissions do not go on by themselves ({error.strerror}).")

    @property
    def settings(self) -> settings.Settings:
        """The settings in force."""
        if self._settings is None:
            self._settings = settings.load()
        return self._settings

    @property
    def ui(self) -> "Ui":
        """The way to show progress and to ask."""
        if self._ui is None:
            from project.render import terminal

            self._ui = terminal.make(self.output, no_input=self.args.no_input)
        return self._ui

    @property
    def api(self) -> "ApiClient":
        """The API, embedded or over HTTP."""
        if self._api is None:
            from project.commands import heard

            heard.listen(self.output)
            self._way = bootstrap.open_api(self.settings)
            self._api = bootstrap.api_client(self._way.call, self._noted)
        return self._api

    def _noted(self, uuid: str) -> None:
        """A job was recorded: what Ctrl-C would now leave behind."""
        self.output.current = uuid

    @property
    def context(self) -> "Context":
        """What the engine works with; it keeps connections open until the call ends."""
        if self._context is None:
            self._context = bootstrap.context(
                self.settings,
                self.api,
                self.ui,
                no_input=not self.ui.interactive or bool(getattr(self.args, "asks_nothing", False)),
                accept_new_host_key=bool(getattr(self.args, "accept_new_host_key", False)),
                username=self.args.username or "",
                private_key=self.args.private_key or "",
            )
        return self._context

    def document(self, name: str) -> Document:
        """The document of the job with that UUID or prefix. Raises UserError when there is none or more than one."""
        from project.engine import lookup

        return lookup.find(self.api, name, f"`{program()} ls` lists the jobs with their UUIDs.")

    def fresh(self, documents: Sequence[Document]) -> list[Document]:
        """The same documents with what happened meanwhile. A cluster that does not answer is a warning, not an error."""
        if all(document.get("state") in FINAL for document in documents):
            return list(documents)
        from project.engine import sync
        from project.engine.ui import ToldOnce

        # `watch` comes here every few seconds; a cluster that stays away is worth one line.
        context = replace(self.context, ui=ToldOnce(self.ui, self._told))
        try:
            return list(sync.refresh(context, list(documents)))
        except ClusterError as error:
            self.output.warn(f"The newest state is not known: {error}")
            return list(documents)

    def fresh_document(self, name: str) -> Document:
        """`document`, with what happened meanwhile."""
        return self.fresh([self.document(name)])[0]

    def selected(self) -> "tuple[list[Document], bool]":
        """The jobs that the call names, and whether it does so by a selector. Raises UserError when it names none."""
        names = list(self.args.jobs)
        filters = job_filters(self.args)
        if names and filters:
            raise UserError("Name jobs by their UUIDs or by a selector, not both.", "Leave one of them out.")
        if not names and not filters:
            raise UserError("No job is named.", "Give a UUID, or a selector such as `-l project=demo`.")
        if names:
            found = [self.document(name) for name in names]
            return list({document["job_uuid"]: document for document in found}.values()), False
        return self.all_jobs(filters), True

    def all_jobs(self, filters: "dict[str, str]", limit: int = 0) -> list[Document]:
        """Every job that the filters match, newest first; `limit` 0 is no limit."""
        from project.engine import lookup

        return [document for page in lookup.pages(self.api, filters, limit) for document in page]

    def sure(self, question: str, *, bulk: bool) -> None:
        """Ask before something is done to many jobs. Raises UserError where nobody can answer and `--yes` is missing."""
        if not bulk or self.args.yes:
            return
        if not self.ui.interactive:
            raise UserError(f"{question} Nobody can be asked here.", "Add `--yes` to do it.")
        if not self.ui.confirm(question):
            raise UserError("Nothing was done.", "")


MAIL_SECONDS = 5.0


def job_filters(args: argparse.Namespace) -> dict[str, str]:
    """`-l` and `--state` as the API's filters."""
    from project.engine import lookup

    return lookup.filters(args.selector, args.state)


def selection_arguments(parser: argparse.ArgumentParser, *, act: bool = True) -> None:
    """The options that choose jobs."""
    if act:
        parser.add_argument("jobs", nargs="*", metavar="UUID", help="a job, by 6 or more characters of its UUID")
    parser.add_argument(
        "-l", "--selector", action="append", metavar="K=V", help="jobs with this tag: k=v, k!=v, k or !k (repeatable)"
    )
    parser.add_argument(
        "--state", action="append", metavar="STATE", help="jobs in this state, or LIVE, or FINAL (repeatable)"
    )
    if act:
        parser.add_argument("--yes", action="store_true", help="do not ask before acting on many jobs")


def tags(words: "Sequence[str] | None") -> dict[str, str]:
    """`k=v` words as a dictionary. Raises UserError for a word that is not of that form."""
    found: dict[str, str] = {}
    for word in words or ():
        key, equals, value = word.partition("=")
        if not equals or not key.strip():
            raise UserError(f"{word!r} is not a tag.", "A tag is `key=value`, for example `--tag project=demo`.")
        found[key.strip()] = value
    return found
