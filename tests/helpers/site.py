"""`python -m api_srv` processes over one home, as the tests of callbacks use them: any number of servers, killed and started again."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from project.core.api_client import ApiClient, http_call

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse"


class Servers:
    """Servers that share the database in `folder`. `environment` is added to theirs."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.home = folder / "home"
        kept = {key: value for key, value in os.environ.items() if not key.startswith("JOBFERRY_")}
        self.environment = {
            **kept,
            "JOBFERRY_HOME": str(self.home),
            "JOBFERRY_LISTEN": "127.0.0.1:0",
            "JOBFERRY_ADMIN_USER": "root",
            "JOBFERRY_ADMIN_PASSWORD": PASSWORD,
            **environment,
        }
        self.running: list[tuple[subprocess.Popen[bytes], str]] = []

    def start(self) -> ApiClient:
        """One more server; its API."""
        path = self.folder / f"log{len(self.running)}"
        with path.open("wb") as log:
            argv = [sys.executable, "-m", "api_srv"]
            process = subprocess.Popen(argv, cwd=ROOT, env=self.environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            said = re.search(r"serves on (http://127\.0\.0\.1:\d+)\.", path.read_text())
            if said:
                self.running.append((process, said[1]))
                return ApiClient(http_call(said[1], "root", PASSWORD))
            time.sleep(0.05)
        process.kill()
        process.wait()
        raise AssertionError(path.read_text())

    def kill(self, number: int = -1) -> None:
        """kill -9."""
        process = self.running[number][0]
        process.kill()
        process.wait(60)

    def close(self) -> None:
        """End those that still run."""
        for process, _ in self.running:
            if process.poll() is None:
                process.terminate()
        for process, _ in self.running:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
