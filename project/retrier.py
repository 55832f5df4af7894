"""`python -m project.retrier HOME`: the process that goes on with blocked submissions (engine.retrier tells more)."""

import os
import sys
from pathlib import Path

from project.core.errors import JobferryError
from project.engine import retrier, unfinished

MAIL_SECONDS = 5.0


def main() -> int:
    """Work for one home folder until nothing waits there."""
    home = Path(sys.argv[1])
    os.environ["JOBFERRY_HOME"] = str(home)
    retrier.serve(home, work)
    return 0


def work(marks: list[unfinished.Waiting]) -> None:
    """One round, with everything that it needs opened for it alone. An API that is away is tried again later."""
    from project import bootstrap, settings
    from project.core.api_client import ApiClient
    from project.engine import retrying
    from project.engine.ui import SilentUi

    try:
        found = settings.load()
        way = bootstrap.open_api(found)
        context = bootstrap.context(found, ApiClient(way.call), SilentUi(), no_input=True)
        try:
            retrying.attempt(context, marks)
            way.deliver(MAIL_SECONDS)
        finally:
            context.close()
            way.close()
    except JobferryError as error:
        sys.stderr.write(f"{error.message}\n")


if __name__ == "__main__":
    sys.exit(main())
