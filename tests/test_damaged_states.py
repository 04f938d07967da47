"""A damaged state is refused with a ValueError that says why, and changes nothing: every optimizer, schedule and layer.

Some damaged forms are valid (another learning rate, say): they are loaded, and what follows works. A part of the forms
is tried each time; RAVINE_TEST_DAMAGE=1 tries all, of every configuration. `python tests/test_damaged_states.py` does
so too, and counts them.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cases
import numpy as np
import pytest
import schedule_cases
from closure_cases import CLOSURE_CASES
from damage import Findings, load_damaged
from ravine import nn, optim
from ravine.optim.lr_scheduler import ExponentialLR, HyperparameterScheduler, ReduceLROnPlateau, StepLR

ALL = "RAVINE_TEST_DAMAGE" in os.environ or __name__ == "__main__"


@dataclass(frozen=True)
class Subject:
    """What loads states: `make(n)` returns one that has been used n times with `use`."""

    name: str
    new: Callable[[], Any]
    use: Callable[[Any], Any]

    def make(self, times: int) -> Any:
        made = self.new()
        for _ in range(times):
            self.use(made)
        return made

    def damaged(self, most: int | None = None) -> Findings:
        """Load damaged forms of the state after three uses, about as many as `most`."""
        return load_damaged(lambda: self.make(1), self.use, self.make(3).state_dict(), most)


def optimizers() -> Iterator[Subject]:
    for case in cases.CASES:

        def step(optimizer, case=case):
            if not all(group.get("train_mode", True) for group in optimizer.param_groups):
                optimizer.train()
            with np.errstate(all="ignore"):  # what is valid may be too large to compute with
                optimizer.step([case.shaped(np.linspace(0.5, 2, 4)), case.shaped(np.ones(2))])

        for config in case.configs if ALL else case.configs[:1]:

            def new(case=case, config=config):
                return case.optimizer(
                    [{"params": {"a": case.shaped(np.ones(4))}}, {"params": {"b": case.shaped(np.ones(2))}}], **config
                )

            yield Subject(f"{case.name} {cases.id_of(config)}", new, step)


def optimizers_of_their_own() -> Iterator[Subject]:
    for config in CLOSURE_CASES[0].configs if ALL else CLOSURE_CASES[0].configs[:2]:
        yield Subject(
            f"LBFGS {cases.id_of(config)}",
            lambda config=config: optim.LBFGS([np.ones(4)], **config),
            lambda optimizer: optimizer.step(lambda: loss_and_gradient(optimizer)),
        )
    yield Subject(
        "Handoff",
        lambda: optim.Handoff([optim.Adam([w := np.ones(3)]), optim.SGD([w], momentum=0.9)], at=[2]),
        lambda handoff: handoff.step([np.ones(3)]),
    )


def drivers() -> Iterator[Subject]:
    def optimizer():
        return optim.SGD([np.ones(3), np.ones((4, 2))], lr=0.1)

    rows = optim.SparseGrad(np.array([3, 1]), np.ones((2, 2)), (4, 2))
    yield Subject(
        "Accumulator",
        lambda: optim.Accumulator(optimizer(), every=4),
        lambda acc: acc.flush() if acc.pending == acc.every else acc.step([np.ones(3), rows]),
    )

    scaled = optimizer()

    def iterate(scaler):
        scaler.step(scaled, [np.ones(3), None])
        scaler.update()

    yield Subject("GradScaler", lambda: optim.GradScaler(growth_interval=2), iterate)


def loss_and_gradient(optimizer):
    x, curvatures = optimizer.param_groups[0]["params"][0].data, np.arange(1, 5)
    with np.errstate(all="ignore"):
        return float(x @ (x * curvatures)), [2 * curvatures * x]


def schedules() -> Iterator[Subject]:
    for case in schedule_cases.CASES:
        yield Subject(case.id, lambda case=case: schedule_cases.make(case), step_both)
    for config in ({}, {"mode": "max", "min_lr": [0.01, 0.02], "patience": 1, "cooldown": 1}):
        yield Subject(
            f"ReduceLROnPlateau {cases.id_of(config)}",
            lambda config=config: ReduceLROnPlateau(schedule_cases.ravine_optimizer(), **config),
            lambda schedule: schedule.step(1.0),
        )
    for key, kind, config in (
        ("weight_decay", ExponentialLR, {"gamma": 0.5}),
        (("betas", 0), StepLR, {"step_size": 2}),
    ):
        yield Subject(
            f"HyperparameterScheduler {key}",
            lambda key=key, kind=kind, config=config: HyperparameterScheduler(
                optim.AdamW([np.zeros(1), np.zeros(1)]), key, kind, **config
            ),
            step_both,
        )


def step_both(schedule):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        schedule.optimizer.step([np.ones(1)] * 2)
        schedule.step()


def layers() -> Iterator[Subject]:
    rng = np.random.default_rng(0)
    for config in ({}, {"momentum": None, "dtype": np.float64}, {"track_running_stats": False}, {"affine": False}):
        yield Subject(
            f"BatchNorm1d {cases.id_of(config)}",
            lambda config=config: nn.BatchNorm1d(3, **config),
            lambda layer: layer(rng.standard_normal((4, 3)).astype(layer.dtype)),
        )
    for kind in (nn.Dropout, nn.AlphaDropout):
        yield Subject(kind.__name__, lambda kind=kind: kind(seed=3), lambda layer: layer(np.ones(1000)))


SUBJECTS = [*optimizers(), *optimizers_of_their_own(), *drivers(), *schedules(), *layers()]


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_damaged_states_are_refused_and_change_nothing(subject):
    findings = subject.damaged(None if ALL else 100)
    assert findings.faults == []
    assert findings.loaded > 0 < findings.refused


if __name__ == "__main__":
    totals = np.zeros(3, int)
    for subject in SUBJECTS:
        if all(name not in subject.name for name in sys.argv[1:] or [""]):
            continue
        loaded, refused, faults = subject.damaged()
        totals += (loaded, refused, len(faults))
        print(f"{loaded:6} loaded {refused:6} refused {len(faults):6} faults   {subject.name}", *faults, sep="\n    ")
    print(f"{totals[0]:6} loaded {totals[1]:6} refused {totals[2]:6} faults   in all {totals.sum()}")
    sys.exit(bool(totals[2]))
