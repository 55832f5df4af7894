"""The server's settings, read from the environment once (names: docs/server.md)."""

import os
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from project.core.errors import UserError

DEFAULT_LISTEN = "127.0.0.1:7676"


class Settings(NamedTuple):
    """See the table in docs/server.md. `home` is absolute."""

    home: str
    mongo_url: str = ""
    mongo_db: str = "jobferry"
    listen: str = DEFAULT_LISTEN
    public_url: str = ""
    smtp_url: str = ""
    mail_from: str = ""
    allow_private_webhooks: bool = False
    callback_key: str = ""
    admin_user: str = ""
    admin_password: str = ""

    def __repr__(self) -> str:
        """Without addresses that may hold passwords."""
        return f"Settings(home={self.home!r}, listen={self.listen!r})"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on. Raises UserError."""
        host, _, port = self.listen.rpartition(":")
        if not (port.isascii() and port.isdigit()) or int(port) > 65535:
            message = f"JOBFERRY_LISTEN is {self.listen!r}, which is no host:port."
            raise UserError(message, f"Write it like {DEFAULT_LISTEN}.")
        return host.strip("[]") or "127.0.0.1", int(port)


def read(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings in `environment` (default: the process's). Raises UserError for a value that cannot be used."""
    env = os.environ if environment is None else environment
    public_url = env.get("JOBFERRY_PUBLIC_URL", "").rstrip("/")
    if public_url and not _is_public_url(public_url):
        message = f"JOBFERRY_PUBLIC_URL is {public_url.rpartition('@')[2]!r}."
        raise UserError(message, "It must be an http:// or https:// address without credentials.")
    settings = Settings(
        home=home(env),
        mongo_url=env.get("JOBFERRY_MONGO_URL", ""),
        mongo_db=env.get("JOBFERRY_MONGO_DB", "") or "jobferry",
        listen=env.get("JOBFERRY_LISTEN", "") or DEFAULT_LISTEN,
        public_url=public_url,
        smtp_url=env.get("JOBFERRY_SMTP_URL", ""),
        mail_from=env.get("JOBFERRY_MAIL_FROM", ""),
        allow_private_webhooks=env.get("JOBFERRY_ALLOW_PRIVATE_WEBHOOKS", "") == "1",
        callback_key=env.get("JOBFERRY_CALLBACK_KEY", ""),
        admin_user=env.get("JOBFERRY_ADMIN_USER", ""),
        admin_password=env.get("JOBFERRY_ADMIN_PASSWORD", ""),
    )
    _ = settings.address
    return settings


def _is_public_url(text: str) -> bool:
    """An address that every cluster's client can call."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return usable and "@" not in parts.netloc and all("!" <= character <= "~" for character in text)


def home(environment: Mapping[str, str]) -> str:
    """The folder of the embedded database: JOBFERRY_HOME or the user's data folder."""
    given = environment.get("JOBFERRY_HOME", "")
    if given:
        return os.path.abspath(os.path.expanduser(given))
    import platformdirs

    return str(platformdirs.user_data_dir("jobferry"))
