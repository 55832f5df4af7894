"""Modules in three stages and two languages, and MASI-TFE's own sample."""

import json
import os
import shutil
from pathlib import Path

from helpers.inputs import write_input
from helpers.live import Bed, Cli

# Adds its own name to kwargs.seen, says so on stderr.
PYTHON_MODULE = """\
import json, sys
data = json.load(sys.stdin)
assert json.loads(sys.argv[-1]) == data, "the input is the last argument too"
assert "private_key" not in data and "passphrase" not in data
data.setdefault("kwargs", {})["seen"] = data.get("kwargs", {}).get("seen", "") + "python "
sys.stderr.write("python module ran\\n")
print(json.dumps(data))
"""
# Copies its input to its output, but for the first `"before": "x` which becomes `"before": "y`.
C_MODULE = """\
#include <stdio.h>
#include <string.h>
static char text[1 << 20];
int main(void) {
  size_t n = fread(text, 1, sizeof text - 1, stdin);
  text[n] = 0;
  char *at = strstr(text, "\\"stage\\": \\"");
  if (at) at[10] += 1;
  fputs(text, stdout);
  fprintf(stderr, "C module ran\\n");
  return 0;
}
"""


def test_modules_in_three_stages_and_two_languages(cli: Cli, testbed: Bed, tmp_path: Path) -> None:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "see.py").write_text(PYTHON_MODULE)
    (modules / "bump.c").write_text(C_MODULE)
    both = {
        1: {"module": "see.py", "execution": "python see.py"},
        2: {"module": "bump.c", "compilation": "gcc -o bump bump.c", "execution": "./bump"},
        10: {"module": "see.py", "execution": "python see.py"},
    }
    (tmp_path / "modules.yml").write_text(
        json.dumps({stage: both for stage in ("staging", "preprocessing", "postprocessing")})
    )
    (tmp_path / "job.sh").write_text("true\n")
    path = write_input(tmp_path, testbed, job="job.sh", execution="true", kwargs={"stage": "a", "seen": ""})
    uuid = cli.run("-u", path, "-m", tmp_path / "modules.yml", "-q", cwd=tmp_path).last
    document = cli.until(uuid)
    assert (document["state"], document["condition"]) == ("FINISHED", "ok")
    events = cli.json("history", uuid)["events"]
    ran = [event["data"] for event in events if event["kind"] == "module"]
    assert [(data["stage"], data["module"]) for data in ran] == [
        (stage, module)
        for stage in ("staging", "preprocessing", "postprocessing")
        for module in ("see.py", "bump.c", "see.py")
    ]
    assert {data["exit_status"] for data in ran} == {0}
    assert ["C module ran" in data["stderr"] for data in ran] == [False, True, False] * 3
    assert all(data["duration"] >= 0 for data in ran)
    assert document["user_input"]["kwargs"]["seen"].split() == ["python"] * 6 or "seen" in json.dumps(
        [data["changed"] for data in ran]
    )


MASI_INPUT = """\
username: jdoe
private_key: "path_to_key"
passphrase: "private_key_passphrase"
user_mail: johndoe@mail.com
destination_cluster: lemaitre3
requirements:
  - "chmod +x job"
job: https://github.com/GaetanLongree/test.git
compilation:
  - "gcc job.c"
execution:
  - "srun ./job"
output:
  - "result.txt"
resources:
  nbr_jobs_in_array: 15
  duration: 1d2h30m
  nbr_processes: 5
  nbr_threads_per_process: 2
  memory_per_thread: 2625M
  distribution: distributed
    # grouped | scattered | distributed
  #if 'distributed' only
  nbr_of_nodes: 4
kwargs:
  key1: value1
"""
MASI_MODULES = """\
staging:
  1:
    module: test.c
    compilation: gcc -o test test.c
    execution: ./test
  2:
    module: resource_estimator.py
    execution: python resource_estimator.py
preprocessing:
  1:
    module: remote_test.c
    compilation: gcc -o remote_test remote_test.c
    execution: ./remote_test
  2:
    module: resource_estimator.py
    execution: python resource_estimator.py
postprocessing:
  1:
    module: test.c
    compilation: gcc -o test test.c
    execution: ./test
  2:
    module: remote_test.py
    execution: python remote_test.py
"""
# As a MASI-TFE module does it: the input is the argument, the answer is printed.
ARGUMENT_C = '#include <stdio.h>\nint main(int argc, char **argv) { printf("%s\\n", argv[argc - 1]); return 0; }\n'
ARGUMENT_PYTHON = "import json, sys\nprint(json.dumps(json.loads(sys.argv[1])))\n"


def test_the_sample_of_masi_tfe_works_as_it_is(cli: Cli, testbed: Bed, tmp_path: Path) -> None:
    # The repository that the sample names, as the cluster's own git finds it.
    testbed.alpha.ssh(
        """set -e; rm -rf masi masi-src; mkdir masi; git init -q masi-src; cd masi-src
        git config user.email a@b.c; git config user.name n
        printf '#!/bin/sh\\necho $SLURM_PROCID >> result.txt\\n' > job; echo 'int main(void) { return 0; }' > job.c
        git add .; git commit -qm one; cd ..; git clone -q --bare masi-src masi/test.git
        git config --global url.file:///home/jdoe/masi/.insteadOf https://github.com/GaetanLongree/"""
    )
    try:
        text = MASI_INPUT.replace("path_to_key", str(testbed.key("masi"))).replace("lemaitre3", "alpha")
        (tmp_path / "input.yml").write_text(text)
        (tmp_path / "modules.yml").write_text(MASI_MODULES)
        (tmp_path / "modules").mkdir()
        for name in ("test.c", "remote_test.c", "resource_estimator.py", "remote_test.py"):
            content = ARGUMENT_C if name.endswith(".c") else ARGUMENT_PYTHON
            (tmp_path / "modules" / name).write_text(content)
        uuid = cli.run("-u", "input.yml", "-m", "modules.yml", "-q", cwd=tmp_path).last
        document = cli.until(uuid, seconds=90)
        assert (document["state"], document["condition"]) == ("FINISHED", "ok")
        assert document["job_status"]["State"] == ["COMPLETED"] * 15
        rows = testbed.alpha.slurm(f"scontrol -o show job {document['native_id']}").splitlines()
        assert len(rows) == 15
        for wanted in ("TimeLimit=1-02:30:00", "NumNodes=4", "NumCPUs=10", "CPUs/Task=2", "MinMemoryCPU=2625M"):
            assert all(f" {wanted} " in row for row in rows), f"{wanted}: {rows[0]}"
        result = tmp_path / "result"
        result.mkdir()
        cli.run("-r", uuid, cwd=result)
        assert sorted(set((result / "result.txt").read_text().split())) == list("01234")
    finally:
        testbed.alpha.ssh("rm -f ~/.gitconfig")
        shutil.rmtree(os.fspath(tmp_path), ignore_errors=True)
