"""Fake programs of LSF that check their arguments as the real ones do, and run jobs for real (`fake_batch`).

Options and messages are those of IBM's documentation of Spectrum LSF 10.1 and of the threads that `tests/captures/lsf/SOURCES.md` lists.
bsub ends with 255 whatever is wrong; an option that it does not know it calls illegal.
"""

import re
import shlex
import sys
import time

from helpers.fake_batch import INT, KILL, TERM, USR2, FakeBatch, Store, run

QUEUES = ("normal", "long")
# bsub(1): options with a value, and its form; options without one.
VALUES = {
    "-J": r"[A-Za-z0-9_./-]{1,4094}(\[[0-9,:-]+\])?(%\d+)?",
    "-q": r".+",
    "-W": r"(\d+:)?\d+",
    "-n": r"\d+(,\d+)?",
    "-R": r".+",
    "-gpu": r"num=\d+(/(task|host))?(:gmodel=[\w.-]+)?",
    "-P": r".+",
    "-U": r".+",
    "-b": r"((\d+:)?\d+:)?\d+:\d+:\d+|\d+:\d+",
    "-sp": r"[1-9]\d*",
    "-wa": r"[A-Z0-9]+",
    "-wt": r"(\d+:)?\d+",
    "-o": r".+",
    "-app": r"\w+",
}
BARE = ("-x", "-r", "-rn", "-N")
SECTION = r"(select|order|rusage|span|same|cu|affinity)\[[^\[\]]+\]"
FIELDS = re.compile(r"(.*) delimiter='(.)'\Z")


class Refused(Exception):
    pass


class Lsf:
    def __init__(self, folder):
        self.store = Store(folder)

    def connected(self):
        if self.store.flag("down"):
            raise Refused("LSF is down. Please wait ...\nbatch daemon not responding ... still trying")

    # bsub

    def bsub(self, words):
        text = sys.stdin.read()
        if not text.strip():
            raise Refused("No command is specified. Job not submitted.")
        options = {}
        for line in text.splitlines():
            if line.startswith("#BSUB "):
                options.update(self._options(shlex.split(line[6:])))
        options.update(self._options(words))
        self.connected()
        queue = options.get("-q", "normal")
        if queue not in QUEUES:
            raise Refused(f"{queue}: No such queue. Job not submitted.")
        for part in re.sub(SECTION, "", options.get("-R", "")).split():
            if not re.fullmatch(r"[\w&|!=<>()]+", part):
                raise Refused("Bad resource requirement syntax. Job not submitted.")
        name, indices, throttle = self._array(options.get("-J", "x"))
        number = self.store.add(
            "fake_lsf",
            text,
            indices,
            name=name,
            queue=queue,
            options=options,
            throttle=throttle,
            # A minute is a second here, so that a test need not wait.
            walltime=self._minutes(options.get("-W")),
            begin=self._begin(options.get("-b")),
            output=options.get("-o", ""),
        )
        if self.store.take("mute"):
            raise Refused("Failed in an LSF library call: Communication time out. Job not submitted.")
        print(f"Job <{number}> is submitted to queue <{queue}>.")
        return 0

    def _options(self, words):
        found = {}
        words = list(words)
        while words:
            word = words.pop(0)
            if word in BARE:
                found[word] = ""
            elif word in VALUES:
                value = words.pop(0) if words else ""
                if not re.fullmatch(VALUES[word], value):
                    raise Refused(f"Bad argument for option {word}. Job not submitted.")
                found[word] = value
            elif word.startswith("-"):
                raise Refused(
                    f"bsub: illegal option -- {word.lstrip('-')[:1]}\nUsage: bsub [options] command [arguments]"
                )
            else:
                raise Refused(f"{word}: Command not found. Job not submitted.")
        return found

    def _array(self, text):
        match = re.fullmatch(r"([^\[%]+)(?:\[([^\]]*)\])?(?:%(\d+))?", text)
        if match.group(2) is None:
            return text, None, None
        indices = []
        for part in match.group(2).split(","):
            found = re.fullmatch(r"(\d+)(?:-(\d+))?(?::(\d+))?", part)
            if not found or int(found.group(1)) < 1:
                raise Refused("Bad job name. Job not submitted.")
            indices += range(int(found.group(1)), int(found.group(2) or found.group(1)) + 1, int(found.group(3) or 1))
        largest = self._largest()
        if len(indices) > largest or max(indices) > largest:
            raise Refused("Job array index too large. Job not submitted.")
        return match.group(1), indices, int(match.group(3)) if match.group(3) else None

    def _largest(self):
        return 20 if self.store.flag("small") else 1000

    def _minutes(self, text):
        if not text:
            return None
        hours, _, minutes = text.rpartition(":")
        return int(hours or 0) * 60 + int(minutes)

    def _begin(self, text):
        if not text:
            return 0
        return time.mktime(time.strptime(text, "%Y:%m:%d:%H:%M"))

    # bjobs, bhist

    def bjobs(self, words):
        options = {}
        ids = []
        words = list(words)
        while words:
            word = words.pop(0)
            if word in ("-u", "-o", "-J"):
                options[word] = words.pop(0)
            elif word in ("-a", "-noheader"):
                options[word] = ""
            elif word.startswith("-"):
                raise Refused(f"bjobs: illegal option -- {word[1:2]}\nUsage: bjobs …")
            else:
                ids.append(word)
        match = FIELDS.match(options["-o"])
        if not match:
            raise Refused("Invalid format string")
        self.connected()
        # What ended leaves after CLEAN_PERIOD: the file `clean` says that it is over.
        over = "-a" in options and not self.store.flag("clean")
        found = [job for job in self.store.every().values() if over or job["state"] != "done"]
        if not found:
            print("No job found" if "-a" in options else "No unfinished job found", file=sys.stderr)
            return 255
        for job in found:
            print(match.group(2).join(self._field(job, name) for name in match.group(1).split()))
        return 0

    def _stat(self, job):
        if job["state"] == "done":
            return "DONE" if job["code"] == 0 and not job["why"] else "EXIT"
        if job["held"]:
            return "PSUSP"
        return {"waiting": "PEND", "running": "RUN"}[job["state"]]

    def _reason(self, job):
        words = {
            "deleted": "TERM_OWNER: job killed by owner",
            "walltime": "TERM_RUNLIMIT: job killed after reaching LSF run time limit",
        }
        return words.get(job["why"], "-")

    def _code(self, job):
        code = job["code"]
        return None if not code else code if code > 0 else 128 - code

    def _field(self, job, name):
        index = "" if job["index"] is None else f"[{job['index']}]"
        code = self._code(job)
        known = {
            "jobid": str(job["id"]),
            "jobindex": str(job["index"] or 0),
            "stat": self._stat(job),
            "exit_code": "-" if code is None else str(code),
            "exit_reason": self._reason(job),
            "job_name": job["name"] + index,
            "queue": job["queue"],
            "slots": job["options"].get("-n", "1"),
            "exec_host": "hostA" if job["started"] else "-",
            "run_time": "1 second(s)",
            "cpu_used": "-",
            "pend_reason": "New job is waiting for scheduling;" if job["state"] == "waiting" else "-",
        }
        if name not in known:
            raise Refused(f"Invalid format string: {name}")
        return known[name]

    def bhist(self, words):
        words = list(words)
        name, ids = "", []
        while words:
            word = words.pop(0)
            if word in ("-n", "-J"):
                value = words.pop(0)
                name = value if word == "-J" else name
            elif word.startswith("-") and word not in ("-l", "-a"):
                raise Refused(f"bhist: illegal option -- {word[1:2]}")
            elif not word.startswith("-"):
                ids.append(word)
        self.connected()
        found = [job for job in self.store.every().values() if self._asked(job, ids) and name in ("", job["name"])]
        if not found:
            print("No matching job found", file=sys.stderr)
            return 255
        for job in found:
            self._history(job)
        return 0

    def _asked(self, job, ids):
        element = f"{job['id']}[{job['index']}]"
        return not ids or str(job["id"]) in ids or element in ids

    def _history(self, job):
        index = "" if job["index"] is None else f"[{job['index']}]"
        _wrapped(
            f"Job <{job['id']}{index}>, Job Name <{job['name']}{index}>, User <me>, Project <default>, Command <#!/bin/sh>"
        )
        stamp = "Thu Nov  2 11:01:55: "
        _wrapped(stamp + "Submitted from host <hostA>, to Queue <normal>, CWD <$HOME>;")
        if job["started"]:
            _wrapped(stamp + "Starting (Pid 4711);")
        if job["state"] == "done":
            code = self._code(job)
            if code is None and not job["why"]:
                _wrapped(stamp + "Done successfully. The CPU time used is 0.0 seconds;")
            else:
                text = "Exited" if code is None else f"Exited with exit code {code}. The CPU time used is 0.0 seconds"
                _wrapped(f"{stamp}{text};")
                if job["why"]:
                    _wrapped(f"{stamp}Completed <exit>; {self._reason(job)};")
        print()

    # bkill, bstop, bresume

    def act(self, words, done, apply):
        if len(words) != 1 or words[0].startswith("-"):
            raise Refused("illegal option")
        self.connected()
        match = re.fullmatch(r"(\d+)(?:\[(\d+)\])?", words[0])
        if not match:
            raise Refused(f"{words[0]}: Illegal job ID.")
        keys = [
            key
            for key, job in self.store.every().items()
            if job["id"] == int(match.group(1)) and match.group(2) in (None, str(job["index"]))
        ]
        if not keys:
            raise Refused(f"Job <{words[0]}>: No matching job found")
        living = [key for key in keys if self.store.read(key)["state"] != "done"]
        if not living:
            raise Refused(f"Job <{words[0]}>: Job has already finished")
        for key in living:
            self.store.change(key, **apply(self.store.read(key)))
        print(f"Job <{words[0]}> is being {done}")
        return 0

    def facts(self, name, words):
        self.connected()
        if name == "bparams" and words == ["-a"]:
            print(
                f"lsb.params configuration at Thu Nov  2 11:01:55\n    MAX_JOB_ARRAY_SIZE = {self._largest()}\n    MAX_USER_PRIORITY = 100"
            )
        elif name == "bhosts" and words == ["-w"]:
            print("HOST_NAME          STATUS       JL/U    MAX  NJOBS    RUN  SSUSP  USUSP    RSV ")
            print("hostA              ok              -      8      0      0      0      0      0")
        elif name == "bqueues" and words == ["-w"]:
            print("QUEUE_NAME      PRIO STATUS          MAX JL/U JL/P JL/H NJOBS  PEND   RUN  SUSP ")
            print("normal           30  Open:Active       -    -    -    -     0     0     0     0")
        elif name == "lshosts" and words == ["-w"]:
            print("HOST_NAME      type    model  cpuf ncpus maxmem maxswp server RESOURCES")
            print("hostA       X86_64 Intel_EM  60.0     8  15.5G   3.9G    Yes (mg)")
        else:
            raise Refused(f"{name}: illegal option")
        return 0


def _wrapped(text):
    """Cut at column 79, in the middle of a word too; the rest 21 columns further right."""
    lines = [text[:79]]
    rest = text[79:]
    while rest:
        lines.append(" " * 21 + rest[:58])
        rest = rest[58:]
    print("\n".join(lines))


def environment(job):
    """What a job of LSF finds; the index is 0 in a job that is no array."""
    return {"LSB_JOBID": str(job["id"]), "LSB_JOBINDEX": str(job["index"] or 0), "LSB_MCPU_HOSTS": "hostA 4 hostB 2"}


def main(words):
    name, folder, *rest = words
    if name == "run":
        run(Store(folder), rest[0], environment, (USR2, INT, TERM, KILL))
        return 0
    lsf = Lsf(folder)
    acts = {
        "bkill": ("terminated", lambda _: {"deleted": "me"}),
        "bstop": ("stopped", lambda job: {"held": job["state"] == "waiting"}),
        "bresume": ("resumed", lambda _: {"held": False}),
    }
    try:
        if name in acts:
            return lsf.act(rest, *acts[name])
        if name in ("bsub", "bjobs", "bhist"):
            return getattr(lsf, name)(rest)
        return lsf.facts(name, rest)
    except Refused as error:
        print(error, file=sys.stderr)
        return 255


class FakeLsf(FakeBatch):
    module = "fake_lsf"
    programs = ("bsub", "bjobs", "bhist", "bkill", "bstop", "bresume", "bhosts", "bqueues", "lshosts", "bparams")
    cluster = {"name": "alpha", "workload_manager": "lsf", "partition": "normal"}
