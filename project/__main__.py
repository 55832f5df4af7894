"""`python -m project` and the console script `jobferry`: the same program."""

import sys

from project.cli import main

if __name__ == "__main__":
    sys.exit(main())
