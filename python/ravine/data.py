"""Batches of a data set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ravine._hyper import flag, shown

__all__ = ["minibatches"]

Array = np.ndarray[Any, Any]


def minibatches(
    *arrays: Array,
    batch_size: int | None = 32,
    shuffle: bool = True,
    rng: np.random.Generator | int | None = None,
    drop_last: bool = False,
) -> Iterator[tuple[Array, ...]]:
    """Iterate once over a data set in batches.

    Args:
        *arrays: the data, the first axis counting samples, the same number in each; usually X and y.
        batch_size: samples in a batch. An int gives mini-batches, 1 single samples (stochastic descent), None the whole
            set at once (batch descent).
        shuffle: visit the samples in random order; batches are then copies. Otherwise, and for the whole set, they are
            views in the order of the arrays.
        rng: a generator, which advances, or a seed, for the order.
        drop_last: leave out the last batch where it is smaller than the others.

    Yields:
        One array of shape (batch, ...) for each of `arrays`.

    Raises:
        TypeError: something is not an array, `batch_size` not an int, or another argument of a wrong type.
        ValueError: the arrays differ in length, `batch_size` is below 1, or `rng` is no seed.

    >>> X, y = np.arange(10).reshape(5, 2), np.arange(5)
    >>> [yb.tolist() for Xb, yb in minibatches(X, y, batch_size=2, shuffle=False)]
    [[0, 1], [2, 3], [4]]
    """
    if not arrays:
        raise TypeError("minibatches: no arrays; give at least one, usually X and y.")
    for i, array in enumerate(arrays):
        if not isinstance(array, np.ndarray) or array.ndim == 0:
            came = f"{array.ndim}-d" if isinstance(array, np.ndarray) else type(array).__name__
            raise TypeError(f"minibatches: arrays[{i}] is {came}; expected an array whose first axis counts samples.")
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        raise ValueError(f"minibatches: the arrays hold {lengths} samples; expected the same number in each.")
    if batch_size is not None and (isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer)):
        raise TypeError(f"minibatches: batch_size={batch_size!r}; expected an int, or None for the whole set.")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"minibatches: batch_size={batch_size}; expected 1 or more, or None for the whole set.")
    shuffle, drop_last = flag("minibatches: shuffle", shuffle), flag("minibatches: drop_last", drop_last)
    try:
        generator = np.random.default_rng(rng) if shuffle else None
    except (TypeError, ValueError) as error:
        raise type(error)(f"minibatches: rng={shown(rng)}; expected a generator, a seed from 0 on, or None.") from None
    return _batches(arrays, batch_size, generator, drop_last)


def _batches(
    arrays: tuple[Array, ...],
    batch_size: int | None,
    rng: np.random.Generator | None,
    drop_last: bool,
) -> Iterator[tuple[Array, ...]]:
    count = len(arrays[0])
    if batch_size is None:
        if count:
            yield arrays
        return
    order = None if rng is None else rng.permutation(count)
    for start in range(0, count - batch_size + 1 if drop_last else count, batch_size):
        chosen = slice(start, start + batch_size) if order is None else order[start : start + batch_size]
        yield tuple(array[chosen] for array in arrays)
