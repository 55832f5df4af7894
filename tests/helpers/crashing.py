"""A submission sent to an agent that dies before its n-th durable step."""

import os
import subprocess

from helpers.agent_client import QUICK, QUICK_ENV, command
from project.core import protocol

# Kills the process in front of its n-th durable step; written so that Python 3.6 runs it.
_CRASH = """
import os
left = [int(os.environ.pop("CRASH_AT"))]
def before(name):
    real = getattr(os, name)
    def call(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), 9)
        return real(*args, **kwargs)
    setattr(os, name, call)
for name in ("fsync", "replace", "rename", "mkdir"):
    before(name)
"""


def crash(root, python, step, request, upload, env):
    """Send a submission to an agent that dies before its n-th step; True when it lived to answer."""
    process = subprocess.Popen(
        [*command(python, _CRASH + QUICK), "serve", str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=dict(os.environ, CRASH_AT=str(step), **QUICK_ENV, **env),
    )
    try:
        protocol.write(process.stdin, request)
        protocol.write(process.stdin, {"type": "data"}, upload)
        protocol.write(process.stdin, {"type": "end"})
        while True:
            header, _ = protocol.read(process.stdout)
            if header["type"] == "result":
                return True
    except (OSError, protocol.ProtocolError):
        return False
    finally:
        for stream in (process.stdin, process.stdout):
            try:
                stream.close()
            except OSError:
                pass
        process.wait()


def request(uuid, cluster, execution):
    spec = {
        "destination_cluster": cluster["name"],
        "job": "job",
        "execution": execution,
        "requirements": ["test -e data"],
    }
    return {"op": "submit", "upload": True, "uuid": uuid, "spec": spec, "cluster": cluster, "source": {"kind": "file"}}
