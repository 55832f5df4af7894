"""PSI/J's JobSpec, field by field: what becomes of it, what its script does, and what is an error."""

import json
import subprocess

import pytest

from project.core import jobspec, schedulers
from project.core.errors import InputError
from project.spec import psij, specfile

SLURM = schedulers.get("slurm")


def made(scheduler=None, **fields):
    return psij.convert({"executable": "/bin/date", **fields}, scheduler)


def ran(folder, environment=None, **fields):
    """What the converted script does in a folder."""
    path = folder / "run.psij"
    path.write_text(made(**fields).data["script"])
    path.chmod(0o755)
    return subprocess.run([path], cwd=folder, capture_output=True, text=True, timeout=20, env=environment, check=False)


# Every field that only becomes a key: (the specification, what the input gets besides the script).
FIELDS = [
    ("name", "date", {"name": "date"}),
    ("directory", "/scratch/x", {"directory": "/scratch/x"}),
    ("inherit_environment", False, {"inherit_environment": False}),
    ("environment", {"A": "1", "B": 2}, {"env": {"A": "1", "B": "2"}}),
    ("resources", {"__version": 1}, {}),
    ("resources", {"version": 1, "node_count": 2}, {"resources": {"nodes": 2}}),
    ("resources", {"__version": 1, "process_count": 4}, {"resources": {"ranks": 4}}),
    ("resources", {"processes_per_node": 2}, {"resources": {"ranks_per_node": 2}}),
    ("resources", {"cpu_cores_per_process": 2}, {"resources": {"threads_per_rank": 2}}),
    ("resources", {"gpu_cores_per_process": 1}, {"resources": {"gpus_per_rank": 1}}),
    ("resources", {"exclusive_node_use": True}, {"resources": {"exclusive": True}}),
    ("resources", {"memory": 1025}, {"resources": {"memory_per_node": "2K"}}),
    ("resources", {"memory": 4096, "node_count": 2}, {"resources": {"nodes": 2, "memory_per_node": "2K"}}),
    ("attributes", {"duration": "600.0 s"}, {"resources": {"duration": "600s"}}),
    ("attributes", {"queue_name": "batch"}, {"resources": {"queue": "batch"}}),
    ("attributes", {"account": "plaid"}, {"resources": {"account": "plaid"}}),
    ("attributes", {"project_name": "plaid"}, {"resources": {"account": "plaid"}}),
    ("attributes", {"reservation_id": "r1"}, {"resources": {"reservation": "r1"}}),
    ("attributes", {"custom_attributes": {"slurm.qos": "x"}}, {"scheduler_options": ["--qos=x"]}),
    ("attributes", {"custom_attributes": {"SLURM.c": 4}}, {"scheduler_options": ["-c 4"]}),
    ("attributes", {"custom_attributes": {"pbs.l": "a=b"}}, {"scheduler_options": ["-l a=b"]}),
    ("attributes", {"custom_attributes": {"lsf.core_isolation": 1}}, {"scheduler_options": ["-core_isolation 1"]}),
    ("launcher", "single", {}),
    ("launcher", "multiple", {}),
    *[("launcher", name, {"launcher": name}) for name in ("mpirun", "srun", "aprun", "jsrun")],
]
# Fields that make the script; each has a test below.
IN_SCRIPT = {"executable", "arguments", "stdin_path", "stdout_path", "stderr_path", "pre_launch", "post_launch"}
REFUSED = set(psij.STAGING)


@pytest.mark.parametrize(("name", "value", "expected"), FIELDS, ids=lambda part: json.dumps(part)[:40])
def test_every_field_becomes_a_key_of_the_input(name, value, expected):
    data = made(**{name: value}).data
    script = data.pop("script")
    assert "/bin/date" in script
    assert data == expected
    assert jobspec.problems({"destination_cluster": "a", "script": script, **data}) == []


def test_every_field_is_known_and_tested():
    assert {name for name, _, _ in FIELDS} | IN_SCRIPT | REFUSED == set(psij.FIELDS)
    for group, known in (("resources", psij.RESOURCES), ("attributes", psij.ATTRIBUTES)):
        assert {key for name, value, _ in FIELDS if name == group for key in value} == set(known)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("600.0 s", 600),
        ("0.5 s", 1),
        ("10m", 600),
        ("2 h", 7200),
        ("10", 600),
        ("01:30", 5400),
        ("00:01:30", 90),
        ("1 day, 0:10:00", 87000),
        ("2 days, 1:00:00.500000", 176400),
        (90, 90),
        (0.2, 1),
        ("soon", None),
        (True, None),
        (-1, None),
        ("", None),
    ],
)
def test_durations(value, seconds):
    """psij/job_attributes.py, parse_walltime; psij/serialize.py, _from_timedelta; str(timedelta)."""
    assert psij.duration(value) == seconds


def test_what_is_computed_is_added_where_the_workload_manager_can_express_it():
    assert made(SLURM, resources={"process_count": 4, "processes_per_node": 2}).data["resources"]["nodes"] == 2
    assert made(SLURM, resources={"node_count": 3}).data["resources"]["ranks"] == 3
    assert made(SLURM).data["resources"] == {"duration": "10m"}
    assert "resources" not in made().data


@pytest.mark.parametrize("name", sorted(schedulers.SCHEDULERS))
def test_a_default_that_nobody_wrote_makes_no_job_fail(name):
    from project.core.schedulers.base import refusals

    scheduler = schedulers.get(name)
    data = {"destination_cluster": "a", **made(scheduler).data}
    assert refusals(scheduler, jobspec.parse(data)) == []


def test_attributes_for_another_workload_manager_are_left_out_as_in_psij():
    found = made(SLURM, attributes={"custom_attributes": {"lsf.alloc_flags": "x", "slurm.qos": "y"}})
    assert found.data["scheduler_options"] == ["--qos=y"]
    assert any("lsf.alloc_flags" in note for note in found.notes)


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"exectuable": "x"}, "exectuable"),
        ({"executable": None}, "executable"),
        ({"arguments": "x"}, "arguments"),
        ({"arguments": ["x", 1]}, "arguments[1]"),
        ({"launcher": "mpiexce"}, "launcher"),
        ({"resources": {"__version": 2}}, "resources.__version"),
        ({"resources": {"nodes": 2}}, "resources.nodes"),
        ({"resources": {"process_count": 5, "node_count": 2}}, "resources.process_count"),
        ({"resources": {"process_count": 5, "processes_per_node": 2}}, "resources.process_count"),
        ({"resources": {"process_count": 5, "processes_per_node": 2, "node_count": 2}}, "resources.process_count"),
        ({"attributes": {"duration": "soon"}}, "attributes.duration"),
        ({"attributes": {"qos": "x"}}, "attributes.qos"),
        ({"attributes": {"account": "a", "project_name": "b"}}, "attributes.project_name"),
        ({"attributes": {"custom_attributes": {"qos": "x"}}}, "attributes.custom_attributes.qos"),
        ({"attributes": {"custom_attributes": {"slrum.qos": "x"}}}, 'attributes.custom_attributes["slrum.qos"]'),
        ({"attributes": {"custom_attributes": {"slurm.qos": ["x"]}}}, 'attributes.custom_attributes["slurm.qos"]'),
        ({"attributes": {"custom_attributes": {"slurm.qos": False}}}, 'attributes.custom_attributes["slurm.qos"]'),
        ({"stage_in": [{}]}, "stage_in"),
        ({"stage_out": [{}]}, "stage_out"),
        ({"cleanup": ["x"]}, "cleanup"),
        ({"cleanup_flags": 1}, "cleanup_flags"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(fields, key):
    with pytest.raises(InputError) as caught:
        made(SLURM, **fields)
    assert caught.value.problems[0].key == key


def test_a_name_that_psij_made_of_a_long_executable_is_left_out():
    long = "/opt/" + "x" * 120
    assert "name" not in made(executable=long, name=long).data


# The script.


def test_executable_and_arguments_are_words(tmp_path):
    done = ran(tmp_path, executable="/usr/bin/printf", arguments=["[%s]", "a b", "$HOME", "'", ""])
    assert done.stdout == "[a b][$HOME]['][]"


def test_streams_are_files_beside_the_job(tmp_path):
    (tmp_path / "in put").write_text("hello\n")
    words = {"executable": "/bin/sh", "arguments": ["-c", "cat; echo oops >&2"]}
    done = ran(tmp_path, **words, stdin_path="in put", stdout_path="out", stderr_path="err")
    assert done.stdout == done.stderr == ""
    assert (tmp_path / "out").read_text() == "hello\n"
    assert (tmp_path / "err").read_text() == "oops\n"


def test_pre_and_post_launch_are_sourced_by_bash_around_the_program(tmp_path):
    (tmp_path / "pre.sh").write_text("export A=$'x y'\n")
    (tmp_path / "post.sh").write_text("echo after $A\n")
    words = {"executable": "/bin/sh", "arguments": ["-c", 'echo "$A"; exit 3']}
    done = ran(tmp_path, **words, pre_launch="pre.sh", post_launch=str(tmp_path / "post.sh"))
    assert done.stdout == "x y\nafter x y\n"
    assert done.returncode == 3


def test_a_pre_launch_that_fails_ends_the_job(tmp_path):
    (tmp_path / "pre.sh").write_text("false\necho not here\n")
    done = ran(tmp_path, executable="/bin/echo", pre_launch="pre.sh")
    assert done.stdout == ""
    assert done.returncode == 1
    assert ran(tmp_path, executable="/bin/echo", pre_launch="missing.sh").returncode != 0


def test_multiple_starts_as_many_copies_as_there_are_processes(tmp_path):
    words = {
        "executable": "/bin/sh",
        "arguments": ["-c", "echo $_PSI_J_PROCESS_INDEX_ of $_PSI_J_PROCESS_COUNT; exit $_PSI_J_PROCESS_INDEX_"],
        "resources": {"node_count": 1, "processes_per_node": 3},
    }
    done = ran(tmp_path, **words, launcher="multiple", stdout_path="out")
    assert sorted((tmp_path / "out").read_text().splitlines()) == ["1 of 3", "2 of 3", "3 of 3"]
    assert done.returncode == 1


def test_a_launcher_starts_the_program_with_jobferrys_launcher_command(tmp_path):
    done = ran(
        tmp_path,
        {"PATH": "/usr/bin:/bin", "JOBFERRY_LAUNCHER": "env 'LAUNCHED=a b'"},
        executable="/bin/sh",
        arguments=["-c", 'echo "$LAUNCHED" "$0"', "it's"],
        launcher="srun",
        stdout_path="out",
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_text() == "a b it's\n"


def test_a_program_that_fails_fails_the_job(tmp_path):
    assert ran(tmp_path, executable="/bin/sh", arguments=["-c", "exit 7"]).returncode == 7


def test_psijs_own_serialised_form_is_taken(tmp_path):
    """As psij/serialize.py writes JobSpec(executable="/bin/date", resources=ResourceSpecV1(node_count=1), …)."""
    path = tmp_path / "spec.json"
    path.write_text(
        '{"executable": "/bin/date", "name": "/bin/date", "stdout_path": "out.txt", "resources": {"node_count": 1,'
        ' "__version": 1}, "attributes": {"duration": "60.0 s", "custom_attributes": {"slurm.qos": "x"}},'
        ' "launcher": "srun"}'
    )
    found = specfile.load(path)
    assert found.kind == specfile.PSIJ
    loaded, _ = found.convert("a", SLURM)
    assert loaded.data["resources"]["duration"] == "60s"
    assert loaded.data["launcher"] == "srun"


def test_the_envelope_of_psij_before_0_9_1_is_opened(tmp_path):
    """As Export of psij/serialize.py, 0.9.0, writes JobSpec(executable="/bin/date", …); places are those of the file."""
    path = tmp_path / "spec.json"
    text = (
        '{"version": 0.1, "type": "JobSpec", "data": {"name": "d", "executable": "/bin/date", "arguments": [],\n'
        ' "directory": null, "inherit_environment": true, "environment": {}, "launcher": null,\n'
        ' "resources": {"node_count": 1, "process_count": null, "process_per_node": null, "exclusive_node_use": true},\n'
        ' "attributes": {"duration": "0:10:00", "queue_name": "", "project_name": null, "custom_attributes": {}}}}\n'
    )
    path.write_text(text)
    found = specfile.load(path)
    assert found.kind == specfile.PSIJ
    loaded, _ = found.convert("a", SLURM)
    assert loaded.data["resources"]["duration"] == "600s"
    assert loaded.data["resources"]["nodes"] == 1
    path.write_text(text.replace('"node_count": 1', '"node_count": "one"'))
    with pytest.raises(InputError) as caught:
        specfile.load(path).convert("a", SLURM)
    [problem] = caught.value.problems
    assert (problem.line, problem.key) == (3, "resources.node_count")
