"""The rules of the house that no linter keeps: sizes, what may be imported where, what no file may name."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("project", "api_srv", "modules", "samples", "tests", "benchmarks", "docs", ".ci")
LEFT_OUT = {"__pycache__", ".git", ".venv", "node_modules", "_share", ".hypothesis"}
TEXT = {
    ".py",
    ".md",
    ".yml",
    ".yaml",
    ".toml",
    ".json",
    ".sh",
    ".html",
    ".css",
    ".js",
    ".cfg",
    ".ini",
    ".c",
    ".txt",
    "",
}
FILE_LINES, TEST_FILE_LINES, FUNCTION_LINES = 400, 600, 60


def files(*rooms: str, suffix: str = "") -> Iterator[Path]:
    """Files of the repository below `rooms`."""
    for room in rooms:
        for folder, inner, names in os.walk(ROOT / room):
            inner[:] = sorted(name for name in inner if name not in LEFT_OUT)
            for name in sorted(names):
                if name.endswith(suffix) and not name.endswith((".pyc", ".eml")):
                    yield Path(folder) / name


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(path: Path, top_level: bool = False) -> set[str]:
    """Full names of what a file imports; `top_level` leaves out imports inside functions and under TYPE_CHECKING."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if top_level and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            if top_level and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{short(path)}: a relative import"
                found.update(f"{child.module}.{alias.name}" for alias in child.names)
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def tops(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def test_files_are_short() -> None:
    long = []
    for path in files("project", "api_srv", "modules", "tests", "benchmarks", suffix=".py"):
        limit = TEST_FILE_LINES if short(path).startswith("tests") else FILE_LINES
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > limit:
            long.append(f"{short(path)}: {lines} lines, {limit} at most")
    assert not long, "\n".join(long)


def test_functions_are_short() -> None:
    long = []
    for path in files("project", "api_srv", "modules", suffix=".py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    long.append(f"{short(path)}:{node.lineno} {node.name}: {lines} lines, {FUNCTION_LINES} at most")
    assert not long, "\n".join(long)


# Written in pieces, so that this file does not name them either.
UNWANTED = re.compile(
    "|".join(
        [
            r"py" + r"pi\.org",
            r"pythonhosted" + r"\.org",
            r"deb\.debian" + r"\.org",
            r"/work/" + r"(main|shared|\.mirror|\.library)",
            r"/root/" + r"\.",
            r"/opt/" + r"(wheels|pypi)",
            r"/tmp/" + r"w/",
        ]
    )
)


def test_no_file_names_a_registry_or_a_place_on_one_machine() -> None:
    named = []
    own = [path for path in ROOT.iterdir() if path.is_file() and path.name not in {".coverage"}]
    for path in [*own, *files(*ROOMS)]:
        if path.suffix in TEXT and not path.is_symlink():
            for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
                if UNWANTED.search(line):
                    named.append(f"{short(path)}:{number}: {line.strip()[:100]}")
    assert not named, "\n".join(named)


@pytest.mark.parametrize("room", ["project/core", "project/agent"])
def test_core_and_agent_need_the_standard_library_alone(room: str) -> None:
    wrong = []
    allowed = "project.core" if room == "project/core" else ("project.core", "project.agent")
    for path in files(room, suffix=".py"):
        for name in imported(path):
            own = name in {"project", "project.core"} or name.startswith(allowed)
            if not own and name.partition(".")[0] not in sys.stdlib_module_names:
                wrong.append(f"{short(path)}: {name}")
            if name.startswith(("__future__.annotations", "dataclasses")):
                wrong.append(f"{short(path)}: {name} is newer than Python 3.6")
    assert not wrong, "\n".join(wrong)


ONLY_IN = {
    "fabric": ("project/transports/ssh",),
    "paramiko": ("project/transports/ssh",),
    "rich": ("project/render",),
    "flask": ("api_srv/",),
    "pymongo": ("api_srv/store/mongo",),
    "smtplib": ("api_srv/notify/smtp",),
    "jsonschema": ("project/spec/", "project/engine/", "api_srv/"),
    "keyring": ("project/engine/", "project/transports/"),
}


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_a_library_is_imported_where_it_belongs_only(library: str) -> None:
    wrong = [
        short(path)
        for path in files("project", "api_srv", suffix=".py")
        if library in tops(imported(path)) and not short(path).startswith(ONLY_IN[library])
    ]
    assert not wrong, wrong


def test_services_know_no_web_framework_no_database_and_no_mail() -> None:
    for path in files("api_srv/services", suffix=".py"):
        assert not tops(imported(path)) & {"flask", "werkzeug", "pymongo", "sqlite3", "smtplib"}, short(path)


def test_project_meets_the_server_in_one_file() -> None:
    meets = {short(path) for path in files("project", suffix=".py") if "api_srv" in tops(imported(path))}
    assert meets <= {"project/bootstrap.py"}


def test_the_server_uses_the_core_alone() -> None:
    for path in files("api_srv", suffix=".py"):
        foreign = {
            name
            for name in imported(path)
            if name.startswith("project.") and not name.startswith(("project.core", "project.__version__"))
        }
        assert not foreign, f"{short(path)}: {foreign}"


def test_a_cold_command_imports_nothing_heavy() -> None:
    program = "import sys, project.__main__, project.cli; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"fabric", "paramiko", "flask", "rich", "jsonschema", "pymongo", "yaml", "waitress", "argon2", "keyring"}
    assert not heavy & set(done.stdout.split())
