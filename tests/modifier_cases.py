"""Modified trainings that pytorch_optimizer 4.1 can make too: for tests/test_modifiers.py and golden/modifiers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

STEPS = 40
SHAPES = {"w": (60,), "b": (5,)}


class ModifierCase(NamedTuple):
    """An optimizer of pytorch_optimizer, and which one of ravine equals it with which modifiers."""

    theirs: str
    settings: dict[str, Any]
    ours: str
    ours_settings: dict[str, Any]
    modifiers: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.theirs}-{','.join(f'{key}={value}' for key, value in self.settings.items())}"


def _case(theirs: str, ours: str, modifiers: dict[str, Any], common: dict[str, Any], **more: Any) -> ModifierCase:
    """Return a case, `weight_decouple` and `cautious` being theirs alone, as are `more`."""
    settings = {key: value for key, value in common.items() if key != "eps_root"} | more
    ours_settings = dict(common)
    if more.get("weight_decouple") and ours == "Adam":
        ours_settings["decoupled_weight_decay"] = True
    return ModifierCase(theirs, settings, ours, ours_settings, modifiers)


CAUTIOUS = {"cautious": True}
# AdamP is Adam where a parameter is a vector, with eps beside the raw root, so that it must be 0 here.
MODIFIER_CASES = [
    _case(
        "Lion",
        "Lion",
        CAUTIOUS,
        {"lr": 0.01, "betas": (0.9, 0.99), "weight_decay": 0.1},
        weight_decouple=True,
        **CAUTIOUS,
    ),
    _case(
        "Lion", "Lion", CAUTIOUS, {"lr": 0.03, "betas": (0.5, 0.8), "weight_decay": 0.0, "maximize": True}, **CAUTIOUS
    ),
    *(
        _case(
            "AdamP",
            "Adam",
            CAUTIOUS,
            {"lr": 0.01, "betas": betas, "eps": 0.0, "weight_decay": decay, "maximize": maximize},
            weight_decouple=True,
            **CAUTIOUS,
        )
        for betas, decay, maximize in [((0.9, 0.999), 0.1, False), ((0.5, 0.9), 0.0, False), ((0.9, 0.99), 0.1, True)]
    ),
    *(
        _case(
            "StableAdamW",
            "Adam",
            {"max_grad_rms": 1.0},
            {"lr": 0.01, "betas": betas, "eps": eps, "weight_decay": decay, "maximize": maximize},
            weight_decouple=decoupled,
        )
        for betas, eps, decay, decoupled, maximize in [
            ((0.9, 0.99), 1e-8, 0.01, True, False),
            ((0.9, 0.999), 1e-3, 0.5, True, False),
            ((0.5, 0.9), 1e-8, 0.1, False, False),
            ((0.9, 0.99), 1e-8, 0.1, True, True),
        ]
    ),
]


def problem() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return start values, and gradients (STEPS, ...) with some that are a hundred times greater than usual."""
    rng = np.random.default_rng(14)
    start = {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}
    sizes = np.where(rng.random(STEPS) < 0.2, 100.0, 1.0)
    grads = {name: rng.standard_normal((STEPS, *shape)) * sizes[:, None] for name, shape in SHAPES.items()}
    return start, grads
