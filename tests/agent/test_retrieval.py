"""Logs and outputs, as the client asks for them."""

import hashlib
import os
from pathlib import Path

import pytest

from helpers.agent_client import PYTHONS, Agent, new_uuid


@pytest.fixture(scope="module", params=PYTHONS, ids=lambda python: "old" if "3.6" in python else "here")
def agent(request, tmp_path_factory):
    with Agent(tmp_path_factory.mktemp("a root") / "é", request.param) as found:
        yield found


HOSTILE = 'it\'s "a"\n; touch x é'


@pytest.fixture(scope="module")
def job(agent):
    uuid = new_uuid()
    agent.submit(uuid, ["i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); done; echo oops >&2"])
    agent.wait_state(uuid, "FINISHED")
    work = Path(agent.paths(uuid).work)
    (work / "result.txt").write_text("the result\n")
    (work / "big.bin").write_bytes(os.urandom(600000))
    (work / "sub" / "deep").mkdir(parents=True)
    (work / "sub" / "a.dat").write_text("a")
    (work / "sub" / "deep" / "b.dat").write_text("b")
    (work / "sub" / "empty").mkdir()
    (work / "sub" / ".hidden").write_text("h")
    (work / HOSTILE).write_text("hostile")
    (work / "star*").write_text("a star")
    (work / "inside").symlink_to("sub/a.dat")
    (work / "folderlink").symlink_to("sub/deep")
    (work / "outside").symlink_to("/etc/passwd")
    (work / "outdir").symlink_to("/etc")
    (work / "nothing").symlink_to("nowhere")
    os.mkfifo(work / "pipe")
    return uuid


def fetch(agent, job, *patterns, **have):
    """{path: bytes or a word}, and the answer."""
    answer = agent.ask("outputs", uuid=job, patterns=list(patterns), have=have)
    found, current = {}, None
    for header, payload in agent.heard:
        if header["type"] == "file":
            current = header["path"]
            found[current] = b"" if not header.get("folder") else "folder"
            if header.get("link"):
                found[current] = "->" + header["link"]
        elif header["type"] == "data":
            found[current] += payload
        elif header["type"] == "file_end" and not have:
            assert hashlib.sha256(found[header["path"]]).hexdigest() == header["sha256"]
    return found, answer


def test_files_globs_and_folders(agent, job):
    found, answer = fetch(agent, job, "result.txt", "./sub/", "*.bin", HOSTILE, "star*")
    assert answer["missing"] == []
    assert found["result.txt"] == b"the result\n"
    assert len(found["big.bin"]) == 600000
    assert found["sub/deep/b.dat"] == b"b"
    assert found["sub/.hidden"] == b"h"
    assert found["sub/empty"] == "folder"
    assert found[HOSTILE] == b"hostile"
    assert found["star*"] == b"a star"
    assert answer["files"] == len(found)


def test_globs_are_those_of_a_shell(agent, job):
    assert set(fetch(agent, job, "sub/*.dat")[0]) == {"sub/a.dat"}
    assert set(fetch(agent, job, "**/*.dat")[0]) >= {"sub/a.dat", "sub/deep/b.dat"}
    assert set(fetch(agent, job, "sub/[ab].d?t")[0]) == {"sub/a.dat"}
    assert "sub/.hidden" not in fetch(agent, job, "sub/*t")[0]
    assert set(fetch(agent, job, "sub/.h*")[0]) == {"sub/.hidden"}


def test_no_link_leads_out(agent, job):
    found, answer = fetch(agent, job, "inside", "folderlink", "outside", "outdir", "outdir/passwd", "nothing", "pipe")
    assert found["inside"] == b"a"
    assert found["folderlink"] == "->sub/deep"
    assert set(found) == {"inside", "folderlink"}
    told = {one["pattern"]: one["message"] for one in answer["missing"]}
    assert set(told) == {"outside", "outdir", "outdir/passwd", "nothing", "pipe"}
    assert "link out" in told["outside"]
    assert "result.txt" in answer["there"]


@pytest.mark.parametrize("pattern", ["../state/token", "/etc/passwd", "sub/../../spec.json", "..", ""])
def test_nothing_outside_work_is_sent(agent, job, pattern):
    found, answer = fetch(agent, job, pattern)
    assert found == {}
    assert len(answer["missing"]) == 1


def test_a_missing_output_names_what_is_there(agent, job):
    found, answer = fetch(agent, job, "result.txt", "resutl.txt", "*.xyz")
    assert set(found) == {"result.txt"}
    assert [one["pattern"] for one in answer["missing"]] == ["resutl.txt", "*.xyz"]
    assert "sub/a.dat" in answer["there"]


def test_a_transfer_goes_on_where_it_stopped_if_the_beginning_is_right(agent, job):
    whole, _ = fetch(agent, job, "big.bin")
    content = whole["big.bin"]
    right = hashlib.sha256(content[:100000]).hexdigest()
    found, _ = fetch(agent, job, "big.bin", **{"big.bin": {"size": 600000, "offset": 100000, "sha256": right}})
    assert found["big.bin"] == content[100000:]
    wrong = {"big.bin": {"size": 600000, "offset": 100000, "sha256": "0" * 64}}
    assert fetch(agent, job, "big.bin", **wrong)[0]["big.bin"] == content
    done = hashlib.sha256(content).hexdigest()
    found, _ = fetch(agent, job, "big.bin", **{"big.bin": {"size": 600000, "offset": 600000, "sha256": done}})
    assert found["big.bin"] == b""
    ends = [header for header, _ in agent.heard if header["type"] == "file_end"]
    assert ends[0]["sha256"] == done


def test_logs_are_read_whole_by_lines_and_from_an_offset(agent, job):
    answer = agent.ask("logs", uuid=job, elements=True)
    whole = agent.data()
    assert whole.splitlines()[-1] == b"line 99"
    assert (answer["run"], answer["runs"], answer["elements"], answer["ended"]) == (1, [1], [], True)
    assert answer["offset"] == len(whole)
    agent.ask("logs", uuid=job, lines=2)
    assert agent.data() == b"line 98\nline 99\n"
    agent.ask("logs", uuid=job, lines=1000)
    assert agent.data() == whole
    agent.ask("logs", uuid=job, lines=0)
    assert agent.data() == b""
    agent.ask("logs", uuid=job, offset=len(whole) - 8)
    assert agent.data() == b"line 99\n"
    assert agent.ask("logs", uuid=job, offset=10**9)["offset"] == len(whole)
    agent.ask("logs", uuid=job, stream="stderr")
    assert agent.data() == b"oops\n"
    agent.ask("logs", uuid=job, run=7)
    assert agent.data() == b""


def test_an_element_that_ran_once_is_read_although_another_ran_twice(agent):
    uuid = new_uuid()
    agent.submit(uuid, ["echo element $JOBFERRY_INDEX"], resources={"array": "1-3"})
    agent.wait_state(uuid, "FINISHED")
    Path(agent.paths(uuid).stdout(2, 2)).write_text("again\n")
    for index, run, text in (
        (1, 1, b"element 1\n"),
        (2, 2, b"again\n"),
        (3, 1, b"element 3\n"),
        (None, 1, b"element 1\n"),
    ):
        answer = agent.ask("logs", uuid=uuid, index=index, elements=True)
        assert (answer["run"], answer["runs"], answer["elements"], agent.data()) == (run, [1, 2], [1, 2, 3], text)
    agent.ask("logs", uuid=uuid, index=2, run=1)
    assert agent.data() == b"element 2\n"


def test_unknown_jobs_and_logs_are_errors(agent, job):
    assert agent.ask("logs", uuid=new_uuid())["type"] == "error"
    assert agent.ask("outputs", uuid=new_uuid(), patterns=["x"])["type"] == "error"
    assert agent.ask("logs", uuid=job, stream="../../state/token")["type"] == "error"


def test_sync_is_bounded_and_tells_what_it_does_not_know(agent, job):
    other = new_uuid()
    answer = agent.ask("sync", jobs={job: 2, other: 0})
    assert answer["jobs"][other] == {"known": False, "state": None, "events": [], "last_seq": 0}
    assert answer["jobs"][job]["events"][0]["seq"] == 3
    assert answer["more"] is False


def test_check_looks_at_what_a_submission_needs(agent):
    findings = {
        one["what"]: one for one in agent.ask("check", cluster={"name": "l", "workload_manager": "local"})["findings"]
    }
    assert {"python", "workdir", "disk", "local", "watcher"} <= set(findings)
    assert all(one["ok"] for one in findings.values())
    findings = agent.ask("check", workdir="/proc/nowhere", cluster={"name": "s", "workload_manager": "pbs-none"})[
        "findings"
    ]
    assert {one["what"] for one in findings if not one["ok"]} == {"workdir", "pbs-none"}
    assert all(one["hint"] or one["text"] for one in findings)


def test_facts_tell_the_load(agent):
    status = agent.ask("facts", cluster={"name": "l", "workload_manager": "local"})["status"]
    assert status["cpus"] >= 1
    assert status["time"].endswith("Z")
