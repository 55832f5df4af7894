"""`.jobferryignore` against git itself: what git would ignore stays behind."""

import subprocess

import pytest

from project.engine import ignore

FILES = (
    "a.log",
    "keep.log",
    "sub/a.log",
    "sub/deep/b.txt",
    "build/x.o",
    "sub/build/y.o",
    "build.txt",
    "data/1/raw",
    "data/2/raw",
    "data/raw",
    "doc/a/b/c.md",
    "name with space",
    "hash#1",
    "#hash",
    "!bang",
    "x1",
    "xa",
    "x]",
    "é.dat",
)
RULES = (
    "*.log\n!keep.log\n",
    "/build\n",
    "build/\n",
    "sub/build\n",
    "data/*/raw\n",
    "**/raw\n",
    "doc/**\n",
    "doc/**/c.md\n",
    "x[0-9]\n",
    "x[!0-9]\n",
    "x[]]\n",
    "\\#hash\n",
    "\\!bang\n",
    "# comment\n\nname with space   \n",
    "*\n!*/\n!*.md\n",
    "é.*\n",
    "?1\n",
    "hash#1\n",
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    top = tmp_path_factory.mktemp("tree")
    for name in FILES:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text("x")
    subprocess.run(["git", "init", "-q"], cwd=top, check=True)
    return top


@pytest.mark.parametrize("text", RULES)
def test_as_git_does(tree, text):
    (tree / ".gitignore").write_text(text)
    listed = subprocess.run(
        ["git", "ls-files", "-o", "-z", "--exclude-standard"], cwd=tree, check=True, stdout=subprocess.PIPE
    ).stdout.decode()
    kept = {name for name in listed.split("\0") if name and name != ".gitignore"}
    rules = ignore.parse(text)

    def stays(name):
        parts = name.split("/")
        folders = ["/".join(parts[:n]) for n in range(1, len(parts))]
        return any(ignore.ignored(one, True, rules) for one in folders) or ignore.ignored(name, False, rules)

    assert {name for name in FILES if not stays(name)} == kept


def test_rules_of_a_folder_hold_below_it():
    rules = ignore.parse("*.o\n", "sub/")
    assert ignore.ignored("sub/deep/x.o", False, rules)
    assert not ignore.ignored("x.o", False, rules)
