"""Trainings that are saved in one process and go on in another: optimizers, each under schedules.

`python tests/checkpoint_cases.py DIR` goes on with those in DIR/saved.ckpt and saves how they end in DIR/ended.ckpt.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import schedule_cases
from cases import CASES
from closure_cases import CLOSURE_CASES, quadratic
from ravine import checkpoint, nn, optim
from ravine.data import minibatches
from ravine.optim.lr_scheduler import HyperparameterScheduler, ReduceLROnPlateau, StepLR

SAVED, STEPS = 7, 16


@dataclass
class Training:
    """What is saved, and how it goes on for a step."""

    params: list[Any]
    optimizer: optim.Optimizer
    schedules: list[Any]
    step: Callable[[int], None]

    def parts(self) -> dict[str, Any]:
        return {"params": self.params, "optimizer": self.optimizer, "scheduler": self.schedules}


def params() -> list[Any]:
    arrays = [np.linspace(-1, 1, 12).reshape(shape[0], -1)[:, : shape[1]].copy() for shape in ((3, 4), (3, 2))]
    return [arrays[0], np.asfortranarray(arrays[1])]


def gradients(k: int, like: list[Any]) -> list[Any]:
    rng = np.random.default_rng(k)
    return [rng.standard_normal(p.shape) for p in like]


def training(make: Callable[[list[Any]], optim.Optimizer], schedules: Callable[[Any], list[Any]]) -> Training:
    """Return a training by gradients, of two groups as the cases of schedules have them."""
    arrays = params()
    optimizer = make([{"params": [p], "lr": lr} for p, lr in zip(arrays, schedule_cases.LRS, strict=True)])
    driving = schedules(optimizer)

    def step(k: int) -> None:
        optimizer.step(gradients(k, arrays))
        for schedule in driving:
            schedule.step(*([1 / (1 + k // 3)] if isinstance(schedule, ReduceLROnPlateau) else []))

    return Training(arrays, optimizer, driving, step)


def schedule_of(case: schedule_cases.ScheduleCase, optimizer: Any) -> Any:
    """Return a case's schedule, or None where it moves a momentum that the optimizer has not."""
    try:
        return case.make(schedule_cases.ravine_schedules(), optimizer)
    except ValueError as error:
        if "neither momentum nor betas" in str(error):
            return None
        raise


def trainings() -> dict[str, Callable[[], Training]]:
    """Return all of them by name: every optimizer x every schedule of the tables that it can be driven by."""
    made: dict[str, Callable[[], Training]] = {}
    s = schedule_cases.ravine_schedules()
    for case in CASES:
        for i, config in enumerate(case.configs):
            settings = {name: value for name, value in config.items() if name != "lr"}
            # The schedules go through the table, so that each optimizer meets several, and each schedule is met.
            of_schedule = schedule_cases.CASES[(7 * CASES.index(case) + i) % len(schedule_cases.CASES)]

            def make(groups: list[Any], case=case, settings=settings) -> optim.Optimizer:
                return case.optimizer(groups, **settings)

            def schedules(optimizer: Any, of_schedule=of_schedule) -> list[Any]:
                return [schedule_of(of_schedule, optimizer) or s.ExponentialLR(optimizer, 0.9)]

            made[f"{case.name} {i} {of_schedule.id}"] = lambda m=make, d=schedules: training(m, d)
    for of_schedule in schedule_cases.CASES:
        settings = {"momentum": 0.9} if of_schedule.optimizer == "SGD" else {}

        def plain(groups: list[Any], name=of_schedule.optimizer, settings=settings) -> optim.Optimizer:
            return getattr(optim, name)(groups, **settings)

        made[f"schedule {of_schedule.id}"] = lambda m=plain, c=of_schedule: training(m, lambda o: [c.make(s, o)])
    for i, together in enumerate(schedule_cases.TOGETHER):
        made[f"together {i}"] = lambda t=together: training(lambda g: optim.SGD(g, momentum=0.9), lambda o: t(s, o))
    made["plateau"] = lambda: training(optim.Adam, lambda o: [ReduceLROnPlateau(o, patience=1)])
    made["weight decay"] = lambda: training(
        optim.AdamW, lambda o: [HyperparameterScheduler(o, "weight_decay", lambda view: StepLR(view, 2, 0.5))]
    )
    made["Handoff"] = lambda: training(
        lambda groups: optim.Handoff([optim.Adam(groups), optim.SGD(groups, momentum=0.9)], at=[SAVED + 2]),
        lambda o: [StepLR(o, 3)],
    )
    made["Handoff, handed over"] = lambda: training(
        lambda groups: optim.Handoff([optim.Adam(groups), optim.SGD(groups, momentum=0.9)], at=[SAVED - 1]),
        lambda o: [StepLR(o, 3)],
    )
    for case in CLOSURE_CASES:
        for i, config in enumerate(case.configs):
            made[f"{case.name} {i}"] = lambda c=case, config=config: closure_training(c, {**config, "max_iter": 2})
    made["layers"] = layer_training
    return made


def closure_training(case: Any, config: dict[str, Any]) -> Training:
    x = np.ones(8)
    optimizer = case.optimizer([x], **config)
    schedule = StepLR(optimizer, 4, 0.9)

    def closure() -> Any:
        loss, gradient = quadratic(x)
        return loss, [gradient]

    def step(k: int) -> None:
        optimizer.step(closure)
        schedule.step()

    return Training([x], optimizer, [schedule], step)


class LayerTraining(Training):
    """Batch norm and dropout before a linear layer, and samples in random order."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(5)
        self.layers = {"bn": nn.BatchNorm1d(4, momentum=None), "drop": nn.Dropout(0.3, seed=1)}
        self.w = nn.Parameter(np.linspace(-1, 1, 4, dtype=np.float32).reshape(4, 1))
        self.X = np.random.default_rng(6).standard_normal((24, 4)).astype(np.float32)
        params = [self.w, *self.layers["bn"].parameters()]
        optimizer = optim.AdamWScheduleFree(params, lr=0.1)
        super().__init__([self.w], optimizer, [StepLR(optimizer, 3)], self._epoch)

    def parts(self) -> dict[str, Any]:
        return {**super().parts(), "layers": self.layers, "rng": self.rng}

    def _epoch(self, k: int) -> None:
        bn, drop = self.layers.values()
        self.optimizer.train()
        for (x,) in minibatches(self.X, batch_size=7, rng=self.rng):
            self.optimizer.zero_grad()
            h = drop(bn(x))
            y = h @ self.w.data - x.sum(axis=1, keepdims=True)
            self.w.grad += h.T @ y
            bn.backward(drop.backward(y @ self.w.data.T))
            self.optimizer.step()
        self.optimizer.eval()
        self.schedules[0].step()


def layer_training() -> Training:
    return LayerTraining()


def outcome(training: Training) -> list[Any]:
    """Return everything that has to be the same: the arrays, and the states of all parts."""
    parts = training.parts()
    layers = parts.get("layers", {})
    return [
        [np.asarray(p) for p in training.params],
        training.optimizer.state_dict(),
        [schedule.state_dict() for schedule in training.schedules],
        [layer.state_dict() for layer in layers.values()],
        parts["rng"].bit_generator.state if "rng" in parts else None,
    ]


def assert_same(one, other):
    """Equal, and of the same types all the way down: ints stay ints, tuples tuples."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        assert [type(key) for key in one] == [type(key) for key in other]
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape, one.flags.f_contiguous) == (other.dtype, other.shape, other.flags.f_contiguous)
        assert one.tobytes() == other.tobytes()
    else:
        assert one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))


def together(trainings: dict[str, Training]) -> dict[str, Any]:
    """Return the parts of many trainings, by name, as one file holds them."""
    parts: dict[str, Any] = {"params": {}, "optimizer": {}, "scheduler": {}, "layers": {}, "rng": {}}
    for name, each in trainings.items():
        of_one = each.parts()
        parts["params"].update({f"{name}, {i}": value for i, value in enumerate(of_one["params"])})
        parts["optimizer"][name] = of_one["optimizer"]
        parts["scheduler"].update({f"{name}, {i}": value for i, value in enumerate(of_one["scheduler"])})
        parts["layers"].update({f"{name}, {key}": value for key, value in of_one.get("layers", {}).items()})
        parts["rng"].update({name: of_one["rng"]} if "rng" in of_one else {})
    return parts


def make_all() -> dict[str, Training]:
    return {name: make() for name, make in trainings().items()}


def go_on(made: dict[str, Training], begin: int, end: int) -> dict[str, list[Any]]:
    """Make steps of all trainings, and return what they end with."""
    for each in made.values():
        for k in range(begin, end):
            each.step(k)
    return {name: outcome(each) for name, each in made.items()}


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    loaded = make_all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        start = checkpoint.load(directory / "saved.ckpt", **together(loaded)).step
        checkpoint.save(directory / "ended.ckpt", extra=go_on(loaded, start, STEPS))
