"""Where a job runs: `work/` in its folder, or a `directory` of the user's that `work` is then a link to.

What is in a directory of the user's is theirs: files of the job are put beside it, and nothing there is ever removed.
"""

import contextlib
import os
import shutil
import stat

from project.agent import texts
from project.core import files
from project.core.errors import UserError
from project.core.paths import JobPaths

FAILED = "input_staging_failed"


def make(paths: JobPaths, directory: str) -> str:
    """Make the folder that the job runs in; its real path. Idempotent.

    :param directory: the input's key, "" for a folder of the job's own.

    Raises UserError (condition input_staging_failed) for a directory that cannot be, OSError.
    """
    if not directory:
        with contextlib.suppress(FileExistsError):
            os.mkdir(paths.work)
        return real(paths)
    target = texts.expand(directory, "")
    try:
        os.makedirs(target, exist_ok=True)
    except OSError as error:
        hint = "Choose one that you may write to, or leave directory out."
        raise _refused("cannot be made on the cluster ({})".format(error.strerror), target, hint) from error
    if os.path.realpath(target).startswith(os.path.realpath(paths.folder) + os.sep):
        raise _refused(
            "lies in the job's own folder, which goes when the job does", target, "Choose one outside of it."
        )
    if os.path.islink(paths.work):
        if os.readlink(paths.work) == target:
            return target
        os.unlink(paths.work)
    elif os.path.isdir(paths.work):
        if os.listdir(paths.work):
            raise _refused("came too late: the job's files are in its own folder already", target, "")
        os.rmdir(paths.work)
    os.symlink(target, paths.work)
    return target


def real(paths: JobPaths) -> str:
    """Where the job runs: the user's directory, or work/."""
    return os.readlink(paths.work) if os.path.islink(paths.work) else paths.work


def settle(paths: JobPaths, source: str) -> None:
    """Move what was unpacked or fetched into `source` to where the job runs; work/ has nothing else in it then.

    Raises UserError when the user's directory has something of another kind under the same name, OSError.
    """
    if not os.path.islink(paths.work):
        from project.agent.unpack import remove_tree

        remove_tree(paths.work)
        os.rename(source, paths.work)
        return
    target = os.readlink(paths.work)
    marker = os.path.join(paths.state, "settling")
    if not os.path.exists(marker):
        if os.path.lexists(os.path.join(source, ".git")) and os.path.lexists(os.path.join(target, ".git")):
            raise _refused("holds another Git repository already", target, "Choose an empty one.")
        # A second try finds what the first one has put there.
        files.write_atomic(marker, target + "\n")
    _merge(os.fsencode(source), os.fsencode(target))


def _merge(source: bytes, target: bytes) -> None:
    mode = stat.S_IMODE(os.lstat(source).st_mode)
    os.chmod(source, mode | 0o700)
    for name in sorted(os.listdir(source)):
        here, there = os.path.join(source, name), os.path.join(target, name)
        folder = stat.S_ISDIR(os.lstat(here).st_mode)
        if os.path.lexists(there) and os.path.isdir(there) != folder:
            what = "a file" if folder else "a folder"
            raise _refused("has {} of that name where the job has something else".format(what), os.fsdecode(there), "")
        if not folder:
            _put(here, there)
            continue
        made = not os.path.lexists(there)
        if made:
            os.mkdir(there, 0o700)
        before = stat.S_IMODE(os.lstat(here).st_mode)
        _merge(here, there)
        if made:
            os.chmod(there, before)


def _put(source: bytes, target: bytes) -> None:
    try:
        os.replace(source, target)
        return
    except OSError:
        # Another disk: aside on that one, then renamed.
        aside = os.path.join(os.path.dirname(target), b".jobferry.%d" % os.getpid())
    try:
        shutil.copy2(source, aside, follow_symlinks=False)
        os.replace(aside, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise


def _refused(message: str, path: str, hint: str) -> UserError:
    return UserError("directory: {} {}.".format(texts.from_path(path), message), hint, condition=FAILED)
