"""The main job on real Slurm behind real sshd, its mails read back from SMTP, its output fetched."""

import re
import uuid as uuids
from pathlib import Path

import pytest

from helpers.inputs import write_input
from helpers.live import Bed, Cli, eventually, whole

ID_LINE = re.compile(r"Your submission ID = ([0-9a-f-]{36})\Z")


def submitted(ran_last_line: str) -> str:
    match = ID_LINE.match(ran_last_line)
    assert match, ran_last_line
    return str(uuids.UUID(match.group(1)))


def subjects(testbed: Bed, to: str) -> list[str]:
    return [str(message["Subject"]) for message in testbed.mails(to)]


def test_one_yaml_becomes_a_finished_job_with_mail_and_output(
    cli: Cli, testbed: Bed, tmp_path: Path, mail: str
) -> None:
    (tmp_path / "job.sh").write_text("#!/bin/sh\necho counted $1 > result.txt\necho said\necho complained >&2\n")
    path = write_input(
        tmp_path,
        testbed,
        user_mail=mail,
        name="counting",
        requirements=["chmod +x job.sh", "cd /tmp && pwd | cat"],
        job="job.sh",
        execution=["srun ./job.sh 42", "sleep 2"],
        output="result.txt",
        resources={"duration": "10m", "memory_per_thread": "100M"},
    )
    ran = cli.run("-u", path, cwd=tmp_path)
    uuid = submitted(ran.last)

    document = cli.until(uuid)
    assert (document["state"], document["condition"], document["exit_code"]) == ("FINISHED", "ok", 0)
    native = document["native_id"]
    assert testbed.alpha.native_jobs(uuid) == [native]
    assert document["job_status"]["JobID"] == [native]
    assert document["job_status"]["State"] == ["COMPLETED"]
    assert document["cluster"] == "alpha"

    folder = testbed.alpha.here(document["job_directory"])
    assert folder == testbed.alpha.home() / ".jobferry" / "jobs" / uuid
    assert {"spec.json", "status.csv", "events.jsonl", "scripts", "work", "log"} <= set(
        path.name for path in folder.iterdir()
    )
    words = [line.split(",")[2] for line in (folder / "status.csv").read_text().splitlines()[-4:]]
    assert words == ["new", "queued", "active", "completed"]
    assert (folder / "log" / "stdout.1").read_text() == "said\n"
    assert cli.run("logs", uuid).out == "said\n"
    assert "complained" in cli.run("logs", uuid, "--stderr").out

    result = tmp_path / "fetched"
    result.mkdir()
    cli.run("-r", uuid[:8], cwd=result)
    assert (result / "result.txt").read_text() == "counted 42\n"

    eventually(lambda: any("finished" in subject for subject in subjects(testbed, mail)), "a mail that it finished")
    words = " | ".join(subjects(testbed, mail))
    assert re.search("queued.*running.*finished", words), words
    assert len(subjects(testbed, mail)) == 3, words
    mails = testbed.mails(mail)
    last = whole(mails[-1])
    assert "counting" in mails[-1]["Subject"] or uuid[:8] in mails[-1]["Subject"]
    assert "alpha" in last
    assert uuid[:8] in last
    assert {part.get_content_type() for part in mails[-1].walk()} >= {"text/plain", "text/html"}
    assert len({str(message["Message-ID"]) for message in mails}) == 3
    threads = {str(message["References"]) for message in mails[1:]}
    assert threads == {str(mails[0]["References"] or mails[0]["Message-ID"])}, "the mails of a job are one thread"
    assert b"=?" not in re.findall(rb"^References:.*\n(?:[ \t].*\n)*", mails[-1].as_bytes(), re.MULTILINE)[0]
    assert str(testbed.key()) not in "".join(map(whole, mails))


def test_a_failing_job_keeps_its_exit_code_and_its_owner_is_told(
    cli: Cli, testbed: Bed, tmp_path: Path, mail: str
) -> None:
    (tmp_path / "job.sh").write_text("#!/bin/sh\necho the disk is on fire >&2\nexit 7\n")
    path = write_input(
        tmp_path, testbed, user_mail=mail, job="job.sh", execution=["srun sh ./job.sh", "touch not-reached"]
    )
    uuid = cli.run("submit", path, "-q").last
    document = cli.until(uuid)
    assert (document["state"], document["condition"], document["exit_code"]) == ("FAILED", "exit_code", 7)
    assert not (testbed.alpha.here(document["working_directory"]) / "not-reached").exists()
    eventually(lambda: any("failed" in subject for subject in subjects(testbed, mail)), "a mail that it failed")
    text = whole(testbed.mails(mail)[-1])
    assert "the disk is on fire" in text
    assert "7" in text
    ran = cli.run("retrieve", uuid, "-o", tmp_path / "none", code=None)
    assert ran.code in {2, 5}, str(ran)


def test_an_array_is_told_element_by_element(cli: Cli, testbed: Bed, tmp_path: Path, mail: str) -> None:
    (tmp_path / "job.sh").write_text(
        'echo "element $SLURM_ARRAY_TASK_ID"; echo $((SLURM_ARRAY_TASK_ID * 2)) > "result.$SLURM_ARRAY_TASK_ID"\n'
    )
    path = write_input(
        tmp_path,
        testbed,
        user_mail=mail,
        job="job.sh",
        execution="sh job.sh",
        output=["result.*"],
        resources={"nbr_jobs_in_array": 3, "duration": "5m", "memory_per_thread": "50M"},
    )
    uuid = submitted(cli.run("submit", path).last)
    document = cli.until(uuid)
    assert (document["state"], document["condition"]) == ("FINISHED", "ok")
    assert document["job_status"]["State"] == ["COMPLETED"] * 3
    assert len(set(document["job_status"]["JobID"])) == 3
    cli.run("retrieve", uuid, "-o", tmp_path / "out")
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {
        "result.0": "0\n",
        "result.1": "2\n",
        "result.2": "4\n",
    }
    log = testbed.alpha.here(document["job_directory"]) / "log"
    assert (log / "stdout.1.2").read_text() == "element 2\n"
    eventually(lambda: any("finished" in subject for subject in subjects(testbed, mail)), "a mail that it finished")
    assert len(subjects(testbed, mail)) <= 3, "one mail a change, not one an element"


def test_a_compiled_job(cli: Cli, testbed: Bed, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "job.c").write_text('#include <stdio.h>\nint main(void) { printf("%d\\n", ANSWER); return 0; }\n')
    path = write_input(
        tmp_path,
        testbed,
        job="source",
        compilation=["gcc -DANSWER=42 -o job job.c", "test -x job && ls | cat"],
        execution=["srun ./job > answer.txt"],
        output="answer.txt",
    )
    uuid = cli.run("-q", "submit", path).last
    assert cli.until(uuid)["state"] == "FINISHED"
    cli.run("retrieve", uuid, "-o", tmp_path / "out")
    assert (tmp_path / "out" / "answer.txt").read_text() == "42\n"
    history = cli.run("history", uuid).out
    assert "gcc" in history


def test_a_compilation_that_fails_stops_the_job_and_shows_what_it_printed(
    cli: Cli, testbed: Bed, tmp_path: Path, mail: str
) -> None:
    (tmp_path / "job.c").write_text("int main(void) { return undeclared_thing; }\n")
    path = write_input(
        tmp_path, testbed, user_mail=mail, job="job.c", compilation="gcc -o job job.c", execution="./job"
    )
    ran = cli.run("submit", path, code=3)
    assert "undeclared_thing" in ran.err + ran.out, str(ran)
    jobs = cli.json("ls", "--limit", 1)["jobs"]
    assert (jobs[0]["state"], jobs[0]["condition"]) == ("FAILED", "compilation_failed")
    assert testbed.alpha.native_jobs(jobs[0]["job_uuid"]) == []
    eventually(lambda: testbed.mails(mail, "undeclared_thing"), "a mail with the compiler's words")


@pytest.mark.parametrize("reference", ["", "#second"])
def test_a_job_from_git(cli: Cli, testbed: Bed, tmp_path: Path, reference: str) -> None:
    testbed.alpha.ssh(
        """set -e; rm -rf src repo.git; git init -q -b main src; cd src; git config user.email a@b.c; git config user.name n
        echo 'echo first > result.txt' > job.sh; git add .; git commit -qm one; git checkout -q -b second
        echo 'echo second > result.txt' > job.sh; git commit -qam two; git checkout -q main
        cd ..; git clone -q --bare src repo.git"""
    )
    path = write_input(
        tmp_path,
        testbed,
        job=f"file:///home/jdoe/repo.git{reference}",
        execution="sh job.sh",
        output="result.txt",
    )
    uuid = cli.run("submit", "-q", path).last
    document = cli.until(uuid)
    assert document["state"] == "FINISHED", document
    assert (testbed.alpha.here(document["working_directory"]) / ".git").is_dir(), "the clone is the working directory"
    cli.run("retrieve", uuid, "-o", tmp_path / "out")
    assert (tmp_path / "out" / "result.txt").read_text() == (reference.strip("#") or "first") + "\n"
