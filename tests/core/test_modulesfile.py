import pytest

from project.core import modulesfile
from project.core.errors import InputError

STEP = {"module": "a.py", "execution": "python a.py"}


def test_steps_run_in_the_order_of_their_numbers():
    data = {"staging": {"10": STEP, "2": {**STEP, "module": "b.py"}, "1": {**STEP, "module": "c.py"}}}
    modules = modulesfile.parse(data)
    assert [(step.index, step.module) for step in modules.staging] == [(1, "c.py"), (2, "b.py"), (10, "a.py")]
    assert modules.preprocessing == modules.postprocessing == []


def test_a_plain_list_is_numbered_from_1():
    modules = modulesfile.parse({"preprocessing": [STEP, {**STEP, "compilation": " gcc a.c "}]})
    assert [step.index for step in modules.preprocessing] == [1, 2]
    assert modules.stage("preprocessing")[1].compilation == "gcc a.c"
    assert modules.stage("preprocessing")[0].compilation == ""


def test_what_the_agent_gets_is_what_it_reads():
    modules = modulesfile.parse({"staging": [STEP], "postprocessing": {"3": STEP}})
    public = modules.public()
    assert public == {
        "staging": [{"index": 1, "module": "a.py", "compilation": "", "execution": "python a.py"}],
        "postprocessing": [{"index": 3, "module": "a.py", "compilation": "", "execution": "python a.py"}],
    }
    again = modulesfile.from_public(public, {"staging": "/x", "postprocessing": "/y"})
    assert again.public() == public
    assert again.postprocessing[0].path == "/y/a.py"
    assert again.staging[0].path == "/x/a.py"


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({"stagging": []}, "stagging"),
        ({"staging": {"a": STEP}}, "staging.a"),
        ({"staging": {"01": STEP}}, "staging.01"),
        ({"staging": {"-1": STEP}}, "staging.-1"),
        ({"staging": [{"module": "a.py"}]}, "staging[0].execution"),
        ({"staging": [{"execution": "x"}]}, "staging[0].module"),
        ({"staging": {"1": {**STEP, "execute": "x"}}}, "staging.1.execute"),
        ({"staging": {"1": {**STEP, "execution": " "}}}, "staging.1.execution"),
        ({"staging": {"1": "a.py"}}, "staging.1"),
        ({"staging": "a.py"}, "staging"),
        ({"staging": [{**STEP, "module": "/etc/passwd"}]}, "staging[0].module"),
        ({"staging": [{**STEP, "module": "../a"}]}, "staging[0].module"),
        ({"staging": [{**STEP, "module": "a/../../b"}]}, "staging[0].module"),
        ({"staging": [{**STEP, "module": ".."}]}, "staging[0].module"),
        ({"staging": [{**STEP, "module": "."}]}, "staging[0].module"),
        ({"staging": [{**STEP, "module": "a/"}]}, "staging[0].module"),
        ({"staging": [{**STEP, "module": "~x"}]}, "staging[0].module"),
        ({"staging": [{**STEP, "module": "-x"}]}, "staging[0].module"),
        ({"staging": [{**STEP, "module": "a\n"}]}, "staging[0].module"),
        ({"staging": [{**STEP, "module": ""}]}, "staging[0].module"),
    ],
)
def test_a_wrong_modules_file_names_the_key(data, key):
    with pytest.raises(InputError) as caught:
        modulesfile.parse(data)
    assert [problem.key for problem in caught.value.problems] == [key]


@pytest.mark.parametrize("name", ["a.py", "sub/a.py", "a b.sh", "..a", "é", "a..b"])
def test_names_of_modules(name):
    assert modulesfile.problems({"staging": [{**STEP, "module": name}]}) == []
