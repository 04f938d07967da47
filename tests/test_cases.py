"""Nothing public goes untested: whoever adds an optimizer or a rule adds it to the table of cases and to reference/."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
from cases import CASES
from closure_cases import CLOSURE_CASES, LOSSES
from ravine import _core, optim, reference

PUBLIC = {
    name
    for name in optim.__all__
    if inspect.isclass(getattr(optim, name)) and issubclass(getattr(optim, name), optim.Optimizer)
} - {"Optimizer", "Handoff"}  # the one has no rule, the other those of its stages


def test_every_public_optimizer_is_in_one_of_the_tables():
    names = [case.name for case in (*CASES, *CLOSURE_CASES)]
    assert len(names) == len(set(names))
    assert set(names) == PUBLIC, "add a row to tests/cases.py for each optimizer"


def test_every_public_optimizer_has_a_reference_and_a_golden_file():
    assert set(reference.__all__) == {name.lower() for name in PUBLIC}, "add python/ravine/reference/_<name>.py"
    golden = {path.stem for path in (Path(__file__).parent / "golden").glob("*.npz")}
    assert golden == PUBLIC, "run: python tests/golden/generate.py <Class>"


def test_every_public_optimizer_has_a_docs_entry():
    """With everything that an entry says, and the defaults that the class has."""
    text = (Path(__file__).parents[1] / "docs" / "optimizers.md").read_text(encoding="utf-8")
    entries = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))
    assert entries.keys() == PUBLIC
    for name, entry in entries.items():
        assert re.search(r"^```\n.*<-.*^```$", entry, re.MULTILINE | re.DOTALL), f"{name}: no formula"
        for label in ("When", "Source", "Deviations from .*"):
            assert re.search(rf"^\*\*{label}\*\*: \S", entry, re.MULTILINE), f"{name}: {label} is missing"
        said = re.search(r"^\*\*Defaults\*\*: `([^`]*)`$", entry, re.MULTILINE)
        arguments = inspect.signature(getattr(optim, name)).parameters.values()
        defaults = {a.name: a.default for a in arguments if a.name not in ("params", "foreach", "fused")}
        assert eval(f"dict({said[1]})") == defaults, name


def test_every_case_has_configurations_and_errors():
    for case in (*CASES, *CLOSURE_CASES):
        assert {} in case.configs, case.name
        assert case.errors, case.name


def test_every_rule_is_used_by_some_configuration():
    used = set()
    for case in CASES:
        for settings in case.configs:
            optimizer = case.optimizer([case.shaped(np.zeros(1))], **settings)
            rule = optimizer._rule(optimizer.defaults).name
            rules = {rule, optimizer._rule_of(np.zeros((1, 1)), rule)}
            assert rules <= set(case.optimizer._rules)
            used |= rules
    # "lerp" turns the parameters of schedule-free optimizers; SWATS comes to its second rule by itself.
    assert used | {"lerp", "swats_descent"} == set(_core.rules())


def test_reference_and_optimizer_have_the_same_defaults():
    for case in CASES:
        p, q, g = (case.shaped(np.array(values)) for values in ([1.0, 1, 1], [1.0, 1, 1], [0.1, -2, 3]))
        optimizer = case.optimizer([p])
        for _ in range(3):
            optimizer.step([g])
        case.run_reference({}, [q], [[g]] * 3, [{}])
        np.testing.assert_allclose(p, q, rtol=1e-14 if case.matrices else 0)
    for case in CLOSURE_CASES:
        loss, start = LOSSES["quadratic"]
        p, q, state = start.copy(), start.copy(), {}
        optimizer = case.optimizer([p])
        for _ in range(2):
            optimizer.step(lambda p=p, loss=loss: (loss(p)[0], [loss(p)[1]]))
            case.reference(q, lambda q=q, loss=loss: loss(q), state)
        np.testing.assert_allclose(p, q, rtol=1e-10)
