"""A program of its own with a client: forks, and what it finds on its stderr."""

import os
import subprocess
import sys
from pathlib import Path

PATIENCE = 60

FORKS = """
import asyncio, os, signal, sys
from project import AsyncClient, Client, JobferryError

JOB = {"destination_cluster": "local", "script": "true"}
unused, used, other = Client(), Client(), AsyncClient()
job = used.submit(JOB)


def in_child(work):
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        try:
            print(work(), flush=True)
        except JobferryError as error:
            print(error.message, flush=True)
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


async def asked():
    return (await other.get(job)).uuid == job.uuid


assert asyncio.run(asked())
in_child(lambda: unused.get(job).uuid == job.uuid)
# Held by a thread that the child does not have.
with used._core.using():
    in_child(lambda: used.get(job))
    in_child(used.close)
in_child(lambda: asyncio.run(asked()))
in_child(lambda: asyncio.run(other.close()))
print(used.wait(job, 60).state, asyncio.run(asked()))
used.close()
asyncio.run(other.close())
"""
UNTOLD = """
from project import Client

with Client() as client:
    data = {"destination_cluster": "local", "script": "true", "callback": "http://127.0.0.1:1/"}
    client.wait(client.submit(data), 60)
    print([each["delivery"] for each in client.deliveries(next(client.jobs()))][0])
"""
BROKEN = """
import socket, threading
from project import Client, ClusterError

listening = socket.create_server(("127.0.0.1", 0))


def serve():
    while True:
        connection, _ = listening.accept()
        connection.sendall(b"SSH-2.0-broken\\r\\n" + bytes(100))
        connection.recv(1000)


threading.Thread(target=serve, daemon=True).start()
with Client() as client:
    where = {"hostname": "127.0.0.1", "port": listening.getsockname()[1], "workload_manager": "slurm"}
    client.add_cluster({"name": "broken", **where})
    try:
        client.submit({"destination_cluster": "broken", "script": "true"})
    except ClusterError as error:
        print("No SSH connection" in error.message)
"""


def ran(script: str, home: Path) -> "subprocess.CompletedProcess[str]":
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=root,
        env={**os.environ, "JOBFERRY_HOME": str(home), "JOBFERRY_ALLOW_PRIVATE_WEBHOOKS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
        check=True,
    )


def test_a_client_is_not_taken_over_a_fork(home: Path) -> None:
    refused = "The client was made before a fork."
    lines = ran(FORKS, home).stdout.splitlines()
    assert lines == ["True", refused, "None", refused, "None", "FINISHED True"]


def test_a_callback_that_fails_prints_nothing(home: Path) -> None:
    called = ran(UNTOLD, home)
    assert (called.stdout, called.stderr) == ("waiting\n", "")


def test_a_server_that_speaks_no_ssh_is_an_error_and_no_traceback(home: Path) -> None:
    called = ran(BROKEN, home)
    assert (called.stdout, called.stderr) == ("True\n", "")
