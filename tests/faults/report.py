"""Makes docs/reliability.md from the figures of a run of the suite: `make faults-report`."""

import json
import sys
from pathlib import Path

TEXT = """\
# Never lost, never twice: the fault suite

A submission that was acknowledged runs exactly once, its true end is known, and its owner is told, whatever dies in between.
`make faults` breaks one thing at a time on two real Slurm clusters behind real sshd, with a real SMTP conversation, and looks
afterwards: one native job, one run of the payload, the true final state, every event once and in order, one mail for each change of
state. It does so with the API server on SQLite and on a MongoDB wire server (secantusdb; no mongod was at hand).

`lost`, `doubled` and `wrong` count what the audit found (tests/faults/audit.py). `seconds` is the whole row: submission, fault, recovery,
end of the job and audit, with several rows side by side.

Made by `make faults-report` from the last run of `make faults`; do not edit.

| row | injected | store | lost | doubled | wrong end | seconds |
|---|---|---|---|---|---|---|
"""


def table(lines: list[dict]) -> str:
    rows = []
    for line in sorted(lines, key=lambda line: (line["row"], line["store"])):
        counts = [str(line.get(key, "?")) for key in ("lost", "doubled", "wrong", "seconds")]
        rows.append(f"| {line['row']} | {line['what']} | {line['store']} | {' | '.join(counts)} |")
    return "\n".join(rows) + "\n"


SOAK = """
## Soak

`make soak` submits {jobs} short jobs to both clusters, each by a command line of its own, while command lines, agents, watchers and the
API server are killed at random; what was cut off is gone on with as a user would. The last recorded run:

| jobs | lost | doubled | wrong end | submissions cut off | killed | seconds |
|---|---|---|---|---|---|---|
| {jobs} | {lost} | {doubled} | {wrong} | {cut_off} | {killed} | {seconds} |
"""


def soak(figures: dict) -> str:
    killed = ", ".join(f"{count} {what}s" for what, count in sorted(figures["killed"].items()))
    return SOAK.format(**{**figures, "killed": killed})


if __name__ == "__main__":
    source, target, soaked = map(Path, sys.argv[1:])
    text = TEXT + table([json.loads(line) for line in source.read_text().splitlines()])
    if soaked.exists():
        text += soak(json.loads(soaked.read_text()))
    target.write_text(text)
