"""The table of verbs. A verb is one row here and one module with `arguments(parser)` and `run(session) -> Answer`.

The module of a verb is imported when that verb is called, so that `--help` costs nothing.
"""

from typing import NamedTuple


class Verb(NamedTuple):
    """One verb: its words, the heading of the help that it stands under, one line of help, and its module here."""

    name: str
    group: str
    summary: str
    module: str
    usage: str = ""


VERBS = (
    Verb("submit", "Run", "submit the job that FILE describes", "submit", "FILE"),
    Verb("run", "Run", "run a job specification of psik or PSI/J", "run", "SPEC"),
    Verb("retrieve", "Run", "fetch the declared output of a job", "retrieve", "UUID"),
    Verb("plan", "Run", "show what a submission would do, doing none of it", "plan", "FILE"),
    Verb("validate", "Run", "check an input file or a modules file", "validate", "FILE"),
    Verb("init", "Run", "write a first input file by asking", "init", "[FILE]"),
    Verb("ls", "Look", "list jobs, newest first", "ls"),
    Verb("status", "Look", "show one job, or several", "status", "UUID ..."),
    Verb("poll", "Look", "ask the clusters, then show state and history", "poll", "UUID ..."),
    Verb("history", "Look", "show everything that happened to a job", "history", "UUID"),
    Verb("logs", "Look", "show what a job printed", "logs", "UUID"),
    Verb("watch", "Look", "follow jobs until they have ended", "watch", "[UUID ...]"),
    Verb("why", "Look", "explain a job's state and say what to do", "why", "UUID"),
    Verb("deliveries", "Look", "show a job's callbacks, or send them again", "deliveries", "UUID"),
    Verb("cancel", "Act", "cancel jobs", "cancel", "UUID ... | -l K=V"),
    Verb("hold", "Act", "keep waiting jobs from starting", "hold", "UUID ... | -l K=V"),
    Verb("release", "Act", "let held jobs go on", "release", "UUID ... | -l K=V"),
    Verb("resubmit", "Act", "submit a job's input again, or resume a submission", "resubmit", "UUID ... | -l K=V"),
    Verb("start", "Act", "submit a recorded job, or run an ended one again", "start", "UUID ..."),
    Verb("reached", "Act", "record that a job has reached a state", "reached", "BASE NDX STATE [INFO]"),
    Verb("rm", "Act", "forget jobs and remove their folders", "rm", "UUID ... | -l K=V"),
    Verb("tag", "Act", "set or take away tags", "tag", "(UUID ... | -l K=V) KEY=VALUE ..."),
    Verb("clusters ls", "Clusters", "list the clusters", "clusters_ls"),
    Verb("clusters show", "Clusters", "show one cluster", "clusters_show", "NAME"),
    Verb("clusters add", "Clusters", "add or change one cluster", "clusters_add", "NAME"),
    Verb("clusters import", "Clusters", "add or change every cluster of a file", "clusters_import", "FILE"),
    Verb("clusters test", "Clusters", "see which clusters answer", "clusters_test", "[NAME ...]"),
    Verb("clusters rm", "Clusters", "take a cluster out of the inventory", "clusters_rm", "NAME"),
    Verb("doctor", "Clusters", "find out why something does not work", "doctor", "[CLUSTER]"),
    Verb("serve", "Server", "run the API server (as `python -m api_srv`)", "serve"),
)
BY_NAME = {verb.name: verb for verb in VERBS}
FAMILIES = {verb.name.split()[0]: f"{verb.name.split()[0]} ls" for verb in VERBS if " " in verb.name}
