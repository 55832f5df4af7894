import pytest

from project.core.options import option_problem


@pytest.mark.parametrize(
    "text",
    [
        "--qos=long", "--account=a b", "-A project", "--exclusive", "-C haswell", "--comment='a b'", "--hold", "-H", "-Hv",
        "--wait-all-nodes=1", "--export=ALL", "--mail-type=END", "-n4", "--nice", "--reservation=r",
    ],
)  # fmt: skip
def test_other_options_are_the_users(text):
    assert option_problem(text) == ("", "")


@pytest.mark.parametrize(
    ("text", "owned"),
    [
        ("-a 1-3", "--array"), ("-a1-3", "--array"), ("--array=1-3", "--array"), ("--arr=1-3", "--array"),
        ("-J x", "--job-name"), ("--job-name x", "--job-name"), ("--job=x", "--job-name"),
        ("-o x", "--output"), ("--output=x", "--output"), ("-e x", "--error"), ("--error=x", "--error"),
        ("-D /", "--chdir"), ("--chdir=/", "--chdir"), ("--wrap=true", "--wrap"), ("--parsable", "--parsable"),
        ("-M other", "--clusters"), ("--clusters=other", "--clusters"), ("--test-only", "--test-only"),
        ("-W", "--wait"), ("--wait", "--wait"), ("-Hafoo", "--array"), ("--qos=long --array=1-3", "--array"),
        ("--qos=long -a 1", "--array"), ("'--array=3'", "--array"), ("-Q", "--quiet"),
    ],
)  # fmt: skip
def test_what_jobferry_sets_itself_is_refused(text, owned):
    message, hint = option_problem(text)
    assert owned in message
    assert hint


@pytest.mark.parametrize(
    "text",
    ["qos=long", "", " ", "-", "--", "--comment='a", "--qos=long\n#SBATCH -a 3", "--qos=\x00", "-" + "a" * 4_000_000],
)
def test_what_is_no_option_is_refused(text):
    assert option_problem(text)[0]
