"""What LBFGS remembers from step to step, and how it is saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ravine._arrays import as_scalar
from ravine._hyper import whole
from ravine.optim._lbfgs.history import Pair
from ravine.optim._lbfgs.space import Space

Array = np.ndarray[Any, Any]


class Memory(NamedTuple):
    """What is remembered from step to step. It is replaced, never changed, so that a step can be taken back."""

    n_iter: int = 0
    func_evals: int = 0
    d: Array | None = None  # the last direction
    t: float = 0.0  # how far the last move went along it
    pairs: tuple[Pair, ...] = ()  # the oldest first
    H_diag: float = 1.0  # the scale of the inverse Hessian that the recursion begins with
    prev_flat_grad: Array | None = None  # where the last move began
    prev_loss: float = 0.0
    steps: int = 0  # of this object, which is not saved

    def as_dict(self) -> dict[str, Any]:
        """Return it under the names that torch has for it; nothing before the first step."""
        if self.func_evals == 0:
            return {}
        state: dict[str, Any] = {"func_evals": self.func_evals, "n_iter": self.n_iter}
        if self.d is None or self.prev_flat_grad is None:
            return state
        none = np.empty((0, *self.d.shape), self.d.dtype)
        return {
            **state,
            "d": self.d,
            "t": self.t,
            "old_dirs": np.array([pair.y for pair in self.pairs]) if self.pairs else none,
            "old_stps": np.array([pair.s for pair in self.pairs]) if self.pairs else none,
            "ro": np.array([pair.rho for pair in self.pairs], np.float64),
            "H_diag": self.H_diag,
            "prev_flat_grad": self.prev_flat_grad,
            "prev_loss": self.prev_loss,
        }


def read_memory(owner: str, saved: Mapping[Any, Any], keys: Sequence[Any], space: Space, problems: list[str]) -> Memory:
    """Return what was remembered, and list what does not fit.

    Args:
        owner: the optimizer, for messages.
        saved: the state of each parameter, in arrays and numbers as `Memory.as_dict` has them or tensors as torch has.
        keys: of the parameters.
        space: of the parameters.
        problems: what does not fit is added to it.
    """
    others = [key for key, entry in saved.items() if key != keys[0] and entry]
    problems += [f"it has a state for parameter {key!r}; LBFGS keeps all under {keys[0]!r}" for key in others]
    entry = dict(saved.get(keys[0], {}))
    entry.pop("al", None)  # torch's workspace for the recursion
    if not entry:
        return Memory()
    n_iter, evals = (_read(entry, name, _whole, problems) for name in ("n_iter", "func_evals"))
    if problems or n_iter == 0:
        return Memory(n_iter, evals)
    d, previous = (_read(entry, name, space.copy_of, problems) for name in ("d", "prev_flat_grad"))
    ys, ss = (_read(entry, name, space.copies_of, problems) for name in ("old_dirs", "old_stps"))
    rhos = _read(entry, "ro", lambda values: [_float(value) for value in values], problems)
    t, scale, loss = (_read(entry, name, _float, problems) for name in ("t", "H_diag", "prev_loss"))
    problems += [f"{owner} keeps no state {name!r}" for name in entry]
    if not problems and not len(ys) == len(ss) == len(rhos):
        problems.append(f"state 'old_dirs', 'old_stps' and 'ro' have {len(ys)}, {len(ss)} and {len(rhos)} entries")
    if problems:
        return Memory()
    pairs = tuple(Pair(y, s, rho) for y, s, rho in zip(ys, ss, rhos, strict=True))
    return Memory(n_iter, evals, d, t, pairs, scale, previous, loss)


def _float(value: Any) -> float:
    return float(as_scalar(value))


def _whole(value: Any) -> int:
    return int(whole("value", as_scalar(value)))


def _read(entry: dict[str, Any], name: str, convert: Callable[[Any], Any], problems: list[str]) -> Any:
    """Take an entry of a saved state and convert it, or say what is wrong with it."""
    if name not in entry:
        problems.append(f"state {name!r} is missing")
        return None
    try:
        return convert(entry.pop(name))
    except (TypeError, ValueError) as error:
        problems.append(f"state {name!r} {error}")
        return None
