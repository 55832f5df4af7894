"""Cluster `sigma`: a real Grid Engine 8.1.9, master and execution host in one.

Grid Engine wants a host whose name is not localhost: in namespaces of its own the host is called `sigma`, a name that leads to
127.77.1.1, and 127.0.0.1 leads back to it; so all of it stays on loopback. Debian's folders are copied and bound over.
"""

import re
from collections.abc import Iterator

from testbed.others import Other
from testbed.parts import Part, call, wait_for

ROOT, SPOOL = "/var/lib/gridengine", "/var/spool/gridengine"
HOSTS = "127.77.1.1 sigma\n127.0.0.1 sigma localhost\n"
SLOTS = 16
# The most tasks of one array.
MAX_TASKS = 20

# What is changed in the global configuration (sge_conf(5)); the gid range is the testbed's own: by it job processes are found.
CONFIG = {
    "mailer": "/bin/true",
    "administrator_mail": "none",
    "load_report_time": "00:00:01",
    "loglevel": "log_info",
    "execd_params": "ENABLE_ADDGRP_KILL=true",
    "reporting_params": "accounting=true reporting=false flush_time=00:00:01 accounting_flush_time=00:00:00 "
    "joblog=false sharelog=00:00:00",
    "max_aj_tasks": str(MAX_TASKS),
}
# sched_conf(5)
SCHEDULER = {"schedule_interval": "0:0:1", "flush_submit_sec": "1", "flush_finish_sec": "1"}
# complex(5): name, shortcut, type, relation, requestable, consumable, default, urgency
COMPLEXES = """\
h_vmem h_vmem MEMORY <= YES YES 2G 0
exclusive excl BOOL EXCL YES YES 0 1000
gpu gpu INT <= YES YES 0 0
"""
HOST = f"""\
hostname sigma
load_scaling NONE
complex_values slots={SLOTS},h_vmem=64G,gpu=4,exclusive=true
user_lists NONE
xuser_lists NONE
projects NONE
xprojects NONE
usage_scaling NONE
report_variables NONE
"""
# name → what differs from the template (queue_conf(5)). Nothing starts in closed.q.
QUEUES = {
    "all.q": {"slots": str(SLOTS)},
    "short.q": {"slots": "4", "h_rt": "0:10:0"},
    "closed.q": {"slots": "4", "initial_state": "disabled"},
}
# sge_pe(5): name → allocation rule
ENVIRONMENTS = {"smp": "$pe_slots", "mpi": "$round_robin"}


class Sigma(Other):
    """Parts `sigma.qmaster`, `sigma.execd`; its folders are `<folder>/sigma/root` and `spool`."""

    name = "sigma"
    manager = "sge"
    preferred_job = "sge"
    more = f"  parallel_environment: {{grouped: smp, any: mpi}}\n  max_array_size: {MAX_TASKS}\n"

    def session(self) -> "dict[str, str]":
        return {
            "SGE_ROOT": ROOT,
            "SGE_CELL": "default",
            "SGE_QMASTER_PORT": str(self.ports["sge_qmaster"]),
            "SGE_EXECD_PORT": str(self.ports["sge_execd"]),
        }

    def mounts(self) -> str:
        bound = {"hosts": "/etc/hosts", "root": ROOT, "spool": SPOOL}
        lines = [f"mount --bind '{self.own}/{name}' {place}" for name, place in bound.items()]
        return " && ".join(["hostname sigma", *lines])

    def lay_out(self) -> None:
        (self.own / "hosts").write_text(HOSTS)
        for name, place in (("root", ROOT), ("spool", SPOOL)):
            # Its own copy, owners included.
            call("cp", "-a", place, self.own / name)
        (self.own / "root/default/common/act_qmaster").write_text("sigma\n")
        (self.own / "setup").mkdir()

    def daemons(self, home: Part) -> Iterator[Part]:
        env = {**self.session(), "SGE_ND": "1"}
        master = ["runuser", "-u", "sgeadmin", "--", "sge_qmaster"]
        yield Part(
            *("sigma.qmaster", master, self.folder),
            env=env,
            inside=home,
            ready=lambda: "sigma" in self.inside("qconf", "-sh", check=False).split(),
        )
        yield Part(
            *("sigma.execd", ["sge_execd"], self.folder),
            env=env,
            inside=home,
            ready=lambda: re.search(r"^sigma +lx", self.inside("qhost", check=False), re.MULTILINE),
        )

    def started(self, name: str) -> None:
        done = self.own / "setup" / "done"
        if name == "sigma.qmaster" and not done.exists():
            self._set_up()
            done.touch()
        if name == "sigma.execd":
            wait_for(self._free, 60, "the queue of sigma", 0.2)

    def _free(self) -> bool:
        """The queue has heard of its host and is in no state of trouble."""
        form = r"^(all\.q)@sigma +\S+ +\S+ +[0-9.]+ +\S+ *(\S*)"
        return re.findall(form, self.inside("qstat", "-f"), re.MULTILINE) == [("all.q", "")]

    def _set_up(self) -> None:
        base = self.ports["sigma"] * 10
        config = {**CONFIG, "gid_range": f"{base}-{base + 199}"}
        self._qconf("-Mconf", "global", changed(self.inside("qconf", "-sconf"), config))
        self._qconf("-Msconf", "sched", changed(self.inside("qconf", "-ssconf"), SCHEDULER))
        names = {line.split()[0] for line in COMPLEXES.splitlines()}
        kept = [line for line in self.inside("qconf", "-sc").splitlines() if line.split()[0] not in names]
        self._qconf("-Mc", "complexes", "\n".join(kept) + "\n" + COMPLEXES)
        self.inside("qconf", "-as", "sigma")
        self._qconf("-Ae", "sigma", HOST)
        for name, rule in ENVIRONMENTS.items():
            self._qconf("-Ap", name, ENVIRONMENT.format(name=name, rule=rule))
        template = self.inside("qconf", "-sq")
        common = {
            "hostlist": "sigma",
            "load_thresholds": "NONE",
            "pe_list": " ".join(ENVIRONMENTS),
            "notify": "00:00:05",
        }
        for name, fields in QUEUES.items():
            self._qconf("-Aq", name, changed(template, {"qname": name, **common, **fields}))

    def _qconf(self, option: str, name: str, text: str) -> None:
        """Gives a configuration to the master; the file is called as what it configures."""
        path = self.own / "setup" / name
        path.write_text(text)
        self.inside("qconf", option, path)


ENVIRONMENT = """\
pe_name {name}
slots 999
user_lists NONE
xuser_lists NONE
start_proc_args NONE
stop_proc_args NONE
allocation_rule {rule}
control_slaves TRUE
job_is_first_task TRUE
urgency_slots min
accounting_summary TRUE
qsort_args NONE
"""


def changed(text: str, values: "dict[str, str]") -> str:
    """A configuration of Grid Engine (`name value`, a backslash continues a line) with other values."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    kept = [line for line in lines if line.strip() and not line.startswith("#") and line.split()[0] not in values]
    return "\n".join([*kept, *(f"{name} {value}" for name, value in values.items())]) + "\n"
