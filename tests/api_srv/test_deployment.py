"""The server's page and its container files say what the code does."""

import re
from pathlib import Path

import yaml

from api_srv.endpoints import ENDPOINTS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "server.md").read_text()
SETTINGS = set(re.findall(r"JOBFERRY_[A-Z_]+", (ROOT / "api_srv" / "settings.py").read_text()))


def test_the_page_names_every_call_and_no_other() -> None:
    told = set(re.findall(r"^\| `([A-Z]+ /[^`]*)` \|", PAGE, re.MULTILINE))
    assert told == {f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS}


def test_the_page_names_every_setting_and_no_other() -> None:
    rows = re.findall(r"^\| (`JOBFERRY_[^|]*)\|", PAGE, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"JOBFERRY_[A-Z_]+", row)} == SETTINGS


def test_the_compose_file_gives_the_server_settings_that_it_knows() -> None:
    services = yaml.safe_load((ROOT / "compose.yml").read_text())["services"]
    assert set(services) == {"mongo", "server"}
    assert set(services["server"]["environment"]) <= SETTINGS
    built = services["server"]["build"]["dockerfile"]
    assert 'CMD ["python", "-m", "api_srv"]' in (ROOT / built).read_text()


def test_the_container_file_sets_settings_that_the_server_knows() -> None:
    assert set(re.findall(r"JOBFERRY_[A-Z_]+", (ROOT / "Containerfile").read_text())) <= SETTINGS
