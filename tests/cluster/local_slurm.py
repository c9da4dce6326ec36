"""A SLURM of one machine, all of it in one folder: started, asked, and stopped without touching any other."""

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from tests.ports import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "scontrol", "srun")
"""What must be installed: Debian's slurm-wlm and munge have them."""
_SEARCHED = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))

_CONFIGURATION = """
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/linear
SchedulerType=sched/builtin
MpiDefault=none
ReturnToService=2
JobRequeue=1
MinJobAge=3600
NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=local Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs() -> list[str]:
    """What is not installed."""
    return [program for program in PROGRAMS if shutil.which(program, path=_SEARCHED) is None]


class LocalSlurm:
    """munged, slurmctld and slurmd as children of this process, with ports, keys and state of their own.

    Args:
        folder: An empty one, which only this user may read.
        cpus: How many the node claims to have.
    """

    def __init__(self, folder: Path, cpus: int = 2) -> None:
        self.folder = folder
        self.cpus = cpus
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _SEARCHED}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Starts the three, and waits for the node to be idle."""
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        settings = {
            "host": socket.gethostname().partition(".")[0],
            "controller_port": free_port(),
            "node_port": free_port(),
            "user": getpass.getuser(),
            "folder": self.folder,
            "cpus": self.cpus,
        }
        (self.folder / "slurm.conf").write_text(_CONFIGURATION.format(**settings), encoding="utf-8")
        try:
            self._start_all()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stops them."""
        self.stop()

    def _start_all(self) -> None:
        files = {"socket": "socket", "log-file": "log", "pid-file": "pid", "seed-file": "seed", "key-file": "key"}
        options = [
            part for option, ending in files.items() for part in (f"--{option}", self.folder / f"munge.{ending}")
        ]
        self._start("munged", "--foreground", "--force", *options)
        wait_until(lambda: (self.folder / "munge.socket").exists(), 30, "munged's socket")
        self._start("slurmctld", "-D")
        self._start("slurmd", "-D", "-N", "node")
        wait_until(self._is_idle, 60, "an idle node")

    def _start(self, program: str, *options: object) -> None:
        path = shutil.which(program, path=_SEARCHED)
        with (self.folder / f"{program}.out").open("wb") as output:
            self._daemons.append(
                subprocess.Popen([str(path), *map(str, options)], env=self.environment, stdout=output, stderr=output)
            )

    def stop(self) -> None:
        """Cancels what still runs and ends the daemons, the last one started first; no other process is touched."""
        try:
            if len(self._daemons) == 3:
                self.ask("scancel", "--user", getpass.getuser(), check=False)
                wait_until(self._is_idle, 120, "the end of all jobs")
        finally:
            while self._daemons:
                _end(self._daemons.pop())

    def _is_idle(self) -> bool:
        # With the blank: `IDLE+COMPLETING` still has processes.
        return "State=IDLE " in self.ask("scontrol", "show", "node", "node", check=False)

    def ask(self, *command: str, check: bool = True, environment: Mapping[str, str] | None = None) -> str:
        """What one of SLURM's programs prints."""
        whole = {**self.environment, **(environment or {})}
        done = subprocess.run(command, env=whole, capture_output=True, text=True, timeout=60, check=False)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}{done.stdout}")
        return done.stdout

    def job(self, number: str) -> dict[str, str]:
        """What `scontrol` knows of a job: `JobState`, `Restarts`, `ExitCode`, ..."""
        return dict(part.split("=", 1) for part in self.ask("scontrol", "show", "job", number).split() if "=" in part)


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Waits for something outside of this process.

    Raises:
        TimeoutError: If it does not come.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"Waited {seconds:g} s for {what}.")
        time.sleep(0.5)


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(30)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
