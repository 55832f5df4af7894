import pytest

from project.core import clusters
from project.core.errors import InputError

LEMAITRE = {
    "_id": {"$oid": "5ccd9ade865e7214bb340e7a"},
    "name": "lemaitre3",
    "hostname": "lemaitre3.cism.ucl.ac.be",
    "port": 22,
    "workload_manager": "slurm",
    "preferred_jobs": ["mpi"],
    "partition": "batch",
    "status": {},
}
LEAST = {"name": "a", "hostname": "h", "workload_manager": "slurm"}


def test_a_document_of_masi_tfe():
    document = clusters.normalise(LEMAITRE)
    assert document == {key: value for key, value in LEMAITRE.items() if key != "_id"}


def test_defaults():
    assert clusters.normalise(LEAST) == {**LEAST, "port": 22, "preferred_jobs": [], "partition": "", "status": {}}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "a b"), ("name", "-a"), ("name", ""), ("hostname", "-oProxyCommand=x"), ("hostname", "a b"), ("hostname", "a\n"),
        ("port", 0), ("port", 70000), ("port", "22"), ("workload_manager", "slrum"), ("partition", "a\n#SBATCH -a 3"),
        ("partition", "a b"), ("partition", "-x"), ("workdir", "relative"), ("workdir", "$HOMES/x"), ("workdir", "/a\nb"),
        ("username", "-x"), ("preferred_jobs", [3]), ("preferred_jobs", ""), ("status", []), ("python", ""), ("hostnme", "x"),
    ],
)  # fmt: skip
def test_a_wrong_document_names_the_key(key, value):
    with pytest.raises(InputError) as caught:
        clusters.normalise({**LEAST, key: value})
    assert [problem.key.partition("[")[0] for problem in caught.value.problems] == [key]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hostname", "127.0.0.1"), ("hostname", "::1"), ("hostname", "[fe80::1%eth0]"), ("hostname", "my_alias"),
        ("partition", "a,b"), ("partition", None), ("preferred_jobs", "mpi"), ("workdir", "$HOME/x y"), ("workdir", "~"),
        ("workdir", "/scratch/a'; touch x #"), ("profile", "module load x"), ("profile", ["a", "b"]), ("python", "/opt/p/python3"),
        ("username", "jdoe"), ("workload_manager", "local"),
    ],
)  # fmt: skip
def test_a_right_document(key, value):
    assert clusters.problems({**LEAST, key: value}) == []
