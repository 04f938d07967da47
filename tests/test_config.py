from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import ravine
from ravine import _core, config, optim
from ravine.cli import main


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_show_and_the_command(capsys):
    config.show()
    shown = capsys.readouterr().out
    assert main(["info"]) == 0
    assert capsys.readouterr().out == shown
    for key in ("ravine", "numpy", "instruction set", "threads", "compiler", "flags"):
        assert key in shown
    assert config.get_isa() in shown


def test_threads():
    default = config.get_num_threads()
    assert default >= 1
    config.set_num_threads(3)
    assert config.get_num_threads() == 3
    config.set_num_threads(None)
    assert config.get_num_threads() == default
    for wrong in (0, -1, 2.0, True, "2"):
        with pytest.raises(ValueError, match="expected a whole number, 1 or more, or None"):
            config.set_num_threads(wrong)
    assert config.get_num_threads() == default


def test_threads_at_the_top():
    ravine.set_num_threads(3)
    assert ravine.get_num_threads() == config.get_num_threads() == 3


def test_threads_by_default():
    """No more than there are CPUs, whatever OMP_NUM_THREADS says; fewer where it says so."""
    code = "import ravine; print(ravine.get_num_threads())"
    cpus = int(python(code, OMP_NUM_THREADS="").stdout)
    assert 1 <= cpus <= os.cpu_count()
    assert int(python(code, OMP_NUM_THREADS="1").stdout) == 1
    assert int(python(code, OMP_NUM_THREADS="1000").stdout) == cpus
    assert int(python(code, OMP_NUM_THREADS="1000", RAVINE_THREADS="7").stdout) == 7


MUCH = 2**31 - 1


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, MUCH),
        ("0::/\n", {"cpu.max": "300000 100000\n"}, 3),
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "400000 100000\n"}, 4),
        ("0::/a/b\n", {"a/b/cpu.max": "200000 100000\n", "a/cpu.max": "400000 100000\n"}, 2),
        ("0::/outside/b\n", {"cpu.max": "200000 100000\n"}, 2),
        (
            "3:cpu,cpuacct:/a\n",
            {"cpu,cpuacct/a/cpu.cfs_quota_us": "200000", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"},
            2,
        ),
        ("3:cpu:/\n0::/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, MUCH),
        ("3:cpuset:/\n2:cpuacct:/\n", {"cpuset/cpu.max": "100000 100000"}, MUCH),
        ("nonsense\n\n0::/\n", {"cpu.max": "quick\n"}, MUCH),
        ("", {}, MUCH),
    ],
)
def test_quotas_of_control_groups(tmp_path, membership, files, expected):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert _core.cpus_by_quota(membership, str(tmp_path)) == expected


def test_the_environment_chooses():
    code = "from ravine import config; print(config.get_isa(), config.get_num_threads(), config.get_threading())"
    for isa in config.available_isas():
        run = python(code, RAVINE_ISA=isa, RAVINE_THREADS="5", RAVINE_THREADING="off")
        assert run.stdout.split() == [isa, "5", "off"], run.stderr
    run = python(code, RAVINE_THREADING="auto")
    assert run.stdout.split()[2] == "pool", run.stderr


def test_a_wrong_environment_is_an_error():
    run = python("import ravine", RAVINE_ISA="mmx")
    assert "RAVINE_ISA: instruction set 'mmx' is not available here; choose one of 'baseline'" in run.stderr
    run = python("import ravine", RAVINE_THREADING="magic")
    assert "RAVINE_THREADING: threading 'magic' is not available here; choose one of 'pool'" in run.stderr


@pytest.mark.parametrize(("name", "least"), [("RAVINE_THREADS", 1), ("RAVINE_PREFETCH", 0)])
@pytest.mark.parametrize("number", ["0", "two", "-1", "1.5", "9999999"])
def test_a_wrong_number_is_an_error(name, least, number):
    run = python("import ravine", **{name: number})
    if number == str(least):
        assert run.returncode == 0, run.stderr
    else:
        assert f"{name}: '{number}' is not a whole number, {least} or more, or unset {name}" in run.stderr


@pytest.mark.parametrize("ahead", [0, 64, 2048])
def test_the_environment_chooses_how_far_ahead_memory_is_asked_for(ahead):
    run = python("from ravine import config; print(config.info()['prefetch'])", RAVINE_PREFETCH=str(ahead))
    assert run.stdout.strip() == (f"{ahead} bytes ahead" if ahead else "the processor's own"), run.stderr


@pytest.mark.parametrize("optimizer", [optim.Adam, optim.LAMB])
def test_the_bits_do_not_depend_on_it(optimizer):
    rng = np.random.default_rng(0)
    start, gradient = (rng.standard_normal(20_003).astype(np.float32) for _ in range(2))
    results = []
    for ahead in (0, 64, 2048, 1 << 16):
        _core.set_prefetch(ahead)
        p = start.copy()
        optimizer([p]).step([gradient])
        results.append(p)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@pytest.mark.parametrize("threading", config.available_threadings())
def test_more_threads_than_any_machine_has(threading):
    code = """
import numpy as np
from ravine import config, optim
p = np.zeros(1 << 21)
optim.SGD([p], lr=1.0).step([np.ones(1 << 21)])
print(config.get_num_threads(), p.min(), p.max())
config.set_num_threads(10**12)
print(config.get_num_threads())
"""
    run = python(code, RAVINE_THREADS="99999", RAVINE_THREADING=threading)
    assert run.stdout.split() == ["256", "-1.0", "-1.0", "256"], run.stderr


def test_threading():
    for name in config.available_threadings():
        config.set_threading(name)
        assert config.get_threading() == name
    with pytest.raises(ValueError, match="threading 'magic' is not available here"):
        config.set_threading("magic")


def test_importing_is_light():
    """NumPy alone is imported, and no extra."""
    code = (
        "import sys, numpy; before = set(sys.modules); import ravine; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    run = python(code)
    brought = set(run.stdout.split())
    assert "ravine" in brought, run.stderr
    assert not brought - {"ravine"} - set(sys.stdlib_module_names)


def test_no_more_threads_than_there_are_places_for():
    config.set_num_threads(99_999)
    assert config.get_num_threads() == 256
