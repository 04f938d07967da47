"""What the documentation shows works: code blocks, docstrings, examples."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ravine

ROOT = Path(__file__).parents[1]
MODULES = [name for _, name, _ in pkgutil.walk_packages(ravine.__path__, "ravine.")]


def run(path):
    """Return the module of a file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_runs(capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert capsys.readouterr().out.startswith("0.065\n")
    np.testing.assert_allclose(names["params"]["w"], [1, -2, 0.5], atol=0.01)
    np.testing.assert_allclose(names["params"]["b"], [3], atol=0.01)


def test_the_page_on_schedules_runs():
    names: dict[str, object] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/schedulers.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 7
    checked = 0
    for block in blocks:
        exec(compile(block, "schedulers.md", "exec"), names)
        for expression, value in re.findall(r"^(\S.*\.\w+_at\(.*\))  # (\[.*?\])", block, re.MULTILINE):
            assert eval(expression, names) == pytest.approx(eval(value))
            checked += 1
    assert checked == 3


def test_the_page_on_optimizers_runs(capsys):
    names: dict[str, object] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/optimizers.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    for block in blocks:
        exec(compile(block, "optimizers.md", "exec"), names)
    np.testing.assert_allclose(names["x"], 1, atol=1e-3)
    assert 30 < names["lbfgs"].state[names["x"]]["func_evals"] < 50
    assert np.flatnonzero(names["table"].any(axis=1)).tolist() == [3, 1415]
    assert names["handoff"].stage == 1
    np.testing.assert_allclose(names["w"], [1, 2, 3], atol=0.3)
    printed = capsys.readouterr().out
    said = re.findall(r"^# (layer_.*)$", blocks[3], re.MULTILINE)
    assert len(said) == 4
    assert "\n".join(said) in printed
    assert printed.endswith("['head.weight']\n")
    assert names["cautious"].param_groups[0].keys() >= {"max_grad_rms"}


def test_the_page_on_checkpoints_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/checkpoints.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    for block in blocks:
        exec(compile(block, "checkpoints.md", "exec"), names)
    assert names["sched"].last_epoch == 11
    assert len(list(names["rest"])) == 2
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {"run.ckpt", "run.000001.ckpt", "middle.ckpt", "state.npz"}


def test_the_page_on_a_training_step_runs(capsys):
    page = (ROOT / "docs/training-step.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 11
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "training-step.md", "exec"), names)
    said = re.findall(r"^print\(.*\)  # (.*)$", "".join(blocks), re.MULTILINE)
    assert len(said) == 11
    for name in ravine.optim.swa_utils.__all__:
        assert re.search(rf"`(swa_utils\.)?{name}\b", page), name
    assert capsys.readouterr().out.splitlines() == said


def test_the_page_on_a_training_step_counts_the_bytes_of_its_picture():
    pictures = run(ROOT / "docs/pictures.py")
    rows = re.findall(r"^\|[^|]+\| (\d+) \| (\d+) \|$", (ROOT / "docs/training-step.md").read_text(), re.MULTILINE)
    (*one_by_one, total), (*in_one_step, total_in_one_step) = (
        [int(n) for n in column] for column in zip(*rows, strict=True)
    )
    assert one_by_one == [pictures.bytes_of(touched) for touched in pictures.ONE_BY_ONE.values()]
    assert sum(in_one_step) == sum(pictures.bytes_of(touched) for touched in pictures.IN_ONE_STEP.values())
    assert (total, total_in_one_step) == (sum(one_by_one), sum(in_one_step)) == (64, 44)


def test_the_page_on_optimizers_has_a_row_for_each():
    """The entries below the table are checked in tests/test_cases.py."""
    page = (ROOT / "docs/optimizers.md").read_text()
    rows = re.findall(r"^\| \[(\w+)\]\(#(\w+)\) \| [^|]+ \| [^|]+\d{4}[^|]* \| ([^|]+) \|$", page, re.MULTILINE)
    entries = re.findall(r"^### (\w+)\n.*?^\*\*Deviations from ([^*]+)\*\*", page, re.MULTILINE | re.DOTALL)
    assert [(name, followed) for name, _, followed in rows] == entries
    assert [anchor for _, anchor, _ in rows] == [name.lower() for name, _ in entries]


def test_the_page_on_schedules_has_all_and_their_pictures():
    page = (ROOT / "docs/schedulers.md").read_text()
    sections = re.findall(r"^### (\w+)$", page, re.MULTILINE)
    public = {*ravine.optim.lr_scheduler.__all__, "SWALR"} - {"LRScheduler"}
    assert set(sections) == public
    shown = re.findall(r"^!\[(\w+)\]\((.*)\)$", page, re.MULTILINE)
    assert [name for name, _ in shown] == [name for name in sections if name != "HyperparameterScheduler"]
    pictures = {(ROOT / "docs" / path).resolve() for _, path in shown}
    assert pictures == set((ROOT / "docs/images/schedules").resolve().glob("*.png"))


def test_the_pictures_are_made_by_a_command(tmp_path):
    pytest.importorskip("matplotlib")
    subprocess.run([sys.executable, ROOT / "docs/pictures.py", tmp_path], check=True)
    made = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")}
    images = ROOT / "docs/images"
    # Training and measurements made the others.
    others = {Path("digits.png"), *(path.relative_to(images) for path in (images / "peers").iterdir())}
    assert made == {path.relative_to(images) for path in images.rglob("*.*")} - others
    assert sum(path.stat().st_size for path in images.rglob("*.*")) < 500_000


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_examples(path, capsys):
    if "torch" in path.stem:
        pytest.importorskip("torch")
    result = run(path).main()
    if isinstance(result, dict):
        assert result["Adam"] < result["SGD with momentum"] < result["SGD"]
    else:
        assert result < 0.05
    assert capsys.readouterr().out
