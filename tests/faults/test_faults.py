"""`make faults`: each row breaks one thing; afterwards nothing is lost, nothing doubled, and the end is the true one."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faults.field import Field
from faults.rows import LAST, LINE, SIDE, Row
from faults.rows_cli import ROWS as CLI_ROWS
from faults.rows_cluster import ROWS as CLUSTER_ROWS
from faults.rows_disk import ROWS as DISK_ROWS
from faults.rows_net import ROWS as NET_ROWS
from faults.rows_server import ROWS as SERVER_ROWS

from helpers.live import eventually

ONLY = os.environ.get("JOBFERRY_FAULTS_ONLY", "").split()
ROWS = [row for row in NET_ROWS + CLI_ROWS + CLUSTER_ROWS + DISK_ROWS + SERVER_ROWS if not ONLY or row.name in ONLY]
# Rows that do not disturb each other run side by side: most of a row is waiting.
SIDE_BY_SIDE = 5
FIGURES = os.environ.get("JOBFERRY_FAULTS_FIGURES", "")


def attempt(field: Field, row: Row) -> dict:
    """One row: its figures, and what is wrong in words."""
    begin = time.monotonic()
    case = field.case(row)
    try:
        findings = row.run(case)
    except Exception as error:
        return {"row": row.name, "what": row.what, "problem": f"{type(error).__name__}: {error}"}
    finally:
        case.close()
    return {
        "row": row.name,
        "what": row.what,
        "lost": len(findings.lost),
        "doubled": len(findings.doubled),
        "wrong": len(findings.wrong),
        "seconds": round(time.monotonic() - begin, 1),
        "problem": "" if findings.good else str(findings),
    }


def told(store: str, result: dict) -> dict:
    """Add a row's figures to the file of figures (report.py makes the table of it)."""
    if FIGURES:
        with Path(FIGURES).open("a") as out:
            out.write(json.dumps({"store": store, **result}) + "\n")
    return result


def left_over(field: Field) -> list[str]:
    """Our processes on the clusters that should not be there: anything but one watcher for each user."""
    found: list[str] = []
    for cluster in (field.bed.alpha, field.bed.beta):
        for user in ("jdoe", "asmith"):
            ours = [line for line in cluster.processes(user) if "/.jobferry/" in line or "base64;exec" in line]
            watchers = [line for line in ours if " watch " in line]
            found += [line for line in ours if line not in watchers] + watchers[1:]
    return found


@pytest.mark.timeout(900)
def test_every_fault_is_survived(field: Field, request: pytest.FixtureRequest) -> None:
    store = request.node.callspec.params["field"]
    lanes = {lane: [row for row in ROWS if row.lane == lane and store in row.stores] for lane in (SIDE, LINE, LAST)}

    def each(row: Row) -> dict:
        return told(store, attempt(field, row))

    with ThreadPoolExecutor(SIDE_BY_SIDE + 1) as pool, ThreadPoolExecutor(1) as line:
        one_by_one = line.submit(lambda: [each(row) for row in lanes[LINE]])
        results = list(pool.map(each, lanes[SIDE])) + one_by_one.result()
    results += [each(row) for row in lanes[LAST]]
    bad = [f"{result['row']} ({result['what']}): {result['problem']}" for result in results if result["problem"]]
    try:
        eventually(lambda: not left_over(field), "only watchers are left")
    except AssertionError:
        bad += [f"left over: {line}" for line in left_over(field)]
    if bad:
        pytest.fail(f"{len(bad)} of {len(results)} faults on {store} were not survived:\n" + "\n".join(bad))
