#!/usr/bin/env python3
"""Estimates the resources of a job from numbers in its kwargs, where its owner did not say them.

    kwargs:
      estimate:
        items: 12000           # how much work there is in all
        seconds_per_item: 0.8  # how long one process takes for one of them
        processes: 4           # how many processes share the work      (default: resources.nbr_processes, else 1)
        threads: 2             # threads of each process                (default: resources.nbr_threads_per_process, else 1)
        memory: 3G             # memory of one process
        safety: 1.5            # everything is multiplied by this        (default 1.5)

A module of any stage. Reads the input as JSON from standard input (or its last argument), prints it with the missing resources filled in,
says on standard error what it did. Python 3.
"""

import json
import math
import re
import sys

UNITS = {"K": 1, "M": 1024, "G": 1024**2, "T": 1024**3}


def read_input():
    text = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
    return json.loads(text if text.strip() else sys.argv[-1])


def say(text):
    sys.stderr.write("resource_estimator: " + text + "\n")


def number(estimate, key, default=None):
    value = estimate.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        say("kwargs.estimate.%s must be a number above zero, not %s" % (key, json.dumps(value)))
        sys.exit(1)
    return value


def duration_text(seconds):
    minutes = math.ceil(max(seconds, 60) / 60.0)
    days, minutes = divmod(minutes, 24 * 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((days, "d"), (hours, "h"), (minutes, "m"))
    return "".join("%d%s" % (count, unit) for count, unit in parts if count)


def kibibytes(text):
    found = re.match(r" *([0-9]+(?:\.[0-9]+)?) *([KMGT])(?:i?B)? *$", str(text), re.IGNORECASE)
    if not found:
        say("kwargs.estimate.memory must look like 3G, not %s" % json.dumps(text))
        sys.exit(1)
    return float(found.group(1)) * UNITS[found.group(2).upper()]


# What else says the same, or cannot stand beside it.
OTHER_NAMES = {
    "nbr_processes": ("ranks",),
    "nbr_threads_per_process": ("threads_per_rank",),
    "memory_per_thread": ("memory_per_cpu", "memory_per_node"),
    "duration": ("walltime",),
}


def elements(resources):
    """How many elements the array has; 1 for a job that is none."""
    count = 0
    for part in str(resources.get("array", "")).partition("%")[0].split(","):
        match = re.match(r"\s*(\d+)(?:-(\d+)(?::(\d+))?)?\s*\Z", part)
        if match:
            first, last, step = (int(text) if text else None for text in match.groups())
            count += 1 if last is None else (last - first) // (step or 1) + 1
    return count or resources.get("nbr_jobs_in_array", 1)


def estimated(estimate, resources):
    """The resources that follow from the numbers."""
    result = {}
    safety = number(estimate, "safety", 1.5)
    processes = int(number(estimate, "processes", resources.get("nbr_processes", 1)))
    threads = int(number(estimate, "threads", resources.get("nbr_threads_per_process", 1)))
    if "processes" in estimate:
        result["nbr_processes"] = processes
    if "threads" in estimate:
        result["nbr_threads_per_process"] = threads
    if "items" in estimate or "seconds_per_item" in estimate:
        seconds = number(estimate, "items") * number(estimate, "seconds_per_item") * safety
        # What the owner said counts, also where it differs from the estimate.
        shares = resources.get("nbr_processes", resources.get("ranks", processes)) * elements(resources)
        result["duration"] = duration_text(seconds / shares)
    if "memory" in estimate:
        each = kibibytes(estimate["memory"]) * safety / resources.get("nbr_threads_per_process", threads)
        result["memory_per_thread"] = "%dM" % math.ceil(each / 1024)
    return result


def main():
    data = read_input()
    estimate = (data.get("kwargs") or {}).get("estimate")
    if not isinstance(estimate, dict):
        say("there is no kwargs.estimate; nothing to do")
    else:
        resources = data.get("resources") or {}
        for key, value in sorted(estimated(estimate, resources).items()):
            owner = next((name for name in (key, *OTHER_NAMES.get(key, ())) if name in resources), "")
            if owner:
                say("%s stays %s (estimated: %s)" % (owner, resources[owner], value))
            else:
                say("%s: %s" % (key, value))
                resources[key] = value
        if resources:
            data["resources"] = resources
    json.dump(data, sys.stdout)


main()
