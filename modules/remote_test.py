#!/usr/bin/env python3
"""A module that changes nothing: it says on standard error where it runs and what it got, and prints its input as it came.

A pattern for modules in Python. Python 3.
"""

import json
import os
import platform
import sys

text = sys.stdin.read()
data = json.loads(text if text.strip() else sys.argv[-1])
sys.stderr.write(
    "remote_test: %s on %s, Python %s, keys: %s\n"
    % (
        os.environ.get("JOBFERRY_STAGE", "no stage"),
        platform.node(),
        platform.python_version(),
        ", ".join(sorted(data)),
    )
)
json.dump(data, sys.stdout)
