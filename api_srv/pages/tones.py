"""The colour and the sign of a state; the colour never stands alone. Pure."""

from project.core import states

_TONES = {
    states.FINISHED: "good",
    states.FAILED: "bad",
    states.CANCELLED: "quiet",
    states.BLOCKED: "warn",
    states.PAUSED: "warn",
    states.RUNNING: "busy",
    states.POSTPROCESSING: "busy",
    states.ARCHIVING: "busy",
}
_MARKS = {"good": "✓", "bad": "✗", "quiet": "■", "warn": "‖", "busy": "▶", "wait": "…"}
_NATIVE_TONES = {
    "good": ("COMPLETED",),
    "bad": ("FAILED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL", "DEADLINE"),
    "quiet": ("CANCELLED", "PREEMPTED", "REVOKED"),
    "busy": ("RUNNING", "COMPLETING"),
}


def tone(state: object) -> str:
    """The colour of a state: good, bad, quiet, warn, busy or wait."""
    return _TONES.get(str(state), "wait")


def mark(name: str) -> str:
    """The sign that goes with a tone, so that colour is never alone."""
    return _MARKS.get(name, "•")


def native_tone(word: str) -> str:
    """The tone of a workload manager's own word (Slurm's; others wait)."""
    head = word.upper().split()[0].rstrip("+") if word.strip() else ""
    return next((name for name, words in _NATIVE_TONES.items() if head in words), "wait")
