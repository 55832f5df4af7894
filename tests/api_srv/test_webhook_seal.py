"""The seal of a callback's secret: its key is one, private, never in the database; a lost one is said."""

import multiprocessing
import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from api_srv.notify.webhook_seal import Sealer, UnsealError
from project.core.errors import UserError

URL = "https://example.org/hook"
HEADERS = {"authorization": "Bearer xyz"}


def test_what_is_sealed_comes_back_and_is_not_readable(tmp_path):
    sealed = Sealer(str(tmp_path)).seal("j", URL, "geheim", HEADERS)
    assert "geheim" not in sealed and "xyz" not in sealed
    contents = Sealer(str(tmp_path)).unseal(sealed, "j", URL)
    assert (contents.secret, contents.headers) == ("geheim", HEADERS)
    assert "geheim" not in repr(contents) and "geheim" not in f"{contents}"
    assert stat.S_IMODE((tmp_path / "callback.key").stat().st_mode) == 0o600


def test_it_is_good_for_one_job_and_one_address(tmp_path):
    sealer = Sealer(str(tmp_path))
    sealed = sealer.seal("j", URL, "geheim", {})
    for job, url in (("k", URL), ("j", URL + "x")):
        with pytest.raises(UnsealError) as caught:
            sealer.unseal(sealed, job, url)
        assert "geheim" not in str(caught.value)


def test_the_setting_wins_over_the_file_and_keys_can_be_changed(tmp_path):
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    sealed = Sealer(str(tmp_path), old).seal("j", URL, "geheim", {})
    assert not (tmp_path / "callback.key").exists()
    assert Sealer(str(tmp_path), f"{new},{old}").unseal(sealed, "j", URL).secret == "geheim"
    assert Sealer(str(tmp_path), f"{new}\n{old}\n").unseal(sealed, "j", URL).secret == "geheim"
    with pytest.raises(UnsealError, match="JOBFERRY_CALLBACK_KEY"):
        Sealer(str(tmp_path), new).unseal(sealed, "j", URL)


def test_a_lost_key_and_what_is_none_are_said(tmp_path):
    sealer = Sealer(str(tmp_path))
    sealed = sealer.seal("j", URL, "geheim", {})
    key = tmp_path / "callback.key"
    text = key.read_text()
    key.unlink()
    with pytest.raises(UnsealError, match="there is no"):
        Sealer(str(tmp_path)).unseal(sealed, "j", URL)
    key.write_text("short\n")
    with pytest.raises(UnsealError, match="holds no key"):
        Sealer(str(tmp_path)).unseal(sealed, "j", URL)
    with pytest.raises(UserError, match="holds no key"):
        Sealer(str(tmp_path)).seal("j", URL, "geheim", {})
    with pytest.raises(UserError, match="JOBFERRY_CALLBACK_KEY holds no key"):
        Sealer(str(tmp_path), "short").seal("j", URL, "geheim", {})
    with pytest.raises(UserError, match="JOBFERRY_CALLBACK_KEY holds no key"):
        Sealer(str(tmp_path), "short").check()
    Sealer(str(tmp_path)).check()
    # A running one finds it when it is put back.
    running = Sealer(str(tmp_path), "")
    key.write_text(Fernet.generate_key().decode())
    with pytest.raises(UnsealError, match="another key"):
        running.unseal(sealed, "j", URL)
    key.write_text(text)
    assert running.unseal(sealed, "j", URL).secret == "geheim"
    for nonsense in ("", "x", "é", sealed[:-4] + "AAAA"):
        with pytest.raises(UnsealError):
            running.unseal(nonsense, "j", URL)


def _seal(home: str, barrier: "multiprocessing.synchronize.Barrier", results: "multiprocessing.Queue[str]") -> None:
    barrier.wait(60)
    results.put(Sealer(home).seal("j", URL, "geheim", {}))


def test_racing_processes_make_one_key(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_seal, args=(str(tmp_path / "new"), barrier, results)) for _ in range(4)]
    for process in processes:
        process.start()
    sealed = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    sealer = Sealer(str(tmp_path / "new"))
    assert {sealer.unseal(one, "j", URL).secret for one in sealed} == {"geheim"}
