"""The layers of the demonstrations' networks that `ravine.nn` does not have, in plain NumPy, and the loss.

Images are arrays of shape (N, H, W, C), channels last: the neighbourhood of a pixel is then one row of a matrix, and a
convolution one product with the matrix of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ravine import nn

Array = np.ndarray[Any, Any]


class _Affine(nn.Layer):
    """A layer with a weight and, unless what follows subtracts the mean anyway, a bias.

    The weights are drawn from a normal distribution of variance 2 / inputs, which keeps the scale of the activations
    from layer to layer where ReLU sets half of them to zero (He, Zhang, Ren & Sun 2015, "Delving Deep into
    Rectifiers").
    """

    def __init__(
        self, shape: tuple[int, ...], bias: bool, rng: np.random.Generator, dtype: type[np.floating[Any]]
    ) -> None:
        super().__init__()
        *inputs, outputs = shape
        deviation = np.sqrt(2 / math.prod(inputs))
        self.weight = nn.Parameter(rng.normal(0, deviation, shape).astype(dtype))
        self.bias = nn.Parameter(np.zeros(outputs, dtype)) if bias else None

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield "weight" and "bias" with their `Parameter`s."""
        yield "weight", self.weight
        if self.bias is not None:
            yield "bias", self.bias

    def _state(self) -> dict[str, Any]:
        return {name: parameter.data for name, parameter in self.named_parameters()}


class Linear(_Affine):
    """A fully connected layer: y = x W + b.

    Args:
        inputs: features of a sample that comes in.
        outputs: features of a sample that goes out.
        bias: whether to add b.
        rng: draws the weights, of shape (inputs, outputs).
        dtype: of the weights, np.float32 or np.float64.
    """

    def __init__(
        self, inputs: int, outputs: int, *, bias: bool, rng: np.random.Generator, dtype: type[np.floating[Any]]
    ) -> None:
        super().__init__((inputs, outputs), bias, rng, dtype)

    def __call__(self, x: Array) -> Array:
        """Return y, of shape (N, outputs), and keep x, of shape (N, inputs), for `backward`."""
        self.x = x
        y: Array = x @ self.weight.data
        if self.bias is not None:
            y += self.bias.data
        return y

    def backward(self, dy: Array) -> Array:
        """Take dL/dy, add to the gradients of W and b, and return dL/dx."""
        self.weight.grad += self.x.T @ dy
        if self.bias is not None:
            self.bias.grad += dy.sum(axis=0)
        dx: Array = dy @ self.weight.data.T
        return dx


class Conv2d(_Affine):
    """A convolution that keeps height and width: each pixel of y is b plus the sum of W times its neighbourhood in x.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        size: height and width of the neighbourhood, an odd number. Beyond the edges there are zeros.
        bias: whether to add b.
        rng: draws the weights, of shape (size, size, inputs, outputs).
        dtype: of the weights, np.float32 or np.float64.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int = 3,
        *,
        bias: bool,
        rng: np.random.Generator,
        dtype: type[np.floating[Any]],
    ) -> None:
        super().__init__((size, size, inputs, outputs), bias, rng, dtype)

    def __call__(self, x: Array) -> Array:
        """Take x of shape (N, H, W, inputs), return y of shape (N, H, W, outputs), and keep what `backward` needs."""
        size, _, _, outputs = self.weight.shape
        self.patches = neighbourhoods(x, size)
        y: Array = self.patches @ self.weight.data.reshape(-1, outputs)
        if self.bias is not None:
            y += self.bias.data
        return y.reshape(*x.shape[:3], outputs)

    def backward(self, dy: Array) -> Array:
        """Take dL/dy, add to the gradients of W and b, and return dL/dx.

        What x[i] does to y[j] lies in W at i - j, and what it does to the loss is the sum over all j near i: the
        convolution of dL/dy with W turned by 180 degrees, its inputs and outputs exchanged.
        """
        size, _, inputs, outputs = self.weight.shape
        self.weight.grad += (self.patches.T @ dy.reshape(-1, outputs)).reshape(self.weight.shape)
        if self.bias is not None:
            self.bias.grad += dy.sum(axis=(0, 1, 2))
        turned = self.weight.data[::-1, ::-1].swapaxes(2, 3)
        dx: Array = neighbourhoods(dy, size) @ turned.reshape(-1, inputs)
        return dx.reshape(*dy.shape[:3], inputs)


def neighbourhoods(x: Array, size: int) -> Array:
    """Return the size x size pixels around each pixel, zeros beyond the edges.

    Args:
        x: images of shape (N, H, W, C).
        size: an odd number.

    Returns:
        The matrix of shape (N H W, size size C), a row for each pixel, that is often called im2col.
    """
    beyond = (size // 2, size // 2)
    padded = np.pad(x, ((0, 0), beyond, beyond, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))  # (N, H, W, C, size, size)
    return np.moveaxis(windows, 3, 5).reshape(-1, size * size * x.shape[3])


class ReLU(nn.Layer):
    """Zero where x is negative: y = max(x, 0)."""

    def __call__(self, x: Array) -> Array:
        """Return y, like x of any shape, and keep for `backward` where x is positive."""
        self.positive = x > 0
        return np.maximum(x, 0)

    def backward(self, dy: Array) -> Array:
        """Take dL/dy and return dL/dx."""
        return dy * self.positive


class MaxPool2d(nn.Layer):
    """The largest of each 2 x 2 pixels, in each channel."""

    def __call__(self, x: Array) -> Array:
        """Take x of shape (N, H, W, C), H and W even, and return y of shape (N, H / 2, W / 2, C)."""
        samples, height, width, channels = x.shape
        blocks = x.reshape(samples, height // 2, 2, width // 2, 2, channels)
        y: Array = blocks.max(axis=(2, 4), keepdims=True)
        largest = blocks == y
        self.share = largest / largest.sum(axis=(2, 4), keepdims=True, dtype=x.dtype)
        return y.reshape(samples, height // 2, width // 2, channels)

    def backward(self, dy: Array) -> Array:
        """Take dL/dy and return dL/dx: the largest pixel has all of it, or several that are equal have equal shares."""
        samples, height, width, channels = dy.shape
        dx: Array = self.share * dy[:, :, None, :, None]
        return dx.reshape(samples, 2 * height, 2 * width, channels)


class Reshape(nn.Layer):
    """Give every sample another shape.

    Args:
        shape: of a sample that goes out.
    """

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def __call__(self, x: Array) -> Array:
        """Return x in the shape (N, *shape), and keep its own for `backward`."""
        self.shape_before = x.shape
        return x.reshape(len(x), *self.shape)

    def backward(self, dy: Array) -> Array:
        """Return dL/dx: dL/dy in the shape of x."""
        dx: Array = dy.reshape(self.shape_before)
        return dx


def softmax_cross_entropy(logits: Array, labels: Array) -> tuple[float, Array]:
    """Return the mean of -log softmax(logits)[label] over the samples, and its gradient with respect to the logits.

    Args:
        logits: of shape (N, classes).
        labels: of shape (N,), from 0 to classes - 1.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)  # the same softmax, and exp cannot overflow
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    samples = np.arange(len(labels))
    loss = -log_probabilities[samples, labels].mean()
    gradient = np.exp(log_probabilities)
    gradient[samples, labels] -= 1
    return float(loss), gradient / len(labels)
