"""Fake programs of PBS Pro and Torque that check their arguments as the real ones do, and run jobs for real (`fake_batch`).

Options, messages and exit statuses are those of the sources: src/cmds/q*.c and src/lib/Libcmds of OpenPBS and of Torque 6.
An error's number goes to the exit status, of which the kernel keeps eight bits (15001 → 153).
"""

import os
import re
import shlex
import sys
import time

from helpers.fake_batch import KILL, TERM, FakeBatch, Store, run

UNKNOWN, FINISHED, BAD_VALUE, BAD_QUEUE, BAD_RESOURCE = 15001, 15139, 15014, 15020, 15035
QUEUES = ("workq", "long", "R42")
OPTIONS = {
    "pbspro": "a:A:c:C:e:fhIj:J:k:l:m:M:N:o:p:q:r:R:S:u:v:VW:XzP:",
    "torque": "a:A:b:c:C:d:D:e:EfF:hi:Ij:J:k:K:l:L:m:M:nN:o:p:P:q:r:S:t:T:u:v:Vw:W:Xxz",
}
RESOURCES = {
    "pbspro": ("walltime", "select", "place", "mem", "ncpus", "matlab"),
    "torque": ("walltime", "nodes", "procs", "mem", "pmem", "vmem", "qos"),
}
CHUNK = r"\d+(:(ncpus|mpiprocs|ompthreads|ngpus)=\d+|:mem=\d+(b|kb|mb|gb|tb)|:[a-z_]+=[A-Za-z0-9]+)+"
NODES = r"\d+(:ppn=\d+)?(:gpus=\d+)?(:[A-Za-z][A-Za-z0-9_-]*)*"
FORMS = {
    "walltime": r"\d+(:\d\d){0,2}",
    "select": rf"{CHUNK}(\+{CHUNK})*",
    "place": r"(free|pack|scatter|vscatter)?:?(excl|shared|exclhost)?",
    "mem": r"\d+(b|kb|mb|gb|tb)",
    "pmem": r"\d+(b|kb|mb|gb|tb)",
    "nodes": rf"{NODES}(\+{NODES})*",
    "procs": r"\d+",
    "qos": r"\w+",
    "matlab": r"\d+",
}


class Refused(Exception):
    def __init__(self, text, status):
        super().__init__(text)
        self.status = status


class Pbs:
    def __init__(self, folder, dialect):
        self.store = Store(folder)
        self.dialect = dialect
        self.pro = dialect == "pbspro"

    def connected(self, name):
        if self.store.flag("down"):
            errno = 15010 if self.pro else 111
            raise Refused(f"Connection refused\n{name}: cannot connect to server fake (errno={errno})", 255)

    # qsub

    def qsub(self, words):
        options, script = self._options(words)
        if not os.path.isfile(script):
            raise Refused(f"qsub: script file '{script}' cannot be loaded - No such file or directory", 1)
        with open(script, encoding="utf-8") as stream:
            text = stream.read()
        every = {}
        for line in text.splitlines():
            if line.startswith("#PBS ") and line.strip() != "#PBS":
                found, rest = self._options(shlex.split(line[5:]))
                if rest:
                    raise Refused("qsub: directive error: " + line[5:], 1)
                for letter, values in found.items():
                    every.setdefault(letter, []).extend(values)
        # A single value of the command line wins over the directives'.
        every.update(
            {letter: [*(every.get("-l", []) if letter == "-l" else []), *values] for letter, values in options.items()}
        )
        job = self._job(every)
        self.connected("qsub")
        if job["queue"] not in QUEUES:
            raise Refused("qsub: Unknown queue", BAD_QUEUE)
        indices = job.pop("indices")
        largest = 20 if self.store.flag("small") else 10000
        if indices is not None and len(indices) > largest:
            raise Refused("qsub: Array job exceeds server or queue size limit", 15112)
        number = self.store.add("fake_pbs", text, indices, dialect=self.dialect, **job)
        if self.store.take("mute"):
            raise Refused("qsub: End of File", 15031)
        print(f"{number}{'' if indices is None else '[]'}.fake")
        return 0

    def _options(self, words):
        pairs, rest = _getopt("qsub", words, OPTIONS[self.dialect])
        found = {}
        for letter, value in pairs:
            found.setdefault(letter, []).append(value)
        return found, rest[0] if rest else ""

    def _job(self, every):
        one = {letter: values[-1] for letter, values in every.items()}
        longest = 230 if self.pro else 15
        name = one.get("-N", "STDIN")
        if len(name) > longest or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.+-]*", name):
            raise Refused("qsub: illegal -N value", 2)
        if not re.fullmatch(r"-?\d+", one.get("-p", "0")) or not -1024 <= int(one.get("-p", "0")) <= 1023:
            raise Refused("qsub: Illegal attribute or resource value Priority", BAD_VALUE)
        for letter, form in (
            ("-j", "oe|eo|n"),
            ("-r", "y|n"),
            ("-a", r"\d{8,12}(\.\d\d)?"),
            ("-S", "/.*"),
            ("-m", "n|[abe]+"),
        ):
            if letter in one and not re.fullmatch(form, one[letter]):
                raise Refused(f"qsub: illegal {letter} value", 2)
        resources = {}
        for text in every.get("-l", []):
            for part in text.split(","):
                key, _, value = part.partition("=")
                if key not in RESOURCES[self.dialect]:
                    raise Refused(f"qsub: Unknown resource Resource_List.{key}", BAD_RESOURCE)
                if not re.fullmatch(FORMS.get(key, ".+"), value):
                    raise Refused(f"qsub: Illegal attribute or resource value Resource_List.{key}", BAD_VALUE)
                resources[key] = value
        if "place" in resources and "select" not in resources:
            raise Refused('qsub: Cannot have "place" without "select"', 15116)
        variables = dict(pair.partition("=")[::2] for pair in one.get("-v", "").split(",") if pair)
        begin = one.get("-a")
        return {
            "name": name,
            "queue": one.get("-q", "workq"),
            "resources": resources,
            "variables": variables,
            "output": one.get("-o", ""),
            "walltime": _seconds(resources.get("walltime")),
            "begin": time.mktime(time.strptime(begin.split(".")[0], "%Y%m%d%H%M")) if begin else 0,
            "held": "-h" in one,
            **self._array(one),
        }

    def _array(self, one):
        text = one.get("-J" if self.pro else "-t")
        if text is None:
            return {"indices": None, "throttle": None}
        span, _, throttle = text.partition("%")
        indices = []
        for part in span.split(",") if not self.pro else [span]:
            match = (
                re.fullmatch(r"(\d+)-(\d+)(?::(\d+))?", part) if self.pro else re.fullmatch(r"(\d+)(?:-(\d+))?", part)
            )
            if not match or (self.pro and int(match.group(1)) >= int(match.group(2))):
                raise Refused("qsub: illegal -J value" if self.pro else "qsub: submit error (Bad Job Array Request)", 2)
            last = int(match.group(2) or match.group(1))
            indices += range(int(match.group(1)), last + 1, int(match.group(3) or 1) if self.pro else 1)
        return {"indices": indices, "throttle": int(throttle) if throttle else None}

    # qselect, qstat

    def qselect(self, words):
        pairs = dict(
            _getopt("qselect", words, "a:A:c:h:HJl:N:p:q:r:s:t:Tu:xP:" if self.pro else "a:A:ec:h:l:N:p:q:r:s:u:")[0]
        )
        self.connected("qselect")
        seen = []
        for job in self.store.every().values():
            number = (
                str(job["id"])
                if job["index"] is None
                else f"{job['id']}[]"
                if self.pro
                else f"{job['id']}[{job['index']}]"
            )
            over = self._over(job["id"]) if self.pro else False
            if number not in seen and (not over or "-x" in pairs) and pairs.get("-N", job["name"]) == job["name"]:
                seen.append(number)
                print(f"{number}.fake")
        return 0

    def _over(self, number):
        return all(job["state"] == "done" for job in self.store.every().values() if job["id"] == number)

    def qstat(self, words):
        if words == ["--version"]:
            print("pbs_version = 23.06.06", file=sys.stdout) if self.pro else print(
                "Version: 6.1.2\nCommit: 6609e", file=sys.stderr
            )
            return 0
        pairs, ids = _getopt("qstat", words, "ainpqrstwxu:fGHJMQEBW:T1F:D:" if self.pro else "aeinrstu:fGMQBRW:1xlqc")
        letters = {letter for letter, _ in pairs}
        if "-f" in letters and letters & {"-u", "-a", "-n"}:
            raise Refused("qstat: conflicting options.\nusage: \nqstat [-f] …", 2)
        self.connected("qstat")
        if "-B" in letters:
            print(
                "Server: fake\n    server_state = Active\n    state_count = Transit:0 Queued:0 Held:0 Waiting:0 Running:0 Exi\n\tting:0 Begun:0 "
            )
            limit = 20 if self.store.flag("small") else 10000
            print(f"    {'max_array_size' if self.pro else 'max_job_array_size'} = {limit}\n")
            return 0
        status = 0
        for one in ids:
            error = self._show(one, letters)
            if error:
                print(error[0], file=sys.stderr)
                status = error[1]
        return status

    def _show(self, one, letters):
        match = re.fullmatch(r"(\d+)(?:\[(\d*)\])?(?:\.fake)?", one)
        if not match:
            return f"qstat: illegally formed job identifier: {one}", 1
        number, index = int(match.group(1)), match.group(2)
        found = [job for job in self.store.every().values() if job["id"] == number]
        found = [job for job in found if (job["index"] is None) == (index is None)]
        found = [job for job in found if not index or job["index"] == int(index)]
        if not found:
            words = "Unknown Job Id" if self.pro else "Unknown Job Id Error"
            return f"qstat: {words} {one}", UNKNOWN
        if self.pro and self._over(number) and "-x" not in letters:
            return f"qstat: {one} Job has finished, use -x or -H to obtain historical job information", FINISHED
        if index == "":
            self._parent(number, found)
        for job in found if index != "" or "-t" in letters else []:
            self._print(job)
        return None

    def _parent(self, number, found):
        begun = "B" if any(job["state"] != "waiting" for job in found) else "Q"
        values = {"Job_Name": found[0]["name"], "job_state": "F" if self._over(number) else begun, "array": "True"}
        values["Variable_List"] = self._variables(found[0])
        _block(f"{number}[].fake", values)

    def _variables(self, job):
        return ",".join(f"{key}={value}" for key, value in {"PBS_O_HOME": "/home/x" * 12, **job["variables"]}.items())

    def _print(self, job):
        number = str(job["id"]) if job["index"] is None else f"{job['id']}[{job['index']}]"
        over = job["state"] == "done"
        letter = {"waiting": "Q", "running": "R", "done": "F" if self.pro else "C"}[job["state"]]
        if letter == "F" and not self._over(job["id"]):
            letter = "X"
        held = job["held"] and job["state"] == "waiting"
        values = {
            "Job_Name": job["name"],
            "Job_Owner": "me@fake",
            "job_state": "H" if held else letter,
            "queue": job["queue"],
            "Hold_Types": "u" if held else "n",
            **{f"Resource_List.{key}": value for key, value in job["resources"].items()},
            "Variable_List": self._variables(job),
        }
        if job["started"]:
            values["exec_host"] = "node1/0"
            values["start_time" if not self.pro else "stime"] = time.ctime(job["started"])
        if over:
            values["resources_used.walltime"] = "00:00:{:02d}".format(
                int(job.get("ended", 0) - (job["started"] or 0)) % 60
            )
            values.update(self._end(job))
        _block(f"{number}.fake", values)

    def _end(self, job):
        code = job["code"]
        status = None if code is None else code if code >= 0 else 256 - code
        if self.pro:
            if job["why"] == "walltime":
                return {"substate": 93, "Exit_status": -29, "comment": "Job run and exceeded resource walltime"}
            if job["why"] == "deleted":
                return {"substate": 91, **({} if status is None else {"Exit_status": status})}
            return {"substate": 92 if status == 0 else 93, "Exit_status": status}
        if job["why"] == "walltime":
            return {"exit_status": -11}
        return {"exit_status": 271 if job["why"] == "deleted" and status is None else status}

    # qdel, qhold, qrls

    def act(self, name, words, apply):
        if not words or words[0].startswith("-"):
            raise Refused(f"usage: {name} job_identifier...", 2)
        self.connected(name)
        for one in words:
            match = re.fullmatch(r"(\d+)(?:\[(\d*)\])?(?:\.fake)?", one)
            keys = self._keys(match) if match else []
            unknown = "Unknown Job Id" if self.pro else "Unknown Job Id Error"
            if not keys:
                raise Refused(f"{name}: {unknown} {one}", UNKNOWN)
            living = [key for key in keys if self.store.read(key)["state"] != "done"]
            if not living:
                raise Refused(
                    f"{name}: Job has finished {one}"
                    if self.pro
                    else f"{name}: Request invalid for state of job {one}",
                    FINISHED,
                )
            for key in living:
                self.store.change(key, **apply(self.store.read(key)))
        return 0

    def _keys(self, match):
        number, index = int(match.group(1)), match.group(2)
        found = []
        for key, job in self.store.every().items():
            if (
                job["id"] == number
                and (job["index"] is None) == (index is None)
                and index in (None, "", str(job["index"]))
            ):
                found.append(key)
        return found

    def nodes(self, words):
        if words != ["-a"]:
            raise Refused("usage: pbsnodes …", 2)
        self.connected("pbsnodes")
        if self.pro:
            print("node1\n     Mom = node1\n     state = free\n     resources_available.mem = 16330232kb")
            print(
                "     resources_available.ncpus = 8\n     resources_assigned.mem = 0kb\n     resources_assigned.ncpus = 2\n"
            )
        else:
            print(
                "node1\n     state = free\n     np = 8\n     jobs = 0-1/9.fake\n     status = physmem=16330232kb,availmem=16330232kb\n"
            )
        return 0


def _getopt(name, words, letters):
    """As getopt(3): options and their values, and what follows. The module of that name takes longer to load than the rest."""
    pairs, rest = [], list(words)
    while rest and rest[0].startswith("-") and len(rest[0]) > 1:
        letter, value = rest[0][1], rest.pop(0)[2:]
        place = letters.find(letter) if letter != ":" else -1
        if place < 0:
            raise Refused(f"{name}: invalid option -- '{letter}'\nusage: {name} …", 2)
        if letters[place + 1 : place + 2] != ":":
            pairs.append(("-" + letter, ""))
            rest[:0] = ["-" + value] if value else []
        elif value or rest:
            pairs.append(("-" + letter, value or rest.pop(0)))
        else:
            raise Refused(f"{name}: option requires an argument -- '{letter}'\nusage: {name} …", 2)
    return pairs, rest


def _block(native_id, values):
    print(f"Job Id: {native_id}")
    for key, value in values.items():
        line = f"    {key} = {value}"
        print(
            "\n\t".join(
                [line[:79], *(line[79 + start : 149 + start] for start in range(0, max(0, len(line) - 79), 70))]
            )
        )
    print()


def _seconds(text):
    total = 0
    for part in (text or "").split(":") if text else ():
        total = total * 60 + int(part)
    return total or None


def environment(job):
    """What a job of PBS finds (qsub(1B), ENVIRONMENT VARIABLES)."""
    number = str(job["id"]) if job["index"] is None else f"{job['id']}[{job['index']}]"
    found = {
        "PBS_JOBID": f"{number}.fake",
        "PBS_JOBNAME": job["name"],
        "PBS_ENVIRONMENT": "PBS_BATCH",
        **job["variables"],
    }
    if job["index"] is not None:
        found["PBS_ARRAY_INDEX" if job["dialect"] == "pbspro" else "PBS_ARRAYID"] = str(job["index"])
    return found


def main(words):
    name, folder, *rest = words
    if name == "run":
        run(Store(folder), rest[0], environment, (TERM, KILL))
        return 0
    pbs = Pbs(folder, rest.pop(0))
    try:
        if name == "qsub":
            return pbs.qsub(rest)
        if name == "qselect":
            return pbs.qselect(rest)
        if name == "qstat":
            return pbs.qstat(rest) & 255
        if name == "pbsnodes":
            return pbs.nodes(rest)
        changes = {
            "qdel": lambda _: {"deleted": "me"},
            "qhold": lambda job: {"held": job["state"] == "waiting"},
            "qrls": lambda _: {"held": False},
        }
        return pbs.act(name, rest, changes[name])
    except Refused as error:
        print(error, file=sys.stderr)
        return error.status & 255


class FakePbs(FakeBatch):
    """PBS of either dialect."""

    module = "fake_pbs"
    programs = ("qsub", "qstat", "qselect", "qdel", "qhold", "qrls", "pbsnodes")
    cluster = {"name": "alpha", "workload_manager": "pbs", "partition": "workq"}
