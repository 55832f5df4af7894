"""psik's JobSpec, field by field: what becomes of it, and what is an error."""

import json
import subprocess

import pytest

from project.core import jobspec, payload, schedulers
from project.core.errors import InputError
from project.spec import psik, specfile

SLURM = schedulers.get("slurm")
SCRIPT = "#!/usr/bin/env rc\necho moo\n"


def made(scheduler=None, **fields):
    return psik.convert({"script": SCRIPT, **fields}, scheduler)


def test_a_byte_order_mark_hides_no_shebang():
    script = "\ufeff#!/usr/bin/env python3\nprint()\n"
    assert psik.convert({"script": script}).data["script"] == script[1:]
    assert payload.run_text(script) == script[1:]
    assert payload.run_text("\ufeffecho a\n") == "#!/bin/sh\necho a\n"


def problem(**fields):
    with pytest.raises(InputError) as caught:
        psik.convert({"script": SCRIPT, **fields}, SLURM)
    return caught.value.problems[0]


# Every field of psik/models.py, v1.2.2 and v3.1.1: (the specification, what the input gets).
FIELDS = [
    ("script", SCRIPT, {"script": SCRIPT}),
    ("name", "machine info", {"name": "machine info"}),
    ("name", None, {}),
    ("directory", "/scratch/jdoe", {"directory": "/scratch/jdoe"}),
    ("environment", {"A": "1", "B": 2}, {"env": {"A": "1", "B": "2"}}),
    ("environment", {}, {}),
    ("inherit_environment", False, {"inherit_environment": False}),
    ("inherit_environment", True, {"inherit_environment": True}),
    ("resources", {"duration": "60"}, {"resources": {"duration": "60m"}}),
    ("resources", {"duration": 30.0}, {"resources": {"duration": "30m"}}),
    ("resources", {"node_count": 2}, {"resources": {"nodes": 2}}),
    ("resources", {"node_count": 0}, {}),
    ("resources", {"process_count": 4}, {"resources": {"ranks": 4}}),
    ("resources", {"processes_per_node": 2}, {"resources": {"ranks_per_node": 2}}),
    ("resources", {"cpu_cores_per_process": 8}, {"resources": {"threads_per_rank": 8}}),
    ("resources", {"gpu_cores_per_process": 1}, {"resources": {"gpus_per_rank": 1}}),
    ("resources", {"gpu_cores_per_process": 0}, {}),
    ("resources", {"exclusive_node_use": True}, {"resources": {"exclusive": True}}),
    ("resources", {"exclusive_node_use": False}, {"resources": {"exclusive": False}}),
    ("backend", {"type": "slurm"}, {}),
    ("backend", {"queue_name": "batch"}, {"resources": {"queue": "batch"}}),
    ("backend", {"project_name": "plaid"}, {"resources": {"account": "plaid"}}),
    ("backend", {"reservation_id": "r1"}, {"resources": {"reservation": "r1"}}),
    ("backend", {"attributes": {"-b": "packed:rs"}}, {"scheduler_options": ["-b packed:rs"]}),
    ("backend", "defiant", {}),
    ("attributes", {"--qos": "x"}, {"scheduler_options": ["--qos=x"]}),
    ("attributes", {"--comment": 'a "b"'}, {"scheduler_options": ['--comment="a \\"b\\""']}),
    ("attributes", {"--requeue": ""}, {"scheduler_options": ["--requeue"]}),
    ("callback", "https://example.org/cb", {"callback": "https://example.org/cb"}),
    ("cb_headers", {"authorization": "Bearer x"}, {"cb_headers": {"authorization": "Bearer x"}}),
    ("cb_secret", "s3cret", {"cb_secret": "s3cret"}),
    ("client_secret", "unused", {}),
]


@pytest.mark.parametrize(("name", "value", "expected"), FIELDS, ids=lambda part: json.dumps(part)[:40])
def test_every_field_becomes_a_key_of_the_input(name, value, expected):
    data = made(**{name: value}).data
    assert {"script": SCRIPT, **expected} == data
    assert jobspec.problems({"destination_cluster": "a", **data}) == []


def test_every_field_of_both_versions_is_known_and_tested():
    assert {name for name, _, _ in FIELDS} == set(psik.FIELDS)
    resources = {key for name, value, _ in FIELDS if name == "resources" for key in value}
    assert resources == set(psik.RESOURCES)
    backend = {key for name, value, _ in FIELDS if name == "backend" and isinstance(value, dict) for key in value}
    assert backend == set(psik.BACKEND)


def test_psiks_defaults_are_kept_where_the_workload_manager_can_express_them():
    resources = made(SLURM).data["resources"]
    assert resources["duration"] == "10m"
    assert resources.get("exclusive", True) is True
    assert ("exclusive" in resources) == ("exclusive" in SLURM.expresses)
    own = made(SLURM, resources={"duration": 5, "exclusive_node_use": False}).data["resources"]
    assert own == {"duration": "5m", "exclusive": False}
    assert any("10 minutes" in note for note in made(SLURM).notes)


@pytest.mark.parametrize("name", sorted(schedulers.SCHEDULERS))
def test_a_default_that_nobody_wrote_makes_no_job_fail(name):
    from project.core.schedulers.base import refusals

    scheduler = schedulers.get(name)
    data = {"destination_cluster": "a", **made(scheduler).data}
    assert refusals(scheduler, jobspec.parse(data)) == []


def test_an_option_that_says_a_default_wins_over_it():
    data = made(SLURM, attributes={"--time": "90", "--exclusive": ""}).data
    if "seconds" in SLURM.option_fields("--time=90"):
        assert "duration" not in data.get("resources", {})
        assert "exclusive" not in data.get("resources", {})


def test_attributes_of_the_job_win_over_those_of_its_backend():
    spec = {"backend": {"attributes": {"--qos": "low", "-b": "x"}}, "attributes": {"--qos": "high"}}
    assert made(**spec).data["scheduler_options"] == ["-b x", "--qos=high"]


def test_the_backend_is_a_name_or_a_workload_manager():
    assert made(backend="defiant").backend == "defiant"
    assert made(backend="default").backend == ""
    assert made(backend={"type": "slurm"}).manager == "slurm"
    assert "lsf" in " ".join(made(SLURM, backend={"type": "lsf"}).notes)


def test_options_for_another_workload_manager_are_refused():
    found = problem(backend={"type": "lsf", "attributes": {"-alloc_flags": "smt4"}})
    assert found.key == "backend.attributes"
    assert "lsf" in found.message


@pytest.mark.parametrize(
    ("fields", "key", "hint"),
    [
        ({"scirpt": "x"}, "scirpt", "script"),
        ({"executable": "/bin/date"}, "executable", "It has"),
        ({"resources": {"node_cuont": 2}}, "resources.node_cuont", "node_count"),
        ({"backend": {"queue": "batch"}}, "backend.queue", "queue_name"),
        ({"name": 5}, "name", ""),
        ({"environment": ["A=1"]}, "environment", ""),
        ({"environment": {"A": None}}, "environment.A", ""),
        ({"inherit_environment": "no"}, "inherit_environment", ""),
        ({"resources": {"duration": "1h"}}, "resources.duration", ""),
        ({"resources": {"node_count": -1}}, "resources.node_count", ""),
        ({"resources": {"node_count": True}}, "resources.node_count", ""),
        ({"resources": {"exclusive_node_use": "yes"}}, "resources.exclusive_node_use", ""),
        ({"resources": 5}, "resources", ""),
        ({"attributes": {"qos": "x"}}, "attributes.qos", "--qos"),
        ({"backend": {"attributes": {"qos": "x"}}}, "backend.attributes.qos", "--qos"),
        ({"backend": 5}, "backend", ""),
        ({"script": " \n"}, "script", ""),
        ({"script": 5}, "script", ""),
    ],
)
def test_what_is_wrong_is_told_with_its_place(fields, key, hint):
    found = problem(**fields)
    assert found.key == key
    assert hint in found.hint


def test_no_secret_is_in_a_message():
    for name in ("callback", "cb_secret", "client_secret"):
        assert "1234" not in problem(**{name: 1234}).text()
    text = problem(cb_headers={"authorization": ["Bearer s3cret"]}).text()
    assert "s3cret" not in text


def test_a_masked_secret_is_none():
    """psik 1.2 writes its own spec.json so (pydantic's SecretStr): everybody could sign with that."""
    assert "secret itself" in problem(cb_secret="**********").hint
    assert psik.convert({"script": "true", "cb_secret": "**a**"}).data["cb_secret"] == "**a**"


def test_a_script_without_shebang_is_for_bash_and_for_sh_where_there_is_none(tmp_path):
    found = psik.convert({"script": "[[ a == a ]] && echo ${BASH_VERSION:+bash} $1\n"})
    assert any("bash" in note for note in found.notes)
    old = psik.convert({"script": "echo", "backend": {"type": "slurm"}})
    assert "rc" in old.notes[0]
    path = tmp_path / "run"
    path.write_text(found.data["script"])
    path.chmod(0o755)
    ran = subprocess.run([path, "arg"], capture_output=True, text=True, timeout=20, check=True)
    assert ran.stdout == "bash arg\n"
    plain = psik.convert({"script": "echo plain\n"}).data["script"]
    path.write_text(plain)
    nowhere = subprocess.run(
        ["/bin/sh", path], env={"PATH": "/nonexistent"}, capture_output=True, text=True, check=True
    )
    assert nowhere.stdout == "plain\n"


# Files.


def write(folder, text, name="spec.json"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_psiks_own_examples_are_taken_as_they_are(tmp_path):
    """example.json and example.yaml of psik v3.1.1, shortened."""
    one = write(
        tmp_path, '{ "name": "print",\n  "script": "echo $mpirun\\n",\n  "callback": "http://127.0.0.1:3000/echo"\n}'
    )
    loaded, _ = specfile.load(one).convert("a", SLURM)
    assert loaded.data["callback"] == "http://127.0.0.1:3000/echo"
    text = (
        "name: run\nscript: |\n  pwd\n  $mpirun hostname\n\nbackend: defiant\nresources:\n"
        "  duration: 30\n  node_count: 2\n  processes_per_node: 4\n  cpu_cores_per_process: 16\n"
    )
    found = specfile.load(write(tmp_path, text, "spec.yaml"))
    assert found.backend == "defiant"
    loaded, _ = found.convert("a", SLURM)
    assert loaded.data["resources"]["ranks_per_node"] == 4


def test_json_may_have_tabs_and_surrogate_pairs(tmp_path):
    path = write(tmp_path, '{\n\t"script": "echo \\ud83d\\ude00",\n\t"name":"x\\/y"\n}')
    loaded, _ = specfile.load(path).convert("a", None)
    assert "😀" in loaded.data["script"]
    assert loaded.data["name"] == "x/y"


def test_texts_in_yaml_stay_as_they_were_written(tmp_path):
    text = "script: '#!/bin/sh'\nenvironment: {A: 1.50, B: true, C: 010}\nattributes: {--nice: 1.0}\n"
    loaded, _ = specfile.load(write(tmp_path, text, "s.yml")).convert("a", None)
    assert loaded.data["env"] == {"A": "1.50", "B": "true", "C": "010"}
    assert loaded.data["scheduler_options"] == ["--nice=1.0"]


def test_a_problem_of_the_input_is_told_with_the_field_that_it_came_from(tmp_path):
    text = '{"script": "x",\n "resources": {"node_count": 2, "processes_per_node": 2,\n  "process_count": 5}}'
    with pytest.raises(InputError) as caught:
        specfile.load(write(tmp_path, text)).convert("a", None)
    found = caught.value.problems[0]
    assert found.key == "resources.process_count"
    assert found.line == 3


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"script": "x"}', specfile.PSIK),
        ('{"script": "x", "environment": {}, "attributes": {}}', specfile.PSIK),
        ('{"executable": "/bin/date"}', specfile.PSIJ),
        ('{"executable": "/bin/date", "attributes": {}, "environment": {}}', specfile.PSIJ),
        ('{"destination_cluster": "a", "script": "x"}', specfile.OWN),
        ('{"job": "job.sh", "execution": "x"}', specfile.OWN),
    ],
)
def test_kinds_are_told_apart_by_their_keys(tmp_path, text, kind):
    assert specfile.load(write(tmp_path, text)).kind == kind


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"script": "x", "executable": "y"}', "PSI/J"),
        ('{"destination_cluster": "a", "executable": "y"}', "jobferry"),
        ('{"destination_cluster": "a", "script": "x", "backend": "b"}', "backend"),
        ('{"scrpt": "x"}', "Did you mean 'script'?"),
        ("{}", "no specification"),
        ("[1]", "not a mapping"),
        ("", "empty"),
        ('{"script": "x", "script": "y"}', "twice"),
        ('{"script": "x"', "YAML"),
    ],
)
def test_what_is_unclear_is_an_error(tmp_path, text, words):
    with pytest.raises(InputError) as caught:
        specfile.load(write(tmp_path, text))
    assert words in str(caught.value)
