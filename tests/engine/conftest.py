"""A context with the embedded API and the built-in cluster: everything is real, nothing is installed."""

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from api_srv.embedded import EmbeddedApi
from project import spec
from project.core.api_client import ApiClient
from project.core.states import FINAL
from project.engine import submission, sync
from project.engine.context import Context
from project.engine.ui import SilentUi

PATIENCE = 60.0


class Engine:
    """The engine on a home of its own."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home = home
        self.folder = folder
        self.ui = SilentUi()
        self.api = ApiClient(EmbeddedApi(home).call)
        self._contexts = []
        self.context = self.new_context()

    def new_context(self, **more):
        made = Context(**{"api": self.api, "ui": self.ui, "home": self.home, **more})
        self._contexts.append(made)
        return made

    def request(self, text="", modules=None, name="input.yml", **more):
        path = self.folder / name
        path.write_text(text)
        return submission.Request(
            loaded=spec.load_input(path),
            modules=spec.load_modules(modules) if modules else None,
            modules_file=str(modules or ""),
            **more,
        )

    def submit(self, text, modules=None, **more):
        return submission.submit(self.context, self.request(text, modules, **more))

    def until(self, uuid, *states):
        """The job's document once it is in one of the states (none named: at its end)."""
        deadline = time.monotonic() + PATIENCE
        while True:
            (document,) = sync.refresh(self.context, [self.api.job(uuid)])
            if document["state"] in (states or FINAL):
                return document
            if time.monotonic() > deadline:
                raise AssertionError(f"{uuid} is {document['state']}: {self.api.events(uuid)}")
            time.sleep(0.1)

    def kinds(self, uuid):
        return [event["kind"] for event in self.api.events(uuid)]

    def stop(self):
        for context in self._contexts:
            context.close()
        for pid in watchers(self.home):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def watchers(home):
    """Processes of this home's agents, by their command line."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry.name}/cmdline", "rb") as stream:
                words = stream.read().split(b"\0")
                if os.fsencode(home / "local") in words or any(w.startswith(os.fsencode(home)) for w in words):
                    found.append(int(entry.name))
    return [pid for pid in found if pid != os.getpid()]


@pytest.fixture
def engine(tmp_path):
    folder = tmp_path / "it's a folder; touch x #"
    folder.mkdir()
    made = Engine(tmp_path / "home", folder)
    yield made
    made.stop()
