"""One clear explanation of a job's state: what it is, why, and what to do next."""

from collections.abc import Mapping, Sequence
from typing import Any

from project.render import jobs, times
from project.render.output import Output, in_full, program
from project.render.text import clean, quoted, wrap

MEANINGS = {
    "PENDING": "It is recorded here and was not sent to a cluster yet.",
    "AWAITING_PARENTS": "It waits for the jobs that it comes after.",
    "STAGING_INPUTS": "Its files are on their way to the cluster.",
    "PREPROCESSING": "The cluster prepares it: requirements, compilation, preprocessing modules.",
    "SUBMITTING": "It is being handed to the workload manager.",
    "QUEUED": "The workload manager has it; it waits for its turn.",
    "RUNNING": "It runs.",
    "POSTPROCESSING": "Its own work is done; the postprocessing modules run.",
    "ARCHIVING": "Its output is being put into the archive.",
    "FINISHED": "It ended well.",
    "FAILED": "It ended badly.",
    "CANCELLED": "It was cancelled.",
    "BLOCKED": "Something is in its way.",
    "PAUSED": "It is held and waits to be released.",
}
CAUSES = {
    "exit_code": "A command of it ended with a non-zero exit code.",
    "timeout": "It ran longer than the duration it asked for.",
    "out_of_memory": "It used more memory than it asked for.",
    "node_failure": "The machine it ran on failed.",
    "preempted": "The workload manager took its place for a more urgent job.",
    "cancelled_by_user": "Somebody cancelled it.",
    "cancelled_by_scheduler": "The workload manager or its administrator cancelled it.",
    "deadline": "It could not start early enough to meet its deadline.",
    "input_staging_failed": "Its files could not be brought to the cluster, or a staging module failed.",
    "requirements_failed": "A command of `requirements` failed on the cluster.",
    "compilation_failed": "A command of `compilation` failed on the cluster.",
    "preprocessing_failed": "A preprocessing module failed on the cluster.",
    "submission_rejected": "The workload manager refused it.",
    "postprocessing_failed": "The job itself ended well, but a postprocessing module failed.",
    "archiving_failed": "The job itself ended well, but its output could not be archived.",
    "unreachable": "The cluster could not be reached.",
    "parent_failed": "A job that it comes after did not end well.",
    "lost": "The workload manager does not know it any more and it left no end record.",
    "internal_error": "jobferry itself made a mistake.",
}
ADVICE = {
    "exit_code": "Read the last lines of stderr, correct the job, and submit it again.",
    "timeout": "Ask for a longer `resources: duration` and submit it again.",
    "out_of_memory": "Ask for more `resources: memory_per_thread` and submit it again.",
    "node_failure": "It is no fault of the job: submit it again.",
    "preempted": "Submit it again, or choose another partition.",
    "cancelled_by_scheduler": "The message above is the workload manager's; its administrators know more.",
    "requirements_failed": "Correct the command and submit it again.",
    "compilation_failed": "Correct the command or the source and submit it again.",
    "preprocessing_failed": "Correct the module or its input; the history shows what it printed.",
    "input_staging_failed": "Correct what the message names and submit it again.",
    "submission_rejected": "Correct `resources`, `partition` or `scheduler_options` as the message says.",
    "postprocessing_failed": "The output is there and can be retrieved; the history shows what the module printed.",
    "unreachable": "Run `{prog} doctor {cluster}`; then `{prog} resubmit --resume {job}`.",
    "lost": "Ask the cluster's administrators about native id {native}, or submit it again.",
    "internal_error": "Please report it with the history of the job.",
}
# Slurm's reasons (squeue(1), "JOB REASON CODES") in plain words.
REASONS = {
    "Priority": "jobs with a higher priority are before it",
    "Resources": "the machines it needs are busy",
    "Dependency": "it waits for another job",
    "DependencyNeverSatisfied": "it waits for a job that can no longer end as needed",
    "JobHeldUser": "its owner holds it",
    "JobHeldAdmin": "an administrator holds it",
    "BeginTime": "its start time has not come yet",
    "ReqNodeNotAvail": "a machine it needs is down, reserved or in maintenance",
    "PartitionDown": "the partition does not start jobs at present",
    "PartitionInactive": "the partition is switched off",
    "PartitionTimeLimit": "it asks for more time than the partition allows",
    "PartitionNodeLimit": "it asks for more machines than the partition has or allows",
    "PartitionConfig": "it asks for more than the partition allows",
    "AssocGrpCpuLimit": "its account uses all the cores it may",
    "AssocMaxJobsLimit": "its account runs as many jobs as it may",
    "AssocGrpBillingMinutes": "its account has used up its allowance",
    "AssocGrpCPUMinutesLimit": "its account has used up its allowance of core time",
    "QOSMaxJobsPerUserLimit": "you run as many jobs as the quality of service allows",
    "QOSMaxCpuPerUserLimit": "you use as many cores as the quality of service allows",
    "QOSMaxMemoryPerUser": "you use as much memory as the quality of service allows",
    "QOSGrpCpuLimit": "the quality of service has no free cores",
    "JobArrayTaskLimit": "as many elements of the array run as it allows at once",
    "Licenses": "it waits for a licence",
    "Reservation": "its reservation has not begun",
    "InvalidAccount": "its account is not known",
    "InvalidQOS": "its quality of service is not known",
    "BadConstraints": "no machine has what it asks for",
    "NodeDown": "a machine it needs is down",
    "launch failed requeued held": "it could not be started and is held",
}


def reason_in_words(native: object) -> str:
    """A workload manager's reason with plain words beside it; empty for none."""
    text = clean(native or "").strip().strip("()")
    if not text or text in ("None", "-"):
        return ""
    for word, meaning in REASONS.items():
        if text == word or text.startswith((word + ",", word + " ")):
            return f"{meaning} ({text})"
    if text.startswith("Nodes required for job are DOWN"):
        return f"the machines it needs are down, drained or reserved ({text})"
    return text


def facts(document: Mapping[str, Any], stderr: Sequence[str] = (), printed: Sequence[str] = ()) -> dict[str, Any]:
    """The explanation as data (for `--json`), from the document and the last lines of stderr.

    :param printed: what the command or module printed that failed before the job was submitted.
    """
    state = str(document.get("state", ""))
    condition = str(document.get("condition") or "")
    return {
        "job_uuid": document.get("job_uuid"),
        "state": state,
        "condition": document.get("condition"),
        "exit_code": document.get("exit_code"),
        "message": document.get("message") or "",
        "meaning": MEANINGS.get(state, ""),
        "cause": CAUSES.get(condition, ""),
        "scheduler_reason": _scheduler(document),
        "plan": document.get("plan"),
        "stderr": list(stderr),
        "printed": list(printed),
        "next": advice(document),
    }


def _scheduler(document: Mapping[str, Any]) -> str:
    if document.get("state") not in ("QUEUED", "PAUSED", "BLOCKED", "RUNNING"):
        return ""
    found = (document.get("job_status") or {}).get("Reason") or []
    reasons = [reason_in_words(word) for word in (found if isinstance(found, list) else [found])]
    return "; ".join(dict.fromkeys(reason for reason in reasons if reason))


def advice(document: Mapping[str, Any]) -> str:
    """What to do next, with commands that can be copied."""
    prog = program()
    job = jobs.short(document)
    state = str(document.get("state", ""))
    words = {
        "prog": prog,
        "job": job,
        "cluster": clean(document.get("cluster") or ""),
        "native": clean(document.get("native_id") or "-"),
    }
    by_state = {
        "FINISHED": f"Fetch the output: `{prog} retrieve {job}`.",
        "RUNNING": f"See what it prints: `{prog} logs {job} -f`. Wait for its end: `{prog} watch {job}`.",
        "QUEUED": f"Wait for it: `{prog} watch {job}`.",
        "PAUSED": f"Let it go on: `{prog} release {job}`.",
        "PENDING": f"If nothing happens, continue the submission: `{prog} resubmit --resume {job}`.",
        "STAGING_INPUTS": f"If the connection was lost, continue: `{prog} resubmit --resume {job}`.",
        "BLOCKED": f"Go on at once: `{prog} resubmit --resume {job}`. Give it up: `{prog} cancel {job}`.",
        "CANCELLED": f"Submit it again: `{prog} resubmit {job}`.",
    }
    if jobs.waits_for_start(document):
        return f"Submit it: `{prog} start {job}`. Give it up: `{prog} cancel {job}`."
    if state == "FAILED":
        chosen = ADVICE.get(str(document.get("condition") or ""), "Look at the history, then submit it again.")
        again = "" if "resubmit" in chosen else f" `{prog} resubmit {job}` submits the same input again."
        return _filled(chosen, words) + again + f" `{prog} history {job}` shows all that happened."
    return by_state.get(state, f"Wait for it: `{prog} watch {job}`.")


def _filled(text: str, words: Mapping[str, str]) -> str:
    for name, value in words.items():
        text = text.replace("{" + name + "}", value)
    return text


def plan_in_words(plan: object) -> list[str]:
    """What a blocked job waits for and when it is tried again."""
    if not isinstance(plan, dict):
        return [] if not plan else [clean(plan)]
    lines = []
    if plan.get("waits_for"):
        lines.append(f"Waits for: {in_full(clean(plan['waits_for'])).rstrip('.')}.")
    if plan.get("tries"):
        every = f", every {clean(plan['every'])}" if plan.get("every") else ""
        lines.append(f"Tried {'once' if plan['tries'] == 1 else clean(plan['tries']) + ' times'}{every}.")
    if plan.get("next"):
        end = f"; given up at {times.local(plan['until'])}" if plan.get("until") else ""
        lines.append(f"Next try: {times.local(plan['next'])}{end}.")
    return lines


def explain(found: Mapping[str, Any], document: Mapping[str, Any], output: Output) -> str:
    """The explanation for people."""
    palette = output.palette()
    state = str(found["state"])
    lines = [f"Job {jobs.title(document)} is {palette.state(state)}. {found['meaning']}".rstrip()]
    if found["cause"]:
        code = found.get("exit_code")
        shown = f" Exit code {code}." if code is not None and found.get("condition") == "exit_code" else ""
        lines.append(f"Why: {found['cause']}{shown}")
    if found["message"]:
        lines.append(f"Message: {clean(found['message'])}")
    if found["scheduler_reason"]:
        lines.append(f"The workload manager says: {clean(found['scheduler_reason'])}.")
    lines += plan_in_words(found["plan"])
    elements = jobs.elements(document)
    if elements:
        lines.append(f"Elements: {elements}.")
    pieces = [piece for line in lines for piece in wrap(line, output.columns)]
    columns = output.columns if output.terminal else 0
    for title, key in (("Last lines of stderr:", "stderr"), ("What it printed:", "printed")):
        if found[key]:
            pieces += ["", title, *(piece for line in found[key] for piece in quoted(clean(line), columns))]
    pieces += ["", *wrap("Next: " + str(found["next"]), output.columns)]
    return "\n".join(pieces)
