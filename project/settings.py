"""Settings: flags win over the environment, the environment over `config.yml` in the user's config folder.

Only names and rules are here. Nothing is read before `load` is called, and YAML is imported only if there is a file.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from project.core.errors import UserError
from project.core.words import did_you_mean

PREFIX = "JOBFERRY_"
APP = "jobferry"


class Setting(NamedTuple):
    """One setting: its key in config.yml, what it means, and whether its value may never be shown."""

    key: str
    meaning: str
    secret: bool = False

    @property
    def variable(self) -> str:
        """The environment variable of the same setting."""
        return PREFIX + self.key.upper()


SETTINGS = (
    Setting("home", "data of the embedded default: database, local jobs, caches"),
    Setting("api_url", "API server for the command line; unset: the embedded default, in process"),
    Setting("api_user", "user name for the API server"),
    Setting("api_password", "password for the API server", secret=True),
    Setting("api_token", "bearer token instead of user name and password", secret=True),
    Setting("mongo_url", "the server's MongoDB; unset: the embedded database", secret=True),
    Setting("mongo_db", "name of the database in MongoDB"),
    Setting("listen", "address the server listens on"),
    Setting("public_url", "address under which clusters reach the server"),
    Setting("smtp_url", "smtp://[user:password@]host:port[?starttls=1] or smtps://…; unset: mails wait", secret=True),
    Setting("mail_from", "sender of mails"),
    Setting("allow_private_webhooks", "1 lets webhooks go to loopback and private addresses"),
    Setting("callback_key", "key that seals the secrets of callbacks; unset: a file in the home", secret=True),
    Setting("admin_user", "the first account of a server that has none"),
    Setting("admin_password", "its password", secret=True),
)
_BY_KEY = {setting.key: setting for setting in SETTINGS}


@dataclass(frozen=True)
class Settings:
    """The settings in force. Values are never in its repr: some are secrets."""

    values: Mapping[str, str] = field(repr=False)
    config_file: Path = Path()

    def get(self, key: str, default: str = "") -> str:
        """The value of a key of `SETTINGS`."""
        return self.values.get(key) or default

    @property
    def home(self) -> Path:
        """The folder of the embedded default's data."""
        chosen = self.get("home")
        if chosen:
            return Path(chosen).expanduser().absolute()
        import platformdirs

        return Path(platformdirs.user_data_dir(APP, appauthor=False))

    def environment(self) -> dict[str, str]:
        """The settings as environment variables, for the server that `serve` starts."""
        return {_BY_KEY[key].variable: value for key, value in self.values.items() if value}


def config_file(environ: Mapping[str, str]) -> Path:
    """Where the user's config.yml is looked for."""
    folder = environ.get("XDG_CONFIG_HOME")
    if folder and os.path.isabs(folder):
        # What platformdirs would say on Linux; said here so that a cold command need not import it.
        return Path(folder) / APP / "config.yml"
    import platformdirs

    return Path(platformdirs.user_config_dir(APP, appauthor=False)) / "config.yml"


def load(environ: "Mapping[str, str] | None" = None, flags: "Mapping[str, str | None] | None" = None) -> Settings:
    """The settings in force. Raises UserError for a config.yml that cannot be used."""
    environ = os.environ if environ is None else environ
    path = config_file(environ)
    values = _from_file(path)
    for setting in SETTINGS:
        if environ.get(setting.variable):
            values[setting.key] = environ[setting.variable]
    values.update({key: value for key, value in (flags or {}).items() if value})
    return Settings(values, path)


def _from_file(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path}: the configuration cannot be read ({error})."
        raise UserError(message, "Correct the file or take it away.") from error
    import yaml

    try:
        # BaseLoader: every value stays the text that the user wrote (`no`, `0`, `7676`).
        data = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - BaseLoader makes texts only
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        reason = getattr(error, "problem", None) or "not YAML"
        message = f"{path}{where}: {reason}."
        raise UserError(message, "The file holds lines like `api_url: https://…`.") from error
    if data is None or data == "":
        return {}
    if not isinstance(data, dict):
        message = f"{path}: the configuration must be `key: value` lines."
        raise UserError(message, "For example `api_url: https://jobs.example.org`.")
    return {_key(path, key): _value(path, key, value) for key, value in data.items()}


def _key(path: Path, key: object) -> str:
    if isinstance(key, str) and key in _BY_KEY:
        return key
    hint = did_you_mean(str(key).lower().removeprefix(PREFIX.lower()), _BY_KEY)
    hint = hint or f"Known keys: {', '.join(_BY_KEY)}."
    message = f"{path}: unknown key {str(key)!r}."
    raise UserError(message, hint)


def _value(path: Path, key: object, value: object) -> str:
    if isinstance(value, str):
        return value
    message = f"{path}: `{key}` must be one text."
    raise UserError(message, f"Write `{key}: value` on one line.")
