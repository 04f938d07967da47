"""What is interrupted: every optimizer, schedule and layer, doing the same things as often as one likes.

Two subjects made by one function do the same to the bit, so that one that was interrupted can be held against another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from cases import CASES
from ravine import nn, optim
from ravine.optim import swa_utils
from schedule_cases import CASES as SCHEDULES
from schedule_cases import ravine_optimizer, ravine_schedules

from fuzz.memory import frozen
from fuzz.models import everything

Array = np.ndarray[Any, Any]

_GRADS = [np.random.default_rng(seed).standard_normal((2, 2, 3)) for seed in range(3)]


class Subject:
    """Something that acts, and whose state can be compared.

    Attributes:
        k: how many times it has acted.
    """

    def __init__(self, act: Callable[[int], Any], look: Callable[[], Any]) -> None:
        self.k = 0
        self._act, self._look = act, look

    def act(self) -> None:
        """Act once."""
        self._act(self.k)
        self.k += 1

    def state(self) -> Any:
        """Return its state."""
        return frozen(self._look(), identities=False)


def _all_of(optimizer: optim.Optimizer) -> Any:
    """Return all but whether it has stepped, which has a subject of its own."""
    return everything(optimizer)[1:]


def _params() -> list[Array]:
    return [np.full((2, 3), 0.5), np.full((2, 3), -1.0)]


def _grouped(cls: Any, config: dict[str, Any]) -> tuple[Any, list[Array]]:
    arrays = _params()
    return cls([{"params": arrays[:1]}, {"params": arrays[1:], "lr": 0.05}], **config), arrays


def _stepping(cls: Any, config: dict[str, Any]) -> Subject:
    optimizer, arrays = _grouped(cls, config)

    def act(k: int) -> None:
        if k % 7 == 6:
            optimizer.param_groups[0]["lr"] = 0.01 + k % 5 / 100
        else:
            optimizer.step(list(_GRADS[k % 3]))

    return Subject(act, lambda: [arrays, _all_of(optimizer)])


def _beginning(cls: Any, config: dict[str, Any]) -> Subject:
    held = [_grouped(cls, config)[0]]

    def act(k: int) -> None:
        if k % 2:
            held[0] = _grouped(cls, config)[0]
        else:
            held[0].step(list(_GRADS[0]))

    return Subject(act, lambda: everything(held[0]))


def _saving(cls: Any, config: dict[str, Any]) -> Subject:
    optimizer, arrays = _grouped(cls, config)
    optimizer.step(list(_GRADS[0]))
    return Subject(lambda k: optimizer.state_dict(), lambda: [arrays, _all_of(optimizer)])


def _loading(cls: Any, config: dict[str, Any]) -> Subject:
    optimizer, arrays = _grouped(cls, config)
    saved = []
    for lr in (0.02, 0.03):
        optimizer.step(list(_GRADS[0]))
        optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = lr
        saved.append(optimizer.state_dict())
    return Subject(lambda k: optimizer.load_state_dict(saved[k % 2]), lambda: [arrays, _all_of(optimizer)])


def _adding(cls: Any, config: dict[str, Any]) -> Subject:
    held = [cls([np.ones((2, 3))], **config)]

    def act(k: int) -> None:
        if k % 5 == 4:
            held[0] = cls([np.ones((2, 3))], **config)
        else:
            held[0].add_param_group({"params": [np.full((2, 3), float(k))]})

    return Subject(act, lambda: [_all_of(held[0]), len(held[0]._records), len(held[0].param_groups)])


def _turning(cls: Any) -> Subject:
    optimizer, arrays = _grouped(cls, {})
    optimizer.step(list(_GRADS[0]))
    return Subject(lambda k: optimizer.train() if k % 2 else optimizer.eval(), lambda: [arrays, _all_of(optimizer)])


def _zeroing() -> Subject:
    params = [nn.Parameter(a) for a in _params()]
    optimizer = optim.Adam(params)

    def act(k: int) -> None:
        if k % 2:
            optimizer.zero_grad()
        else:
            optimizer.step(list(_GRADS[k % 3]))

    return Subject(act, lambda: [[p.data for p in params], [p.grad for p in params], _all_of(optimizer)])


_KEYWORDS = {"max_norm": 2.0, "max_value": 1.5, "grad_scale": 4.0, "skip_nonfinite": True, "zero_grad": True}


def _given(k: int) -> list[Array]:
    """Return gradients that a step may set to zero; each fifth time they are not finite."""
    return [np.where(k % 5 == 3, np.nan, g) for g in _GRADS[k % 3]]


def _averaged(optimizer: optim.Optimizer) -> swa_utils.ExponentialMovingAverage:
    return swa_utils.ExponentialMovingAverage(optimizer, 0.9, warmup=True, every=2)


def _stepping_whole(cls: Any) -> Subject:
    optimizer, arrays = _grouped(cls, {})
    _averaged(optimizer)
    return Subject(lambda k: optimizer.step(_given(k), **_KEYWORDS), lambda: [arrays, _all_of(optimizer)])


def _stepping_by_parameter(cls: Any) -> Subject:
    optimizer, arrays = _grouped(cls, {})
    _averaged(optimizer)
    grads = _GRADS[0]

    def act(k: int) -> None:
        if k % 4 == 1:
            optimizer.param_groups[0]["lr"] = 0.01 + k % 5 / 100
        elif k % 4 == 3:
            optimizer.end_step()
        else:
            optimizer.step_param(k % 4 // 2, grads[k % 4 // 2])

    return Subject(act, lambda: [arrays, _all_of(optimizer), optimizer._plan.updated if optimizer._plan else []])


def _applying(cls: Any) -> Subject:
    optimizer, arrays = _grouped(cls, {})
    ema = _averaged(optimizer)

    def act(k: int) -> None:
        if k % 3 == 0:
            optimizer.step(list(_GRADS[k % 2]))
        else:
            with ema.applied():
                pass

    def look() -> Any:
        ema.restore()
        return [arrays, _all_of(optimizer)]

    return Subject(act, look)


def _freezing() -> Subject:
    arrays = _params()
    stages = [optim.Adam(dict(zip("ab", arrays, strict=True))), optim.SGD(dict(zip("ab", arrays, strict=True)))]
    handoff = optim.Handoff(stages)

    def act(k: int) -> None:
        if k % 3 == 0:
            handoff.freeze("a")
        elif k % 3 == 1:
            handoff.unfreeze("*")
        else:
            handoff.step(list(_GRADS[0]))

    return Subject(act, lambda: [arrays, everything(handoff), [stage.frozen for stage in stages]])


def _accumulating() -> Subject:
    optimizer, arrays = _grouped(optim.Adam, {})
    accumulator = optim.Accumulator(optimizer, every=3)

    def act(k: int) -> None:
        if k % 5 == 4:
            accumulator.flush(max_norm=1.0)
        else:
            accumulator.step([g.copy() for g in _GRADS[k % 3]], zero_grad=True, max_norm=1.0)

    def look() -> Any:
        if accumulator.pending == 3:  # the last one has been added, the step not been made
            accumulator.flush(max_norm=1.0)
        return [arrays, accumulator.state_dict(), _all_of(optimizer)]

    return Subject(act, look)


def _scaling(unscales: bool) -> Subject:
    params = [nn.Parameter(a) for a in _params()]
    grads = np.zeros((2, 2, 3))
    for param, grad in zip(params, grads, strict=True):
        param.grad = grad
    optimizer = optim.Adam(params)
    scaler = optim.GradScaler(init_scale=16.0, growth_interval=2)
    acts: list[Callable[[int], Any]] = [
        lambda k: np.copyto(grads, _given(k)),
        *([lambda k: scaler.unscale_(optimizer)] if unscales else []),
        lambda k: scaler.step(optimizer, max_norm=1.0),
        lambda k: scaler.update(),
    ]

    def look() -> Any:
        scaler._held("look", lambda: None)  # so that it goes through with what was interrupted
        seen = [(s.stepped, s.found, s.is_unscaled) for s in scaler._state.seen.values() if s.stepped or s.is_unscaled]
        return [[p.data for p in params], grads, _all_of(optimizer), scaler.state_dict(), seen]

    return Subject(lambda k: acts[k % len(acts)](k), look)


def _lbfgs(line_search: str | None) -> Subject:
    arrays = _params()
    optimizer = optim.LBFGS(arrays, max_iter=3, line_search_fn=line_search)

    def act(k: int) -> None:
        optimizer.step(lambda: (float(sum((a**4).sum() for a in arrays)), [4 * a**3 for a in arrays]))

    return Subject(act, lambda: [arrays, _all_of(optimizer)])


def _handing_over() -> Subject:
    arrays = _params()
    handoff = optim.Handoff([optim.Adam(arrays), optim.SGD(arrays, lr=0.1, momentum=0.9)])
    schedule = optim.lr_scheduler.StepLR(handoff, 2)

    def act(k: int) -> None:
        if k % 4 == 3:
            handoff.switch(1 - handoff.stage)
        else:
            handoff.step(list(_GRADS[k % 3]))

    return Subject(act, lambda: [arrays, everything(handoff), schedule.last_epoch])


def _scheduling(row: Any, loads: bool) -> Subject:
    schedule = row.make(ravine_schedules(), ravine_optimizer(row.optimizer))
    look = lambda: [schedule.state_dict(), schedule.optimizer.param_groups[0]["lr"]]  # noqa: E731
    if not loads:
        return Subject(lambda k: schedule.step(), look)
    saved = []
    for _ in range(2):
        schedule.step()
        saved.append(schedule.state_dict())
    return Subject(lambda k: schedule.load_state_dict(saved[k % 2]), look)


def _plateau() -> Subject:
    optimizer = ravine_optimizer()
    schedule = optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
    return Subject(
        lambda k: schedule.step(1.0 + k % 4), lambda: [schedule.state_dict(), optimizer.param_groups[0]["lr"]]
    )


def _normalizing(momentum: float | None) -> Subject:
    bn = nn.BatchNorm1d(3, momentum=momentum, dtype=np.float64)
    xs = [np.random.default_rng(seed).standard_normal((8, 3)) for seed in range(3)]

    # A forward pass that Ctrl-C comes after has lost its result, and there is nothing to go back through.
    return Subject(lambda k: bn(xs[k % 3]), bn.state_dict)


def _going_back() -> Subject:
    bn = nn.BatchNorm1d(3, dtype=np.float64)
    x = np.random.default_rng(0).standard_normal((8, 3))
    bn(x)
    return Subject(lambda k: bn.backward(x * k), lambda: [bn.state_dict(), [p.grad for p in bn.parameters()]])


def _dropping() -> Subject:
    dropout = nn.Dropout(0.5, seed=3)
    x = np.ones(40)

    def act(k: int) -> None:
        dropout(x) if k % 2 == 0 else dropout.backward(x)

    return Subject(act, dropout.state_dict)


def subjects() -> dict[str, Callable[[], Subject]]:
    """Return what makes each subject, by its name."""
    made: dict[str, Callable[[], Subject]] = {}
    for case in CASES:
        for i in (0, -1):
            config = case.configs[i]
            name = case.name + ("" if i == 0 else f" {config}")
            made[f"{name}.step"] = lambda cls=case.optimizer, config=config: _stepping(cls, config)  # type: ignore[misc]
        for what, make in (("state_dict", _saving), ("load_state_dict", _loading), ("add_param_group", _adding)):
            made[f"{case.name}.{what}"] = lambda cls=case.optimizer, make=make: make(cls, {})  # type: ignore[misc]
    for cls in (optim.SGDScheduleFree, optim.AdamWScheduleFree):
        made[f"{cls.__name__}.train, eval"] = lambda cls=cls: _turning(cls)  # type: ignore[misc]
    made["Adam.zero_grad"] = _zeroing
    made["Adam.has_stepped"] = lambda: _beginning(optim.Adam, {})
    for line_search in (None, "strong_wolfe"):
        made[f"LBFGS {line_search}"] = lambda line_search=line_search: _lbfgs(line_search)  # type: ignore[misc]
    made["Handoff"] = _handing_over
    for cls in (optim.Adam, optim.SGD, optim.Prodigy):
        made[f"whole step: {cls.__name__}"] = lambda cls=cls: _stepping_whole(cls)  # type: ignore[misc]
    for cls in (optim.Adam, optim.SGD):
        made[f"whole step: {cls.__name__}.step_param"] = lambda cls=cls: _stepping_by_parameter(cls)  # type: ignore[misc]
        made[f"whole step: {cls.__name__}, applied"] = lambda cls=cls: _applying(cls)  # type: ignore[misc]
    made["whole step: freeze"] = _freezing
    made["whole step: Accumulator"] = _accumulating
    for unscales in (False, True):
        made[f"whole step: GradScaler, unscale_={unscales}"] = lambda unscales=unscales: _scaling(unscales)  # type: ignore[misc]
    for row in SCHEDULES:
        made[row.id] = lambda row=row: _scheduling(row, False)  # type: ignore[misc]
        made[f"{row.id}.load_state_dict"] = lambda row=row: _scheduling(row, True)  # type: ignore[misc]
    made["ReduceLROnPlateau"] = _plateau
    for momentum in (0.1, None):
        made[f"BatchNorm1d momentum={momentum}"] = lambda momentum=momentum: _normalizing(momentum)  # type: ignore[misc]
    made["BatchNorm1d.backward"] = _going_back
    made["Dropout"] = _dropping
    return made
