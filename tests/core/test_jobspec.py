import time

import pytest

from project.core import jobspec, states
from project.core.errors import InputError
from project.core.resources import Array, Resources

MASI = {
    "username": "jdoe",
    "private_key": "path_to_key",
    "passphrase": "private_key_passphrase",
    "user_mail": "johndoe@mail.com",
    "destination_cluster": "lemaitre3",
    "requirements": ["chmod +x job"],
    "job": "https://github.com/GaetanLongree/test.git",
    "compilation": ["gcc job.c"],
    "execution": ["srun ./job"],
    "output": ["result.txt"],
    "resources": {
        "nbr_jobs_in_array": 15,
        "duration": "1d2h30m",
        "nbr_processes": 5,
        "nbr_threads_per_process": 2,
        "memory_per_thread": "2625M",
        "distribution": "distributed",
        "nbr_of_nodes": 4,
    },
    "kwargs": {"key1": "value1"},
}
SMALL = {"destination_cluster": "local", "job": "job.sh", "execution": "./job.sh"}


def keys(**changes):
    return [problem.key for problem in jobspec.problems({**SMALL, **changes})]


def only(**changes):
    (problem,) = jobspec.problems({**SMALL, **changes})
    return problem


def test_every_key_of_masi_tfe():
    spec = jobspec.parse(MASI)
    assert spec.username == "jdoe"
    assert spec.user_mail == "johndoe@mail.com"
    assert spec.destination_cluster == "lemaitre3"
    assert spec.requirements == ["chmod +x job"]
    assert spec.compilation == ["gcc job.c"]
    assert spec.execution == ["srun ./job"]
    assert spec.output == ["result.txt"]
    assert spec.kwargs == {"key1": "value1"}
    assert spec.resources == Resources(
        Array("0-14"), 95400, 4, 5, threads_per_rank=2, memory_per_cpu=2625 * 1024**2, distribution="distributed"
    )


def test_the_least_input_and_its_defaults():
    spec = jobspec.parse(SMALL)
    assert spec.execution == ["./job.sh"]
    assert spec.requirements == spec.compilation == spec.output == spec.scheduler_options == []
    assert spec.env == spec.tags == spec.kwargs == {}
    assert spec.resources == jobspec.Resources()
    assert spec.name == spec.username == spec.user_mail == ""
    assert spec.fallback is None
    assert spec.notify == ["QUEUED", "RUNNING", "FINISHED", "FAILED", "CANCELLED", "BLOCKED"]


def test_keys_beyond_masi_tfe():
    spec = jobspec.parse(
        {
            **SMALL,
            "name": "protein 42",
            "tags": {"project": "alpha"},
            "notify": ["finished", "FAILED"],
            "env": {"OMP_NUM_THREADS": "2", "EMPTY": "", "LINES": "a\nb"},
            "scheduler_options": "--qos=long",
            "fallback": "never",
        }
    )
    assert spec.name == "protein 42"
    assert spec.tags == {"project": "alpha"}
    assert spec.notify == ["FINISHED", "FAILED"]
    assert spec.env["EMPTY"] == ""
    assert spec.scheduler_options == ["--qos=long"]
    assert spec.fallback == "never"


@pytest.mark.parametrize("key", jobspec.LATER)
def test_a_key_of_later_is_refused_by_name(key):
    problem = only(**{key: "something"})
    assert problem.key == key
    assert "not built yet" in problem.message
    assert problem.value is None


def test_all_errors_at_once():
    with pytest.raises(InputError) as caught:
        jobspec.parse(
            {"job": "x", "resorces": {}, "execution": [], "resources": {"nbr_processes": 0, "duration": "10x"}}
        )
    text = str(caught.value)
    for word in ("destination_cluster: is missing", "resorces", "'resources'", "execution: is an empty list"):
        assert word in text
    assert "resources.nbr_processes" in text
    assert "no unit 'x'" in text
    assert len(caught.value.problems) == 5


def test_required_keys():
    assert {problem.key for problem in jobspec.problems({})} == {"destination_cluster", "job", "execution"}


@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_an_input_is_a_mapping(value):
    assert jobspec.problems(value)


@pytest.mark.parametrize("key", ["nbr_jobs_in_array", "nbr_processes", "nbr_threads_per_process", "nbr_of_nodes"])
@pytest.mark.parametrize("value", [0, -1, "4", True, 1.5, None])
def test_a_count_is_a_whole_number_from_1(key, value):
    assert keys(resources={key: value}) == [f"resources.{key}"]


@pytest.mark.parametrize("value", [30, "30", True, None, "1h\n#SBATCH --array=1-9"])
def test_a_wrong_duration(value):
    assert keys(resources={"duration": value}) == ["resources.duration"]


def test_units_say_what_is_wrong():
    assert "no unit 'x'" in only(resources={"duration": "10x"}).text()
    assert "Write it as USR1@5m" in only(resources={"duration": "1h", "signal": "USR1"}).text()
    assert only(resources={"walltime": "5m", "signal": "USR1@5m"}).key == "resources.signal"
    assert "write 100M" in only(resources={"memory_per_thread": 100}).text()


def test_distributed_needs_nodes():
    assert "needs it" in only(resources={"distribution": "distributed"}).message
    assert keys(resources={"distribution": "distributed", "nbr_of_nodes": 2}) == []
    assert keys(resources={"distribution": "grouped", "nbr_of_nodes": 2}) == ["resources.nbr_of_nodes"]
    assert keys(resources={"distribution": "scattered"}) == []
    assert keys(resources={"nbr_of_nodes": 2}) == []
    assert "'distributed'" in only(resources={"distribution": "distributd"}).hint


@pytest.mark.parametrize(
    "pattern", ["/etc/passwd", "../x", "a/../b", "~/x", "$HOME/x", "${HOME}/x", "a/$(id)", "`id`", ".."]
)
def test_an_output_that_can_never_match(pattern):
    assert keys(output=pattern) == ["output"]
    assert keys(output=["ok", pattern]) == ["output[1]"]


@pytest.mark.parametrize(
    "pattern", ["result.txt", "plots/", "plots/*.png", "**/*.log", "a b", "ü", "[ab]", "./x", "cost$", "..x"]
)
def test_an_output_that_can_match(pattern):
    assert keys(output=pattern) == []


def test_every_wrong_output_is_told():
    wrong = ["fine.txt", "", "/etc/passwd", 7, "a/../../b", "x\0y"]
    assert keys(output=wrong) == ["output[{}]".format(number) for number in (1, 3, 5, 2, 4)]
    assert keys(output={}, scheduler_options=[None, "--no='"]) == [
        "output",
        "scheduler_options[0]",
        "scheduler_options[1]",
    ]


@pytest.mark.parametrize("value", ["all", "none", "ALL", ["finished"], ["FINISHED", "BLOCKED"], []])
def test_notify(value):
    assert keys(notify=value) == []


def test_notify_states():
    assert jobspec.notify_states("all") == list(states.STATES)
    assert jobspec.notify_states("none") == []
    assert jobspec.notify_states("failed") == ["FAILED"]


@pytest.mark.parametrize(
    "wrong",
    [
        {f"executoin{number}": 1 for number in range(100_000)},
        {"execution": [0] * 500_000},
        {"notify": ["finishe"] * 30_000},
        {"output": ["/x"] * 30_000},
        {"kwargs": {"x": [float("nan")] * 100_000}},
    ],
    ids=["keys", "execution", "notify", "output", "kwargs"],
)
def test_of_a_million_mistakes_the_first_are_told(wrong):
    begin = time.monotonic()
    assert 1 <= len(keys(**wrong)) <= 100
    assert time.monotonic() - begin < 20


def test_notify_with_a_wrong_state():
    assert keys(notify=["FINISHED", "all"]) == ["notify[1]"]
    assert "'FINISHED'" in only(notify="FINISHD").hint


@pytest.mark.parametrize(
    "name", ["JOBFERRY_X", "jobferry_x", "SLURM_JOB_ID", "UID", "1x", "a-b", "a b", "", "x\n", "ü"]
)
def test_a_variable_that_cannot_be_set(name):
    assert len(keys(env={name: "1"})) == 1


def test_values_of_variables():
    assert keys(env={"A": "a\nb'$(x)"}) == []
    assert keys(env={"A": "a\x00b"}) == ["env.A"]
    assert keys(env={"A": 1}) == ["env.A"]


@pytest.mark.parametrize("mail", ["a@b", "jdoe@example.org", "j.d+x@ex-ample.org", "ü@example.org"])
def test_a_mail_address(mail):
    assert keys(user_mail=mail) == []


@pytest.mark.parametrize(
    "mail", ["", "a", "@b", "a@", "a@b@c", "a@b\nBcc: c@d", "a@b\n", "a@b, c@d", "A <a@b>", "a b@c", "a@b\r", "a@b\x00"]
)
def test_what_is_no_mail_address(mail):
    assert keys(user_mail=mail) == ["user_mail"]


@pytest.mark.parametrize("key", ["name", "destination_cluster", "private_key", "username"])
@pytest.mark.parametrize("value", ["", "a\nb", "a\n", "a\x00b", "a\rb", 4, ["a"]])
def test_one_line_only(key, value):
    assert keys(**{key: value}) == [key]


def test_a_user_name_is_no_option():
    assert keys(username="-oProxyCommand=x") == ["username"]
    assert keys(username="a b") == ["username"]


def test_tags():
    assert keys(tags={"project": "alpha", "a/b.c-d_e": ""}) == []
    assert len(keys(tags={"a=b": "x"})) == 1
    assert len(keys(tags={"a": "x\ny"})) == 1
    assert len(keys(tags={"": "x"})) == 1


def test_commands():
    assert keys(execution=["a && b | c", "for i in 1 2; do\n echo $i\ndone"]) == []
    assert keys(execution=["a", " "]) == ["execution[1]"]
    assert keys(execution="") == ["execution"]
    assert keys(requirements=[{"echo a": "b"}]) == ["requirements[0]"]
    assert keys(compilation="a\x00") == ["compilation"]
    assert jobspec.parse({**SMALL, "execution": "a\nb\n"}).execution == ["a\nb"]


def test_a_secret_is_never_in_a_problem():
    pasted = "-----BEGIN OPENSSH PRIVATE KEY-----\n31337\n"
    found = jobspec.problems(
        {**SMALL, "passphrase": 31337, "passphrse": "31337", "cb_secret": 31337, "private_key": pasted}
    )
    assert len(found) == 4
    assert "31337" not in repr(found)


def test_public_has_no_secrets():
    assert set(MASI) - set(jobspec.public(MASI)) == {"private_key", "passphrase"}


@pytest.mark.parametrize(
    ("job", "kind"),
    [
        ("job.sh", "file|directory"), ("/a/b", "file|directory"), ("a@b", "file|directory"), ("./a.git", "file|directory"),
        ("C:\\x", "file|directory"), ("https://github.com/a/b.git", "git"), ("https://github.com/a/b.git#v1.2", "git"),
        ("https://github.com/a/b.git/", "git"), ("git://h/a", "git"), ("ssh://git@h:22/a", "git"), ("git@h:a/b", "git"),
        ("git@h:a/b.git#main", "git"), ("file:///srv/a.git", "git"), ("file:///srv/a", "git"), ("https://h/x.tar.gz", "url"),
        ("http://h/a.sh?x=1.git", "url"), ("ftp://h/a", "url"), ("HTTPS://h/a.git", "git"),
    ],
)  # fmt: skip
def test_kinds_of_jobs(job, kind):
    assert jobspec.job_kind(job) == kind
    assert keys(job=job) == []


@pytest.mark.parametrize(
    "job",
    [
        "", "a\x00b", "htps://h/a", "https://h/a\nb.git", "https://u:secret@h/a.git", "ssh://u:secret@h/a",
        "https://h/a.git#-x", "https://h/a.git#a b", "https://h/a.git#a..b", "gopher://h/a", 3,
    ],
)  # fmt: skip
def test_jobs_that_cannot_be(job):
    (problem,) = jobspec.problems({**SMALL, "job": job})
    assert problem.key == "job"
    assert "secret" not in repr(problem)


def test_the_parts_of_a_git_address():
    assert jobspec.git_url("https://h/a.git#v1") == ("https://h/a.git", "v1")
    assert jobspec.git_url("https://h/a.git") == ("https://h/a.git", "")
    assert jobspec.git_folder("https://h/x/a.git#v1") == "a"
    assert jobspec.git_folder("git@h:a.git") == "a"
    assert jobspec.git_folder("file:///srv/my repo/") == "my repo"
    assert jobspec.git_folder("https://h/.git") == ".git"
    assert jobspec.git_folder("https://h/..") == "repository"


def test_a_scheduler_option_names_its_place():
    assert keys(scheduler_options=["--qos=long", "--array='1"]) == ["scheduler_options[1]"]
    assert keys(scheduler_options="-J 'x") == ["scheduler_options"]


def test_problems_come_in_the_order_of_the_keys():
    data = {"output": "/a", "job": 3, "execution": [], "fallback": "x", "destination_cluster": ""}
    assert [problem.key for problem in jobspec.problems(data)] == list(data)


@pytest.mark.parametrize("value", ["$(touch x)", "`id`", "a'; touch x #", '"; id; "', "ü\u2603"])
def test_hostile_text_is_text(value):
    spec = jobspec.parse({**SMALL, "name": value, "kwargs": {value: value}, "tags": {"a": value}, "env": {"A": value}})
    assert spec.name == spec.kwargs[value] == spec.tags["a"] == spec.env["A"] == value


@pytest.mark.parametrize(
    ("kwargs", "key"),
    [
        ({"a": "\ud800"}, "kwargs.a"),
        ({"a": [1, float("nan")]}, "kwargs.a[1]"),
        ({"a": float("inf")}, "kwargs.a"),
        ({"a": 2**63}, "kwargs.a"),
        ({"a": b"x"}, "kwargs.a"),
        ({1: "x"}, "kwargs"),
        ({"\x00": "x"}, "kwargs"),
        ({"\ud800": "x"}, "kwargs"),
    ],
)
def test_what_a_store_could_not_hold_is_refused(kwargs, key):
    assert keys(kwargs=kwargs) == [key]


def test_what_is_nested_too_deeply_is_refused():
    value = {}
    for _ in range(100):
        value = {"a": value}
    assert keys(kwargs=value) == ["kwargs.a.a"]
    assert keys(kwargs={"a": -(2**63) + 1, "b": 0.5, "c": None, "d": True, "e": [{"f": "é"}]}) == []


SCRIPTED = {"destination_cluster": "local", "script": "#!/usr/bin/env rc\necho moo\n"}


def test_a_script_takes_the_place_of_job_and_execution():
    spec = jobspec.parse({**SCRIPTED, "directory": "$HOME/runs", "inherit_environment": False, "launcher": " mpirun "})
    assert (spec.job, spec.execution, spec.script) == ("", [], SCRIPTED["script"])
    assert (spec.directory, spec.inherit_environment, spec.launcher) == ("$HOME/runs", False, "mpirun")
    plain = jobspec.parse(SMALL)
    assert (plain.script, plain.directory, plain.inherit_environment, plain.launcher) == ("", "", True, "")
    assert jobspec.parse({**SCRIPTED, "job": "data"}).job == "data"
    assert jobspec.parse({**SCRIPTED, "script": "true \x01\x7f\r\n\u2028"}).script


@pytest.mark.parametrize(
    ("changes", "keys_found"),
    [
        ({"execution": "true"}, ["script"]),
        ({"script": " \n"}, ["script"]),
        ({"script": "a\0b"}, ["script"]),
        ({"script": 3}, ["script"]),
        ({"directory": "runs"}, ["directory"]),
        ({"directory": "~other/x"}, ["directory"]),
        ({"directory": "/a\nb"}, ["directory"]),
        ({"inherit_environment": "no"}, ["inherit_environment"]),
        ({"launcher": "a 'b"}, ["launcher"]),
        ({"launcher": "  "}, ["launcher"]),
        ({"launcher": "a\nb"}, ["launcher"]),
        ({"launcher": "''"}, []),
    ],
)
def test_what_a_script_and_its_neighbours_cannot_be(changes, keys_found):
    assert [problem.key for problem in jobspec.problems({**SCRIPTED, **changes})] == keys_found


def test_without_a_script_both_are_needed_and_it_is_said_how():
    (problem,) = jobspec.problems({"destination_cluster": "local", "execution": "true"})
    assert problem.key == "job"
    assert "script" in problem.hint
