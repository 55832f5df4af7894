import pytest

from project.core.errors import InputError
from project.spec import yamltext


def data(text):
    return yamltext.parse(text, "f.yml")[0]


def problem(text):
    with pytest.raises(InputError) as caught:
        yamltext.parse(text, "f.yml")
    return caught.value.problems[0]


@pytest.mark.parametrize(
    "word",
    [
        "no", "No", "NO", "yes", "on", "off", "y", "n", "1:30", "1:30:00", "190:20:30", "010", "0o10", "0x1F", "0b11", "1_000",
        "2024-01-01", "2024-01-01T10:00:00Z", ".inf", "-.inf", ".nan", "1e3", "1.", ".5", "+.5", "1d2h30m", "90s", "2625M", "4G",
        "=", "TRue", "nULL", "00", "-01", "1.0e999", "99999999999999999999", "1.2.3", "é",
    ],
)  # fmt: skip
def test_a_plain_word_survives_as_written(word):
    assert data(f"a: {word}") == {"a": word}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("0", 0), ("15", 15), ("-3", -3), ("+5", 5), ("2.5", 2.5), ("-0.5", -0.5), ("1.0e3", 1000.0), ("true", True), ("True", True),
        ("FALSE", False), ("null", None), ("~", None), ("", None), ("'true'", "true"), ('"4"', "4"), ("!!str 12", "12"),
        ("!!int 12", 12), ("!!float 2.5", 2.5), ("!!null ''", None),
    ],
)  # fmt: skip
def test_what_is_resolved(word, value):
    result = data(f"a: {word}")["a"]
    assert result == value
    assert type(result) is type(value)


def test_keys_are_text():
    assert data("1: a\ntrue: b\nno: c\n1.5: d\n~: e\n") == {"1": "a", "true": "b", "no": "c", "1.5": "d", "~": "e"}


def test_block_texts_and_flows():
    assert data("a: |\n  x\n  y\nb: >\n  x\n  y\nc: [1, {d: e}]\n") == {
        "a": "x\ny\n",
        "b": "x y\n",
        "c": [1, {"d": "e"}],
    }


def test_anchors_and_merges():
    assert data("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\nc: *x\nd: {<<: [*x, {r: 4}]}\n") == {
        "a": {"p": 1, "q": 2},
        "b": {"p": 1, "q": 3},
        "c": {"p": 1, "q": 2},
        "d": {"p": 1, "q": 2, "r": 4},
    }
    assert data("'<<': 1") == {"<<": 1}


def test_characters_beyond_the_first_plane():
    assert data('{"a\\ud83d\\ude00": "\\ud83d\\ude00", b: "\\U0001F600"}') == {"a😀": "😀", "b": "😀"}
    assert "no Unicode text" in problem('a: "\\ud83d"').text()
    assert "no Unicode text" in problem('"\\ud83d": 1').text()


def test_an_empty_file_is_nothing():
    assert data("") is None
    assert data("# only a comment\n") is None
    assert data("---\na: 1\n...\n") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "line", "column", "word"),
    [
        ("a: 1\nb: c: d\n", 2, 5, "mapping values"),
        ("a: [1\n", 2, 1, "is not YAML"),
        ("a:\n\t- 1\n", 2, 1, "spaces, not tabs"),
        ("a: 'x\n", 2, 1, "is not YAML"),
        ("a: *x\n", 1, 4, "undefined alias"),
        ("a: 1\n---\nb: 2\n", 3, 1, "two documents"),
        ("a: 1\nb: x\x01y\n", 2, 5, "#x0001"),
        ("a: 1\nb: 2\na: 3\n", 3, 1, "a: is given twice; the first time in line 1"),
        ("a:\n  b: 1\n  b: 2\n", 3, 3, "a.b: is given twice"),
        ("a: !!python/object/apply:os.system [id]\n", 1, 4, "not supported"),
        ("a: !Ref x\n", 1, 4, "!Ref"),
        ("a: !!int x\n", 1, 4, "is not a !!int"),
        ("a: !!binary aGk=\n", 1, 4, "!!binary"),
        ("? [a, b]\n: 1\n", 1, 3, "not a word"),
        ("a: &a [*a]\n", 1, 4, "refers to itself"),
        ("a: &a\n  <<: *a\n", 1, 4, "merge"),
        ("a: {<<: 3}\n", 1, 9, "merge"),
    ],
)
def test_what_is_no_yaml_names_its_place(text, line, column, word):
    found = problem(text)
    assert (found.file, found.line, found.column) == ("f.yml", line, column)
    assert word in found.text()


def test_all_duplicates_at_once():
    with pytest.raises(InputError) as caught:
        yamltext.parse("a: 1\na: 2\nb: {c: 1, c: 2}\n", "f.yml")
    assert [found.key for found in caught.value.problems] == ["a", "b.c"]


def test_a_bomb_of_aliases_is_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "too large" in problem("\n".join(lines)).text()


def test_deep_nesting_is_refused():
    assert "too deeply" in problem("[" * 100 + "]" * 100).text()
    assert "too deeply" in problem("[" * 5000 + "]" * 5000).text()


def test_marks_say_where_keys_and_values_stand():
    marks = yamltext.parse("a: 1\nb:\n  - x\n  - c: 1:30\n", "f.yml")[1]
    assert (marks["a"].line, marks["a"].column, marks["a"].key_line, marks["a"].key_column) == (1, 4, 1, 1)
    assert marks["a"].text == "1"
    assert (marks["b[1].c"].line, marks["b[1].c"].column, marks["b[1].c"].key_column) == (4, 8, 5)
    assert marks["b"].text is None
