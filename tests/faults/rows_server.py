"""The API server, its database, the mail."""

import time

from faults.rows import LAST, LINE, Row

from helpers.live import eventually


def killed_while_running(case):
    case.write(["sleep 6"])
    case.submit()
    case.server.stop(kill=True)
    eventually(case.runs, "the payload ran")
    time.sleep(1)
    case.server.start()
    return case.check()


def killed_until_the_end(case):
    """The whole end of the job happens while no server listens."""
    case.write(["sleep 1"])
    case.submit()
    case.server.stop(kill=True)
    eventually(case.runs, "the payload ran")
    time.sleep(5)
    case.server.start()
    return case.check()


def away_at_the_submission(case):
    case.write()
    case.server.stop(kill=True)
    ran = case.cli.run("submit", case.folder / "input.yml", code=4)
    case.server.start()
    assert "Traceback" not in ran.err, ran
    case.submit()
    return case.check()


def killed_during_preparation(case):
    case.write(requirements=["sleep 4"])
    process = case.cli.start("submit", case.folder / "input.yml")
    try:
        eventually(case.find, "the intent is recorded")
        time.sleep(1)
        case.server.stop(kill=True)
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
        case.server.start()
    return case.check()


def database_killed(case):
    case.write(["sleep 3"])
    case.submit()
    case.field.bed.bed.stop("mongo")
    try:
        eventually(case.runs, "the payload ran")
        time.sleep(4)
    finally:
        case.field.bed.bed.start("mongo")
    return case.check()


def smtp_down(case):
    down = case.field.bed.folder / "mail" / "down"
    down.touch()
    try:
        case.write()
        case.submit()
        case.settled()
    finally:
        down.unlink()
    return case.check()


def smtp_gone(case):
    bed = case.field.bed.bed
    bed.stop("smtp")
    try:
        case.write()
        case.submit()
        case.settled()
    finally:
        bed.start("smtp")
    return case.check()


ROWS = [
    Row("api01", "API server killed while the job runs", killed_while_running, own_server=True),
    Row("api02", "API server killed, the job ends meanwhile", killed_until_the_end, own_server=True),
    Row("api03", "API server away at the submission", away_at_the_submission, own_server=True),
    Row("api04", "API server killed while the job is prepared", killed_during_preparation, own_server=True),
    Row("mongo01", "the database's process killed", database_killed, lane=LAST, stores=("mongo",)),
    Row("smtp01", "SMTP refuses for now", smtp_down, lane=LINE),
    Row("smtp02", "SMTP server down", smtp_gone, lane=LINE),
]
