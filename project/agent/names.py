"""Who we are, and where an error came from."""

import os
import pwd


def user() -> str:
    """Our user name, by our user id: USER and LOGNAME may be somebody else's (su). The number when it has no name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def last_lines() -> str:
    """Where the exception that is being handled came from, in one line."""
    import traceback

    return " | ".join(line.strip() for line in traceback.format_exc().splitlines()[-4:-1])
