"""Attack every public entry point: python tests/fuzz/attack.py --cases 1000000

Cases run in a child process, which says at which case it is; where it dies or hangs, the case is reported and the next
child goes on after it. A failure comes with the command that runs its case alone.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import mmap
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

from fuzz.known import known
from fuzz.one_case import KINDS, run

_FLUSH = 2000  # cases between two reports of a child
_PATIENCE = 60.0  # seconds that one case may take


def command(seed: int, index: int, what: str = "everything") -> str:
    chosen = "" if what == "everything" else f"--what {what} "
    return f"python tests/fuzz/attack.py {chosen}--seed {seed} --case {index}"


# --- in the child


def child(what: str, seed: int, begin: int, end: int, progress: Path, report: Path) -> None:
    """Run cases, telling where it is in one file and what was found in another."""
    faulthandler.enable()
    with progress.open("r+b") as file, report.open("a", encoding="utf-8") as out:
        at = mmap.mmap(file.fileno(), 8)
        tried: Counter[Any] = Counter()
        for index in range(begin, end):
            struct.pack_into("q", at, 0, index)
            case = run(seed, index, None, what)
            tried.update(case.tried)
            for failure in case.failures:
                out.write(json.dumps({"index": index, "failure": failure}) + "\n")
            if case.failures or index % _FLUSH == 0:
                out.flush()
            if index % _FLUSH == _FLUSH - 1:
                _report(out, tried)
        struct.pack_into("q", at, 0, end)
        _report(out, tried)


def _report(out: Any, tried: Counter[Any]) -> None:
    out.write(json.dumps({"tried": [[*key, n] for key, n in tried.items()]}) + "\n")
    out.flush()
    tried.clear()


# --- in the parent


class Outcome:
    """What came of some cases."""

    def __init__(self) -> None:
        self.tried: Counter[tuple[str, str, str, str]] = Counter()
        self.failures: list[tuple[int, list[str]]] = []  # the index of each case, and what failed
        self.end = 0  # the index behind the last case

    @property
    def unknown(self) -> list[tuple[int, list[str]]]:
        """The failures that are not known."""
        return [(index, failure) for index, failure in self.failures if known(failure) is None]


def attack(
    seed: int, begin: int, end: int, show: bool = False, program: str = __file__, what: str = "everything"
) -> Outcome:
    """Run the cases from `begin` to `end` in child processes, which run a program that is this one but for tests.

    `what` is a key of `KINDS`.
    """
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as folder:
        progress, report = Path(folder, "progress"), Path(folder, "report")
        while begin < end:
            progress.write_bytes(struct.pack("q", begin))
            report.write_text("")
            arguments = [what, *map(str, (seed, begin, end))] + [str(progress), str(report)]
            with Path(folder, "stderr").open("w+") as errors:
                process = subprocess.Popen([sys.executable, program, "--child", *arguments], stderr=errors)
                try:
                    died = _wait(process, progress, show, end)
                except KeyboardInterrupt:  # what has been found so far counts
                    process.kill()
                    process.wait()
                    died = ""
                errors.seek(0)
                said = errors.read()
            at = outcome.end = struct.unpack("q", progress.read_bytes())[0]
            for line in report.read_text(encoding="utf-8").splitlines():
                found = json.loads(line)
                if "tried" in found:
                    outcome.tried.update({tuple(key): n for *key, n in found["tried"]})
                else:
                    outcome.failures.append((found["index"], found["failure"]))
                    if show:
                        _show(what, seed, *outcome.failures[-1])
            if not died:
                break
            entry, bad, mutation = _last_said(what, seed, at, program)
            detail = f"{died}; {_where(said)}"
            outcome.failures.append((at, ["HANG" if "hang" in died else "CRASH", entry, bad, mutation, detail]))
            if show:
                _show(what, seed, *outcome.failures[-1])
            begin = at + 1
    return outcome


def _wait(process: Any, progress: Path, show: bool, end: int) -> str:
    """Wait for a child; return of what it died, if it did."""
    seen, since, shown = -1, time.monotonic(), time.monotonic()
    while process.poll() is None:
        time.sleep(0.02)
        at = struct.unpack("q", progress.read_bytes())[0]
        now = time.monotonic()
        if at != seen:
            seen, since = at, now
        elif now - since > _PATIENCE:
            process.kill()
            process.wait()
            return f"hangs for {_PATIENCE:.0f} s"
        if show and now - shown > 60:
            shown = now
            print(f"... at case {at} of {end}", flush=True)
    return "" if process.returncode == 0 else f"exit status {process.returncode}"


def _last_said(what: str, seed: int, index: int, program: str) -> tuple[str, str, str]:
    """Run a case alone that ends the process; return what it was doing."""
    alone = [sys.executable, program, "--what", what, "--seed", str(seed), "--case", str(index)]
    try:
        said = subprocess.run(alone, capture_output=True, text=True, timeout=_PATIENCE, check=False).stdout
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode()
    lines = [line for line in said.splitlines() if line.count(" | ") == 2]
    return tuple((lines or ["? | ? | ?"])[-1].split(" | "))  # type: ignore[return-value]


def _where(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    fatal = [line for line in lines if "Fatal" in line or "terminate" in line or "rror" in line]
    files = [line for line in lines if line.startswith("File")]
    return " ".join([*fatal[:1], *files[:1]])[:200]


def _show(what: str, seed: int, index: int, failure: list[str]) -> None:
    if known(failure) is None:
        print(f"{failure[0]}: {' | '.join(failure[1:])}\n    {command(seed, index, what)}", flush=True)


def summary(outcome: Outcome, cases: int, seconds: float) -> str:
    """Return what was tried and what came of it, as a table."""
    lines = [f"{cases} cases in {seconds:.0f} s, {sum(outcome.tried.values())} calls"]
    for title, place in (("entry point", 0), ("class of bad array", 1), ("mutation", 2)):
        accepted: Counter[str] = Counter()
        refused: Counter[str] = Counter()
        for key, n in outcome.tried.items():
            (accepted if key[3] == "accepted" else refused)[key[place]] += n
        lines.append(f"\n{title:60} {'accepted':>10} {'refused':>10}")
        lines += [f"{name:60} {accepted[name]:>10} {refused[name]:>10}" for name in sorted(accepted | refused)]
    pairs = {key[:3] for key in outcome.tried}
    lines.append(f"\n{len(pairs)} combinations of entry point, class and mutation; {len(outcome.failures)} failures")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="how many to run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--what", choices=KINDS, default="everything", help="to attack (default: %(default)s)")
    parser.add_argument("--begin", type=int, default=0, help="index of the first")
    parser.add_argument("--case", type=int, help="run this one alone, here, saying what it does")
    parser.add_argument("--quiet", action="store_true", help="no table of what was tried")
    parser.add_argument("--child", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    np.seterr(all="ignore")
    if options.child:
        what, seed, begin, end, progress, report = options.child
        child(what, int(seed), int(begin), int(end), Path(progress), Path(report))
        return 0
    if options.case is not None:
        faulthandler.enable()
        case = run(options.seed, options.case, lambda text: print(text, flush=True), options.what)
        for failure in case.failures:
            print(failure)
        return bool(case.failures)
    began = time.monotonic()
    outcome = attack(options.seed, options.begin, options.begin + options.cases, show=True, what=options.what)
    if not options.quiet:
        print(summary(outcome, outcome.end - options.begin, time.monotonic() - began))
    for name, n in Counter(each.name for _, f in outcome.failures if (each := known(f))).most_common():
        print(f"{n:>8} known: {name}")
    print(f"{len(outcome.unknown):>8} that are not known")
    return bool(outcome.unknown)


if __name__ == "__main__":
    raise SystemExit(main())
