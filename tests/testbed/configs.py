"""The configuration files of a testbed, as text."""

from pathlib import Path

# Those of Slurm: name → number of nodes. gamma exists in the inventory only: nothing listens on its port.
CLUSTERS = {"alpha": 4, "beta": 2}
USERS = ("jdoe", "asmith", "loner")
# beta takes small arrays only: larger ones are split there.
MAX_ARRAY_SIZE = {"alpha": 10001, "beta": 21}
BLOCK = 40  # ports a testbed takes, from its base port on


def ports(base: int) -> dict[str, int]:
    """Every port of a testbed."""
    table = {name: base + at for at, name in enumerate(("alpha", "beta", "gamma", "smtp", "mongo", "slurmdbd"))}
    for at, (cluster, nodes) in enumerate(CLUSTERS.items()):
        table[f"{cluster}.slurmctld"] = base + 6 + at
        table.update({f"{cluster}.{cluster}{n}": base + 8 + 8 * at + n for n in range(1, nodes + 1)})
    table.update({name: base + 20 + at for at, name in enumerate(("sigma", "tau", "sge_qmaster", "sge_execd"))})
    table["free"] = base + 24  # sixteen ports for the tests' own use
    return table


def slurmdbd(folder: Path, port: dict[str, int]) -> str:
    return f"""\
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port["slurmdbd"]}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageLoc=slurm_acct
StorageUser=root
CommitDelay=1
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/run/slurmdbd.pid
"""


def slurm(folder: Path, name: str, host: str, port: dict[str, int]) -> str:
    own = folder / name
    nodes = "".join(
        f"NodeName={name}{n} NodeHostname={host} NodeAddr=127.0.0.1 Port={port[f'{name}.{name}{n}']} "
        "CPUs=64 RealMemory=128000 State=UNKNOWN\n"
        for n in range(1, CLUSTERS[name] + 1)
    )
    return f"""\
ClusterName={name}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port[f"{name}.slurmctld"]}
SlurmUser=root
AuthType=auth/munge
# cred_expire is also how long a requeued job waits before it may start again.
AuthInfo=socket={folder}/run/munge.socket,cred_expire=10
StateSaveLocation={own}/state
SlurmdSpoolDir={own}/spool/%n
SlurmctldPidFile={folder}/run/{name}.slurmctld.pid
SlurmdPidFile={folder}/run/{name}.%n.pid
SlurmctldLogFile={folder}/log/{name}.slurmctld.log
SlurmdLogFile={folder}/log/{name}.%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MessageTimeout=5
ReturnToService=2
SlurmdTimeout=120
KillWait=3
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=100
EnforcePartLimits=ALL
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port["slurmdbd"]}
AccountingStoragePass={folder}/run/munge.socket
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
MaxArraySize={MAX_ARRAY_SIZE[name]}
MaxJobCount=50000
MinJobAge=300
{nodes}PartitionName=batch Nodes=ALL Default=YES MaxTime=2-00:00:00 PriorityTier=5 State=UP
PartitionName=debug Nodes=ALL MaxTime=00:10:00 PriorityTier=5 State=UP
PartitionName=low Nodes=ALL MaxTime=2-00:00:00 PriorityTier=1 PreemptMode=REQUEUE State=UP
PartitionName=kill Nodes=ALL MaxTime=2-00:00:00 PriorityTier=1 PreemptMode=CANCEL State=UP
PartitionName=high Nodes=ALL MaxTime=2-00:00:00 PriorityTier=10 PreemptMode=OFF State=UP
PartitionName=closed Nodes=ALL MaxTime=2-00:00:00 State=DOWN
"""


def sshd(folder: Path, name: str, port: dict[str, int], session: dict[str, str]) -> str:
    own = folder / name
    words = " ".join(f"{key}={value}" for key, value in session.items())
    return f"""\
Port {port[name]}
ListenAddress 127.0.0.1
HostKey {own}/hostkey
PidFile {folder}/run/{name}.sshd.pid
AuthorizedKeysFile {folder}/keys/authorized_keys
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
LogLevel VERBOSE
MaxStartups 200
MaxSessions 20
SetEnv {words}
Subsystem sftp internal-sftp
"""


def ssh_client(folder: Path, port: dict[str, int], names: tuple[str, ...]) -> str:
    hosts = "".join(f"Host {name}\n  HostName 127.0.0.1\n  Port {port[name]}\n\n" for name in names)
    return f"""\
{hosts}Host *
  User jdoe
  IdentityFile {folder}/keys/ed25519
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
  LogLevel ERROR
"""


def clusters_file(port: dict[str, int]) -> str:
    """The inventory as `clusters import` takes it. Each shares a preferred job with the next."""
    preferred = {"alpha": "[mpi, serial]", "beta": "[mpi, smp]", "gamma": "[smp]"}
    return "".join(
        f"- name: {name}\n  hostname: 127.0.0.1\n  port: {port[name]}\n  workload_manager: slurm\n"
        f"  preferred_jobs: {kinds}\n  partition: batch\n"
        for name, kinds in preferred.items()
    )
