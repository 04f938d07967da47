"""Mutation testing: make plausible mistakes in the source, one by one, and see that the tests notice them.

    python tests/mutation/run.py [NAME ...]

Each mutant (mutants.py) is made in a copy of the source, where it is compiled (the baseline
instruction set alone, without optimisation) and its tests run. NAME chooses mutants, areas or files by a part of their
name; without it all are made. Needs what the tests need, pybind11, CMake, Ninja and a C++ compiler. Fails where a
mutant survives that is not explained, does not apply or does not build.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from mutants import AREAS, Mutant

ROOT = Path(__file__).resolve().parents[2]
WORK = Path(os.environ.get("RAVINE_MUTATION_DIR", ROOT / "build" / "mutation"))
TREE, BUILD = WORK / "tree", WORK / "cmake"  # kept for the next time
# Bytes of a module would be taken for those of its mutant, made within the same second and as long.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("RAVINE_")},
    "PYTHONPATH": str(TREE / "python"),
    "PYTHONDONTWRITEBYTECODE": "1",
}
SECONDS = 600  # for the tests of a mutant; one that hangs is killed by that
KILLED, SURVIVED, EXPLAINED = "killed", "survived", "survived, as explained"
NOT_APPLIED, NOT_BUILT = "did not apply", "did not build"


def copy_source() -> None:
    """Bring the copy up to date; what has not changed keeps its time, so that it is not compiled again."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    wanted = {name for name in names if (ROOT / name).is_file()}
    for path in [path for path in TREE.glob("**/*") if path.is_file()]:
        if path.suffix != ".so" and str(path.relative_to(TREE)) not in wanted:
            path.unlink()
    for name in wanted:
        there, content = TREE / name, (ROOT / name).read_bytes()
        if not there.exists() or there.read_bytes() != content:
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(content)


def build() -> str:
    """Compile what has changed, and put the module into the copy; return what went wrong."""
    configure = [
        *("cmake", "-G", "Ninja", "-S", str(TREE), "-B", str(BUILD), f"-DPython_EXECUTABLE={sys.executable}"),
        *("-DRAVINE_BASELINE_ONLY=ON", "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O0"),
    ]
    commands = [] if (BUILD / "build.ninja").exists() else [configure]
    for command in [*commands, ["cmake", "--build", str(BUILD), "--target", "_core"]]:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return done.stdout + done.stderr
    for module in (BUILD / "module").glob("_core*"):
        shutil.copy2(module, TREE / "python" / "ravine")
    return ""


def run_tests(tests: str) -> tuple[bool, str]:
    """Return whether they pass, and the first that did not."""
    options = ["-q", "-x", "--no-header", "-p", "no:cacheprovider", "--hypothesis-seed=0", "-o", "addopts=--tb=no -rfE"]
    command = [sys.executable, "-m", "pytest", *options, "-o", "filterwarnings=error", *shlex.split(tests)]
    try:
        done = subprocess.run(
            command, cwd=TREE, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return False, "they hang"
    if done.returncode in (4, 5):  # wrong arguments, or no tests
        raise SystemExit(f"pytest {tests}\n{done.stdout}{done.stderr}")
    if done.returncode < 0:
        return False, f"signal {-done.returncode}"
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return done.returncode == 0, failed[0].split(" - ")[0] if failed else ""


def is_compiled(mutant: Mutant) -> bool:
    """Whether there is something to build."""
    return mutant.path.startswith("cpp/")


def attempt(mutant: Mutant) -> tuple[str, str]:
    """Make a mutant; return what became of it, and what there is to say."""
    path = TREE / mutant.path
    source = path.read_text("utf-8")
    if source.count(mutant.old) != 1:
        return NOT_APPLIED, f"{source.count(mutant.old)} places in {mutant.path}"
    path.write_text(source.replace(mutant.old, mutant.new), "utf-8")
    try:
        if is_compiled(mutant) and (problem := build()):
            return NOT_BUILT, problem
        passed, first = run_tests(mutant.tests)
    finally:
        path.write_text(source, "utf-8")
    if passed:
        return (EXPLAINED, mutant.survives) if mutant.survives else (SURVIVED, mutant.why)
    return KILLED, first


def chosen(names: list[str]) -> dict[str, list[Mutant]]:
    """Return the mutants of each area that a name is part of, those of one file together."""
    result = {}
    for area, mutants in AREAS.items():
        found = [m for m in mutants if not names or any(n in (area, m.path) or n in m.name for n in names)]
        result[area] = sorted(found, key=lambda mutant: mutant.path)
    return {area: found for area, found in result.items() if found}


def check_unchanged_source(mutants: list[Mutant]) -> None:
    """Make sure that the tests pass without a mutant: what they say of one means nothing otherwise."""
    runs = {mutant.tests for mutant in mutants}
    whole = {file for tests in runs if " -k " not in tests for file in tests.split()}
    together = [" ".join(sorted(whole))] if whole else []  # without a name, pytest would run all there are
    for tests in [*together, *sorted(tests for tests in runs if " -k " in tests)]:
        passed, first = run_tests(tests)
        if not passed:
            raise SystemExit(f"without any mutant, pytest {tests} does not pass: {first}")


def main() -> int:
    """Make the mutants; return whether something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a part of a mutant's name, an area or a file")
    parser.add_argument("--unchecked", action="store_true", help="take it for granted that the tests pass without any")
    arguments = parser.parse_args()
    areas = chosen(arguments.names)
    if not areas:
        parser.error(f"no mutant is called like {' or '.join(arguments.names)}")
    copy_source()
    if problem := build():
        raise SystemExit(problem)
    if not arguments.unchecked:
        check_unchanged_source([mutant for mutants in areas.values() for mutant in mutants])
    counts: dict[str, Counter[str]] = {area: Counter() for area in areas}
    for area, mutants in areas.items():
        for mutant in mutants:
            begin = time.perf_counter()
            outcome, said = attempt(mutant)
            counts[area][outcome] += 1
            print(f"{outcome:13} {mutant.name} ({time.perf_counter() - begin:.0f} s): {said}", flush=True)
        if any(is_compiled(mutant) for mutant in mutants):
            build()  # what Python's mutants run on
    outcomes = [KILLED, EXPLAINED, SURVIVED, NOT_APPLIED, NOT_BUILT]
    print("\n| area | " + " | ".join(outcomes) + " |\n|---|" + "---:|" * len(outcomes))
    total: Counter[str] = sum(counts.values(), Counter())
    for area, count in [*counts.items(), ("all", total)]:
        print(f"| {area} | " + " | ".join(str(count[outcome]) for outcome in outcomes) + " |")
    return int(total[SURVIVED] + total[NOT_APPLIED] + total[NOT_BUILT] > 0)


if __name__ == "__main__":
    sys.exit(main())
