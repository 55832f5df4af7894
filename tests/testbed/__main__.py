"""python3 tests/testbed up | down | remove | folder | env | status | start PART | stop PART

The folder is JOBFERRY_TESTBED (default: jobferry-testbed in the temporary directory), its ports are free ones from
20200 on, or those from JOBFERRY_TESTBED_PORT on. See README.md.
"""

import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from testbed import packages  # noqa: E402 # the folder above comes first
from testbed.bed import Testbed, default_folder  # noqa: E402


def main() -> None:
    words = sys.argv[1:] or [""]
    bed = Testbed(default_folder())
    if words[0] not in {"up", "down", "remove", "folder", "env", "status", "start", "stop"}:
        sys.exit(__doc__)
    if words[0] == "folder":
        print(bed.folder)
        return
    if words[0] == "env":
        print((bed.folder / "env").read_text(), end="")
        return
    if os.geteuid() != 0:
        sys.exit("testbed: needs root (and a machine that may be thrown away)")
    if words[0] == "up":
        packages.install()
        bed.up()
        print(f"testbed: up in {bed.folder}; source {bed.folder}/env")
    elif words[0] == "status":
        for name, part in bed.parts.items():
            print(f"{name:20} {part.pid or 'not running'}")
    elif words[0] in {"start", "stop"}:
        for name in words[1:]:
            getattr(bed, words[0])(name)
    else:
        getattr(bed, words[0])()


main()
