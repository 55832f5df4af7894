#!/usr/bin/env python3
"""Checks, after the job, that everything it declares as `output` is there and not empty.

    kwargs:
      output_check:
        minimum_bytes: 1       # every file must have at least this many    (default 1)

A postprocessing module: it looks in the job's folder, which JOBFERRY_WORK names (else the current one). It prints its input unchanged;
its exit status is 1 when something is missing, and standard error says what is there instead. Python 3.5 or later.
"""

import glob
import json
import os
import sys


def say(text):
    sys.stderr.write("output_check: " + text + "\n")


def files(path):
    """The files at or below a path."""
    if not os.path.isdir(path):
        return [path]
    return [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]


def problem(work, pattern, minimum):
    """What is wrong with one pattern, or nothing."""
    found = glob.glob(os.path.join(glob.escape(work), pattern), recursive=True)
    if not found:
        return "nothing matches " + json.dumps(pattern)
    small = [path for top in found for path in files(top) if os.path.getsize(path) < minimum]
    if small:
        names = ", ".join(sorted(os.path.relpath(path, work) for path in small)[:10])
        return "%s: less than %d bytes in %s" % (json.dumps(pattern), minimum, names)
    return ""


def main():
    text = sys.stdin.read()
    data = json.loads(text if text.strip() else sys.argv[-1])
    work = os.environ.get("JOBFERRY_WORK") or os.getcwd()
    settings = (data.get("kwargs") or {}).get("output_check")
    minimum = settings.get("minimum_bytes", 1) if isinstance(settings, dict) else 1
    patterns = data.get("output") or []
    problems = [problem(work, pattern, minimum) for pattern in ([patterns] if isinstance(patterns, str) else patterns)]
    problems = [text for text in problems if text]
    for line in problems:
        say(line)
    if problems:
        there = sorted(os.listdir(work))
        say("there is: " + (", ".join(there[:20]) + (", …" if len(there) > 20 else "") if there else "nothing"))
        sys.exit(1)
    say("all of the output is there")
    json.dump(data, sys.stdout)


main()
