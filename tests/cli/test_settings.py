import pytest

from project import settings
from project.core.errors import UserError


@pytest.fixture
def config(tmp_path):
    folder = tmp_path / "config" / "jobferry"
    folder.mkdir(parents=True)
    return folder / "config.yml"


def environ(tmp_path, **more):
    return {"XDG_CONFIG_HOME": str(tmp_path / "config"), **more}


def test_flags_win_over_the_environment_and_that_over_the_file(config, tmp_path):
    config.write_text("api_url: http://file\nlisten: 1.2.3.4:5\nhome: /from/file\n")
    found = settings.load(
        environ(tmp_path, JOBFERRY_API_URL="http://env", JOBFERRY_HOME="/from/env"), {"home": "/flag"}
    )
    assert found.get("listen") == "1.2.3.4:5"
    assert found.get("api_url") == "http://env"
    assert str(found.home) == "/flag"


def test_without_a_file_the_defaults_hold(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    found = settings.load(environ(tmp_path))
    assert found.get("api_url") == ""
    assert found.home == tmp_path / "data" / "jobferry"


def test_values_stay_the_texts_that_were_written(config, tmp_path):
    config.write_text("api_password: 007\nadmin_user: no\n")
    found = settings.load(environ(tmp_path))
    assert found.get("api_password") == "007"
    assert found.get("admin_user") == "no"
    assert found.environment() == {"JOBFERRY_API_PASSWORD": "007", "JOBFERRY_ADMIN_USER": "no"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("api_ulr: x\n", "unknown key 'api_ulr'. Did you mean 'api_url'?"),
        ("JOBFERRY_API_URL: x\n", "Did you mean 'api_url'?"),
        ("zzzzzz: x\n", "Known keys: home, api_url"),
        ("api_url: [a\n", "config.yml:"),
        ("- a\n", "`key: value` lines"),
        ("api_url: [a]\n", "`api_url` must be one text"),
    ],
)
def test_a_wrong_file_is_an_error_that_says_what_to_do(config, tmp_path, text, message):
    config.write_text(text)
    with pytest.raises(UserError) as caught:
        settings.load(environ(tmp_path))
    assert message in str(caught.value)
    assert str(config) in str(caught.value)


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_an_empty_file_is_fine(config, tmp_path, text):
    config.write_text(text)
    assert settings.load(environ(tmp_path)).get("api_url") == ""


def test_secrets_are_not_in_the_repr(config, tmp_path):
    config.write_text("api_password: hunter2\n")
    assert "hunter2" not in repr(settings.load(environ(tmp_path)))


def test_an_unreadable_file_is_named(config, tmp_path):
    config.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        settings.load(environ(tmp_path))
