"""Signatures: the known answer, and what is refused."""

import pytest

from project.core.signatures import SignatureError, sign_message, verify_signature

# docs.github.com, "Validating webhook deliveries", Testing.
BODY = "Hello, World!"
SECRET = "It's a Secret to Everybody"
KNOWN = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


def test_the_known_answer():
    assert sign_message(BODY, SECRET) == KNOWN
    assert sign_message(BODY.encode(), SECRET.encode()) == KNOWN
    verify_signature(BODY, SECRET, KNOWN)
    verify_signature(b"Hello, World!", SECRET, KNOWN)


def test_text_beyond_ascii_is_utf8():
    verify_signature("é".encode(), "ü", sign_message("é", "ü".encode()))


@pytest.mark.parametrize(
    "header", [None, "", "sha256=", KNOWN[:-1] + "8", KNOWN.upper(), KNOWN[7:], "sha1=0", "é\udcff", KNOWN + "0"]
)
def test_what_does_not_fit_is_refused_without_the_secret(header):
    with pytest.raises(SignatureError) as caught:
        verify_signature(BODY, SECRET, header)
    assert SECRET not in str(caught.value)


def test_another_body_or_secret_is_refused():
    with pytest.raises(SignatureError):
        verify_signature(BODY + " ", SECRET, KNOWN)
    with pytest.raises(SignatureError):
        verify_signature(BODY, SECRET + " ", KNOWN)


@pytest.mark.parametrize("secret", ["", b""])
def test_without_a_secret_nothing_is_genuine(secret):
    """A receiver whose setting is missing must not take what everybody can sign."""
    with pytest.raises(SignatureError):
        verify_signature("{}", secret, sign_message("{}", secret))
