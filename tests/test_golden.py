"""The optimizers give what their oracles gave in float64: tests/golden/generate.py made the files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cases import CASES, LATE, LR_FACTOR, STEPS, id_of
from closure_cases import CLOSURE_CASES, LOSSES

GOLDEN = Path(__file__).parent / "golden"
GOLDEN_CONFIGS = [(case, i, config) for case in CASES for i, config in enumerate(case.golden_configs)]
IDS = [f"{case.name}-{id_of(config)}" for case, _, config in GOLDEN_CONFIGS]


def run(case, config, golden, dtype):
    """Return our parameters and states after the steps, and how far each parameter went."""
    params = {key: case.shaped(golden[f"start/{key}"].astype(dtype)) for key in ("w", "b")}
    grads = {key: [case.shaped(g) for g in golden[f"grads/{key}"].astype(dtype)] for key in params}
    late = 0 if case.together else LATE
    optimizer = case.optimizer(params, **config)
    lr = optimizer.param_groups[0]["lr"]
    largest = {key: np.abs(p) for key, p in params.items()}
    for t in range(STEPS):
        optimizer.param_groups[0]["lr"] = lr * LR_FACTOR**t
        optimizer.step({"w": grads["w"][t], "b": None if t < late else grads["b"][t]})
        largest = {key: np.maximum(largest[key], np.abs(p)) for key, p in params.items()}
    result = dict(params)
    for key, p in params.items():
        state = dict(optimizer.state[p])
        assert state.pop("step") == (STEPS if key == "w" else STEPS - late)
        result |= {f"{key}.{name}": value for name, value in state.items()}
    return result, largest


@pytest.fixture(scope="module")
def files():
    return {case.name: dict(np.load(GOLDEN / f"{case.name}.npz")) for case in (*CASES, *CLOSURE_CASES)}


def test_the_files_hold_the_table_of_cases(files):
    """Whoever adds a configuration has to run generate.py."""
    for case in CASES:
        held = json.loads(str(files[case.name]["configs"]))
        assert held == json.loads(json.dumps(case.golden_configs)), case.name
    for case in CLOSURE_CASES:
        assert json.loads(str(files[case.name]["configs"])) == case.configs, case.name


@pytest.mark.parametrize(("case", "i", "config"), GOLDEN_CONFIGS, ids=IDS)
def test_float64(case, i, config, files):
    golden = files[case.name]
    ours, _ = run(case, config, golden, np.float64)
    theirs = {key.partition("/")[2]: value for key, value in golden.items() if key.startswith(f"{i}/")}
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        np.testing.assert_allclose(ours[key], value, rtol=1e-12, atol=0, err_msg=key)


@pytest.mark.parametrize(("case", "i", "config"), GOLDEN_CONFIGS, ids=IDS)
def test_float32(case, i, config, files):
    """A few units in the last place of the largest value an element had: torch's own float32 is up to 10.7 away.

    Products of matrices, and learning rates that are found on the way, carry the rounding of all elements to each.
    """
    units = 100 if case.matrices or case.together else 11
    golden = files[case.name]
    ours, largest = run(case, config, golden, np.float32)
    for key in ("w", "b"):
        ulp = np.spacing(largest[key])
        assert (np.abs(ours[key] - golden[f"{i}/{key}"]) / ulp).max() <= units, key


CLOSURE_GOLDEN = [(case, i, config) for case in CLOSURE_CASES for i, config in enumerate(case.configs)]
CLOSURE_IDS = [f"{case.name}-{id_of(config)}" for case, _, config in CLOSURE_GOLDEN]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("case", "i", "config"), CLOSURE_GOLDEN, ids=CLOSURE_IDS)
def test_closures(case, i, config, loss, files):
    """The same places after as many evaluations and iterations; sums in another order differ by their rounding."""
    function, start = LOSSES[loss]
    x = start.copy()
    optimizer = case.optimizer([x], **config)

    def closure():
        value, gradient = function(x)
        return value, [gradient]

    for func_evals, n_iter, *theirs in files[case.name][f"{i}/{loss}"]:
        optimizer.step(closure)
        np.testing.assert_allclose(x, theirs, rtol=1e-10, atol=1e-10 * np.abs(start).max())
        assert (optimizer.state[x]["func_evals"], optimizer.state[x]["n_iter"]) == (func_evals, n_iter)
