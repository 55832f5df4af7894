"""The main job with the server's data in MongoDB, over the wire."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.inputs import write_input
from helpers.live import Bed, Cli, Server, eventually, serving


@pytest.fixture
def on_mongo(testbed: Bed, tmp_path: Path) -> Iterator[Server]:
    env = {
        "JOBFERRY_SMTP_URL": testbed.smtp_url,
        "JOBFERRY_MONGO_URL": testbed.mongo_url,
        "JOBFERRY_MONGO_DB": f"jobferry_{uuid.uuid4().hex[:12]}",
    }
    yield from serving(Server(tmp_path / "server", env))


def test_the_main_job_on_a_server_with_mongodb(on_mongo: Server, testbed: Bed, tmp_path: Path, mail: str) -> None:
    cli = Cli(tmp_path / "user", testbed.folder / "known_hosts", on_mongo.client_env)
    cli.run("clusters", "import", testbed.clusters)
    (tmp_path / "job.sh").write_text("echo $1 > result.txt\n")
    path = write_input(
        tmp_path, testbed, user_mail=mail, job="job.sh", execution="srun sh job.sh 42", output="result.txt"
    )
    document = cli.json("submit", path, "--wait")
    assert (document["state"], document["exit_code"]) == ("FINISHED", 0)
    cli.run("retrieve", document["job_uuid"], "-o", tmp_path / "out")
    assert (tmp_path / "out" / "result.txt").read_text() == "42\n"
    eventually(lambda: "finished" in str([mail["Subject"] for mail in testbed.mails(mail)]), "a mail that it finished")
    # What was acknowledged is there after the server has gone and come back.
    on_mongo.stop(kill=True)
    on_mongo.start()
    assert cli.json("status", document["job_uuid"])["state"] == "FINISHED"
    assert len({str(message["Message-ID"]) for message in testbed.mails(mail)}) == 3
