"""Who we are, and where an error came from."""

import getpass
import os


def user() -> str:
    """Our user name; a number when the name service does not know us."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def last_lines() -> str:
    """Where the exception that is being handled came from, in one line."""
    import traceback

    return " | ".join(line.strip() for line in traceback.format_exc().splitlines()[-4:-1])
