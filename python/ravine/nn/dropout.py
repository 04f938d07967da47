"""Dropout."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import numpy as np

from ravine import _core
from ravine._hyper import choice, flag, unit
from ravine.nn import functional
from ravine.nn.layer import Layer

Array = np.ndarray[Any, Any]


_EVALUATED = "evaluated"  # a forward pass that drops nothing


class _Dropout(Layer):
    _kind: ClassVar[functional.DropoutKind] = "element"
    _ndim: ClassVar[int | None] = None
    _checks = {"seed": functional.as_seed, "offset": functional.as_seed}

    def __init__(
        self,
        p: float = 0.5,
        inplace: bool = False,
        *,
        seed: int | np.random.Generator | None = None,
        layout: str = "NCHW",
    ) -> None:
        super().__init__()
        where = f"{type(self).__name__}: "
        self.p = unit(where + "p", p)
        self.inplace = flag(where + "inplace", inplace)
        self.layout = choice(where + "layout", layout, functional.LAYOUTS)
        if seed is None:
            seed = int.from_bytes(os.urandom(8), "little")
        elif isinstance(seed, np.random.Generator):
            seed = int(seed.integers(1 << 64, dtype=np.uint64))
        self.seed = functional.as_seed(where + "seed", seed)
        # The offset, and what the last forward pass was: replaced as one, so that no Ctrl-C comes between.
        self._standing: tuple[int, _core.DropoutContext | str | None] = (0, None)

    def __call__(self, x: Array, *, out: Array | None = None) -> Array:
        """Drop at random in training; return x itself in evaluation, or a copy in `out` where that is given.

        Args:
            x: a contiguous array of float32 or float64, in any order of its axes.
            out: where to write the result: an array like x, in the same memory order; it may be x.

        Raises:
            TypeError, ValueError: an argument does not fit; the message names it. Nothing has been changed.
        """
        name = type(self).__name__
        if self._ndim is not None and self._as_array(x).ndim != self._ndim:
            shape = self._as_array(x).shape
            raise ValueError(f"{name}: x has {len(shape)} dimension(s), shape {shape}; expected {self._ndim}.")
        inplace = self.inplace if type(self.inplace) is bool else flag(f"{name}: inplace", self.inplace)
        if out is None and inplace:
            out = x
        offset = self.offset
        p = self.p if type(self.p) is float else unit(f"{name}: p", self.p)
        if not self._is_training() or (p == 0 and out is None):
            y = functional.identity(name, x, out)
            self._standing = offset, _EVALUATED
            return y
        y, context = functional.dropout_forward(
            x, p, seed=self.seed, offset=offset, kind=self._kind, layout=self.layout, out=out, owner=name
        )
        self._standing = (offset + context.counters) % (1 << 64), context
        return y

    def backward(self, dy: Array, *, out: Array | None = None) -> Array:
        """Propagate a gradient through the last forward pass.

        Args:
            dy: the gradient of the loss by the result: an array like it, in the same memory order.
            out: where to write the gradient by x: an array like dy; it may be dy.

        Returns:
            The gradient by x. After a forward pass in evaluation that is dy itself, or a copy in `out`.

        Raises:
            RuntimeError: there was no forward pass.
            TypeError, ValueError: an argument does not fit; the message names it. Nothing has been changed.
        """
        made = self._standing[1]
        if made is None:
            raise RuntimeError(f"{type(self).__name__}.backward: there was no forward pass. Call the layer first.")
        if isinstance(made, _core.DropoutContext):
            return made.backward(dy, out)
        return functional.identity(f"{type(self).__name__}.backward", dy, out)

    @property
    def offset(self) -> int:
        """Where in the sequence of random numbers the next forward pass begins."""
        return self._standing[0]

    @offset.setter
    def offset(self, offset: int) -> None:
        self._standing = functional.as_seed(f"{type(self).__name__}: offset", offset), self._standing[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_standing": (self.offset, None)}  # a copy has made no forward pass

    def _state(self) -> dict[str, Any]:
        return {"seed": self.seed, "offset": self.offset}

    def _repr_arguments(self) -> str:
        layout = f", layout={self.layout!r}" if self.layout != "NCHW" else ""
        return f"p={self.p}, inplace={self.inplace}{layout}"


class Dropout(_Dropout):
    """Set elements to 0 at random, and multiply the others by 1 / (1 - p): `torch.nn.Dropout`.

    Only in training; in evaluation the layer returns its input. Element i (in the order of memory) is dropped where the
    i-th half word of a Philox 4x32-10 sequence is below round(65536 p), so p is realised to 1/131072. The sequence is a
    function of seed and offset alone: any number of threads and any instruction set give the same mask. Each forward
    pass advances the offset; both are in the `state_dict`. A bit for each element is kept for the backward pass.

    Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov 2014, "Dropout: A Simple Way to Prevent Neural Networks
    from Overfitting"; Salmon, Moraes, Dror & Shaw 2011, "Parallel Random Numbers: As Easy as 1, 2, 3".

    Args:
        p: the probability of an element to be dropped, from 0 to 1.
        inplace: write the result to x.
        seed: a whole number below 2^64, or a `numpy.random.Generator` to draw one from; the system's by default. Layers
            of the same seed draw the same masks: give each its own, or all of them one generator.

    Raises:
        TypeError, ValueError: an argument is out of range; the message names it.

    >>> dropout = Dropout(0.5, seed=0)
    >>> dropout(np.ones(8, np.float32)).tolist()
    [2.0, 0.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    >>> dropout.backward(np.ones(8, np.float32)).tolist()
    [2.0, 0.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    """

    def __init__(self, p: float = 0.5, inplace: bool = False, *, seed: int | np.random.Generator | None = None) -> None:
        super().__init__(p, inplace, seed=seed)


class Dropout1d(_Dropout):
    """Set whole channels of (N, C, L) to 0 at random, and multiply the others by 1 / (1 - p): `torch.nn.Dropout1d`.

    Each channel of each sample is dropped by itself; what else is said of `Dropout` holds for channels.

    Tompson, Goroshin, Jain, LeCun & Bregler 2015, "Efficient Object Localization Using Convolutional Networks".

    Args:
        p, inplace, seed: as of `Dropout`.
        layout: "NCHW" for channels first, as in torch, or "NHWC" for channels last: (N, L, C).

    Raises:
        TypeError, ValueError: an argument is out of range; the message names it.
    """

    _kind = "channel"
    _ndim = 3


class Dropout2d(_Dropout):
    """`Dropout1d` for (N, C, H, W), or with layout="NHWC" for (N, H, W, C): `torch.nn.Dropout2d`."""

    _kind = "channel"
    _ndim = 4


class Dropout3d(_Dropout):
    """`Dropout1d` for (N, C, D, H, W), or with layout="NHWC" for (N, D, H, W, C): `torch.nn.Dropout3d`."""

    _kind = "channel"
    _ndim = 5


class AlphaDropout(_Dropout):
    """Dropout that keeps mean and variance of self-normalising networks: `torch.nn.AlphaDropout`.

    Dropped elements take the value alpha' = -1.7580993408473766 that SELU tends to; then y = a x + b, with
    a = 1 / sqrt((1 - p) (1 + p alpha'^2)) and b = -a p alpha'. With p = 1 all is 0. Else as `Dropout`.

    Klambauer, Unterthiner, Mayr & Hochreiter 2017, "Self-Normalizing Neural Networks".

    Args:
        p, inplace, seed: as of `Dropout`.

    Raises:
        TypeError, ValueError: an argument is out of range; the message names it.
    """

    _kind = "alpha"

    def __init__(self, p: float = 0.5, inplace: bool = False, *, seed: int | np.random.Generator | None = None) -> None:
        super().__init__(p, inplace, seed=seed)
