"""What LBFGS remembers from step to step, and how it is saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ravine._arrays import as_array, describe
from ravine._hyper import Check, as_float, each, shown, whole
from ravine._saved import is_list, noted, of_scalar
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
    # Of this object, which is not saved: how many steps there have been, how many have been skipped since, and why.
    steps: int = 0
    skipped: int = 0
    nonfinite: tuple[str, ...] = ()

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
    others = [key for key, entry in saved.items() if key != keys[0] and entry is not None]
    problems += [f"it has a state for parameter {shown(key)}; LBFGS keeps all under {shown(keys[0])}" for key in others]
    given = saved.get(keys[0], {})
    if not isinstance(given, Mapping):
        problems.append(f"state is {describe(given)}; expected a dict")
        return Memory()
    entry = {name: value for name, value in given.items() if name != "al"}  # torch's workspace for the recursion
    if not entry:
        return Memory()
    checks: dict[str, Check] = dict.fromkeys(("n_iter", "func_evals"), of_scalar(whole))
    moved = "n_iter" not in entry or noted(checks["n_iter"], "state 'n_iter'", entry["n_iter"], []) > 0
    if moved:
        checks |= dict.fromkeys(("d", "prev_flat_grad"), space.copy_of)
        checks |= dict.fromkeys(("old_dirs", "old_stps"), _rows(space.copy_of))
        checks |= dict.fromkeys(("t", "H_diag", "prev_loss"), of_scalar(as_float)) | {"ro": _rows(of_scalar(as_float))}
    problems += [f"state {name!r} is missing" for name in checks if name not in entry]
    problems += [f"{owner} keeps no state {name!r}" for name in entry if name not in checks]
    values = {
        name: noted(check, f"state {name!r}", entry[name], problems) for name, check in checks.items() if name in entry
    }
    if problems:
        return Memory()
    if not moved:
        return Memory(values["n_iter"], values["func_evals"])
    ys, ss, rhos = (values.pop(name) for name in ("old_dirs", "old_stps", "ro"))
    if not len(ys) == len(ss) == len(rhos):
        problems.append(f"state 'old_dirs', 'old_stps' and 'ro' have {len(ys)}, {len(ss)} and {len(rhos)} entries")
        return Memory()
    return Memory(pairs=tuple(map(Pair, ys, ss, rhos)), **values)


def _rows(check: Check) -> Check:
    """Return the check of a list, or an array, of which each entry passes a check."""

    def check_rows(where: str, values: Any) -> list[Any]:
        array = None if is_list(values) else as_array(values)
        rows: list[Any] = each(check)(where, values if array is None or array.ndim == 0 else list(array))
        return rows

    return check_rows
