"""Nothing that a user can call or set is undocumented, and no link in the documentation is dead."""

import re
from pathlib import Path

import pytest

from project import commands, settings
from project.core import errors, states

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_every_setting_verb_state_condition_and_exit_code_is_in_the_readme():
    wanted = [f"`{setting.variable}`" for setting in settings.SETTINGS]
    wanted += [f"`{name}`" for name in (*states.STATES, *states.CONDITIONS)]
    wanted += [
        f"\n| {cls.exit_code} |"
        for cls in (errors.UserError, errors.ClusterError, errors.ApiError, errors.JobEnded, errors.Bug)
    ]
    wanted += ["\n| 130 |"]
    assert [word for word in wanted if word not in README] == []
    words = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL))
    for verb in commands.VERBS:
        assert any(verb.name.split()[-1] == word.split()[0] for word in words if word.strip()), verb.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_link_is_dead(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        whole = (page.parent / path).resolve() if path else page
        assert whole.exists(), f"{page.name} links to {target}"
        if anchor and whole.suffix == ".md":
            heads = re.findall(r"^#+ (.+)$", whole.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in heads}
