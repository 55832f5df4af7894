"""What became of a job after a fault: nothing lost, nothing doubled, the right end."""

from collections import Counter
from dataclasses import dataclass, field

WORTH_A_MAIL = ("queued", "running", "finished", "failed", "cancelled", "blocked")


@dataclass
class Findings:
    """Texts that name each thing that is wrong; empty lists are what the promise says."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.wrong)

    def __str__(self) -> str:
        parts = [("lost", self.lost), ("doubled", self.doubled), ("wrong end", self.wrong)]
        return "; ".join(f"{name}: {', '.join(texts)}" for name, texts in parts if texts) or "good"


def native(findings: Findings, ids: list[str], runs: int, submitted: int = 1, ran: int = 1) -> None:
    """Exactly `submitted` native jobs, and the payload ran `ran` times."""
    if len(ids) < submitted:
        findings.lost.append(f"{len(ids)} native jobs")
    if len(ids) > submitted:
        findings.doubled.append(f"native jobs {', '.join(ids)}")
    if runs < ran:
        findings.lost.append(f"the payload ran {runs} times")
    if runs > ran:
        findings.doubled.append(f"the payload ran {runs} times")


def end(findings: Findings, document: dict, state: str, condition: str) -> None:
    """The final state and why."""
    got = (document["state"], document["condition"])
    if got != (state, condition):
        findings.wrong.append(f"{got[0]}/{got[1]} ({document['message']}), not {state}/{condition}")


def events(findings: Findings, history: list[dict]) -> None:
    """Every event once; the agent's without a gap and in order."""
    for what, keys in [
        ("id", [event["id"] for event in history]),
        ("number", [(event["source"], event["seq"]) for event in history]),
    ]:
        twice = [key for key, count in Counter(keys).items() if count > 1]
        if twice:
            findings.doubled.append(f"event {what} {twice[:3]}")
    numbers = [event["seq"] for event in history if event["source"] == "agent"]
    if numbers != sorted(numbers):
        findings.wrong.append(f"events out of order: {numbers}")
    missing = set(range(1, max(numbers, default=0) + 1)) - set(numbers)
    if missing:
        findings.lost.append(f"events {sorted(missing)[:5]} of the agent")


def mails(findings: Findings, subjects: list[str], history: list[dict]) -> None:
    """One mail for each change of state worth one, by its last word."""
    # The same state may come twice (requeued, blocked again): as many mails as changes, no more.
    changes = Counter(
        event["state"].lower()
        for event in history
        if event.get("state") and event.get("applied", True) and event["state"].lower() in WORTH_A_MAIL
    )
    sent: Counter[str] = Counter()
    for subject in subjects:
        words = subject.lower().replace(",", " ").replace(":", " ").split()
        sent.update(state for state in changes if state in words)
    for state, count in changes.items():
        if sent[state] < min(count, 1):
            findings.lost.append(f"no mail says {state}")
        if sent[state] > count:
            findings.doubled.append(f"{sent[state]} mails say {state}, {count} changes")
