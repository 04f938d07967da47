"""Dynamic scaling of the loss."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from ravine._arrays import as_array, describe, is_tensor, place
from ravine._hyper import Range, as_float, at_least, flag, is_number, proper_fraction, whole
from ravine._saved import checked, noted, of_scalar
from ravine._sparse import SparseGrad, is_sparse_tensor
from ravine.optim._drivers import Driver, check_apart, check_drivable
from ravine.optim._parameters import Record
from ravine.optim._step_options import checked_scale
from ravine.optim.accumulator import Accumulator
from ravine.optim.optimizer import Optimizer

Array = np.ndarray[Any, Any]

# Where the scale and its inverse are both ordinary numbers in float32.
_LEAST, _GREATEST = 2.0**-126, 2.0**126
_scale = Range("a number from 2^-126 to 2^126", low=_LEAST, high=_GREATEST)
_growth = Range("a finite number above 1", low=1, low_open=True)
_interval = at_least(1)

_CHECKS = {
    "scale": _scale,
    "growth_factor": _growth,
    "backoff_factor": proper_fraction,
    "growth_interval": _interval,
    "_growth_tracker": whole,
}


class _Seen(NamedTuple):
    """What has been done with an optimizer since the last update."""

    scaled: Array | None = None  # 0-d; 0 as soon as `unscale_` has divided all gradients
    found: bool = False  # whether something was not finite
    stepped: bool = False
    before: tuple[int, int] | None = None  # its progress before a step that is being made

    @property
    def is_unscaled(self) -> bool:
        return self.scaled is not None and not self.scaled


class _State(NamedTuple):
    """What changes; replaced as one, so that no Ctrl-C comes between its parts."""

    scale: float
    growth_factor: float
    backoff_factor: float
    growth_interval: int
    growth_tracker: int  # the updates in a row without one that found something not finite
    seen: WeakKeyDictionary[Optimizer | Accumulator, _Seen]


class GradScaler(Driver):
    """A factor for the loss that keeps small gradients from vanishing in half precision: `torch.amp.GradScaler`.

        scale <- scale backoff_factor     where a gradient was not finite; the step is skipped
        scale <- scale growth_factor      after growth_interval updates in a row without that

    The step divides the gradients by the scale and looks for what is not finite in its own passes:

        scaler = optim.GradScaler()
        for ...:
            grads = gradients of scaler.scale(loss)      # in NumPy: scale what the backward pass begins with
            scaler.step(opt, grads, max_norm=1.0)        # opt.step(grads, grad_scale=..., skip_nonfinite=True, ...)
            scaler.update()

    The scale is rounded to float32, as torch's, but stays within 2^-126 to 2^126, where 1 / scale is exact for powers
    of two and does not overflow. torch rounds 1 / scale to float32 too; here it has the precision of the gradients.

    Micikevicius et al. 2018, "Mixed precision training", section 3.2.

    Args:
        init_scale: the scale to begin with. torch's first argument, the device, does not exist here.
        growth_factor: above 1.
        backoff_factor: between 0 and 1.
        growth_interval: 1 or more.
        enabled: False makes `scale` return what it is given, `step` the optimizer's own, and the rest do nothing.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.

    >>> from ravine import optim
    >>> w = np.zeros(1, np.float32)
    >>> opt, scaler = optim.SGD([w], lr=1.0), GradScaler(init_scale=4.0)
    >>> for gradient in (np.float32(np.inf), scaler.scale(np.float32(-0.5))):
    ...     scaler.step(opt, [np.full(1, gradient)])
    ...     scaler.update()
    ...     print(w, opt.last_step.applied, scaler.get_scale())
    [0.] False 2.0
    [1.] True 2.0
    """

    _owner = "GradScaler"

    def __init__(
        self,
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if isinstance(init_scale, str):
            raise TypeError(
                f"GradScaler: init_scale={init_scale!r}; expected {_scale.expected}. Arrays are on no device: leave "
                "torch's first argument out."
            )
        super().__init__()
        self._enabled: bool = flag("GradScaler: enabled", enabled)
        self._state = _State(
            _rounded(_scale("GradScaler: init_scale", init_scale)),
            _growth("GradScaler: growth_factor", growth_factor),
            proper_fraction("GradScaler: backoff_factor", backoff_factor),
            _interval("GradScaler: growth_interval", growth_interval),
            0,
            WeakKeyDictionary(),
        )

    # --- the loss

    def scale(self, outputs: Any) -> Any:
        """Return outputs multiplied by the scale.

        Args:
            outputs: a number, an array or tensor, or lists, tuples and dicts of these, as deep as you like.

        Returns:
            The same in new arrays of the same dtypes; of integers in floating point.

        Raises:
            TypeError: something else is among them.
        """
        return _multiplied(outputs, self._state.scale) if self._enabled else outputs

    # --- steps

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide each `Parameter.grad` of an optimizer in place, to look at the gradients or to change them.

        It is not needed for clipping, which `step` does in its own pass; this one takes two more. The `step` that
        follows does not divide again, and is skipped where something was not finite.

        Args:
            optimizer: any but `LBFGS`. Its parameters hold the gradients, as an array or as a `SparseGrad`.

        Raises:
            TypeError, ValueError: the optimizer or a gradient cannot be used; nothing has changed.
            RuntimeError: it has been called for this optimizer, or `step` has, since the last `update`.
        """
        if self._enabled:
            check_drivable("GradScaler.unscale_", optimizer)
            self._held("unscale_", lambda: self._unscale(optimizer))

    def _unscale(self, optimizer: Optimizer) -> None:
        state = self._state
        seen = state.seen.get(optimizer, _Seen())
        if seen.stepped:
            raise RuntimeError("GradScaler.unscale_: after step(). Call it before, or update() first.")
        if seen.is_unscaled:
            raise RuntimeError(
                "GradScaler.unscale_: the gradients of this optimizer are unscaled already. Call it once, then step() "
                "and update()."
            )
        found = [(f"the gradient of {record.label}", _values(record)) for record in optimizer._records]
        # Where parameters share a gradient, it is divided once.
        named = {place(array): (label, array) for label, array in found if array is not None}
        check_apart("GradScaler.unscale_", optimizer, list(named.values()), "divided")
        arrays = [array for _, array in named.values()]
        scaled = np.ones(())
        is_finite = all(bool(np.isfinite(array).all()) for array in arrays)
        factors: list[Any] = [array.dtype.type(1 / state.scale) for array in arrays]
        state.seen[optimizer] = _Seen(scaled, not is_finite)
        with np.errstate(all="ignore"):
            # One call for all: Ctrl-C comes before it or when `scaled` tells of it.
            deque(map(np.multiply, [*arrays, scaled], [*factors, 0.0], [*arrays, scaled]), maxlen=0)

    def step(self, optimizer: Optimizer | Accumulator, grads: Any = None, **options: Any) -> Any:
        """Make a step with gradients of the scaled loss; skip it where one of them is not finite.

        Args:
            optimizer: any but `LBFGS`; or an `Accumulator`, whose optimizer steps at the end of its window. Each
                micro-batch is divided by the scale as it is added, so that `update` may be called after each of them
                or after each window.
            grads: as in `Optimizer.step`. After `unscale_`, unscaled.
            options: of `Optimizer.step`. A `grad_scale` is taken beside the scale; `skip_nonfinite` is always on.

        Returns:
            What the step does: of an `Accumulator` whether its optimizer has made one. `optimizer.last_step` tells
            whether it was skipped.

        Raises:
            TypeError, ValueError: an argument or a gradient cannot be used; nothing has changed.
            RuntimeError: this optimizer has stepped since the last `update`; or there is a closure, which torch does
                not take either: compute the gradients before.
        """
        if not self._enabled:
            return optimizer.step(grads, **options)
        if not isinstance(optimizer, Accumulator):
            check_drivable("GradScaler.step", optimizer)
        if callable(grads) or options.pop("closure", None) is not None:
            raise RuntimeError(
                "GradScaler.step: closures are not supported, as in torch. Compute the gradients of the scaled loss, "
                "then call step(optimizer, grads)."
            )
        if not flag("GradScaler.step: skip_nonfinite", options.setdefault("skip_nonfinite", True)):
            raise ValueError("GradScaler.step: skip_nonfinite=False; a step with what is not finite is always skipped.")
        if options.get("total_norm") is not None:
            raise ValueError(
                "GradScaler.step: total_norm; the gradients are looked at anyway, for what is not finite. Leave it out."
            )
        return self._held("step", lambda: self._step(optimizer, grads, options))

    def _step(self, optimizer: Optimizer | Accumulator, grads: Any, options: dict[str, Any]) -> Any:
        state = self._state
        seen = state.seen.get(optimizer, _Seen())
        if seen.stepped:
            raise RuntimeError(
                "GradScaler.step: this optimizer has stepped since the last update(). Call update() after the steps of "
                "each iteration."
            )
        if isinstance(optimizer, Accumulator) and state.seen.get(optimizer.optimizer, _Seen()).is_unscaled:
            raise RuntimeError(
                "GradScaler.step: after unscale_() of the Accumulator's optimizer. Leave unscale_() out: micro-batches "
                "are divided as they are added."
            )
        given = options.get("grad_scale")
        if not seen.is_unscaled:
            factor = 1.0 if given is None else checked_scale("GradScaler.step: grad_scale", given)
            options["grad_scale"] = state.scale * factor
        elif seen.found:
            options["total_norm"] = np.inf  # torch skips the step whatever has become of the gradients
        try:
            state.seen[optimizer] = seen._replace(before=optimizer._progress)
            return optimizer.step(grads, **options)
        finally:
            self._finish()

    def _finish(self) -> None:
        """Write down what has come of a step; it follows from the optimizer's counts."""
        seen_of = self._state.seen
        for optimizer, seen in list(seen_of.items()):
            if seen.before is None:
                continue
            now = optimizer._progress
            if now == seen.before:  # it waits for more micro-batches, or an error came before the step
                seen_of[optimizer] = seen._replace(before=None)
            else:
                seen_of[optimizer] = _Seen(found=seen.found or now[0] == seen.before[0], stepped=True)

    def update(self, new_scale: float | None = None) -> None:
        """Change the scale by what the steps since the last update have found; call it after them.

        With several optimizers, one that found something not finite is enough. Where all that has been done is to give
        micro-batches to an `Accumulator` that waits for more, the scale and its count of updates stay.

        Args:
            new_scale: the scale to take instead, from 2^-126 to 2^126.

        Raises:
            TypeError, ValueError: new_scale cannot be used.
            RuntimeError: there has been neither a step nor `unscale_`.
        """
        if not self._enabled:
            return
        if new_scale is not None:
            new_scale = _rounded(of_scalar(_scale)("GradScaler.update: new_scale", new_scale))
        self._held("update", lambda: self._update(new_scale))

    def _update(self, new_scale: float | None) -> None:
        state = self._state
        found = [seen.found for seen in state.seen.values() if seen.stepped or seen.is_unscaled]
        scale, tracker = state.scale, state.growth_tracker
        if new_scale is not None:
            scale = new_scale
        elif any(found):
            scale, tracker = max(_rounded(scale * state.backoff_factor), _LEAST), 0
        elif found:
            tracker += 1
            # torch waits for equality, and so for ever where the interval has been lowered to what has passed.
            if tracker >= state.growth_interval:
                grown = _rounded(scale * state.growth_factor)
                scale, tracker = grown if grown <= _GREATEST else scale, 0
        elif not any(isinstance(each, Accumulator) for each in state.seen):
            raise RuntimeError(
                "GradScaler.update: no optimizer has stepped since the last update(). Call step(optimizer, grads) "
                "first, or give update() a new_scale."
            )
        self._state = state._replace(scale=scale, growth_tracker=tracker, seen=WeakKeyDictionary())

    # --- numbers

    def get_scale(self) -> float:
        """Return the scale; 1 where it is not enabled."""
        return self._state.scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        """Return what the scale is multiplied by when it grows."""
        return self._state.growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set it, above 1."""
        self._state = self._state._replace(growth_factor=_growth("GradScaler: growth_factor", new_factor))

    def get_backoff_factor(self) -> float:
        """Return what the scale is multiplied by where a gradient was not finite."""
        return self._state.backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set it, between 0 and 1."""
        self._state = self._state._replace(backoff_factor=proper_fraction("GradScaler: backoff_factor", new_factor))

    def get_growth_interval(self) -> int:
        """Return after how many updates in a row, all of whose gradients were finite, the scale grows."""
        return self._state.growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set it, 1 or more."""
        self._state = self._state._replace(growth_interval=_interval("GradScaler: growth_interval", new_interval))

    def is_enabled(self) -> bool:
        """Return whether it scales."""
        return self._enabled

    # --- state

    def state_dict(self) -> dict[str, Any]:
        """Return the state in torch's form; call it after `update`, since what steps have found is not in it.

        Returns:
            "scale", "growth_factor", "backoff_factor", "growth_interval" and "_growth_tracker", the updates in a row
            without one that found something not finite. Where it is not enabled, nothing.
        """
        return self._saved()

    def _saved(self) -> dict[str, Any]:
        return dict(zip(_CHECKS, self._state, strict=False)) if self._enabled else {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a saved state, torch's too; nothing happens where it is not enabled.

        Raises:
            ValueError: it does not fit. The message lists every mismatch, and the scaler is as it was.
            RuntimeError: it is in the middle of a step.
        """
        self._held("load_state_dict", checked("GradScaler", "scaler", self._loader, state_dict))

    def _loader(self, state_dict: Any, problems: list[str]) -> Callable[[], None]:
        if not self._enabled:
            return lambda: None
        if not isinstance(state_dict, Mapping):
            problems.append(f"it is {describe(state_dict)}; expected a dict with {', '.join(map(repr, _CHECKS))}")
            return lambda: None
        if not state_dict:
            problems.append("it is empty, as that of a scaler that is not enabled")
            return lambda: None
        problems += [f"{key!r} is missing" for key in _CHECKS if key not in state_dict]
        problems += [f"unknown {key!r}" for key in state_dict if key not in _CHECKS]
        scale, growth_factor, backoff_factor, growth_interval, growth_tracker = (
            noted(of_scalar(check), repr(key), state_dict[key], problems) if key in state_dict else 0
            for key, check in _CHECKS.items()
        )
        numbers = _rounded(scale), growth_factor, backoff_factor, growth_interval, growth_tracker
        state = _State(*numbers, WeakKeyDictionary())

        def take_over() -> None:
            self._state = state

        return take_over

    def __getstate__(self) -> dict[str, Any]:
        if self._state.seen:
            raise RuntimeError("GradScaler: it can be copied and pickled only between update() and the next step().")
        return {"enabled": self._enabled, **self._state._asdict(), "seen": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._enabled = state.pop("enabled")
        self._state = _State(**state)._replace(seen=WeakKeyDictionary())
        super().__init__()


def _rounded(scale: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.float32(scale))


def _multiplied(outputs: Any, scale: float) -> Any:
    if is_number(outputs) and not isinstance(outputs, np.generic):
        return as_float("GradScaler.scale: outputs", outputs) * scale
    if isinstance(outputs, list | tuple):
        make = getattr(outputs, "_make", type(outputs))  # that of a named tuple
        return make(_multiplied(each, scale) for each in outputs)
    if isinstance(outputs, dict):
        return {key: _multiplied(each, scale) for key, each in outputs.items()}
    if isinstance(outputs, np.ndarray | np.generic) and outputs.dtype.kind in "fiu":
        with np.errstate(over="ignore"):
            # In half precision the scale itself would overflow.
            product = np.multiply(outputs, scale, dtype=np.result_type(outputs.dtype, np.float32))
            return product.astype(outputs.dtype) if outputs.dtype.kind == "f" else product
    if is_tensor(outputs):
        return outputs * scale  # with its graph
    raise TypeError(
        f"GradScaler.scale: outputs holds {describe(outputs)}; expected numbers, arrays of them, or lists of these."
    )


def _values(record: Record) -> Array | None:
    """Return the values of a parameter's gradient, which can be divided in place; None where there is none."""
    grad = record.param.grad
    where = f"GradScaler.unscale_: {record.label}"
    if grad is None:
        if record.is_plain:
            raise ValueError(
                f"{where} is a plain array, which carries no gradient. Leave unscale_() out: step(optimizer, grads) "
                "unscales the gradients that it is given."
            )
        return None
    is_sparse = isinstance(grad, SparseGrad) or is_sparse_tensor(grad)
    values = grad.values if isinstance(grad, SparseGrad) else grad._values() if is_sparse else grad
    array = as_array(values, f"{where}: its gradient")
    shape = record.array.shape if not is_sparse else None if array is None else (len(array), *record.array.shape[1:])
    if array is None or array.dtype != record.array.dtype or array.shape != shape:
        came = describe(grad if array is None else array)
        raise ValueError(f"{where}: its gradient is {came}; expected {describe(record.array)}.")
    if not array.flags.writeable:
        raise ValueError(f"{where}: its gradient is read-only, and unscale_() divides in place. Give it a copy.")
    return np.asarray(array)  # of no subclass, whose code could do anything
