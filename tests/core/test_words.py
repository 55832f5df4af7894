from project.core import words


def test_a_near_word_is_offered():
    assert words.near("resorces", ["resources", "requirements"]) == ["resources"]
    assert words.did_you_mean("Resorces", ["resources"]) == "Did you mean 'resources'?"
    assert words.did_you_mean("finished", ["FINISHED"]) == "Did you mean 'FINISHED'?"


def test_several_near_words_are_joined():
    assert words.did_you_mean("lema", ["lemaitre3", "lemaitre4"], 2) == "Did you mean 'lemaitre4' or 'lemaitre3'?"


def test_nothing_near_gives_nothing():
    assert words.near("zzz", ["resources"]) == []
    assert words.did_you_mean("zzz", ["resources"]) == ""
    assert words.did_you_mean("", []) == ""
