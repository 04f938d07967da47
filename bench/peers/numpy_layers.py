"""Batch norm and dropout in NumPy: in the usual expressions, and as fast as NumPy does them.

The fast form is `InPlace`'s for layers: `out=` everywhere, and arrays cut into pieces that stay in the cache from one
operation to the next.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import add, greater, greater_equal, maximum, multiply, subtract
from ravine.benchmark.layers import EPS, MOMENTUM, Batch

from .inplace import PIECE_BYTES

Array = np.ndarray[Any, Any]

# Channels first, NumPy spends more on each start of a short row of a channel than the cache could save, so there are
# larger pieces with more rows in each operation.
BLOCK_BYTES = 1 << 21


class BatchNorm:
    """The usual expressions. After a forward pass in training comes any number of backward passes."""

    def __init__(self, batch: Batch, training: bool, relu: bool) -> None:
        self.x, self.dy = batch.x, batch.dy
        self.training = training
        self.relu = relu
        axis = batch.x.ndim - 1 if batch.layout == "NHWC" else 1
        self.axes = tuple(i for i in range(batch.x.ndim) if i != axis)
        self.shape = tuple(n if i == axis else 1 for i, n in enumerate(batch.x.shape))
        self.weight, self.bias = batch.weight.reshape(self.shape), batch.bias.reshape(self.shape)
        self.running_mean = batch.running_mean.reshape(self.shape).copy()
        self.running_var = batch.running_var.reshape(self.shape).copy()
        self.count = batch.x.size // batch.weight.size

    def forward(self) -> Array:
        """Return the result; keep what `backward` needs."""
        if self.training:
            mean = self.x.mean(self.axes, keepdims=True)
            var = self.x.var(self.axes, keepdims=True)
            self.running_mean = (1 - MOMENTUM) * self.running_mean + MOMENTUM * mean
            self.running_var = (1 - MOMENTUM) * self.running_var + MOMENTUM * var * (self.count / (self.count - 1))
        else:
            mean, var = self.running_mean, self.running_var
        self.inv = 1 / np.sqrt(var + EPS)
        self.x_hat = (self.x - mean) * self.inv
        y: Array = self.x_hat * self.weight + self.bias
        self.y = np.maximum(y, 0) if self.relu else y
        return self.y

    def backward(self) -> tuple[Array, Array, Array]:
        """Return the gradients by x, weight and bias."""
        dy = self.dy * (self.y > 0) if self.relu else self.dy
        dbias = dy.sum(self.axes, keepdims=True)
        dweight = (dy * self.x_hat).sum(self.axes, keepdims=True)
        dx = self.weight * self.inv * (dy - dbias / self.count - self.x_hat * (dweight / self.count))
        return dx, dweight, dbias


class BatchNormInPlace:
    """As fast as NumPy does it: with `out=`, in pieces.

    Channels first, a block of channels is normalised by itself. Channels last, rows are contiguous over all channels,
    so there is one block, and its rows are cut into pieces.
    """

    def __init__(self, batch: Batch, training: bool, relu: bool) -> None:
        self.training = training
        self.relu = relu
        channels = batch.weight.size
        self.count = batch.x.size // channels
        self.running_mean, self.running_var = batch.running_mean.copy(), batch.running_var.copy()
        self.out = batch.out
        self.y = np.empty_like(batch.x) if relu else batch.x  # only the gradient of ReLU looks at it
        self.blocks: list[_Block] = []
        arrays = batch.x, batch.dy, batch.out, self.y
        size = batch.x.itemsize
        if batch.layout == "NHWC" or batch.x.ndim == 2:
            rows = max(1, PIECE_BYTES // size // channels)
            self.axes: tuple[int, ...] = (0,)
            matrices = [array.reshape(-1, channels) for array in arrays]
            pieces = [[m[i : i + rows] for m in matrices] for i in range(0, self.count, rows)]
            self.blocks.append(_Block(slice(None), pieces, batch, ()))
        else:
            width = max(1, BLOCK_BYTES // size // self.count)
            self.axes = (0, 2)
            cubes = [array.reshape(len(batch.x), channels, -1) for array in arrays]
            for i in range(0, channels, width):
                part = slice(i, i + width)
                self.blocks.append(_Block(part, [[cube[:, part] for cube in cubes]], batch, (1,)))

    def forward(self) -> None:
        """Write the result to `Batch.out`; keep what `backward` needs."""
        for block in self.blocks:
            mean, var = self._statistics(block)
            block.mean = mean
            block.inv = 1 / np.sqrt(var + EPS)
            scale = block.weight * block.inv
            shift = block.bias - mean * scale
            for (x, _, out, _), _ in block.pieces:
                multiply(x, scale, out=out)
                add(out, shift, out=out)
                if self.relu:
                    maximum(out, 0, out=out)

    def _statistics(self, block: _Block) -> tuple[Array, Array]:
        running_mean, running_var = self.running_mean[block.channels], self.running_var[block.channels]
        if not self.training:
            return running_mean.reshape(block.weight.shape), running_var.reshape(block.weight.shape)
        mean, var = np.zeros_like(running_mean), np.zeros_like(running_var)
        for (x, *_), _ in block.pieces:
            mean += add.reduce(x, self.axes)
        mean /= self.count
        centre = mean.reshape(block.weight.shape)
        for (x, *_), s in block.pieces:
            subtract(x, centre, out=s)
            multiply(s, s, out=s)
            var += add.reduce(s, self.axes)
        var /= self.count
        running_mean += MOMENTUM * (mean - running_mean)
        running_var += MOMENTUM * (var * (self.count / (self.count - 1)) - running_var)
        return centre, var.reshape(block.weight.shape)

    def keep_result(self) -> None:
        """Keep a copy of the result for the backward pass, which writes to `Batch.out` too."""
        if self.relu:
            np.copyto(self.y, self.out)

    def backward(self) -> tuple[Array, Array]:
        """Write the gradient by x to `Batch.out`; return those by weight and bias."""
        dweights, dbiases = [], []
        for block in self.blocks:
            dweight, dbias = (np.zeros(block.weight.size, block.weight.dtype) for _ in range(2))
            for (x, dy, out, y), s in block.pieces:
                g = dy
                if self.relu:
                    g = greater(y, 0, out=out)
                    multiply(dy, g, out=g)
                dbias += add.reduce(g, self.axes)
                subtract(x, block.mean, out=s)
                multiply(s, g, out=s)
                dweight += add.reduce(s, self.axes)
            dweight *= block.inv.reshape(-1)
            dweights.append(dweight)
            dbiases.append(dbias)
            of_dy = block.weight * block.inv
            of_x = -of_dy * block.inv * dweight.reshape(of_dy.shape) / self.count
            constant = -of_dy * dbias.reshape(of_dy.shape) / self.count - of_x * block.mean
            for (x, dy, out, _), s in block.pieces:
                multiply(out if self.relu else dy, of_dy, out=out)
                multiply(x, of_x, out=s)
                add(out, s, out=out)
                add(out, constant, out=out)
        return np.concatenate(dweights), np.concatenate(dbiases)


class _Block:
    """Channels that are normalised together: pieces of (x, dy, out, y), each with scratch of its shape."""

    def __init__(self, channels: slice, pieces: list[list[Array]], batch: Batch, trailing: tuple[int, ...]) -> None:
        self.channels = channels
        scratch = np.empty(pieces[0][0].shape, batch.x.dtype)
        self.pieces = [(piece, scratch[: len(piece[0])]) for piece in pieces]
        self.weight = batch.weight[channels].reshape(-1, *trailing)
        self.bias = batch.bias[channels].reshape(-1, *trailing)
        self.mean = self.inv = self.weight


class Dropout:
    """The usual expressions: a mask that holds 0 or 1 / (1 - p)."""

    def __init__(self, p: float, rng: np.random.Generator) -> None:
        self.p = p
        self.rng = rng

    def forward(self, x: Array) -> Array:
        """Return the result; keep the mask."""
        self.mask: Array = (self.rng.random(x.shape, x.dtype.type) >= self.p).astype(x.dtype) / (1 - self.p)
        y: Array = x * self.mask
        return y

    def backward(self, dy: Array) -> Array:
        """Return the gradient by x."""
        dx: Array = dy * self.mask
        return dx


class DropoutInPlace:
    """As fast as NumPy does it: with `out=`, in pieces."""

    def __init__(self, p: float, rng: np.random.Generator, x: Array, dy: Array, out: Array) -> None:
        self.p = p
        self.rng = rng
        self.dy, self.out = dy, out
        self.mask = np.empty_like(x)
        self.scale = np.array(1 / (1 - p), x.dtype)
        arrays = [array.reshape(-1) for array in (x, out, self.mask)]
        size = PIECE_BYTES // x.itemsize
        self.pieces = [[array[i : i + size] for array in arrays] for i in range(0, x.size, size)]

    def forward(self) -> None:
        """Write the result to `out`; keep the mask."""
        for x, out, mask in self.pieces:
            self.rng.random(out=mask, dtype=mask.dtype.type)
            greater_equal(mask, self.p, out=mask)
            multiply(mask, self.scale, out=mask)
            multiply(x, mask, out=out)

    def backward(self) -> None:
        """Write the gradient by x to `out`."""
        multiply(self.dy, self.mask, out=self.out)
