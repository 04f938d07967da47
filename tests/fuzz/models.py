"""What an optimizer should hold, by the reference; and everything of an optimizer that a refused call must leave."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ravine import optim
from ravine.reference.averages import average
from ravine.reference.clipping import total_norm
from sparse_helpers import reference_step

from fuzz.memory import same_numbers

if TYPE_CHECKING:
    from cases import Case as Spec

Array = np.ndarray[Any, Any]
NO_HYPER = ("train_mode",)


def everything(optimizer: optim.Optimizer) -> Any:
    """Return what a refused call must leave as it is: for `frozen`."""
    if isinstance(optimizer, optim.Handoff):
        return [optimizer.stage, optimizer.steps, optimizer._stage_steps, *map(everything, optimizer.optimizers)]
    states = [optimizer._state_of(record) for record in optimizer._records]
    arrays = [record.array for record in optimizer._records]
    averages, beside = optimizer._averages, [optimizer.last_step, optimizer.frozen]
    if averages is not None:
        beside += [averages.arrays[: len(arrays)], int(averages.steps), averages.before]
    return [optimizer.has_stepped, [dict(group) for group in optimizer.param_groups], states, arrays, beside]


class Asked(NamedTuple):
    """What comes of the keywords of a step."""

    norm: float | None
    clip: float
    applied: bool


class Averages:
    """Moving averages as the reference has them; the arguments are those of `ExponentialMovingAverage`."""

    def __init__(self, params: Sequence[Array], decay: float, warmup: bool, every: int) -> None:
        self.arrays = [p.copy(order="K") for p in params]
        self._decay, self._warmup, self._every = decay, warmup, every
        self._steps = 0

    def renew(self, params: Sequence[Array]) -> None:
        """Let a step pass, after which parameters are such."""
        self._steps += 1
        n, rest = divmod(self._steps, self._every)
        if rest:
            return
        n -= 1  # updates before this one
        decay = min(self._decay, (1 + n) / (10 + n)) if self._warmup else self._decay
        share = 1.0 if n == 0 else 1 - decay
        self.arrays = [average(a, p, share) for a, p in zip(self.arrays, params, strict=True)]


class Model:
    """Parameters, states and settings as the reference has them."""

    def __init__(self, spec: Spec, groups: Sequence[tuple[Sequence[Array], Mapping[str, Any]]]) -> None:
        self.spec = spec
        parameters = inspect.signature(spec.reference).parameters
        takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        self._accepted = set(spec.optimizer._checks) - set(NO_HYPER) if takes_all else set(parameters)
        self.arrays: list[Array] = []
        self.params: list[Array] = []
        self.states: list[dict[str, Any]] = []
        self.groups: list[range] = []
        self.settings: list[dict[str, Any]] = []
        self.frozen: set[int] = set()
        self.averages: Averages | None = None
        for arrays, settings in groups:
            self.add(arrays, settings)

    def add(self, arrays: Sequence[Array], settings: Mapping[str, Any]) -> None:
        """Add a group."""
        self.groups.append(range(len(self.arrays), len(self.arrays) + len(arrays)))
        self.settings.append({key: value for key, value in settings.items() if key in self._accepted})
        self.arrays += arrays
        self.params += [array.copy(order="K") for array in arrays]
        self.states += [{} for _ in arrays]
        if self.averages is not None:
            self.averages.arrays += [array.copy(order="K") for array in arrays]

    def take_over(self, i: int) -> None:
        """Take over the values that a parameter has now."""
        self.params[i] = self.arrays[i].copy(order="K")

    def step(self, gradients: Sequence[Array | None]) -> None:
        """Make a step."""
        with np.errstate(all="ignore"):
            for index, positions in enumerate(self.groups):
                there = [i for i in positions if gradients[i] is not None and i not in self.frozen]
                if not there:
                    continue
                params = [self.params[i] for i in there]
                grads = [_laid_out(gradients[i], self.params[i]) for i in there]
                states = [self.states[i] for i in there]
                settings = self.settings[index]
                if self.spec.together:
                    settings.update(self.spec.reference(params, grads, states, **settings) or {})
                else:
                    for p, g, state in zip(params, grads, states, strict=True):
                        if p.size or not self.spec.matrices:
                            self.spec.reference(p, g, state, **settings)
                        else:
                            state["step"] = state.get("step", 0) + 1
            if self.averages is not None:
                self.averages.renew(self.params)

    def step_sparse(self, i: int, rows: Array, values: Array) -> None:
        """Make a step with a sparse gradient for one parameter alone."""
        index = next(index for index, positions in enumerate(self.groups) if i in positions)
        with np.errstate(all="ignore"):
            if i not in self.frozen:
                reference_step(self.spec, self.settings[index], self.params[i], self.states[i], rows, values)
            if self.averages is not None:
                self.averages.renew(self.params)

    def asked_for(
        self, gradients: Sequence[Array | None], asked: Mapping[str, Any], norm: float | None = None
    ) -> tuple[Asked, list[Any]]:
        """Return what comes of the keywords of a step, and the gradients that its rules then see.

        `norm` is that of the gradients, to the last bit, where it is known.
        """
        with np.errstate(all="ignore"):
            scale = 1 / float(asked.get("grad_scale") or 1)
            free = [g for i, g in enumerate(gradients) if g is not None and i not in self.frozen]
            unscaled = [g.dtype.type(scale) * g for g in free]
            total, most, skips = (asked.get(key) for key in ("total_norm", "max_norm", "skip_nonfinite"))
            finite = total is not None or all(np.isfinite(g).all() for g in unscaled)
            if total is not None:
                norm = total
            elif norm is None and (most is not None or skips):
                norm = total_norm(unscaled, asked.get("norm_type", 2)) if unscaled else 0.0
            goes_by_norm = total is not None or (most is not None and most != math.inf)
            if skips and not (finite and (math.isfinite(norm) or not goes_by_norm)):
                return Asked(norm, 1.0, False), [None] * len(gradients)
            clip = 1.0 if most is None or most == math.inf else float(np.minimum(1, most / np.float64(norm + 1e-6)))
            limit = float(asked.get("max_value") or math.inf)
            seen = [None if g is None else _cut_off(g, scale * clip, limit) for g in gradients]
            return Asked(norm, clip, True), seen

    def problem(self, optimizer: optim.Optimizer) -> str | None:
        """Return in what an optimizer differs, if it does."""
        for i, (array, p, state) in enumerate(zip(self.arrays, self.params, self.states, strict=True)):
            if not self._same(array, p):
                return f"parameter {i}: {_short(array)}; the reference has {_short(p)}"
            ours = optimizer._state_of(optimizer._records[i])
            if not ours and state.get("step", 0) == 0:
                continue
            for name, value in state.items():
                if name not in ours:
                    return f"state {name!r} of parameter {i} is missing"
                mine, theirs = np.asarray(ours[name]), np.asarray(value)
                if not (self._same(mine, theirs) if mine.ndim else mine == theirs or mine != mine):  # noqa: PLR0124
                    return f"state {name!r} of parameter {i}: {_short(mine)}; the reference has {_short(theirs)}"
        for i, theirs in enumerate([] if self.averages is None else self.averages.arrays):
            mine = optimizer._averages.arrays[i]
            if not self._same(mine, theirs):
                return f"the average of parameter {i}: {_short(mine)}; the reference has {_short(theirs)}"
        return None

    def _same(self, ours: Array, theirs: Array) -> bool:
        if not self.spec.matrices:
            return same_numbers(ours, theirs)
        # Products of matrices have no fixed order.
        bound = 1e-3 if ours.dtype == np.float32 else 1e-8
        size = np.nanmax(np.abs(theirs), initial=1.0)
        if ours.shape != theirs.shape or not np.isfinite(size) or size > 1e6:
            return ours.shape == theirs.shape
        return bool(np.allclose(ours, theirs, rtol=bound, atol=bound, equal_nan=True)) or not np.isfinite(theirs).all()


def _cut_off(gradient: Array, factor: float, limit: float) -> Array:
    number = gradient.dtype.type
    return np.clip(number(factor) * gradient, -number(limit), number(limit))


def _laid_out(gradient: Array, p: Array) -> Array:
    like = np.empty_like(p)
    like[...] = gradient
    return like


def _short(array: Array) -> str:
    return f"{np.array2string(np.asarray(array).ravel(order='K')[:6], precision=17)} {array.dtype} {array.shape}"
