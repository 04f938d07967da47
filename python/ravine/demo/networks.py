"""The networks of the demonstrations."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from ravine import nn
from ravine._saved import within
from ravine.demo.layers import Conv2d, Linear, MaxPool2d, ReLU, Reshape

Array = np.ndarray[Any, Any]
AnyNetwork = TypeVar("AnyNetwork", bound="Network")

SIDE = 8  # height and width of an image
CLASSES = 10


class Differentiable(Protocol):
    """A layer as a network uses it: those of `ravine.nn` and of `ravine.demo.layers` are such."""

    def __call__(self, x: Array, /) -> Array:
        """Return y, and keep what `backward` needs."""
        ...

    def backward(self, dy: Array, /) -> Any:
        """Take dL/dy, add to the gradients of the parameters, and return dL/dx."""
        ...

    def train(self, mode: bool = True) -> Any:
        """Set the layer to training, or with False to evaluation."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the name and the `Parameter` of each of its parameters."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of its state, parameters included."""
        ...

    def _loader(self, state_dict: Mapping[str, Any], problems: list[str]) -> Callable[[], None]: ...


class Network(nn.Layer):
    """Layers, one after the other.

    Args:
        layers: in the order of the forward pass.

    Attributes:
        layers: as given.
        seconds: what each of them has taken, forward and backward.
    """

    def __init__(self, layers: Sequence[Differentiable]) -> None:
        super().__init__()
        self.layers = layers
        self.seconds = [0.0] * len(layers)

    def __call__(self, x: Array) -> Array:
        """Return what the last layer makes of it, given x of shape (N, features): for a classifier the logits."""
        for i, layer in enumerate(self.layers):
            start = time.perf_counter()
            x = layer(x)
            self.seconds[i] += time.perf_counter() - start
        return x

    def backward(self, dy: Array) -> Array:
        """Take dL/dy, add to the gradients of all parameters, and return dL/dx."""
        for i, layer in reversed(list(enumerate(self.layers))):
            start = time.perf_counter()
            dy = layer.backward(dy)
            self.seconds[i] += time.perf_counter() - start
        return dy

    def seconds_in(self, kinds: tuple[type, ...]) -> float:
        """Return what the layers of some classes have taken so far."""
        return sum(
            seconds for layer, seconds in zip(self.layers, self.seconds, strict=True) if isinstance(layer, kinds)
        )

    def train(self: AnyNetwork, mode: bool = True) -> AnyNetwork:
        """Set all layers to training, or with False to evaluation, and return the network."""
        for layer in self.layers:
            layer.train(mode)
        return super().train(mode)

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield all parameters, named by number of the layer and name in the layer: "0.weight"."""
        for i, layer in enumerate(self.layers):
            for name, parameter in layer.named_parameters():
                yield f"{i}.{name}", parameter

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each layer by its number."""
        return {str(i): layer.state_dict() for i, layer in enumerate(self.layers)}

    def _loader(self, state_dict: Mapping[str, Any], problems: list[str]) -> Callable[[], None]:
        names = [str(i) for i in range(len(self.layers))]
        if not isinstance(state_dict, Mapping) or list(state_dict) != names:
            problems.append(f"it is no state of {len(names)} layers")
            return lambda: None
        restores = [
            within(f"layer {name}", layer._loader, state_dict[name], problems)
            for name, layer in zip(names, self.layers, strict=True)
        ]

        def restore() -> None:
            for each in restores:
                each()

        return restore


def mlp(
    rng: np.random.Generator,
    sizes: Sequence[int] = (SIDE * SIDE, 256, 128, CLASSES),
    *,
    batch_norm: bool,
    dropout: float,
    dtype: type[np.floating[Any]] = np.float32,
) -> Network:
    """Return a multi-layer perceptron: fully connected layers with ReLU between them.

    Args:
        rng: draws the weights, and what is dropped.
        sizes: features of the input, of each hidden layer, and of the output (one logit a class).
        batch_norm: whether to normalise before each ReLU.
        dropout: the probability of a feature to be dropped after each ReLU; 0 for no such layer.
        dtype: of the parameters, np.float32 or np.float64; samples come in the same.
    """
    layers: list[Differentiable] = []
    *hidden, last = itertools.pairwise(sizes)
    for inputs, outputs in hidden:
        layers.append(Linear(inputs, outputs, bias=not batch_norm, rng=rng, dtype=dtype))
        layers.append(_relu(nn.BatchNorm1d, outputs, batch_norm, dtype))
        if dropout:
            layers.append(nn.Dropout(dropout, seed=rng))
    layers.append(Linear(*last, bias=True, rng=rng, dtype=dtype))
    return Network(layers)


def cnn(
    rng: np.random.Generator,
    channels: Sequence[int] = (16, 32),
    features: int = 128,
    *,
    batch_norm: bool,
    dropout: float,
    dtype: type[np.floating[Any]] = np.float32,
) -> Network:
    """Return a convolutional network: convolutions of 3 x 3 pixels, a pooling, two fully connected layers.

    There is a ReLU after each layer with weights but the last.

    Args:
        rng: draws the weights, and what is dropped.
        channels: of the result of each convolution.
        features: of the hidden fully connected layer.
        batch_norm: whether to normalise before each ReLU.
        dropout: the probability of a feature to be dropped before the last layer; 0 for no such layer.
        dtype: of the parameters, np.float32 or np.float64; samples, of shape (N, SIDE * SIDE), come in the same.
    """
    layers: list[Differentiable] = [Reshape(SIDE, SIDE, 1)]
    for inputs, outputs in itertools.pairwise((1, *channels)):
        layers.append(Conv2d(inputs, outputs, bias=not batch_norm, rng=rng, dtype=dtype))
        layers.append(_relu(nn.BatchNorm2d, outputs, batch_norm, dtype))
    pooled = (SIDE // 2) ** 2 * channels[-1]
    layers += [MaxPool2d(), Reshape(pooled)]
    layers.append(Linear(pooled, features, bias=not batch_norm, rng=rng, dtype=dtype))
    layers.append(_relu(nn.BatchNorm1d, features, batch_norm, dtype))
    if dropout:
        layers.append(nn.Dropout(dropout, seed=rng))
    layers.append(Linear(features, CLASSES, bias=True, rng=rng, dtype=dtype))
    return Network(layers)


def _relu(
    norm: type[nn.BatchNorm1d | nn.BatchNorm2d], channels: int, batch_norm: bool, dtype: type[np.floating[Any]]
) -> Differentiable:
    """Return a ReLU, or a batch norm that ends with one."""
    return norm(channels, activation="relu", layout="NHWC", dtype=dtype) if batch_norm else ReLU()


MODELS: dict[str, Callable[..., Network]] = {"mlp": mlp, "cnn": cnn}


class Design(NamedTuple):
    """What a network is built of.

    Attributes:
        model: a name in `MODELS`.
        batch_norm: whether there is batch norm.
        dropout: the probability of a feature to be dropped; 0 for no dropout.
    """

    model: str
    batch_norm: bool
    dropout: float

    def build(self, rng: np.random.Generator) -> Network:
        """Return a new network."""
        return MODELS[self.model](rng, batch_norm=self.batch_norm, dropout=self.dropout)

    @property
    def additions(self) -> str:
        """What there is of batch norm and dropout, in words."""
        return " and ".join(["batch norm"] * self.batch_norm + ["dropout"] * bool(self.dropout))

    def __str__(self) -> str:
        additions = self.additions.replace("dropout", f"dropout {self.dropout:g}")
        return f"{self.model} with {additions}" if additions else f"plain {self.model}"
