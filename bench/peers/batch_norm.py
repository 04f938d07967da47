"""Batch norm through torch's own kernels and through oneDNN, which torch brings along."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ravine import config
from ravine.benchmark.layers import EPS, LAYERS, MOMENTUM, Contender

from .extras import require
from .layers import BatchNormCase, case, make, measure
from .measure import Ratio

if TYPE_CHECKING:
    from ravine.benchmark.session import Effort
    from ravine.benchmark.workloads import Shape

DEFAULT_SHAPES = [shape for shape in LAYERS["batch_norm"].shapes if len(shape) == 4]
PASSES = ("training", "evaluation", "backward")


@dataclass(frozen=True)
class LayerResult:
    """A pass of batch norm beside ravine's.

    Attributes:
        threads: of everyone.
        shape: (N, C, H, W), also where the layout is channels last.
        layout: "NCHW" or "NHWC".
        operation: one of `PASSES`.
        peer: "numpy" and "copy" write to an array that is there, as ravine does; "numpy_new", "torch" and "onednn"
            make a new one, and are compared with ravine making one.
        seconds: the peer's time, median.
        ravine_seconds: ravine's in the same rounds, median.
        ratio: the peer's time divided by ravine's.
    """

    threads: int
    shape: Shape
    layout: str
    operation: str
    peer: str
    seconds: float
    ravine_seconds: float
    ratio: Ratio


def onednn(case: BatchNormCase) -> Contender:
    """Return `torch.native_batch_norm` on tensors in oneDNN's format, which runs oneDNN's primitive.

    The tensors are converted beforehand. oneDNN keeps them channels first in plain order; no wheel makes its other
    layouts reachable. Its result is new, and in its own format: results are converted when they are looked at.
    """
    torch = require("torch")
    torch.set_num_threads(config.get_num_threads())
    batch = case.batch
    x, dy = (torch.from_numpy(array).to_mkldnn() for array in (batch.x, batch.dy))
    weight, bias = torch.from_numpy(batch.weight), torch.from_numpy(batch.bias)
    running = [torch.from_numpy(statistic.copy()) for statistic in (batch.running_mean, batch.running_var)]
    forward, backward = torch.nn.functional.batch_norm, torch.ops.aten.native_batch_norm_backward
    if not case.backward:
        return Contender(
            lambda: forward(x, *running, weight, bias, case.training, MOMENTUM, EPS),
            lambda y: [y.to_dense().numpy(), *(part.numpy() for part in running)],
        )
    _, mean, inv = torch.native_batch_norm(x, weight, bias, *running, case.training, MOMENTUM, EPS)
    return Contender(
        lambda: backward(dy, x, weight, *running, mean, inv, case.training, EPS, [True, True, True]),
        lambda gradients: [gradient.to_dense().numpy() for gradient in gradients],
    )


def passes(shapes: Sequence[Shape], threads: int, effort: Effort) -> Iterator[LayerResult]:
    """Measure batch norm, everyone in this process: torch and oneDNN share one OpenMP library, whose threads are let
    go to sleep between turns. Results are compared with NumPy's first.

    Args:
        shapes: of four dimensions.
        threads: of everyone.
        effort: how long to measure.

    Raises:
        MissingExtraError: torch is not installed.
        WrongResultError: someone does not compute what NumPy does.
    """  # noqa: D205
    before = config.get_num_threads()
    config.set_num_threads(threads)
    try:
        for shape in shapes:
            for layout in LAYERS["batch_norm"].layouts(shape):
                batch = make(shape, layout, "float32")
                for operation in PASSES:
                    each = case("batch_norm", operation, batch)
                    assert isinstance(each, BatchNormCase)
                    others = {"onednn": onednn(each)} if layout == "NCHW" else {}
                    times = measure(each, effort, torch=True, others=others)
                    for peer in times.keys() - {"ravine", "ravine_new"}:
                        ravine = times["ravine" if peer in {"numpy", "copy"} else "ravine_new"]
                        yield LayerResult(
                            threads,
                            shape,
                            layout,
                            operation,
                            peer,
                            statistics.median(times[peer]),
                            statistics.median(ravine),
                            Ratio.of(times[peer], ravine),
                        )
    finally:
        config.set_num_threads(before)
