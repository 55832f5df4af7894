"""Who logs in with which key: flags, then the input file, then what is remembered, then the SSH configuration."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from project.engine import remembered
from project.transports import ssh_keys
from project.transports.base import Login

if TYPE_CHECKING:
    from project.engine.context import Context
    from project.engine.ui import Ui


def from_input(context: "Context", data: Mapping[str, Any], folder: str | Path) -> Login:
    """The login of an input. Its passphrase belongs to its own key, not to another one named by a flag."""
    key = str(data.get("private_key") or "")
    own = not context.private_key and bool(key)
    return Login(
        username=context.username or str(data.get("username") or ""),
        private_key=_absolute(context.private_key, ".") or _absolute(key, folder),
        passphrase=str(data.get("passphrase") or "") if own else "",
    )


def resolve(context: "Context", cluster: Mapping[str, Any], document: Mapping[str, Any] | None) -> Login:
    """The login for a later verb on a job (or on a cluster, without one)."""
    known = remembered.load(context.home, str(document["job_uuid"])) if document else {}
    asked = (document or {}).get("user_input") or {}
    same = known.get("cluster") in {None, cluster.get("name")}
    key = context.private_key or (str(known.get("private_key") or "") if same else "")
    login = Login(
        username=context.username or str(known.get("username") or asked.get("username") or ""),
        private_key=_absolute(key, "."),
    )
    if context.private_key or not login.private_key:
        return login
    return login._replace(passphrase=_passphrase(str(known.get("input") or "")))


def look_at_flag(context: "Context") -> None:
    """See that the key of `--private-key` is one, where nothing else would. Raises UserError."""
    if context.private_key:
        ssh_keys.describe(_absolute(context.private_key, "."))


def unlock(login: Login, ui: "Ui") -> Login:
    """Import what connecting needs while the probes wait for the network, and look at the key.

    The login with its key unlocked, if that needs a passphrase: a wrong one is found before anything is recorded. Raises
    UserError.
    """
    encrypted = bool(login.private_key) and ssh_keys.describe(login.private_key).encrypted
    # Not in a thread: two threads that import libraries with circular imports see half of them.
    from project.transports import ssh

    ssh.prepare()
    return login._replace(key=ssh_keys.load(login.private_key, login.passphrase, ui)) if encrypted else login


def _passphrase(path: str) -> str:
    """The passphrase in the job's input file, if that is still there."""
    if not path or not os.path.isfile(path):
        return ""
    from project.core.errors import JobferryError
    from project.spec import loader

    try:
        return loader.load(path).text("passphrase")
    except (JobferryError, OSError):
        # The file may have become anything since; there are other sources of a passphrase.
        return ""


def _absolute(path: str, folder: str | Path) -> str:
    """`path` as the user meant it: `~`, beside the input file, else from the current folder."""
    if not path:
        return ""
    expanded = os.path.expanduser(path)
    beside = os.path.join(folder, expanded)
    return os.path.abspath(beside if os.path.exists(beside) else expanded)
