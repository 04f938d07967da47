"""A multi-layer perceptron in plain NumPy."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ravine.nn import Parameter

Array = np.ndarray[Any, Any]


class Linear:
    """A fully connected layer: y = x W + b.

    Args:
        inputs: features of a sample that comes in.
        outputs: features of a sample that goes out.
        rng: draws the weights: normal, of variance 2 / inputs, which keeps the scale of the activations from layer to
            layer where ReLU sets half of them to zero (He, Zhang, Ren & Sun 2015, "Delving Deep into Rectifiers").
        dtype: of the weights, float32 or float64.
    """

    def __init__(self, inputs: int, outputs: int, rng: np.random.Generator, dtype: type[np.floating]) -> None:
        deviation = np.sqrt(2 / inputs)
        self.weight = Parameter(rng.normal(0, deviation, (inputs, outputs)).astype(dtype))
        self.bias = Parameter(np.zeros(outputs, dtype))

    def parameters(self) -> list[Parameter]:
        """Return what there is to learn."""
        return [self.weight, self.bias]

    def forward(self, x: Array) -> Array:
        """Return y, one row a sample, and keep x for `backward`."""
        self.x = x
        y: Array = x @ self.weight.data + self.bias.data
        return y

    def backward(self, dy: Array) -> Array:
        """Take dL/dy, set the gradients of W and b, and return dL/dx."""
        self.weight.grad = self.x.T @ dy
        self.bias.grad = dy.sum(axis=0)
        dx: Array = dy @ self.weight.data.T
        return dx


class ReLU:
    """Zero where x is negative: y = max(x, 0)."""

    def parameters(self) -> list[Parameter]:
        """Return an empty list: there is nothing to learn."""
        return []

    def forward(self, x: Array) -> Array:
        """Return y, and keep for `backward` where x is positive."""
        self.positive = x > 0
        return np.maximum(x, 0)

    def backward(self, dy: Array) -> Array:
        """Take dL/dy and return dL/dx."""
        return dy * self.positive


class MLP:
    """Fully connected layers with ReLU between them.

    Args:
        sizes: features of the input, of each hidden layer, and of the output (one logit a class).
        rng: draws the weights.
        dtype: of the weights, float32 or float64; samples should come in the same.
    """

    def __init__(self, sizes: Sequence[int], rng: np.random.Generator, dtype: type[np.floating] = np.float32) -> None:
        self.layers: list[Linear | ReLU] = []
        for inputs, outputs in itertools.pairwise(sizes):
            self.layers += [Linear(inputs, outputs, rng, dtype), ReLU()]
        self.layers.pop()  # the logits may be negative

    def parameters(self) -> list[Parameter]:
        """Return the weights and biases of all layers."""
        return [parameter for layer in self.layers for parameter in layer.parameters()]

    def forward(self, x: Array) -> Array:
        """Return the logits, one row a sample."""
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dy: Array) -> None:
        """Take the gradient of the loss with respect to the logits and set that of every parameter."""
        for layer in reversed(self.layers):
            dy = layer.backward(dy)


def softmax_cross_entropy(logits: Array, labels: Array) -> tuple[float, Array]:
    """Return the mean of -log softmax(logits)[label] over the samples, and its gradient with respect to the logits."""
    shifted = logits - logits.max(axis=1, keepdims=True)  # the same softmax, and exp cannot overflow
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    samples = np.arange(len(labels))
    loss = -log_probabilities[samples, labels].mean()
    gradient = np.exp(log_probabilities)
    gradient[samples, labels] -= 1
    return float(loss), gradient / len(labels)
