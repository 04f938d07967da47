"""What the figures were measured on and with."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
from pathlib import Path
from typing import Any

from ravine import config

from . import PEERS
from .peer import version

_CPU = Path("/sys/devices/system/cpu/cpu0/cache")


def describe() -> dict[str, Any]:
    """Return the machine, the versions of ravine and of every peer, the date and the commit, for the results' file.

    What the system does not tell is None, or left out of the caches.
    """
    packages = dict.fromkeys(name for peer in PEERS.values() for name in (peer.distribution, *peer.brings) if name)
    return {
        **config.info(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "caches": _caches(),
        "packages": {name: found for name in packages if (found := version(name))},
        "date": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "commit": _commit(),
    }


def _cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def _caches() -> dict[str, str]:
    """Return the size of each cache of the first core, such as {"L2": "1024K"}."""

    def text(index: Path, name: str) -> str:
        return (index / name).read_text(encoding="utf-8").strip()

    try:
        return {
            f"L{text(index, 'level')}" + {"Data": "d", "Instruction": "i"}.get(text(index, "type"), ""): text(
                index, "size"
            )
            for index in sorted(_CPU.glob("index*"))
        }
    except OSError:
        return {}


def _commit() -> str | None:
    """Return the commit of the folder that this file is in, marked where it has been edited since."""
    folder = Path(__file__).parent
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
