"""What the compiled files really hold: one exported table an instruction set, and packed arithmetic."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
from ravine import _core

ROOT = Path(__file__).parents[1]
# Where a development build is; `pip install .` builds in build/{wheel_tag}.
BUILD = Path(os.environ.get("RAVINE_BUILD_DIR", ROOT / "build"))
LAYERS = ("layers", "stages")
# Builds of other kinds there: those with sanitizers (CMakePresets.json), and that of tests/mutation/run.py.
INSTRUMENTED = {"asan-ubsan", "tsan", "asan-ubsan-quick", "tsan-quick", "mutation"}
FAMILIES = re.findall(r"^RAVINE_FAMILY\((\w+),", (ROOT / "cpp/rules/families.def").read_text("utf-8"), re.MULTILINE)


def objects(isa):
    """Return the newest object file of each family of rules, and of what else is compiled for an instruction set."""
    found = {}
    for part in (*FAMILIES, *LAYERS):
        paths = BUILD.glob(f"**/ravine_kernels_{isa}_{part}.dir/**/*.cpp.o")
        paths = (path for path in paths if path.relative_to(BUILD).parts[0] not in INSTRUMENTED)
        newest = max(paths, key=lambda path: path.stat().st_mtime, default=None)
        found.update({} if newest is None else {part: newest})
    return found


OBJECTS = {isa: objects(isa) for isa in ("baseline", "avx2", "avx512")}
RULES = _core.rules()
NO_DIVISION = {"Sgd", "Momentum", "Nesterov", "Rprop", "Lion", "Asgd", "Lerp", "SgdScheduleFree"} | {
    *("Lars", "LarsNesterov", "Muon", "MuonNesterov", "SwatsDescent"),
}
WITHOUT = {"div": NO_DIVISION, "sqrt": NO_DIVISION | {"Adamax"}}
X86 = platform.machine() in ("x86_64", "AMD64")

pytestmark = pytest.mark.skipif(
    not OBJECTS["baseline"] or not shutil.which("nm") or not shutil.which("objdump"),
    reason="needs the object files of a build in this checkout (pip install .), nm and objdump",
)
each_isa = pytest.mark.parametrize("isa", [isa for isa, found in OBJECTS.items() if found])


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_all_instruction_sets_were_built():
    assert {isa for isa, found in OBJECTS.items() if found} == ({*OBJECTS} if X86 else {"baseline"})
    assert all(found.keys() == {*FAMILIES, *LAYERS} for found in OBJECTS.values() if found)


@each_isa
def test_each_object_exports_one_table(isa):
    """Anything else that is shared could bring this instruction set into code that runs everywhere."""
    for part, path in OBJECTS[isa].items():
        symbols = [line.split() for line in output("nm", "-C", "--defined-only", path).splitlines()]
        shared = [" ".join(words[2:]) for words in symbols if words[1].isupper() or words[1] in "uvw"]
        assert shared == [f"ravine::{part}_{isa}" if part in LAYERS else f"ravine::rules_{part}_{isa}"]


@each_isa
def test_every_rule_is_packed(isa):
    if not X86:
        pattern, registers = r"\b(fsqrt|fdiv)\s+v\d+\.(2d|4s)", {"2d", "4s"}
        code = "".join(output("objdump", "-d", OBJECTS[isa][family]) for family in FAMILIES)
        found = {(m[1], m[2]) for m in re.finditer(pattern, code)}
        assert found == {(name, register) for name in ("fsqrt", "fdiv") for register in registers}
        return
    register = {"baseline": "xmm", "avx2": "ymm", "avx512": "zmm"}[isa]
    prefix = "" if isa == "baseline" else "v"
    text = "".join(output("objdump", "-dC", "--no-show-raw-insn", OBJECTS[isa][family]) for family in FAMILIES)
    code: dict[tuple[str, str], str] = {}
    for name, body in re.findall(r"^[0-9a-f]+ <([^\n]*)>:\n(.*?)(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL):
        if kernel := re.search(
            r"::(?:update|measure|propose|Factored\w*)<ravine::\(anonymous[^:]*::(\w+).*?, (float|double)", name
        ):
            code[kernel.groups()] = code.get(kernel.groups(), "") + body
    assert {name.lower() for name, _ in code} == {name.replace("_", "") for name in RULES}
    assert len(code) == 2 * len(RULES), sorted(code)
    for (rule, dtype), body in code.items():
        for instruction in ("mul", "sqrt", "div"):
            packed = rf"\b{prefix}{instruction}{'ps' if dtype == 'float' else 'pd'}\s.*%{register}"
            expected = instruction == "mul" or rule not in WITHOUT[instruction]
            assert bool(re.search(packed, body)) == expected, (rule, dtype, instruction)
        # The compiler takes prefetching for a function without effect where it does not inline it early.
        assert rule == "AdafactorFactored" or "prefetcht0" in body, (rule, dtype)
    assert not re.search(r"vfn?m(add|sub)", text), "contracted: the bits would differ"


@pytest.mark.skipif(not X86, reason="names the instructions of x86-64")
@each_isa
def test_layers_are_packed(isa):
    """Sums in float64, Philox' products, results, prefetches and stores past the caches."""
    register = {"baseline": "xmm", "avx2": "ymm", "avx512": "zmm"}[isa]
    text = output("objdump", "-d", "--no-show-raw-insn", OBJECTS[isa]["layers"])
    for instruction in ("addpd", "mulpd", "mulps", "pmuludq"):
        assert re.search(rf"\bv?{instruction}\s.*%{register}", text), instruction
    assert re.search(rf"\bv?movnt(dq|ps|pd)\s+%{register}", text)
    assert re.search(r"\bprefetcht0\b", text), "the compiler took prefetching for a function without effect"


def test_the_module_exports_its_entry_point_alone():
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    assert _core.__file__.endswith(suffix)
    defined = output("nm", "-D", "--defined-only", _core.__file__).splitlines()
    ours = [line.split()[-1] for line in defined if "ravine" in line]
    assert ours == []
