"""The Python blocks of docs/python.md run as they stand there, one after the other."""

import ast
import asyncio
import inspect
import re
import types
from pathlib import Path
from typing import Any

import pytest

from project import AsyncClient, Client

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "python.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_block_runs(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("JOBFERRY_HOME", str(home / "data"))
    names: dict[str, Any] = {}
    blocks = BLOCK.findall(DOCUMENT.read_text(encoding="utf-8"))

    async def run(code: types.CodeType) -> None:
        result = types.FunctionType(code, names)()
        if inspect.isawaitable(result):
            await result

    async def everything() -> None:
        for number, block in enumerate(blocks, 1):
            await run(compile(block, f"block {number}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT))

    asyncio.run(everything())
    printed = capsys.readouterr().out
    assert len(blocks) == 6
    assert "FINISHED ok 0\nhello\n\n[PosixPath('results/answer.txt')]\n" in printed
    assert (home / "results" / "answer.txt").read_text() == "42\n"
    assert "exit_code" in printed
    assert "step Submitting to local 0 0" in printed
    assert names["header"].endswith("757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")


def test_every_public_method_is_named() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for kind in (Client, AsyncClient):
        for name, _ in inspect.getmembers(kind, inspect.isfunction):
            assert name.startswith("_") or name == "close" or re.search(rf"`{name}\b", text), name
