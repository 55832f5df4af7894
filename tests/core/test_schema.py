import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from project.core import schema

INPUT_KEYS = list(schema.load("input")["properties"])
RESOURCE_KEYS = list(schema.load("input")["properties"]["resources"]["properties"])

texts = st.sampled_from(
    [
        "",
        "x",
        "a b",
        "line\n",
        "a@b",
        "auto",
        "grouped",
        "1h30m",
        "4G",
        "1:30",
        "-x",
        "é",
        "\x00",
        "8",
        "PENDING",
        "a\u2028",
    ]
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-2, 5), st.sampled_from([0.0, 1.0, 1.5, -1.0, 1e8]), texts)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=4,
)
resources = st.dictionaries(st.sampled_from([*RESOURCE_KEYS, "durations"]), scalars, max_size=4)
named = st.dictionaries(st.sampled_from(["A", "a-b", "1x", "OMP", "a\n"]), scalars, max_size=3)
inputs = st.dictionaries(st.sampled_from([*INPUT_KEYS, "joob"]), st.one_of(anything, resources, named), max_size=6)
base = st.fixed_dictionaries(
    {"destination_cluster": texts, "job": texts, "execution": st.one_of(texts, st.lists(texts))}
)
steps = st.dictionaries(st.sampled_from(["module", "compilation", "execution", "x"]), scalars, max_size=4)
modules = st.dictionaries(
    st.sampled_from(["staging", "preprocessing", "postprocessing", "post"]),
    st.one_of(st.lists(steps, max_size=2), st.dictionaries(st.sampled_from(["1", "2", "01", "a"]), steps), anything),
    max_size=3,
)
clusters = st.dictionaries(
    st.sampled_from(list(schema.load("cluster")["properties"])),
    st.one_of(anything, st.sampled_from(["slurm", "host", "$HOME/x", "/w", "a.b:c", ["mpi"]])),
)
jobs = st.dictionaries(st.sampled_from(list(schema.load("job")["properties"])), st.one_of(anything, named))


def agree(name, value):
    document = schema.load(name)
    reference = jsonschema.Draft202012Validator(document)
    assert (not schema.problems(value, document)) == reference.is_valid(value), value


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.one_of(inputs, st.builds(lambda one, two: {**one, **two}, inputs, base), anything))
def test_input_is_judged_as_the_reference_judges_it(value):
    agree("input", value)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(modules)
def test_modules_are_judged_as_the_reference_judges_them(value):
    agree("modules", value)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(clusters)
def test_clusters_are_judged_as_the_reference_judges_them(value):
    agree("cluster", value)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(jobs)
def test_jobs_are_judged_as_the_reference_judges_them(value):
    agree("job", value)


@pytest.mark.parametrize("name", schema.NAMES)
def test_the_schemas_are_schemas(name):
    jsonschema.Draft202012Validator.check_schema(schema.load(name))


@pytest.mark.parametrize("name", schema.NAMES)
def test_every_key_is_described(name):
    for key, sub in schema.load(name)["properties"].items():
        assert sub.get("description"), f"{name}: {key}"


@pytest.mark.parametrize("name", schema.NAMES)
def test_no_keyword_is_used_that_is_not_checked(name):
    known = {
        "$schema", "$id", "$defs", "$ref", "title", "description", "examples", "x-expected", "x-later", "writeOnly",
        "type", "enum", "const", "not", "anyOf", "properties", "patternProperties", "additionalProperties", "required",
        "propertyNames", "minProperties", "items", "minItems", "maxItems", "minimum", "maximum", "minLength", "maxLength",
        "pattern",
    }  # fmt: skip

    def walk(node):
        if not isinstance(node, dict):
            return
        assert set(node) <= known, set(node) - known
        for key in ("properties", "patternProperties", "$defs"):
            for sub in node.get(key, {}).values():
                walk(sub)
        for key in ("additionalProperties", "propertyNames", "items", "not"):
            walk(node.get(key))
        for sub in node.get("anyOf", []):
            walk(sub)

    walk(schema.load(name))


def test_an_unknown_schema_is_a_key_error():
    with pytest.raises(KeyError):
        schema.load("../input")


def test_the_rarer_keywords():
    cases = [
        ({"const": 1}, 1, True),
        ({"const": 1}, True, False),
        ({"const": 1}, 2, False),
        ({"minProperties": 1}, {}, False),
        ({"maxItems": 1}, [1, 2], False),
        ({"maxLength": 1}, "ab", False),
        ({"minLength": 2}, "a", False),
        ({"patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False}, {"x1": 1}, True),
        ({"patternProperties": {"^x": {"type": "integer"}}}, {"x1": "a"}, False),
        ({"anyOf": [{"type": "integer"}, {"type": "integer", "minimum": 3}]}, "a", False),
        (True, 1, True),
        (False, 1, False),
        ({"$ref": "#/$defs/no", "$defs": {"no": False}}, 1, False),
        ({"type": ["integer", "null"]}, 1.0, True),
        ({"type": "number"}, 1.5, True),
        ({"type": "number"}, True, False),
    ]
    for document, value, valid in cases:
        assert (not schema.problems(value, document)) is valid, (document, value)
        assert jsonschema.Draft202012Validator(document).is_valid(value) is valid, (document, value)


def test_places_are_written_as_people_write_them():
    assert schema.key_text(("resources", "duration")) == "resources.duration"
    assert schema.key_text(("execution", 1)) == "execution[1]"
    assert schema.key_text(("env", "a.b")) == 'env["a.b"]'
    assert schema.key_text(()) == ""


def test_a_long_value_is_cut_in_a_message():
    found = schema.problems({"type": "x" * 500}, {"properties": {"type": {"type": "integer"}}})
    assert len(found[0].message) < 120
