"""The workload manager's commands run as we mean them, whatever the login's defaults say."""

import pytest

from project.agent.runner import Runner


@pytest.mark.parametrize(
    "name",
    [
        "SBATCH_JOB_NAME",
        "SBATCH_ARRAY_INX",
        "SBATCH_WAIT",
        "SQUEUE_PARTITION",
        "SACCT_FORMAT",
        "SLURM_TIME_FORMAT",
        "BSUB_QUIET",
        "BSUB_STDERR",
        "PBS_DPREFIX",
    ],
)
def test_defaults_that_would_change_our_meaning_are_dropped(monkeypatch, tmp_path, name):
    monkeypatch.setenv(name, "of-the-login")
    assert "of-the-login" not in Runner(str(tmp_path)).run(["env"]).text()


def test_what_a_site_needs_stays(monkeypatch, tmp_path):
    monkeypatch.setenv("SBATCH_ACCOUNT", "physics")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/x.conf")
    text = Runner(str(tmp_path)).run(["env"]).text()
    assert "SBATCH_ACCOUNT=physics" in text
    assert "SLURM_CONF=/etc/slurm/x.conf" in text
