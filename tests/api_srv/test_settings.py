"""What the server's environment may say, and that nothing in it ends in a traceback or shows a password."""

import pytest

from api_srv import settings
from project.core.errors import UserError


@pytest.mark.parametrize(
    "address",
    [
        "http://[",
        "http://a:b",
        "http://a b",
        "ftp://a",
        "a.example",
        "https://u:hidden@h",
        "https://:hidden@[h",
        "http://é",
    ],
)
def test_a_public_address_that_is_none(address: str) -> None:
    with pytest.raises(UserError, match="JOBFERRY_PUBLIC_URL") as caught:
        settings.read({"JOBFERRY_HOME": "/nowhere", "JOBFERRY_PUBLIC_URL": address})
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("address", ["https://jobs.example", "http://127.0.0.1:7676/", "https://[::1]:443/ferry"])
def test_a_public_address(address: str) -> None:
    found = settings.read({"JOBFERRY_HOME": "/nowhere", "JOBFERRY_PUBLIC_URL": address})
    assert found.public_url == address.rstrip("/")


@pytest.mark.parametrize("listen", [":", "127.0.0.1:²", "127.0.0.1:99999", "127.0.0.1:-1"])
def test_an_address_to_listen_on_that_is_none(listen: str) -> None:
    with pytest.raises(UserError, match="JOBFERRY_LISTEN"):
        settings.read({"JOBFERRY_HOME": "/nowhere", "JOBFERRY_LISTEN": listen})
