"""Norms of gradients and clipping in place, under `torch.nn.utils`' names.

`Optimizer.step(max_norm=..., max_value=...)` does the same without a pass of its own. Each function here is one call of
the compiled part, whatever the number of gradients; the norm has the same bits for every instruction set and number of
threads, and those that a step finds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ravine import _core
from ravine._arrays import address, as_array, describe, is_tensor
from ravine._hyper import above_0, checked_norm, checked_norm_type, flag
from ravine._sparse import SparseGrad, as_array_or_sparse, is_sparse_tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]

Array = np.ndarray[Any, Any]


def clip_grad_norm_(
    parameters: Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,  # noqa: ARG001
) -> float:
    """Clip the norm of all gradients together, in place.

        norm = (sum |g|^p)^(1/p);   g <- min(1, max_norm / (norm + 1e-6)) g

    Pascanu, Mikolov & Bengio 2013, "On the difficulty of training recurrent neural networks", algorithm 1, as torch has
    it. The norm and the factor are computed in float64; the factor is rounded once to a gradient's dtype.

    Args:
        parameters: one or an iterable or a dict of
            objects with `.grad` (`nn.Parameter`s, torch's CPU parameters), whose gradients are meant;
            arrays or `SparseGrad`s, which are gradients themselves.
            None, and a `.grad` that is None, stand for "no gradient". Gradients are float32 or float64, writable, of
            any shape and strides; those that are not contiguous cost a copy. The rows that a `SparseGrad` names more
            than once are summed for the norm; its values are multiplied.
        max_norm: above 0; infinity only finds the norm.
        norm_type: p, above 0; infinity, or "inf", is the greatest absolute value.
        error_if_nonfinite: raise where the norm is infinite or NaN. Otherwise an infinite norm makes gradients 0 (NaN
            where they are infinite), and NaN makes them NaN, as in torch.
        foreach: accepted for torch's sake and without effect.

    Returns:
        The norm before clipping, a float; torch returns a tensor.

    Raises:
        TypeError, ValueError: an argument cannot be used, two gradients share elements, or there is no gradient (of
            which torch's norm is 0). No gradient has changed.
        RuntimeError: the norm is not finite and `error_if_nonfinite` is set. No gradient has changed.

    >>> grads = [np.array([3.0, 0.0]), np.array([[4.0]])]
    >>> clip_grad_norm_(grads, max_norm=1.0)
    5.0
    >>> [grad.round(3) for grad in grads]
    [array([0.6, 0. ]), array([[0.8]])]
    """
    owner = "clip_grad_norm_"
    most = above_0(f"{owner}: max_norm", max_norm)
    p = checked_norm_type(f"{owner}: norm_type", norm_type)
    only_finite = flag(f"{owner}: error_if_nonfinite", error_if_nonfinite)
    gradients = _Gradients(owner, "parameters", parameters)
    gradients.check_any()
    norm, nonfinite = _core.clip_norm_of_gradients(
        owner, gradients.label, gradients.arrays, gradients.summed(), most, p, only_finite
    )
    if only_finite:
        gradients.check_finite(norm, nonfinite)
    return norm


def clip_grads_with_norm_(
    parameters: Any,
    max_norm: float,
    total_norm: float,
    foreach: bool | None = None,  # noqa: ARG001
) -> None:
    """Clip all gradients in place by a norm that is known, of a model spread over processes, say.

        g <- min(1, max_norm / (total_norm + 1e-6)) g

    Args:
        parameters: as in `clip_grad_norm_`; nothing happens where there is no gradient.
        max_norm: above 0; infinity leaves gradients as they are.
        total_norm: 0 or more; what `get_total_norm` returns. Infinity makes gradients 0, NaN makes them NaN.
        foreach: accepted for torch's sake and without effect.

    Raises:
        TypeError, ValueError: as in `clip_grad_norm_`.
    """
    owner = "clip_grads_with_norm_"
    most = above_0(f"{owner}: max_norm", max_norm)
    norm = checked_norm(f"{owner}: total_norm", total_norm)
    gradients = _Gradients(owner, "parameters", parameters)
    _core.scale_gradients(owner, gradients.label, gradients.arrays, most, norm)


def clip_grad_value_(
    parameters: Any,
    clip_value: float,
    foreach: bool | None = None,  # noqa: ARG001
) -> None:
    """Cut each element of all gradients off at -clip_value and clip_value, in place. NaN stays.

    Args:
        parameters: as in `clip_grad_norm_`; nothing happens where there is no gradient. A `SparseGrad` must not name a
            row more than once.
        clip_value: above 0; rounded once to a gradient's dtype.
        foreach: accepted for torch's sake and without effect.

    Raises:
        TypeError, ValueError: as in `clip_grad_norm_`.
    """
    owner = "clip_grad_value_"
    most = above_0(f"{owner}: clip_value", clip_value)
    gradients = _Gradients(owner, "parameters", parameters)
    gradients.check_rows()
    _core.limit_gradients(owner, gradients.label, gradients.arrays, most)


def get_total_norm(
    tensors: Any,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,  # noqa: ARG001
) -> float:
    """Return the norm of all gradients together: (sum |g|^p)^(1/p).

    Args:
        tensors: one gradient, or an iterable or a dict of them: arrays (torch's CPU tensors too) or `SparseGrad`s, not
            what carries them; they may be read-only, and None stands for "no gradient".
        norm_type: p, above 0; infinity, or "inf", is the greatest absolute value.
        error_if_nonfinite: raise where the norm is infinite or NaN.
        foreach: accepted for torch's sake and without effect.

    Returns:
        The norm, a float; torch returns a tensor.

    Raises:
        TypeError, ValueError: an argument cannot be used, or there is no gradient (of which torch's norm is 0).
        RuntimeError: the norm is not finite and `error_if_nonfinite` is set.

    >>> get_total_norm([np.array([3.0, 0.0]), np.array([[-4.0]])], norm_type="inf")
    4.0
    """
    owner = "get_total_norm"
    p = checked_norm_type(f"{owner}: norm_type", norm_type)
    only_finite = flag(f"{owner}: error_if_nonfinite", error_if_nonfinite)
    gradients = _Gradients(owner, "tensors", tensors, are_carried=False)
    gradients.check_any()
    norm, nonfinite = _core.norm_of_gradients(owner, gradients.label, gradients.summed() or gradients.arrays, p)
    if only_finite:
        gradients.check_finite(norm, nonfinite)
    return norm


class _Gradients:
    """The gradients that a function is given.

    Args:
        owner: the function, for messages.
        argument: what its argument is called.
        given: see `clip_grad_norm_`.
        are_carried: whether what has a `.grad` stands for that, and all are changed in place; otherwise the items are
            read themselves.

    Attributes:
        arrays: of each gradient in its order, None where there is none; the values of a sparse one.
    """

    def __init__(self, owner: str, argument: str, given: Any, are_carried: bool = True) -> None:
        self._owner = owner
        self._argument = argument
        self._are_carried = are_carried
        self._keys, self._items = self._listed(given)
        self._found = [self._gradient(i, item) for i, item in enumerate(self._items)]
        self.arrays = tuple(grad.values if isinstance(grad, SparseGrad) else grad for grad in self._found)

    def _listed(self, given: Any) -> tuple[Sequence[Any] | None, list[Any]]:
        """Return the items, and what messages tell them apart by; None where it is one alone."""
        if isinstance(given, Mapping):
            return list(given), list(given.values())
        if not isinstance(given, list | tuple):
            where = f"{self._owner}: {self._argument}"
            if isinstance(given, SparseGrad) or hasattr(given, "grad") or as_array(given, where) is not None:
                return None, [given]
            if not isinstance(given, Iterable):
                raise TypeError(f"{where} is {describe(given)}; expected an array, or a list of arrays.")
        items = list(given)
        return range(len(items)), items

    def label(self, i: int) -> str:
        """Return what messages call a gradient."""
        item = self._items[i]
        name = self._argument if self._keys is None else f"{self._argument}[{self._keys[i]!r}]"
        if not self._carries(item):
            return name
        return f"the gradient of {name}" + (f" ({item.name!r})" if getattr(item, "name", None) else "")

    def _carries(self, item: Any) -> bool:
        return self._are_carried and hasattr(item, "grad")

    def _gradient(self, i: int, item: Any) -> Array | SparseGrad | None:
        value = item.grad if type(item) is not np.ndarray and self._carries(item) else item
        if value is None or isinstance(value, np.ndarray):
            return value
        where = f"{self._owner}: {self.label(i)}"
        try:
            found = _over_its_memory(value) if self._are_carried else as_array_or_sparse(value)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{where}: {error}") from error
        if found is None:
            raise TypeError(
                f"{where} is {describe(value)}; expected an array or a SparseGrad, or None where there is no gradient."
            )
        return found

    def summed(self) -> tuple[Array | None, ...] | None:
        """Return the arrays with repeated rows summed; None where no gradient is sparse."""
        if not any(isinstance(grad, SparseGrad) for grad in self._found):
            return None
        return tuple(grad.coalesce().values if isinstance(grad, SparseGrad) else grad for grad in self._found)

    def check_any(self) -> None:
        """Raise where there is no gradient."""
        if all(grad is None for grad in self._found):
            what = "it is empty" if not self._found else "each is None"
            raise ValueError(
                f"{self._owner}: {self._argument} has no gradient to find the norm of: {what}. Compute gradients first."
            )

    def check_rows(self) -> None:
        """Raise where a sparse gradient names a row more than once."""
        for i, grad in enumerate(self._found):
            if isinstance(grad, SparseGrad) and len(grad.coalesce()) < len(grad):
                raise ValueError(
                    f"{self._owner}: {self.label(i)} names rows more than once, of which the sums would have to be cut "
                    "off. Pass grad.coalesce() and step with that."
                )

    def check_finite(self, norm: float, nonfinite: Sequence[int]) -> None:
        """Raise where the norm is not finite; `nonfinite` are the positions of the gradients that make it so."""
        if math.isfinite(norm):
            return
        shown = ", ".join(map(self.label, nonfinite[:5])) + (", ..." if len(nonfinite) > 5 else "")
        why = f"NaN or infinity in {shown}" if nonfinite else "it is too large for float64"
        raise RuntimeError(
            f"{self._owner}: the norm is {norm}: {why}. Leave this step out, or set error_if_nonfinite=False."
        )


def _over_its_memory(value: Any) -> Array | SparseGrad | None:
    """Return a gradient, that is to be changed, over its very memory; None where it is none."""
    if not is_tensor(value):
        return as_array_or_sparse(value)
    if not is_sparse_tensor(value):
        return as_array(value)
    found = as_array_or_sparse(value)
    if isinstance(found, SparseGrad) and len(found) > 0 and address(found.values) != value._values().data_ptr():
        raise ValueError("the values of the sparse tensor do not lie together. Assign its coalesce() to the gradient.")
    return found
