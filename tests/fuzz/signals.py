"""Storms of SIGINT: python tests/fuzz/signals.py --signals 100000

Each subject (`subjects`) acts until a signal comes, then is held against a twin that nothing disturbs: it has done k or
k + 1 things, whole ones, and goes on. With --lines it is interrupted at each line instead, one after the other.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

from test_engine_interrupted import Interrupting

from fuzz.known import known_half
from fuzz.subjects import Subject, subjects

_LONGEST = 2e-4  # seconds until a signal
_PATIENCE = 1.0  # seconds to wait for it
# Sends one for each byte that it is given, that many microseconds later, and says so.
_SENDER = """
import os, sys, time
for byte in iter(lambda: os.read(0, 1), b""):
    time.sleep(byte[0] * 1e-6)
    os.kill(int(sys.argv[1]), 2)
    os.write(1, byte)
"""


Process = Any  # a Popen with pipes


class Pair:
    """A subject that is disturbed, and its twin."""

    def __init__(self, make: Callable[[], Subject]) -> None:
        self.subject, self.twin = make(), make()

    def problem(self) -> str | None:
        """Return what is wrong after an interruption, if something is."""
        for _ in range(self.subject.k - self.twin.k):
            self.twin.act()
        state = self.subject.state()
        if state != self.twin.state():
            before = self.twin.state()
            self.twin.act()
            if state != self.twin.state():
                return f"half of a change after {self.subject.k}: {_difference(before, state, self.twin.state())}"
            self.subject.k = self.twin.k
        try:
            self.subject.act()
        except Exception as error:
            return f"cannot go on after {self.subject.k}: {type(error).__name__}: {error}"
        self.twin.act()
        return None if self.subject.state() == self.twin.state() else f"goes on otherwise after {self.subject.k}"


def _difference(before: Any, state: Any, after: Any) -> str:
    if isinstance(state, dict) and isinstance(before, dict) and state.keys() == before.keys():
        return "; ".join(
            f"{key}: {_difference(before[key], state[key], after.get(key))}"
            for key in state
            if state[key] not in (before[key], after.get(key)) or before[key] != after.get(key)
        )
    if isinstance(state, list) and isinstance(before, list) and len(state) == len(before) == len(after):
        parts = zip(before, state, after, strict=True)
        return ", ".join(_difference(*part) for part in parts if part[0] != part[2] or part[1] != part[0])
    return "old" if state == before else "new" if state == after else "neither"


def storm(make: Callable[[], Subject], signals: int, seed: int, sender: bool = False) -> tuple[int, list[str]]:
    """Disturb a subject by so many signals.

    Args:
        make: makes the subject.
        signals: how many must come.
        seed: of the moments at which they come, where a timer sends them.
        sender: whether another process sends them, at moments of its own.

    Returns:
        How many came, and what was wrong after some of them.
    """
    rng = random.Random(seed)
    pair, problems, came = Pair(make), [], 0
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    process = _sender() if sender else None
    try:
        while came < signals:
            interrupted, broken = _disturb(pair.subject, rng.uniform(1e-6, _LONGEST), process)
            came += interrupted
            problem = broken or pair.problem()
            if problem is not None:
                problems.append(problem)
                pair = Pair(make)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if process is not None:
            process.communicate()
    return came, problems


def _sender() -> Process:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", _SENDER, str(os.getpid())], stdin=pipe, stdout=pipe)


def _disturb(subject: Subject, delay: float, sender: Process | None) -> tuple[bool, str | None]:
    """Have a subject act until it is interrupted; return whether it was, and what broke off before."""
    act, came, problem = subject.act, False, None
    # What is raised in a callback of a weak reference is lost.
    until = time.monotonic() + _PATIENCE
    try:
        if sender is None:
            signal.setitimer(signal.ITIMER_REAL, delay)
        else:
            os.write(sender.stdin.fileno(), bytes([int(delay * 1e6)]))
        try:
            while time.monotonic() < until:
                act()
        except Exception as error:
            problem = f"broke off: {type(error).__name__}: {error}"
            while time.monotonic() < until:
                pass
    except KeyboardInterrupt:
        came = True
    said = sender is None
    while not said:
        with suppress(KeyboardInterrupt):  # it may come only now
            said = bool(os.read(sender.stdout.fileno(), 1))
    return came, problem


def at_each_line(make: Callable[[], Subject], acts: int = 3) -> Iterator[str | None]:
    """Interrupt the first few acts at each line and each return from C; yield what was wrong after each, or None."""
    for kind in ("settrace", "setprofile"):
        for first in range(acts):
            for n in range(1, 100_000):
                pair = Pair(make)
                for _ in range(first):
                    pair.subject.act()
                interrupting = Interrupting(kind, n)
                with suppress(KeyboardInterrupt), interrupting:
                    pair.subject.act()
                if not interrupting.done:
                    break
                yield pair.problem()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--signals", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="what the names of the subjects begin with")
    parser.add_argument("--sender", action="store_true", help="another process sends them")
    parser.add_argument("--lines", action="store_true", help="interrupt at each line instead")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    made = {name: make for name, make in subjects().items() if name.startswith(options.only)}
    total, wrong, unknown = 0, 0, 0
    for name, make in made.items():
        if options.lines:
            found = list(at_each_line(make))
            came, problems = len(found), [problem for problem in found if problem is not None]
        else:
            came, problems = storm(make, -(-options.signals // len(made)), options.seed, options.sender)
        total += came
        wrong += len(problems)
        if problems and known_half(name) is None:
            unknown += len(problems)
            print(f"{name}: {len(problems)} of {came}: {Counter(p[:160] for p in problems).most_common(2)}", flush=True)
    print(f"{total} interruptions of {len(made)} subjects, {wrong} wrong, of which {unknown} are not known")
    return bool(unknown)


if __name__ == "__main__":
    raise SystemExit(main())
