"""First process of a throw-away node: prepares it, runs the collector, reports as JSON what was left behind.

Run by `node.py` under `unshare` as process 1 of fresh net, mount, pid, uts and ipc namespaces. Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SETUP = """
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/etc.new /run/etc.work
mount -t overlay -o lowerdir=/etc,upperdir=/run/etc.new,workdir=/run/etc.work overlay /etc
for d in /var/log /opt /usr/local/bin /usr/local/sbin; do [ ! -d $d ] || mount -t tmpfs -o mode=755 tmpfs $d; done
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir -p /var/lib/cni/results /var/log/pods
hostname lhcol-node
"""


def make_farm(hide: list[str], stubs: dict[str, str]) -> None:
    """The tool folders without `hide` and with the scripts of `stubs` in place of the real tools."""
    for folder in ("/usr/bin", "/usr/sbin"):
        real = f"/run/real{folder.replace('/', '-')}"
        copy = f"/run/farm{folder.replace('/', '-')}"
        os.makedirs(real)
        os.makedirs(copy)
        subprocess.run(["mount", "--bind", folder, real], check=True)
        for name in os.listdir(real):
            if name not in hide and name not in stubs:
                target = f"{real}/{name}"
                if os.path.islink(target) and os.readlink(target).startswith("../"):
                    target = os.path.normpath(f"{folder}/{os.readlink(target)}")
                os.symlink(target, f"{copy}/{name}")
        if folder == "/usr/bin":
            for name, text in stubs.items():
                Path(copy, name).write_text(text)
                os.chmod(f"{copy}/{name}", 0o755)
    for folder in ("/usr/bin", "/usr/sbin"):
        farm = f"/run/farm{folder.replace('/', '-')}"
        subprocess.run(["/run/real-usr-bin/mount", "--bind", farm, folder], check=True)


def survivors() -> list[str]:
    """Command names of all processes of this node but this one, after a moment to end; reaps what ended."""
    names: list[str] = []
    for _ in range(15):
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        names = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid():
                with contextlib.suppress(OSError):
                    stat = Path(f"/proc/{entry}/stat").read_text()
                    if stat.rsplit(")", 1)[1].split()[0] != "Z":
                        names.append(Path(f"/proc/{entry}/cmdline").read_text().replace("\0", " ").strip()[:200])
        if not names:
            break
        time.sleep(0.1)
    return names


def main() -> None:
    job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    subprocess.run(["sh", "-c", SETUP + job["setup"]], check=True, stdout=sys.stderr)
    make_farm(job["hide"], job["stubs"])
    background = [subprocess.Popen(["sh", "-c", text], start_new_session=True) for text in job["background"]]
    if job["before"]:
        time.sleep(0.3)
    before = subprocess.run(["sh", "-c", job["before"]], check=False, capture_output=True, text=True).stdout
    began = time.monotonic()
    process = subprocess.Popen(
        job["command"],
        stdin=os.open(job["stdin"] or os.devnull, os.O_RDONLY),
        stdout=os.open(job["stdout"], os.O_WRONLY | os.O_CREAT, 0o644),
        stderr=subprocess.PIPE,
        text=True,
        cwd=job["cwd"],
        env={"PATH": job["path"], "HOME": "/root", **job["env"]},
    )
    if job["signal"]:
        while process.poll() is None and not os.path.exists("/run/now"):
            time.sleep(0.02)
        time.sleep(0.2)
        if process.poll() is None:
            process.send_signal(getattr(signal, job["signal"]))
    _, errors = process.communicate(timeout=job["limit"])
    elapsed = time.monotonic() - began
    after = subprocess.run(["sh", "-c", job["before"]], check=False, capture_output=True, text=True).stdout
    for helper in background:
        helper.kill()
        helper.wait()
    left = survivors()
    called = Path("/run/called").read_text() if os.path.exists("/run/called") else ""
    report = {"rc": process.returncode, "stderr": errors, "elapsed": elapsed, "survivors": left, "before": before,
              "after": after, "called": called}  # fmt: skip
    Path(job["report"]).write_text(json.dumps(report))


main()
