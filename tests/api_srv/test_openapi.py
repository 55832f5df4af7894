"""The OpenAPI document says all that the server does, and nothing else."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api_srv import app as app_module
from api_srv import openapi
from api_srv.endpoints import ENDPOINTS
from api_srv.problems import TITLES
from api_srv.services.context import Services
from api_srv.settings import Settings
from api_srv.store.sqlite import SqliteStore
from project.core import schema


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Any]:
    services = Services(SqliteStore.in_home(str(tmp_path)))
    yield app_module.create_app(Settings(home=str(tmp_path)), services)
    services.store.close()


def documented() -> set[tuple[str, str]]:
    paths = openapi.document()["paths"]
    return {(method.upper(), path) for path, methods in paths.items() for method in methods}


def test_every_route_of_the_api_is_documented_and_every_documented_one_exists(app: Any) -> None:
    served = {
        (method, re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("api.")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert served == documented()
    assert served == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}


def test_operations_have_names_of_their_own_and_known_answers() -> None:
    names = []
    for methods in openapi.document("http://x")["paths"].values():
        for operation in methods.values():
            names.append(operation["operationId"])
            assert operation["summary"].endswith(".")
            for status in operation["responses"]:
                assert int(status) in (200, 201) or int(status) in TITLES
    assert len(set(names)) == len(names)


def test_it_is_openapi(app: Any) -> None:
    client = app.test_client()
    described = client.get("/openapi.json").get_json()
    assert described["openapi"].startswith("3.1")
    references = set(re.findall(r'"\$ref": ?"([^"]+)"', client.get("/openapi.json").text))
    for reference in references:
        if reference.startswith("#/"):
            place = described
            for part in reference[2:].split("/"):
                place = place[part]
        else:
            assert client.get(reference).status_code == 200


def test_the_schemas_are_served(app: Any) -> None:
    client = app.test_client()
    for name in schema.NAMES:
        answer = client.get(f"/schemas/{name}.json")
        assert answer.get_json() == schema.load(name)
    assert client.get("/schemas/input").status_code == 404


def test_what_needs_no_credentials(app: Any) -> None:
    client = app.test_client()
    for endpoint in ENDPOINTS:
        path = endpoint.path.replace("{uuid}", "503d3f77").replace("{name}", "input.json")
        status = client.open(path, method=endpoint.method, json={}).status_code
        assert (status != 401) == (endpoint.who == "open"), path


def test_metrics(app: Any) -> None:
    from helpers.served import PASSWORD, add_accounts

    add_accounts(app.extensions["jobferry"][0])
    answer = app.test_client().get("/metrics", auth=("ann", PASSWORD))
    assert answer.content_type.startswith("text/plain")
    assert "# TYPE jobferry_jobs gauge" in answer.text
