import dataclasses

import pytest

from project import spec
from project.core import jobspec
from project.core.errors import InputError, UserError
from project.spec import files, share

INPUT = """\
username: jdoe
destination_cluster: lemaitre3
job: job.sh
execution:
  - "srun ./job"
resources:
  duration: 1:30
  nbr_processes: 4
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="input.yml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def places(path, *overrides, load=spec.load_input):
    with pytest.raises(InputError) as caught:
        load(path, overrides) if overrides else load(path)
    return {problem.key: (problem.line, problem.column) for problem in caught.value.problems}


def test_an_input(write, tmp_path):
    path = write(INPUT)
    loaded = spec.load_input(path)
    assert loaded.data["resources"] == {"duration": "1:30", "nbr_processes": 4}
    assert jobspec.parse(loaded.data).resources.seconds == 90
    assert loaded.folder == tmp_path
    assert loaded.file == str(path)


def test_it_cannot_be_changed_by_accident(write):
    loaded = spec.load_input(write(INPUT))
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.file = "x"


def test_texts_are_as_written_where_text_is_wanted(write):
    text = (
        "username: 0123\npassphrase: 012e5\nname: 1.10\ndestination_cluster: no\njob: 7\nexecution: [true, 12]\n"
        "tags: {version: 1.10, on: yes}\nenv: {A: 010, B: 1.50, C: true, D: '', E: 1e3}\noutput: 2024\n"
        "kwargs: {n: 1.10, b: true, z: ~, t: no}\n"
    )
    data = spec.load_input(write(text)).data
    assert data["username"] == "0123"
    assert data["passphrase"] == "012e5"
    assert data["name"] == "1.10"
    assert data["destination_cluster"] == "no"
    assert data["job"] == "7"
    assert data["execution"] == ["true", "12"]
    assert data["tags"] == {"version": "1.10", "on": "yes"}
    assert data["env"] == {"A": "010", "B": "1.50", "C": "true", "D": "", "E": "1e3"}
    assert data["output"] == "2024"
    assert data["kwargs"] == {"n": 1.1, "b": True, "z": None, "t": "no"}


def test_a_key_without_a_value_is_left_out(write):
    data = spec.load_input(write(INPUT + "user_mail:\ncompilation: ~\nkwargs:\n")).data
    assert set(data) == {"username", "destination_cluster", "job", "execution", "resources"}


def test_a_required_key_without_a_value_is_missing(write):
    with pytest.raises(InputError, match="job: is missing"):
        spec.load_input(write(INPUT.replace("job: job.sh", "job:")))


def test_every_problem_has_its_place(write):
    text = (
        "usernme: jdoe\n"
        "destination_cluster: lemaitre3\n"
        "execution: []\n"
        "output: [a, /b]\n"
        "resources:\n"
        "  duration: 30\n"
        "  nbr_process: 5\n"
        "  nbr_threads_per_process: 0\n"
        "  distribution: distributed\n"
        "env: {1x: a}\n"
    )
    assert places(write(text)) == {
        "usernme": (1, 1),
        "job": (1, 1),
        "execution": (3, 12),
        "output[1]": (4, 13),
        "resources.duration": (6, 13),
        "resources.nbr_process": (7, 3),
        "resources.nbr_threads_per_process": (8, 28),
        "resources.nbr_of_nodes": (5, 1),
        "env.1x": (10, 7),
    }


def test_a_problem_reads_well(write):
    path = write(INPUT + "resorces: 4\n")
    with pytest.raises(InputError) as caught:
        spec.load_input(path)
    assert str(caught.value) == f"{path}:9:1: resorces: is not a key of this file. Did you mean 'resources'?"
    assert caught.value.exit_code == 2
    assert caught.value.problems[0].value == 4


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("just text", "must be a mapping"),
        ("- a\n- b\n", "must be a mapping"),
        ("a: b: c", "is not YAML"),
        (b"a: \xff\n", "not UTF-8"),
        (INPUT + "---\na: 1\n", "two documents"),
        (INPUT + "job: other\n", "twice"),
    ],
)
def test_what_is_no_input(write, text, word):
    path = write(text)
    with pytest.raises(InputError, match=word) as caught:
        spec.load_input(path)
    assert str(path) in str(caught.value)


def test_a_byte_order_mark_and_windows_lines(write):
    assert spec.load_input(write("\ufeff" + INPUT.replace("\n", "\r\n"))).data["job"] == "job.sh"


def test_files_that_cannot_be_read(write, tmp_path):
    write(INPUT)
    with pytest.raises(UserError, match="Did you mean 'input.yml'"):
        spec.load_input(tmp_path / "inptu.yml")
    with pytest.raises(UserError, match="is a directory"):
        spec.load_input(tmp_path)
    with pytest.raises(UserError, match="There is no file"):
        spec.load_input(tmp_path / "no folder" / "x.yml")
    with pytest.raises(UserError, match="cannot be read"):
        spec.load_input(tmp_path / "input.yml" / "x")
    with pytest.raises(UserError, match="cannot be read"):
        spec.load_input("a\x00b")


def test_a_file_of_gigabytes_is_not_read(tmp_path):
    path = tmp_path / "big.yml"
    with path.open("wb") as stream:
        stream.truncate(1 << 30)
    with pytest.raises(UserError, match="larger than"):
        spec.load_input(path)


def test_overrides(write):
    changes = [
        "resources.duration=2:30", "name=007", "execution=[a, 'b c']", "execution.0=./k", "username=", "tags.x=1.20",
        "kwargs.n=5", "kwargs.deep.er=true", 'env={"A": 1.50}', "requirements='echo x' y", "output=a=b",
    ]  # fmt: skip
    assert spec.load_input(write(INPUT), changes).data == {
        "destination_cluster": "lemaitre3",
        "job": "job.sh",
        "name": "007",
        "execution": ["./k", "b c"],
        "resources": {"duration": "2:30", "nbr_processes": 4},
        "tags": {"x": "1.20"},
        "kwargs": {"n": 5, "deep": {"er": True}},
        "env": {"A": "1.50"},
        "requirements": "'echo x' y",
        "output": "a=b",
    }


def test_a_problem_of_an_override_names_the_option(write):
    with pytest.raises(InputError) as caught:
        spec.load_input(write(INPUT), ["resources.duratio=2h", "env={A: [1]}", "passphrase=[geheim]"])
    text = str(caught.value)
    assert "--set: resources.duratio: is not a key of resources. Did you mean 'duration'?" in text
    assert "--set: env.A: must be text" in text
    assert "geheim" not in text
    assert "geheim" not in repr(caught.value.problems)


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("x", "has no value"),
        ("=x", "key.path=value"),
        ("a..b=x", "key.path=value"),
        ("execution.5=x", "no entry 5"),
        ("execution.a=x", "no entry a"),
        ("job.a=x", "nothing in which 'a'"),
        ("execution=[a", "is not YAML"),
        ("job=a\udcff", "not UTF-8"),
    ],
)
def test_a_wrong_override(write, override, word):
    with pytest.raises(UserError, match=word):
        spec.load_input(write(INPUT), [override])


def test_errors_of_others_get_a_place(write):
    loaded = spec.load_input(write(INPUT))
    error = loaded.error("job", "there is no file 'job.sh'.", "Look again.")
    assert str(error) == f"{loaded.file}:3:6: job: there is no file 'job.sh'. Look again."
    assert loaded.error("output", "x").problems[0].line == 1


def test_errors_found_elsewhere_get_a_place(write):
    loaded = spec.load_input(write(INPUT))
    with pytest.raises(InputError) as caught, loaded.blame("job"):
        raise UserError("job: job.sh cannot be read.", "Look again.", condition="input_staging_failed")
    assert str(caught.value) == f"{loaded.file}:3:6: job: job.sh cannot be read. Look again."
    assert caught.value.condition == "input_staging_failed"
    with pytest.raises(UserError, match=r"\Amodule: x\Z"), loaded.blame("job"):
        raise UserError("module: x")
    with (
        pytest.raises(InputError, match=":2:22: destination_cluster: There is no"),
        loaded.blame("destination_cluster", "There"),
    ):
        raise UserError("There is no cluster.")


def test_a_value_as_it_was_written(write):
    loaded = spec.load(write("passphrase: 1234\nb: '5'\nc: [1]\n"))
    assert [loaded.text(key) for key in ("passphrase", "b", "c", "d")] == ["1234", "5", "", ""]
    assert spec.load(write("- 1\n")).text("a") == ""


MODULES = """\
staging:
  2:
    module: own.py
    execution: python own.py
  1:
    module: resource_estimator.py
    execution: python resource_estimator.py
preprocessing:
postprocessing:
  - module: own.py
    compilation: cc x
    execution: ./x
"""


def test_modules_are_found_beside_the_file_and_then_in_the_project(write, tmp_path):
    own = write("x", "modules/own.py")
    modules = spec.load_modules(write(MODULES, "modules.yml"))
    assert [(step.index, step.path) for step in modules.staging] == [
        (1, str(share.folder("modules") / "resource_estimator.py")),
        (2, str(own)),
    ]
    assert modules.preprocessing == []
    assert modules.postprocessing[0].compilation == "cc x"
    nearer = write("x", "modules/resource_estimator.py")
    assert spec.load_modules(tmp_path / "modules.yml").staging[0].path == str(nearer)


def test_missing_modules_are_all_named(write):
    path = write(MODULES.replace("resource_estimator.py\n", "resource_estimater.py\n", 1), "modules.yml")
    assert places(path, load=spec.load_modules) == {
        "staging.1.module": (6, 13),
        "staging.2.module": (3, 13),
        "postprocessing[0].module": (10, 13),
    }
    with pytest.raises(InputError, match="Did you mean 'resource_estimator.py'"):
        spec.load_modules(path)


def test_a_wrong_modules_file(write):
    path = write("stagging: []\npostprocessing: {a: {module: x}}\n", "modules.yml")
    assert places(path, load=spec.load_modules) == {"stagging": (1, 1), "postprocessing.a": (2, 18)}


def test_an_empty_modules_file_has_no_modules(write):
    assert spec.load_modules(write("")).public() == {}
    assert spec.load_modules(write("staging:\npreprocessing: []\n")).public() == {}


CLUSTERS = """\
- name: lemaitre3
  hostname: lemaitre3.cism.ucl.ac.be
  workload_manager: slurm
  preferred_jobs: [mpi]
  partition: batch
- name: 7
  hostname: localhost
  port: 2222
  workload_manager: local
  partition:
"""


def test_clusters(write):
    first, second = spec.load_clusters(write(CLUSTERS))
    assert first == {
        "name": "lemaitre3",
        "hostname": "lemaitre3.cism.ucl.ac.be",
        "port": 22,
        "workload_manager": "slurm",
        "preferred_jobs": ["mpi"],
        "partition": "batch",
        "status": {},
    }
    assert second["name"] == "7"
    assert second["partition"] == ""


def test_one_cluster_needs_no_list(write):
    text = "name: a\nhostname: h\nworkload_manager: slurm\n"
    assert spec.load_clusters(write(text))[0]["name"] == "a"
    assert places(write(text + "prt: 22\n"), load=spec.load_clusters) == {"[0].prt": (4, 1)}


def test_wrong_clusters(write):
    path = write(CLUSTERS + "- name: b\n  hostname: -x\n  workload_manager: slrum\n")
    assert places(path, load=spec.load_clusters) == {"[2].hostname": (12, 13), "[2].workload_manager": (13, 21)}
    assert places(write(CLUSTERS + CLUSTERS), load=spec.load_clusters) == {"[2].name": (11, 9), "[3].name": (16, 9)}
    assert places(write("[]"), load=spec.load_clusters) == {"": (1, 1)}
    assert places(write(""), load=spec.load_clusters) == {"": (0, 0)}


def test_what_kind_of_file_it_is(write):
    assert files.sniff(write(INPUT)) == "input"
    assert files.sniff(write(MODULES)) == "modules"
    assert files.sniff(write(CLUSTERS)) == "clusters"
    assert files.sniff(write("hostname: x\n")) == "clusters"
    assert files.sniff(write("stagging: []\n")) == "modules"
    assert files.sniff(write("")) == "input"
