"""`~/.ssh/config` as OpenSSH would read it, `Include` too (paramiko's reader leaves that out)."""

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from project.core.errors import UserError

if TYPE_CHECKING:
    from paramiko.config import SSHConfig

USER_FILE = "~/.ssh/config"
SYSTEM_FILE = "/etc/ssh/ssh_config"
# ssh_config(5): at most 16 levels of Include.
_DEPTH = 16


def present() -> bool:
    """True when this user or machine has an SSH configuration at all."""
    return os.path.exists(os.path.expanduser(USER_FILE)) or os.path.exists(SYSTEM_FILE)


def load() -> "SSHConfig":
    """The user's file, then the system's: for every keyword the first value found counts.

    Raises UserError for a file that cannot be understood.
    """
    from paramiko.config import SSHConfig
    from paramiko.ssh_exception import ConfigParseError

    text = _text(Path(USER_FILE).expanduser(), Path("~/.ssh").expanduser(), _DEPTH)
    # A Host block of the user's file must not swallow the system's first lines.
    text += "\nHost *\n" + _text(Path(SYSTEM_FILE), Path("/etc/ssh"), _DEPTH)
    try:
        return SSHConfig.from_text(text)
    except ConfigParseError as error:
        raise UserError(f"The SSH configuration ({USER_FILE}) cannot be understood: {error}.") from error


def _text(path: Path, base: Path, depth: int) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise UserError(f"The SSH configuration {path} cannot be read ({error.strerror}).") from error
    result: list[str] = []
    block = "Host *"
    for line in lines:
        words = line.replace("=", " ", 1).split()
        keyword = words[0].lower() if words else ""
        if keyword in {"host", "match"}:
            block = line
        if keyword != "include":
            result.append(line)
            continue
        for pattern in words[1:]:
            place = os.path.join(base, os.path.expanduser(pattern.strip('"')))
            for name in sorted(glob.glob(place)) if depth else ():
                result.append(_text(Path(name), base, depth - 1))
                # What follows the Include belongs to the block in which it stands.
                result.append(block)
    return "\n".join(result) + "\n"


def lookup(hostname: str) -> dict[str, Any]:
    """What the configuration says of `hostname`: lower-case keywords; `hostname` is the real one."""
    return dict(load().lookup(hostname))
