"""Write a first input file: by asking, or with --no-input one with every key explained."""

import argparse
import os
from typing import Any

from project.commands import clusters
from project.commands.base import Answer, Session, program
from project.core.errors import UserError
from project.core.files import write_atomic
from project.render.text import clean

EXAMPLES = """\
examples:
  {prog} init
  {prog} init analysis.yml --no-input
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `init`."""
    parser.add_argument(
        "file", nargs="?", default="input.yml", metavar="FILE", help="what to write (default: input.yml)"
    )
    parser.add_argument("--force", action="store_true", help="overwrite a file that exists")


def run(session: Session) -> Answer:
    """Ask, write, say what comes next."""
    path = session.args.file
    if os.path.lexists(path) and not session.args.force:
        raise UserError(f"{path} exists already.", "Name another file, or add `--force`.")
    answers = dict(DEFAULTS)
    if session.ui.interactive:
        answers.update(_asked(session))
    text = render(answers)
    try:
        write_atomic(path, text.encode(), mode=0o644)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}).", "Choose another place.") from error
    prog = program()
    aside = f"Wrote {clean(path)}. Check it: `{prog} validate {clean(path)}`. Submit it: `{prog} -u {clean(path)}`."
    return Answer(data={"file": path, "input": answers}, aside=aside, ids=[path])


DEFAULTS: dict[str, Any] = {
    "name": "hello",
    "destination_cluster": "local",
    "username": "",
    "user_mail": "",
    "job": ".",
    "execution": "echo hello > result.txt",
    "output": "result.txt",
    "duration": "10m",
}


def _asked(session: Session) -> dict[str, Any]:
    ui: Any = session.ui
    names = sorted(str(cluster["name"]) for cluster in clusters.everyone(session))
    ui.say("A few questions; Enter takes what stands in brackets.")
    found = {
        "name": ui.ask("A name for the job", DEFAULTS["name"]),
        "destination_cluster": _one_of(ui, names),
        "job": _existing(ui),
        "execution": ui.ask("The command that runs it", DEFAULTS["execution"]),
        "output": ui.ask("The file to bring back", DEFAULTS["output"]),
        "duration": ui.ask("The longest time it may take (10m, 2h, 1d)", DEFAULTS["duration"]),
        "user_mail": ui.ask("Your mail address, to be told of its states (or nothing)"),
    }
    if found["destination_cluster"] != "local":
        found["username"] = ui.ask(f"Your user name on {found['destination_cluster']} (or nothing)")
    return found


def _one_of(ui: Any, names: list[str]) -> str:
    while True:
        name = str(ui.ask(f"The cluster ({', '.join(names)})", "local"))
        if name in names:
            return name
        ui.say(f"There is no cluster {name}.")


def _existing(ui: Any) -> str:
    while True:
        job = str(ui.ask("The job: a file, a folder or a Git URL", DEFAULTS["job"]))
        if "://" in job or job.endswith(".git") or os.path.exists(os.path.expanduser(job)):
            return job
        ui.say(f"There is no {job} here.")


def quoted(text: str) -> str:
    """The text as a YAML scalar that stays a text. JSON's strings are YAML's double-quoted ones."""
    import json

    return json.dumps(text, ensure_ascii=False)


def render(answers: dict[str, Any]) -> str:
    """The input file, with what was not asked as comments."""
    username = f"username: {quoted(answers['username'])}" if answers["username"] else "# username: jdoe"
    mail = f"user_mail: {quoted(answers['user_mail'])}" if answers["user_mail"] else "# user_mail: jdoe@example.org"
    return TEMPLATE.format(
        **{key: quoted(str(value)) for key, value in answers.items() if key not in ("username", "user_mail")},
        username=username,
        user_mail=mail,
    )


TEMPLATE = """\
# A job for jobferry. Lines that begin with # are examples of what else there is.

name: {name}

# Where it runs: a cluster that `clusters ls` shows. `local` is this machine.
destination_cluster: {destination_cluster}

# Who you are there. Without a key, the SSH agent and your ssh configuration decide.
{username}
# private_key: ~/.ssh/id_ed25519

# Who is told of its states and errors.
{user_mail}
# notify: [FINISHED, FAILED]

# What is brought there: a file, a folder, a Git URL (with #branch), or a URL.
job: {job}

# Commands on the login node, before it is submitted.
# requirements:
#   - "module load GCC"
# compilation:
#   - "gcc -O2 -o job job.c"

# The commands of the job, in order. The first failure ends it.
execution:
  - {execution}

# What `retrieve` brings back: files, folders, globs.
output:
  - {output}

resources:
  duration: {duration}
  # nbr_processes: 4
  # nbr_threads_per_process: 2
  # memory_per_thread: 2G
  # nbr_jobs_in_array: 10
  # distribution: distributed    # grouped | scattered | distributed
  # nbr_of_nodes: 2              # with `distributed` only

# env:
#   OMP_NUM_THREADS: "2"
# tags:
#   project: demo
# kwargs:                        # anything, for modules to read
#   key1: value1
"""
