"""What a step is asked for beside the update, and what came of it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypedDict

import numpy as np

from ravine._hyper import above_0, as_float, checked_norm, checked_norm_type, flag, shown

# What a gradient may be divided by, so that the factor is an ordinary number in float32 too.
_SMALLEST, _GREATEST = float(np.finfo(np.float32).tiny), float(1 / np.finfo(np.float32).tiny)


class StepKeywords(TypedDict, total=False):
    """What `Optimizer.step` may be asked for, which says what each means."""

    max_norm: float | None
    norm_type: float
    max_value: float | None
    grad_scale: float | None
    skip_nonfinite: bool
    zero_grad: bool
    total_norm: float | None


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
    /,
    *,
    max_norm: Any = None,
    norm_type: Any = 2.0,
    max_value: Any = None,
    grad_scale: Any = None,
    skip_nonfinite: Any = False,
    zero_grad: Any = False,
    total_norm: Any = None,
    **unknown: Any,
) -> StepOptions:
    """Check the options of a step; see `Optimizer.step`."""
    where = f"{owner}.{method}: "
    if unknown:
        names = ", ".join(StepKeywords.__annotations__)
        raise TypeError(f"{where}unexpected keyword argument {next(iter(unknown))!r}; expected some of {names}.")
    skips = skip_nonfinite is not False and flag(where + "skip_nonfinite", skip_nonfinite)
    if total_norm is not None:
        total_norm = checked_norm(where + "total_norm", total_norm)
        if max_norm is None and not skips:
            raise ValueError(f"{where}total_norm={total_norm!r} has no use without max_norm or skip_nonfinite.")
    return StepOptions(
        1.0 if grad_scale is None else checked_scale(where + "grad_scale", grad_scale),
        max_norm is not None,
        math.inf if max_norm is None else above_0(where + "max_norm", max_norm),
        checked_norm_type(where + "norm_type", norm_type),
        total_norm,
        math.inf if max_value is None else above_0(where + "max_value", max_value),
        skips,
        zero_grad is not False and flag(where + "zero_grad", zero_grad),
    )


def checked_scale(where: str, value: Any) -> float:
    """Return what gradients have been multiplied by."""
    number = value if type(value) is float else as_float(where, value, "a finite number other than 0")
    if not _SMALLEST <= abs(number) <= _GREATEST:
        raise ValueError(
            f"{where}={shown(value)}; expected a finite number other than 0, of which 1 / {where.rpartition(' ')[2]} "
            "is one in float32."
        )
    return number
