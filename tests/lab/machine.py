"""Namespaces that look like machines: a process that holds them, and ways to run commands inside.

Everything a machine sees is its own: network, mounts (/proc, /sys, /run, /tmp, /etc, /opt, /var/lib, /var/log,
/usr/local/bin), process
ids, host name. Commands come from the real machine's /usr.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else shutil.which("python3") or "python3"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/root",
}
ETC_FILES = (
    "protocols",
    "services",
    "passwd",
    "group",
    "nsswitch.conf",
    "ld.so.cache",
    "localtime",
    "os-release",
    "debian_version",
)
ETC_FOLDERS = ("alternatives", "iproute2", "bird", "ld.so.conf.d")

INIT = """\
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
os.write(1, b"ready")
while True:
    try:
        os.wait()
    except ChildProcessError:
        signal.sigtimedwait({signal.SIGCHLD}, 1)
"""

SETUP = """\
set -e
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount --bind "$DIR/etc" /etc
mount --bind "$DIR/bin" /usr/local/bin
for d in /run /var/log /var/lib /opt; do mount -t tmpfs -o mode=755 tmpfs $d; done
mount -t tmpfs -o mode=1777 tmpfs /tmp
mkdir -p /run/netns /run/calico /var/lib/calico /var/log/calico/cni
hostname "$NAME"
exec "$PYTHON" -IS /etc/machine-init
"""


class LabError(RuntimeError):
    """A command of the lab failed, or the lab cannot be built on this machine."""


def run(
    argv: Sequence[str], *, check: bool = True, text: str | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a command with the lab's environment. Raises LabError with its stderr when `check` and it fails."""
    done = subprocess.run(
        list(argv), input=text, capture_output=True, text=True, timeout=timeout, cwd="/", env=ENVIRONMENT, check=False
    )
    if check and done.returncode:
        raise LabError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done


def child_of(pid: int, deadline: float = 5.0) -> int:
    """The first child process of `pid`, waited for."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except FileNotFoundError:
            break
        if children:
            return int(children[0])
        time.sleep(0.01)
    raise LabError(f"process {pid} has no child")


class Machine:
    """A machine held by an init process. `pid` is that process as the outer world sees it."""

    def __init__(self, name: str, workdir: Path, commands: Path | None = None) -> None:
        self.name = name
        self.workdir = workdir / name
        self._make_etc()
        if commands is None:
            (self.workdir / "bin").mkdir()
        else:
            shutil.copytree(commands, self.workdir / "bin")
        environment = {**ENVIRONMENT, "DIR": str(self.workdir), "NAME": name, "PYTHON": PYTHON}
        flags = ["--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"]
        self._holder = subprocess.Popen(
            # Whoever holds the lab may be killed: its machines go with it.
            ["setpriv", "--pdeathsig", "KILL", "--", "unshare", *flags, "sh", "-c", SETUP],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._holder.stdout is not None and self._holder.stderr is not None
        if self._holder.stdout.read(5) != b"ready":
            raise LabError(f"machine {name} did not start: {self._holder.stderr.read().decode().strip()}")
        self.pid = child_of(self._holder.pid)
        self.run("ip", "link", "set", "lo", "up")

    def _make_etc(self) -> None:
        etc = self.workdir / "etc"
        etc.mkdir(parents=True)
        for name in ETC_FILES:
            if os.path.exists(f"/etc/{name}"):
                shutil.copy(f"/etc/{name}", etc / name)
        for name in ETC_FOLDERS:
            if os.path.isdir(f"/etc/{name}"):
                shutil.copytree(f"/etc/{name}", etc / name, symlinks=True)
        (etc / "hostname").write_text(self.name + "\n")
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n")
        (etc / "resolv.conf").write_text("nameserver 10.96.0.10\n")
        (etc / "mtab").symlink_to("/proc/mounts")
        (etc / "machine-init").write_text(INIT)

    def enter(self, *argv: str) -> list[str]:
        """The command line that runs `argv` inside, with this machine's mounts and process ids."""
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "-p", "-u", "-i", "--", *argv]

    def enter_net(self, *argv: str) -> list[str]:
        """The command line that runs `argv` in the network namespace only, with the outer process ids."""
        return ["nsenter", "-t", str(self.pid), "-n", "--", *argv]

    def run(
        self, *argv: str, check: bool = True, text: str | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        return run(self.enter(*argv), check=check, text=text, timeout=timeout)

    def shell(self, script: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return self.run("sh", "-ec", script, check=check, timeout=timeout)

    def spawn(self, *argv: str) -> subprocess.Popen[bytes]:
        """Start a process inside that lives until the machine is stopped or the process is killed."""
        return subprocess.Popen(
            self.enter(*argv),
            env=ENVIRONMENT,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of this machine (through its own mounts)."""
        target = self.inside(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def inside(self, path: str) -> Path:
        """Where the outer world finds a file of this machine. Absolute symbolic links (/var/run) do not work through
        it.
        """
        return Path(f"/proc/{self.pid}/root{path}")

    def stop(self) -> None:
        """End every process of the machine; its namespaces go with them."""
        if self._holder.poll() is None:
            self._holder.send_signal(signal.SIGKILL)
            self._holder.wait(timeout=10)


class PodSandbox:
    """A pod's namespaces inside a node: network, mounts, host name, held by a process named pause."""

    def __init__(self, node: Machine, name: str) -> None:
        self.node = node
        self.name = name
        hold = f"mount -t sysfs sysfs /sys && hostname {name} && exec -a pause sleep infinity"
        self._holder = node.spawn("unshare", "--net", "--uts", "--mount", "bash", "-c", hold)
        self.pid = child_of(self._holder.pid)
        self._wait_for_pause()
        self.pid_in_node = int(
            next(
                line for line in Path(f"/proc/{self.pid}/status").read_text().splitlines() if line.startswith("NSpid:")
            ).split()[-1]
        )
        self.run("ip", "link", "set", "lo", "up")

    def _wait_for_pause(self) -> None:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            if Path(f"/proc/{self.pid}/cmdline").read_bytes().startswith(b"pause"):
                return
            time.sleep(0.01)
        raise LabError(f"sandbox of {self.name} did not start")

    def enter(self, *argv: str) -> list[str]:
        """The command line that runs `argv` in this pod, with the node's process ids."""
        return [
            *["nsenter", "-t", str(self.node.pid), "-p", "-i"],
            *["nsenter", "-t", str(self.pid), "-n", "-m", "-u", "--", *argv],
        ]

    def run(self, *argv: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return run(self.enter(*argv), check=check, timeout=timeout)

    def spawn(self, *argv: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.enter(*argv),
            env=ENVIRONMENT,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
