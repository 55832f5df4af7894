"""psik's configuration as clusters, field by field; and the page that compares."""

import json
import re
from pathlib import Path

import pytest

from project import spec
from project.core.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def clusters(folder, **config):
    path = folder / "psik.json"
    path.write_text(json.dumps(config))
    return spec.load_clusters_or_config(path)


def problems(folder, **config):
    with pytest.raises(InputError) as caught:
        clusters(folder, **config)
    return [problem.key for problem in caught.value.problems]


def test_a_backend_of_version_1(tmp_path):
    backend = {
        "type": "slurm",
        "queue_name": "batch",
        "project_name": "plaid",
        "reservation_id": "r1",
        "attributes": {"--qos": "low", "-b": "x y"},
    }
    (found,), notes = clusters(
        tmp_path, prefix="/proj/.psik", backend=backend, psik_path="/opt/psik", rc_path="/opt/rc"
    )
    assert notes == []
    assert (found["name"], found["transport"], found["workload_manager"]) == ("psik-slurm", "local", "slurm")
    assert (found["workdir"], found["partition"]) == ("/proj/.psik", "batch")
    options = ["--account=plaid", "--reservation=r1", "--qos=low", '-b "x y"']
    assert found["profile"] == {"options": options, "env": {"psik": "/opt/psik", "rc": "/opt/rc"}}


def test_the_backends_of_version_3_and_the_defaults(tmp_path):
    backends = {"default": {"type": "local"}, "frontier": {"type": "slurm"}}
    found, _ = clusters(tmp_path, prefix="~/jobs", backends=backends)
    assert [cluster["name"] for cluster in found] == ["default", "frontier"]
    assert all("profile" not in cluster for cluster in found)
    (only,), _ = clusters(tmp_path, prefix="/p")
    assert (only["name"], only["workload_manager"]) == ("psik-local", "local")


def test_lsf_has_its_own_words(tmp_path):
    (found,), _ = clusters(tmp_path, prefix="/p", backend={"type": "lsf", "project_name": "P", "reservation_id": "R"})
    assert found["profile"]["options"] == ["-P P", "-U R"]


def test_what_cannot_take_effect_is_named(tmp_path):
    assert problems(tmp_path, prefix="/p", backends={"a": {"type": "globus"}}) == ["backends.a.type"]
    assert problems(tmp_path, prefix="/p", backends={"a": {"queue": "x"}}) == ["backends.a.queue"]
    assert problems(tmp_path, prefix="/p", backend={"type": "slurm", "attributes": {"qos": "x"}}) == [
        "backend.attributes.qos"
    ]
    assert problems(tmp_path, prefix="jobs") == ["prefix"]
    assert problems(tmp_path, prefix="/p", prefxi=1) == ["prefxi"]
    assert problems(tmp_path, prefix="/p", backend={}, backends={}) == ["backends"]
    assert problems(tmp_path, prefix="/p", backends={}) == ["backends"]
    assert problems(tmp_path, prefix="/p", backends={"my site": {}}) == ["backends"]


def test_what_psik_does_not_use_either_is_a_note(tmp_path):
    backend = {
        "type": "local",
        "project_name": "p",
        "reservation_id": "r",
        "queue_name": "q",
        "attributes": {"-b": "x"},
    }
    (found,), notes = clusters(tmp_path, prefix="/p", backend=backend)
    assert "profile" not in found
    names = ("project_name", "reservation_id", "attributes")
    assert all(any(name in note for note in notes) for name in names)


def test_a_list_of_clusters_is_still_one(tmp_path):
    path = tmp_path / "clusters.yml"
    path.write_text("- {name: a, hostname: a.example, workload_manager: slurm}\n")
    found, notes = spec.load_clusters_or_config(path)
    assert ([cluster["name"] for cluster in found], notes) == (["a"], [])


def test_every_test_that_the_comparison_names_is_there():
    page = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page))
    assert len(named) > 20
    for file, function in named:
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not function or f"def {function}(" in text, f"{file}::{function}"
