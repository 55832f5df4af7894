"""The agent's one file, unpacked beside itself once: modules from a zip are compiled anew at every start (0.1 s), these are not.

The file alone is always enough. The watcher unpacks it when it has nothing better to do; whoever starts later imports from the
folder. It is named after the file, which is named by its content, so it is never another version's.
"""

import os
import sys

ENDING = ".d"


def archive() -> str:
    """The one file that this agent was started from; "" when it runs from a source tree."""
    place = os.path.abspath(__file__)
    while place != os.path.dirname(place):
        place = os.path.dirname(place)
        if os.path.isfile(place):
            return place
        if place.endswith(".pyz" + ENDING) and os.path.isfile(place[: -len(ENDING)]):
            return place[: -len(ENDING)]
    return ""


def use() -> None:
    """Import everything that is not imported yet from the folder, if it is there."""
    folder = archive() + ENDING
    if folder == ENDING or not os.path.isdir(os.path.join(folder, "project", "agent")):
        return
    import project
    import project.agent

    project.__path__ = [os.path.join(folder, "project")]
    project.agent.__path__ = [os.path.join(folder, "project", "agent")]
    sys.path.insert(0, folder)


def make() -> None:
    """Unpack and compile, unless that is done. Raises OSError."""
    place = archive()
    folder = place + ENDING
    if not place or os.path.isdir(folder):
        return
    import compileall
    import shutil
    import zipfile

    aside = "{}.{}.aside".format(folder, os.getpid())
    try:
        with zipfile.ZipFile(place) as whole:
            whole.extractall(aside)
        compileall.compile_dir(aside, quiet=2, ddir=folder)
        os.rename(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
