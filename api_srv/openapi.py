"""The OpenAPI 3.1 document, made from the table of endpoints."""

import re
from typing import Any

from api_srv.endpoints import ACCOUNT, ENDPOINTS, OPEN, Endpoint
from api_srv.problems import CONTENT_TYPE, TITLES
from project import __version__
from project.core import schema

_QUERY = {
    "state": "States, separated by commas; LIVE and FINAL stand for all of those.",
    "selector": "Tags: `key=value`, `key!=value`, `key`, `!key`, separated by commas; all must hold.",
    "cluster": "Name of the cluster.",
    "name": "Name of the job.",
    "owner": "Name of the account (administrators).",
    "limit": "At most so many.",
    "cursor": "From the answer before: the next page.",
    "after": "Only events with a number beyond this.",
    "force": "1: also a live job.",
}
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "error"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "error": {"type": "string", "description": "What is wrong."},
        "detail": {"type": "string"},
        "key": {"type": "string", "description": "The failing key, dotted."},
        "problems": {"type": "array", "items": {"type": "object"}},
    },
}


def document(public_url: str = "") -> dict[str, Any]:
    """The whole description; `public_url` names the server if it is known."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "jobferry",
            "version": __version__,
            "description": "Records jobs, their history and clusters.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer", "description": "An account's or a job's token."},
            },
            "schemas": {"problem": _PROBLEM},
            "responses": {str(status): _problem(title) for status, title in TITLES.items()},
        },
    }
    if public_url:
        described["servers"] = [{"url": public_url}]
    return described


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.handler.__name__,
        "summary": endpoint.summary,
        "security": [] if endpoint.who == OPEN else [{"basic": []}, {"bearer": []}],
        "parameters": _parameters(endpoint),
        "responses": {
            str(endpoint.status): {"description": endpoint.answer, "content": _content(endpoint)},
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in _refusals(endpoint)},
        },
    }
    if endpoint.body:
        operation["requestBody"] = {
            "required": True,
            "description": endpoint.body,
            "content": {"application/json": {"schema": _schema(endpoint.body)}},
        }
    return operation


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    text = {"type": "string"}
    inside = [
        {"name": name, "in": "path", "required": True, "schema": text} for name in re.findall(r"{(\w+)}", endpoint.path)
    ]
    return inside + [
        {"name": name, "in": "query", "schema": text, "description": _QUERY[name]} for name in endpoint.query
    ]


def _content(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.answer == "text":
        return {"text/plain": {"schema": {"type": "string"}}}
    return {"application/json": {"schema": _schema(endpoint.answer)}}


def _schema(words: str) -> dict[str, Any]:
    if words in schema.NAMES:
        return {"$ref": f"/schemas/{words}.json"}
    return {"type": "object", "description": words}


def _refusals(endpoint: Endpoint) -> list[int]:
    found = [503]
    if endpoint.who != OPEN:
        found += [401, 429]
    if endpoint.who == ACCOUNT or "{uuid}" in endpoint.path:
        found.append(403)
    if "{" in endpoint.path:
        found.append(404)
    if "{uuid}" in endpoint.path:
        found.append(409)
    if endpoint.body:
        found += [400, 413, 415]
    if endpoint.body or endpoint.query:
        found.append(422)
    return sorted(set(found))


def _problem(title: str) -> dict[str, Any]:
    return {
        "description": title,
        "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/problem"}}},
    }
