"""Errors: who must act is the class, and they survive the wire."""

import pytest

from project.core import errors


def test_exit_codes_are_the_contracts():
    codes = {
        errors.UserError: 2,
        errors.InputError: 2,
        errors.ClusterError: 3,
        errors.ApiError: 4,
        errors.JobEnded: 5,
        errors.Bug: 70,
        errors.Interrupted: 130,
    }
    assert {cls: cls.exit_code for cls in codes} == codes


@pytest.mark.parametrize("cls", [errors.UserError, errors.ClusterError, errors.ApiError, errors.Bug])
def test_an_error_survives_the_wire(cls):
    error = cls("what", "do that", transient=True)
    back = errors.from_wire(errors.to_wire(error))
    assert type(back) is cls
    assert (back.message, back.hint, back.transient, back.condition) == ("what", "do that", True, error.condition)


def test_an_unknown_class_is_still_an_error_and_an_input_error_is_the_users():
    assert type(errors.from_wire({"error": "Strange", "message": "m"})) is errors.JobferryError
    error = errors.InputError([errors.Problem("job", "is missing", file="a.yml", line=3, column=1)])
    assert type(errors.from_wire(errors.to_wire(error))) is errors.UserError


def test_all_problems_are_in_the_text():
    first = errors.Problem("job", "is missing", hint="Add it.", file="a.yml", line=3, column=1)
    second = errors.Problem("output", "is not a list")
    text = str(errors.InputError([first, second]))
    assert "2 problems in the input:" in text
    assert "a.yml:3:1: job: is missing Add it." in text
    assert "output: is not a list" in text
