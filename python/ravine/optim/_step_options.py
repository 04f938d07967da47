"""What a step is asked for beside the update, and what came of it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ravine._hyper import Range, as_float, flag, shown

_above_0 = Range("a number above 0", low=0, low_open=True)
# What a gradient may be divided by, so that the factor is an ordinary number in float32 too.
_SMALLEST, _GREATEST = float(np.finfo(np.float32).tiny), float(1 / np.finfo(np.float32).tiny)


class StepOptions(NamedTuple):
    """The options of a step as the compiled part takes them, in its order."""

    grad_scale: float = 1.0
    finds_norm: bool = False
    max_norm: float = math.inf
    norm_type: float = 2.0
    total_norm: float | None = None
    max_value: float = math.inf
    skip_nonfinite: bool = False
    zero_grad: bool = False

    def keywords(self) -> dict[str, Any]:
        """Return them as `Optimizer.step` takes them."""
        keywords = self._asdict()
        if not keywords.pop("finds_norm"):
            keywords["max_norm"] = None
        return keywords


class LastStep(NamedTuple):
    """What came of a step.

    Attributes:
        norm: of all gradients, unscaled; None where it was not needed.
        clip_coefficient: what gradients were multiplied by for its sake: min(1, max_norm / (norm + 1e-6)).
        applied: whether the step was made.
        skipped: how many steps in a row have been skipped, this one the last of them; 0 where it was made.
        nonfinite: the parameters whose gradients held NaN or infinity, by name, or by position where they have none;
            where the norm was not needed, or given, nobody has looked.
    """

    norm: float | None = None
    clip_coefficient: float = 1.0
    applied: bool = True
    skipped: int = 0
    nonfinite: tuple[str, ...] = ()


def read_options(
    owner: str,
    method: str = "step",
    max_norm: Any = None,
    norm_type: Any = 2.0,
    max_value: Any = None,
    grad_scale: Any = None,
    skip_nonfinite: Any = False,
    zero_grad: Any = False,
    total_norm: Any = None,
) -> StepOptions:
    """Check the options of a step; see `Optimizer.step`."""
    where = f"{owner}.{method}: "
    if total_norm is not None:
        total_norm = as_float(f"{where}total_norm", total_norm, "a norm, 0 or more")
        if total_norm < 0:
            raise ValueError(f"{where}total_norm={total_norm!r} is negative; expected a norm, 0 or more.")
        if max_norm is None and not skip_nonfinite:
            raise ValueError(f"{where}total_norm={total_norm!r} has no use without max_norm or skip_nonfinite.")
    return StepOptions(
        1.0 if grad_scale is None else checked_scale(where + "grad_scale", grad_scale),
        max_norm is not None,
        math.inf if max_norm is None else above_0(where + "max_norm", max_norm),
        checked_norm_type(where + "norm_type", norm_type),
        total_norm,
        math.inf if max_value is None else above_0(where + "max_value", max_value),
        skip_nonfinite is not False and flag(where + "skip_nonfinite", skip_nonfinite),
        zero_grad is not False and flag(where + "zero_grad", zero_grad),
    )


def above_0(where: str, value: Any) -> float:
    """Return a number above 0, which may be infinite."""
    if type(value) is float and value > 0:
        return value
    number = as_float(where, value, _above_0.expected)
    if not number > 0:
        raise ValueError(f"{where}={shown(value)}; expected {_above_0.expected}.")
    return number


def checked_norm_type(where: str, value: Any) -> float:
    """Return the p of a norm; "inf" is a way to write it in torch."""
    return math.inf if isinstance(value, str) and value == "inf" else above_0(where, value)


def checked_scale(where: str, value: Any) -> float:
    """Return what gradients have been multiplied by."""
    number = value if type(value) is float else as_float(where, value, "a finite number other than 0")
    if not _SMALLEST <= abs(number) <= _GREATEST:
        raise ValueError(
            f"{where}={shown(value)}; expected a finite number other than 0, of which 1 / {where.rpartition(' ')[2]} "
            "is one in float32."
        )
    return number
