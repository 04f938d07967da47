"""Kills writers of checkpoints at random moments, and fills disks: `python tests/fuzz/kills.py --times 1000`.

After each: the file is the last one that was reported as saved, or the one that was being written; every array of it is
whole; and the next save leaves nothing behind but what is kept. Prints what was tried, and ends in exit status 1 at the
first failure.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from ravine import checkpoint

# How a writer saves, by name.
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "keep": {"keep": 3},
    "background": {"background": True},
    "background, keep": {"background": True, "keep": 3},
}
TEMPORARY = re.compile(r"\..*\.tmp")
LONGEST_LIFE = 0.06  # seconds, of a writer that needs a few milliseconds for a file


def save(path: Path, step: int, **way: Any) -> None:
    """Save arrays of several sizes that are full of the step."""
    extra = [np.full(size, step, np.int64) for size in (0, 1, 1000, 100_000 + step % 7)]
    saving = checkpoint.save(path, step=step, extra=extra, **way)
    if saving is not None:
        saving.wait()


def read(path: Path) -> int:
    """Return the step of a file, having looked at every number in it."""
    found = checkpoint.load(path)
    assert isinstance(found.step, int)
    for array in found.extra:
        assert (array == found.step).all(), f"{path} is a mixture"
    return found.step


def write_until_killed(path: Path, begin: int, way: dict[str, Any], report: int) -> None:
    """Save one step after the other, and report each that is done."""
    for step in range(begin, sys.maxsize):
        save(path, step, **way)
        os.write(report, struct.pack("<q", step))


def kill_one(path: Path, rng: random.Random, name: str) -> str:
    """Kill a writer and return what it had been doing."""
    way = WAYS[name]
    save(path, 0, **way)
    receive, report = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            write_until_killed(path, 1, way, report)
        finally:
            os._exit(1)
    os.close(report)
    time.sleep(rng.uniform(0, LONGEST_LIFE))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the writer has ended by itself: {status}"
    with os.fdopen(receive, "rb") as file:
        reports = file.read()
    last = struct.unpack("<q", reports[-8:])[0] if reports else 0
    now = read(path)
    assert now in (last, last + 1), f"step {last} was saved, and {now} is there"
    left = [each for each in path.parent.iterdir() if TEMPORARY.fullmatch(each.name)]
    for each in path.parent.iterdir():
        if each not in left:
            read(each)
    save(path, now + 1, **way)
    names = sorted(each.name for each in path.parent.iterdir())
    assert read(path) == now + 1
    assert len(names) <= way.get("keep", 1), f"there is more: {names}"
    assert not any(map(TEMPORARY.fullmatch, names)), f"left behind: {names}"
    if left:
        return "while writing"
    return "between writing and reporting" if now == last + 1 else "before writing"


def kill(times: int, seed: int) -> Counter[str]:
    """Kill so many writers, and count at what they were killed."""
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    for number in range(times):
        with tempfile.TemporaryDirectory(prefix="ravine-kills-") as directory:
            counts[kill_one(Path(directory) / "run.ckpt", rng, list(WAYS)[number % len(WAYS)])] += 1
    return counts


# --- full disks


def check_full(path: Path, step: int, way: dict[str, Any], size: int) -> bool:
    """Save what may not fit, check that the old file or the new one is there alone, and return whether it fitted."""
    before = read(path)
    try:
        extra = [np.full(1, step, np.int64), np.full(size // 8, step, np.int64)]
        saving = checkpoint.save(path, step=step, extra=extra, **way)
        if saving is not None:
            saving.wait()
        fits = True
    except OSError:
        fits = False
    assert read(path) == (step if fits else before)
    left = [each.name for each in path.parent.iterdir() if TEMPORARY.fullmatch(each.name)]
    assert not left, f"left behind: {left}"
    return fits


def fill_by_limit(directory: Path) -> Counter[str]:
    """Save under a limit of the size of files, which ends the writing at every byte from the first to the last."""
    import resource

    counts: Counter[str] = Counter()
    path = directory / "limited.ckpt"
    save_small = {"step": 0, "extra": [np.zeros(1, np.int64)]}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for number, way in enumerate(WAYS.values()):
        checkpoint.save(path, **save_small)
        # Of a prime number of bytes apart, so that all parts of a page are met.
        for step, limit in enumerate(range(0, 60_000, 499), 1):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            try:
                fits = check_full(path, 1000 * number + step, way, 50_000)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            counts["fitted" if fits else "did not fit"] += 1
    return counts


def fill_disk(directory: Path) -> Counter[str] | None:
    """Save more and more to a small disk; None where none can be made, which takes the rights of root."""
    small = directory / "small"
    small.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "ravine-kills", str(small)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        return None
    counts: Counter[str] = Counter()
    try:
        path = small / "run.ckpt"
        step = 0
        for way in WAYS.values():
            for each in small.iterdir():
                each.unlink()
            checkpoint.save(path, step=step, extra=[np.full(1, step, np.int64)])
            for size in range(0, 300_000, 4_999):
                step += 1
                counts["fitted" if check_full(path, step, way, size) else "did not fit"] += 1
            step += 1
            assert check_full(path, step, way, 8), "a small file does not fit after a large one that did not"
    finally:
        subprocess.run(["umount", str(small)], check=True)
    return counts


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Kill writers of checkpoints at random moments, and fill disks.")
    parser.add_argument("--times", type=int, default=1000, help="writers to kill (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    arguments = parser.parse_args()
    begin = time.monotonic()
    counts = kill(arguments.times, arguments.seed)
    told = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    print(f"writers killed: {counts.total()} ({told}) in {time.monotonic() - begin:.0f} s")
    with tempfile.TemporaryDirectory(prefix="ravine-kills-") as directory:
        print(f"saves under a limit of bytes: {dict(fill_by_limit(Path(directory)))}")
        filled = fill_disk(Path(directory))
        print("saves to a full disk: " + ("none, only root can make one" if filled is None else str(dict(filled))))
    print("every file was whole, and nothing was left behind")


if __name__ == "__main__":
    main()
