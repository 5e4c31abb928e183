"""A real Slurm on this machine, for tests: a controller, nodes of two CPUs each, memory limits that are enforced.

It needs root, munge and Debian's Slurm. Everything it writes lies in one folder, but for a link from ``/etc/slurm``,
which the executor plugin's inner ``srun`` needs since it is started without ``SLURM_CONF``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = {"munged": "munge", "slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client"}
"""Programs and Debian's packages that hold them."""
LINK = Path("/etc/slurm/slurm.conf")
TURNS = Path(tempfile.gettempdir()) / "compgraph-slurm.lock"
"""Held by the one cluster that the link is of; another waits."""
USABLE = {"idle", "mixed", "allocated", "completing"}
SETTINGS = """
ClusterName=compgraph
SlurmctldHost={host}({address})
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
# Processes are followed through /proc, memory by sampling: a container seldom has control groups to give.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
# The least loaded node is taken, so that jobs at the same time are on different ones.
SelectTypeParameters=CR_CPU_Memory,CR_LLN
DefMemPerCPU=100
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=2,sched_interval=5
EnforcePartLimits=ALL
MinJobAge=600
ReturnToService=2
SlurmdTimeout=20
KillWait=5
MessageTimeout=10
AccountingStorageType=accounting_storage/none
PartitionName=main Nodes=ALL Default=YES MaxTime=1-00:00:00 DefaultTime=00:10:00 State=UP
"""


@dataclass(frozen=True)
class Job:
    """A job as ``squeue`` shows it: ``comment`` is the rule and its wildcards."""

    number: str
    state: str
    node: str
    cpus: str
    memory: str
    limit: str
    comment: str


def missing() -> str | None:
    """Why no Slurm can be started here; None if one can. Packages are installed where that is allowed."""
    if os.geteuid():
        return "a Slurm of its own needs root"
    if LINK.exists() and not LINK.is_symlink():
        return f"{LINK} belongs to another Slurm"
    wanted = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    if not wanted:
        return None
    if shutil.which("apt-get") is None:
        return f"missing: {', '.join(wanted)}"
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *wanted]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (install, ["apt-get", "update"], install):
        done = subprocess.run(command, capture_output=True, env=environment)
        if command is install and done.returncode == 0:
            return None
    return f"apt-get cannot install {', '.join(wanted)}"


class Cluster:
    """The cluster; use it in a ``with``.

    Parameters
    ----------
    folder : Path
        For all that it writes; a short path, since sockets lie in it.
    nodes, cpus, memory : int
        Nodes, CPUs and megabytes of each.
    port : int
        First of ``nodes + 1`` free ports on this machine.
    """

    def __init__(self, folder: Path, nodes: int = 3, cpus: int = 2, memory: int = 6000, port: int = 27817) -> None:
        self.folder, self.port = folder, port
        self.names = [f"node{number}" for number in range(1, nodes + 1)]
        self.cpus, self.memory = cpus, memory
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
        self._turn = contextlib.ExitStack()

    def __enter__(self) -> Cluster:
        fcntl.flock(self._turn.enter_context(TURNS.open("w")), fcntl.LOCK_EX)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._configure()
        try:
            self._start_munge()
            self.start_controller()
            for name in self.names:
                self.start_node(name)
            _wait("all nodes usable", self._usable)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(subprocess.SubprocessError):
            numbers = [job.number for job in self.jobs() if job.state in ("RUNNING", "PENDING", "COMPLETING")]
            if numbers:
                self.call("scancel", *numbers)
                _wait("jobs ended", lambda: not self.call("squeue", "-h").strip())
        for name in self.names:
            self._stop(f"slurmd.{name}")
        for daemon in ("slurmctld", "munged"):
            self._stop(daemon)
        if LINK.is_symlink() and LINK.readlink() == self.folder / "slurm.conf":
            LINK.unlink()
        self._turn.close()

    def call(self, *words: str) -> str:
        """What one of Slurm's commands prints."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=30, check=True)
        return done.stdout

    def jobs(self) -> list[Job]:
        """All jobs since the start, the ended ones too."""
        lines = self.call("squeue", "--states=all", "-h", "-o", "%i|%T|%N|%C|%m|%l|%k").splitlines()
        return [Job(*line.split("|", 6)) for line in lines]

    def kill_node(self, name: str) -> None:
        """SIGKILL the daemon of a node and the jobs on it, as a power cut does."""
        self._stop(f"slurmd.{name}", signal.SIGKILL)
        subprocess.run(["pkill", "-KILL", "-f", f"slurmstepd: .*|{self.folder}/spool.{name}"], capture_output=True)

    def start_node(self, name: str) -> None:
        """Start the daemon of a node."""
        self._daemon("slurmd", "-N", name, "-f", str(self.folder / "slurm.conf"))

    def start_controller(self) -> None:
        """Start the controller."""
        self._daemon("slurmctld", "-f", str(self.folder / "slurm.conf"))
        _wait("the controller answers", lambda: "UP" in self.call("scontrol", "ping"))

    def stop_controller(self) -> None:
        """Take the controller away; jobs go on."""
        self._stop("slurmctld")

    def _configure(self) -> None:
        host = socket.gethostname().partition(".")[0]
        values = {"host": host, "address": socket.gethostbyname(socket.gethostname()), "user": "root"}
        text = SETTINGS.strip().format(**values, folder=self.folder, port=self.port)
        for number, name in enumerate(self.names, 1):
            (self.folder / f"spool.{name}").mkdir(exist_ok=True)
            text += (
                f"\nNodeName={name} NodeHostname={host} NodeAddr={values['address']} Port={self.port + number}"
                f" CPUs={self.cpus} RealMemory={self.memory} State=UNKNOWN"
            )
        (self.folder / "state").mkdir(mode=0o700, exist_ok=True)
        (self.folder / "cgroup.conf").touch()
        (self.folder / "slurm.conf").write_text(text + "\n", encoding="utf-8")
        LINK.parent.mkdir(exist_ok=True)
        LINK.unlink(missing_ok=True)
        LINK.symlink_to(self.folder / "slurm.conf")

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
        self.folder.chmod(0o755)
        places = {"key-file": key, "socket": self.folder / "munge.socket", "pid-file": self.folder / "munged.pid"}
        places |= {"log-file": self.folder / "munged.log", "seed-file": self.folder / "munge.seed"}
        self._daemon("munged", "--force", *(f"--{name}={path}" for name, path in places.items()))
        socket_path = str(self.folder / "munge.socket")
        _wait("munge answers", lambda: bool(self.call("munge", "-n", "-S", socket_path)))

    def _daemon(self, *words: str) -> None:
        done = subprocess.run(words, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{words[0]} did not start: {done.stderr}")

    def _stop(self, daemon: str, number: signal.Signals = signal.SIGTERM) -> None:
        record = self.folder / f"{daemon}.pid"
        try:
            pid = int(record.read_text())
            os.kill(pid, number)
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return
        with contextlib.suppress(TimeoutError):
            _wait(f"{daemon} ended", lambda: not _runs(pid), 15)
        if _runs(pid):
            os.kill(pid, signal.SIGKILL)
        record.unlink(missing_ok=True)

    def _usable(self) -> bool:
        states = self.call("sinfo", "-h", "-N", "-p", "main", "-o", "%T").split()
        for name, state in zip(self.names, states, strict=False):
            if state.startswith(("down", "drain")):
                self.call("scontrol", "update", f"NodeName={name}", "State=RESUME")
        return len(states) == len(self.names) and set(states) <= USABLE


def _runs(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return False


def _wait(what: str, holds: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(subprocess.SubprocessError):
            if holds():
                return
        time.sleep(0.2)
    raise TimeoutError(f"gave up waiting: {what}")
