"""The states of a job, the conditions beside them, and which state may follow which."""

from typing import Dict, FrozenSet

PENDING = "PENDING"
AWAITING_PARENTS = "AWAITING_PARENTS"
STAGING_INPUTS = "STAGING_INPUTS"
PREPROCESSING = "PREPROCESSING"
SUBMITTING = "SUBMITTING"
QUEUED = "QUEUED"
RUNNING = "RUNNING"
POSTPROCESSING = "POSTPROCESSING"
ARCHIVING = "ARCHIVING"
FINISHED = "FINISHED"
FAILED = "FAILED"
CANCELLED = "CANCELLED"
BLOCKED = "BLOCKED"
PAUSED = "PAUSED"

STATES = (
    PENDING,
    AWAITING_PARENTS,
    STAGING_INPUTS,
    PREPROCESSING,
    SUBMITTING,
    QUEUED,
    RUNNING,
    POSTPROCESSING,
    ARCHIVING,
    FINISHED,
    FAILED,
    CANCELLED,
    BLOCKED,
    PAUSED,
)
FINAL = frozenset((FINISHED, FAILED, CANCELLED))
LIVE = frozenset(STATES) - FINAL

CONDITIONS = (
    "ok",
    "exit_code",
    "timeout",
    "out_of_memory",
    "node_failure",
    "preempted",
    "cancelled_by_user",
    "cancelled_by_scheduler",
    "deadline",
    "input_staging_failed",
    "requirements_failed",
    "compilation_failed",
    "preprocessing_failed",
    "submission_rejected",
    "postprocessing_failed",
    "archiving_failed",
    "unreachable",
    "parent_failed",
    "lost",
    "internal_error",
)

_ANY_END = frozenset((FAILED, CANCELLED))
_BEFORE = frozenset((AWAITING_PARENTS, STAGING_INPUTS, PREPROCESSING, SUBMITTING, QUEUED, RUNNING, BLOCKED, PAUSED))

# A job may skip forward (a short job is RUNNING when it is first seen) and may go back only where the
# real thing does: a requeued job waits again, a blocked or held one goes on where it was.
SUCCESSORS: Dict[str, FrozenSet[str]] = {
    PENDING: _BEFORE | _ANY_END,
    AWAITING_PARENTS: _BEFORE - {AWAITING_PARENTS} | _ANY_END,
    STAGING_INPUTS: _BEFORE - {STAGING_INPUTS, AWAITING_PARENTS} | _ANY_END,
    PREPROCESSING: frozenset((SUBMITTING, STAGING_INPUTS, QUEUED, RUNNING, BLOCKED, PAUSED)) | _ANY_END,
    SUBMITTING: frozenset((QUEUED, RUNNING, STAGING_INPUTS, POSTPROCESSING, FINISHED, BLOCKED, PAUSED)) | _ANY_END,
    QUEUED: frozenset((RUNNING, POSTPROCESSING, ARCHIVING, FINISHED, BLOCKED, PAUSED)) | _ANY_END,
    RUNNING: frozenset((QUEUED, POSTPROCESSING, ARCHIVING, FINISHED, BLOCKED, PAUSED)) | _ANY_END,
    POSTPROCESSING: frozenset((ARCHIVING, FINISHED, BLOCKED)) | _ANY_END,
    ARCHIVING: frozenset((FINISHED, BLOCKED)) | _ANY_END,
    BLOCKED: _BEFORE - {BLOCKED} | frozenset((POSTPROCESSING, ARCHIVING, FINISHED)) | _ANY_END,
    PAUSED: _BEFORE - {PAUSED} | frozenset((POSTPROCESSING, ARCHIVING, FINISHED)) | _ANY_END,
    FINISHED: frozenset(),
    FAILED: frozenset(),
    CANCELLED: frozenset(),
}

# psik's words in status.csv (its `JobState`).
PSIK_WORDS = {
    PENDING: "new",
    AWAITING_PARENTS: "new",
    STAGING_INPUTS: "new",
    PREPROCESSING: "new",
    SUBMITTING: "new",
    BLOCKED: "new",
    PAUSED: "queued",
    QUEUED: "queued",
    RUNNING: "active",
    POSTPROCESSING: "active",
    ARCHIVING: "active",
    FINISHED: "completed",
    FAILED: "failed",
    CANCELLED: "canceled",
}


def may_follow(old: str, new: str) -> bool:
    """True when a job in state `old` may change to `new` (a state is not a change to itself)."""
    return new in SUCCESSORS.get(old, frozenset())
