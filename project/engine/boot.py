"""Starting the agent on a cluster: one shell command that finds a Python, takes in the agent if it is not there, runs it.

The dialogue, before the frames of `core.protocol` begin: the other side prints a line `jobferry-boot {…}` with `need`
(True: send the agent's bytes, exactly as many as announced), `python` and `error`. Anything before that line comes
from the user's own login files and is skipped.
"""

import base64
import json
from typing import Any, BinaryIO

from project.core.errors import ClusterError
from project.core.process import quote
from project.engine.agentfile import AgentFile

MARK = "jobferry-boot "
# What a login file may print before our line.
_NOISE = 256 * 1024
TOO_OLD = 99

# Runs under whatever Python was found, so it must parse under Python 2 too. Arguments: sha256, size, root, agent's words.
# The one file that it leaves there is the agent with its bytecode beside the sources (PEP 552, unchecked: nobody changes
# a source in it), which halves the time to start; its name tells what it was made of, for which Python, and its own hash.
_STARTER = r"""
import sys, os
if sys.version_info < (3, 6):
    sys.exit(99)
import hashlib, json, runpy
digest, size, root = sys.argv[1], int(sys.argv[2]), sys.argv[3]
if root.startswith("$HOME"):
    root = "~" + root[5:]
root = os.path.abspath(os.path.expanduser(root))
folder = os.path.join(root, "agent")
start = "agent-" + digest[:16] + "-" + sys.implementation.cache_tag + "-"
def say(**fields):
    line = "jobferry-boot " + json.dumps(fields) + "\n"
    os.write(1, line.encode("ascii"))
def sha(data):
    return hashlib.sha256(data).hexdigest()
def take():
    os.makedirs(folder, 0o700, exist_ok=True)
    say(need=True, python=sys.version.split()[0])
    parts, left = [], size
    while left:
        piece = os.read(0, min(left, 65536))
        if not piece:
            sys.exit(1)
        parts.append(piece)
        left -= len(piece)
    data = b"".join(parts)
    if sha(data) != digest:
        say(error="the agent did not arrive whole")
        sys.exit(1)
    return keep(compiled(data))
def compiled(data):
    if sys.version_info < (3, 7):
        return data
    import importlib.util, io, marshal, zipfile
    whole = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(whole, "w") as new:
        for entry in old.infolist():
            source = old.read(entry)
            new.writestr(zipfile.ZipInfo(entry.filename, entry.date_time), source)
            if entry.filename.endswith(".py") and entry.filename != "__main__.py":
                code = compile(source, entry.filename, "exec", dont_inherit=True)
                head = importlib.util.MAGIC_NUMBER + b"\1\0\0\0" + importlib.util.source_hash(source)
                new.writestr(zipfile.ZipInfo(entry.filename + "c", entry.date_time), head + marshal.dumps(code))
    return whole.getvalue()
def keep(data):
    path = os.path.join(folder, start + sha(data)[:16] + ".pyz")
    aside = path + ".%d.aside" % os.getpid()
    with open(aside, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.chmod(aside, 0o700)
    os.rename(aside, path)
    return path
def there():
    try:
        names = sorted(os.listdir(folder))
    except (IOError, OSError):
        return None
    for name in names:
        if name.startswith(start) and name.endswith(".pyz"):
            path = os.path.join(folder, name)
            with open(path, "rb") as stream:
                if sha(stream.read())[:16] == name[len(start):-4]:
                    return path
            os.unlink(path)
    return None
try:
    path = there() or take()
except (IOError, OSError) as error:
    say(error=str(error))
    sys.exit(1)
say(need=False, python=sys.version.split()[0])
os.environ["JOBFERRY_ROOT"] = root
sys.argv = [path] + sys.argv[4:]
sys.path.insert(0, path)
runpy.run_path(path, run_name="__main__")
"""

# Tried in this order; `$0` is the cluster's own choice.
_PYTHONS = "python3 python3.13 python3.12 python3.11 python3.10 python3.9 python3.8 python3.7 python3.6 python"
_MODULES = "python3 python Python python/3 anaconda3"
_SCRIPT = (
    # A version that is too old, or a program that cannot be run, is passed over; anything else ends here.
    'run() {{ command -v "$1" >/dev/null 2>&1 || return 0;'
    ' "$1" -E -s -S -c {code} {arguments}; s=$?;'
    " case $s in {old}|126|127) return 0;; esac; exit $s; }};"
    ' for p in {pythons}; do run "$p"; done;'
    " for f in /etc/profile /etc/profile.d/modules.sh /etc/profile.d/lmod.sh; do"
    ' [ -r "$f" ] && . "$f" >/dev/null 2>&1; done;'
    " for m in {modules}; do command -v module >/dev/null 2>&1 || break;"
    ' module load "$m" >/dev/null 2>&1 && {{ run python3; run python; }}; done;'
    " printf '%s\\n' {failure}"
)


def command(
    agent: AgentFile, python: str = "", root: str = "$HOME/.jobferry", words: tuple[str, ...] = ("serve",)
) -> str:
    """The shell command; one line, free of `!`, so that every login shell passes it on.

    :param python: the cluster's `python` key, tried first.
    :param root: where jobferry keeps its things there.
    :param words: what the agent is to do.
    """
    code = "import base64;exec(base64.b64decode('" + base64.b64encode(_STARTER.encode()).decode() + "'))"
    arguments = " ".join(quote(word) for word in (agent.sha256, str(agent.size), root, *words))
    script = _SCRIPT.format(
        code=quote(code),
        arguments=arguments,
        old=TOO_OLD,
        pythons=(quote(python) + " " if python else "") + _PYTHONS,
        modules=_MODULES,
        failure=quote(MARK + json.dumps({"error": "no python"})),
    )
    return "exec /bin/sh -c " + quote(script)


def start(stdin: BinaryIO, stdout: BinaryIO, agent: AgentFile, where: str) -> dict[str, Any]:
    """Go through the dialogue until the agent runs. Returns the last `jobferry-boot` fields.

    Raises ClusterError: no usable Python, no room, or something else that prevents the agent.
    """
    while True:
        fields = _answer(stdout, where)
        if fields.get("error") == "no python":
            raise ClusterError(
                f"No usable Python was found on {where}: jobferry's agent needs Python 3.6 or newer on the login node.",
                "Tried python3, python and `module load`; name one by the cluster's `python` key.",
            )
        if fields.get("error"):
            raise ClusterError(f"The agent cannot be put on {where}: {fields['error']}.", "Check quota and free space.")
        if not fields.get("need"):
            return fields
        stdin.write(agent.data())
        stdin.flush()


def _answer(stdout: BinaryIO, where: str) -> dict[str, Any]:
    seen = 0
    while seen < _NOISE:
        line = stdout.readline(_NOISE)
        if not line:
            raise ClusterError(f"The shell on {where} ended before the agent ran.", transient=True)
        seen += len(line)
        text = line.decode("utf-8", "replace")
        place = text.find(MARK)
        if place >= 0:
            # A login file may have printed something without a newline before it.
            fields = json.loads(text[place + len(MARK) :])
            if isinstance(fields, dict):
                return fields
    raise ClusterError(
        f"The login files on {where} print too much for a session without a terminal.", "Silence them (~/.bashrc)."
    )
