"""What the documentation shows works: code blocks, docstrings, examples."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest
import ravine

ROOT = Path(__file__).parents[1]
MODULES = [name for _, name, _ in pkgutil.walk_packages(ravine.__path__, "ravine.")]


def test_the_readme_runs(capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert capsys.readouterr().out.startswith("0.065\n")
    np.testing.assert_allclose(names["params"]["w"], [1, -2, 0.5], atol=0.01)
    np.testing.assert_allclose(names["params"]["b"], [3], atol=0.01)


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_examples(path, capsys):
    if "torch" in path.stem:
        pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    result = module.main()
    if isinstance(result, dict):
        assert result["Adam"] < result["SGD with momentum"] < result["SGD"]
    else:
        assert result < 0.05
    assert capsys.readouterr().out
