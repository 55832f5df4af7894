"""Runs jobferry's command line and kills it (SIGKILL, by itself) at one exact point.

    python driver.py POINT -- submit input.yml …

POINT is `module:name:before|after:N`: at the N-th call of that function (`Class.method` works too), before it begins
or after it has returned. The program's own code is as it is: only the named function is wrapped in this process.
"""

import functools
import importlib
import os
import runpy
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point):
    module_name, name, when, number = point.split(":")
    holder = importlib.import_module(module_name)
    *classes, last = name.split(".")
    for cls in classes:
        holder = getattr(holder, cls)
    plain = getattr(holder, last)
    calls = 0

    @functools.wraps(plain)
    def wrapped(*args, **kwargs):
        nonlocal calls
        calls += 1
        due = calls == int(number)
        if due and when == "before":
            die()
        value = plain(*args, **kwargs)
        if due and when == "after":
            die()
        return value

    setattr(holder, last, wrapped)


if __name__ == "__main__":
    arm(sys.argv[1])
    sys.argv = ["project", *sys.argv[sys.argv.index("--") + 1 :]]
    runpy.run_module("project", run_name="__main__", alter_sys=True)
