"""The installed package holds what users need and nothing else."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest
import ravine

ROOT = Path(__file__).parents[1]


@pytest.fixture
def distribution():
    try:
        return importlib.metadata.distribution("ravine")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("a development build, which is not installed")


@pytest.fixture
def installed(distribution):
    files = [str(path) for path in distribution.files or []]
    if not any(file.startswith("ravine/optim/") for file in files):
        pytest.skip("an editable installation, which lists no files of the package")
    return files


def test_no_sources_and_no_tests(installed):
    files = [file for file in installed if ".dist-info/" not in file]
    assert not [file for file in files if re.search(r"\.(cpp|hpp|txt|cmake|o)$|(^|/)(tests?|bench|cpp)/", file)]
    modules = {
        "ravine/" + str(path.relative_to(ROOT / "python/ravine")) for path in ROOT.glob("python/ravine/**/*.py*")
    }
    modules = {name for name in modules if "__pycache__" not in name}
    assert modules <= set(files), "a module is missing"
    assert "ravine/py.typed" in files
    assert [file for file in files if re.match(r"ravine/_core\..*(so|pyd)$", file)]
    assert [file for file in installed if file.endswith("LICENSE")]


def test_version_and_metadata(distribution):
    metadata = distribution.metadata
    assert metadata["Version"] == ravine.__version__
    assert metadata["License-Expression"] == "MIT"
    required = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert [re.match(r"\w+", line)[0] for line in required] == ["numpy"]


def test_the_readme_opens_with_the_two_commands():
    first = re.search(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1].splitlines()
    assert [line.split("  ")[0] for line in first] == [
        'pip install ".[demo]" && ravine demo digits',
        'pip install ".[test]" && pytest',
    ]
