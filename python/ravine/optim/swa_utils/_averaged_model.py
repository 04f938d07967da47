"""Averages of the weights that are renewed when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ravine._arrays import as_array, describe
from ravine._hyper import decay_rate
from ravine._saved import checked
from ravine.nn.batchnorm import _BatchNorm
from ravine.optim._averages import Averages
from ravine.optim._constant_plan import constant_plan
from ravine.optim._parameters import Parameters, Record
from ravine.optim.optimizer import Optimizer
from ravine.reference.averages import average

Array = np.ndarray[Any, Any]
AverageFunction = Callable[[Array, Array, int], Any]
MultiAverageFunction = Callable[[list[Array], list[Array], int], None]


class AveragedModel:
    """An average of parameters, renewed by `update_parameters()`: `torch.optim.swa_utils.AveragedModel`.

        a <- a + (p - a) / (n + 1)        unless a function says otherwise; the first update, n = 0, takes p itself

    for stochastic weight averaging: after each of the last epochs, with `SWALR` driving the learning rate.

    Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization", algorithm 1.

    Args:
        params: what to average: arrays, `Parameter`s or objects with `.data` and `.grad`, as an iterable, a dict or
            pairs of name and array; or an optimizer, whose parameters are meant.
        avg_fn: `avg_fn(average, parameter, n)` returns the new average of one array, n being how many updates there
            have been.
        multi_avg_fn: `multi_avg_fn(averages, parameters, n)` renews all averages in place. What
            `get_swa_multi_avg_fn` and `get_ema_multi_avg_fn` return is done in one compiled pass; neither function
            means the former.

    Attributes:
        arrays: the averages, in the order of the parameters.
        n_averaged: how many updates there have been.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.

    >>> w = np.array([1.0, 2.0])
    >>> average = AveragedModel([w])
    >>> average.update_parameters()
    >>> w += 1
    >>> average.update_parameters()
    >>> average.arrays[0]
    array([1.5, 2.5])
    """

    def __init__(
        self,
        params: Iterable[Any] | Optimizer,
        avg_fn: AverageFunction | None = None,
        multi_avg_fn: MultiAverageFunction | None = None,
    ) -> None:
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("AveragedModel: avg_fn and multi_avg_fn are given; expected one of them.")
        for name, function in (("avg_fn", avg_fn), ("multi_avg_fn", multi_avg_fn)):
            if function is not None and not callable(function):
                raise TypeError(f"AveragedModel: {name} is {describe(function)}; expected a function.")
        self._avg_fn, self._multi_avg_fn = avg_fn, multi_avg_fn
        decay = multi_avg_fn.decay if isinstance(multi_avg_fn, _Moving) else None
        self._is_compiled = avg_fn is None and (multi_avg_fn is None or isinstance(multi_avg_fn, _Moving | _Mean))
        self._averages = Averages("AveragedModel", decay)
        self._parameters = _parameters_of(params)
        self._averages.cover(self._parameters.records)

    @property
    def arrays(self) -> list[Array]:
        """The averages, in the order of the parameters."""
        return list(self._averages.arrays)

    @property
    def n_averaged(self) -> int:
        """How many updates there have been."""
        return self._averages.updates

    def update_parameters(self, params: Iterable[Any] | Optimizer | None = None) -> None:
        """Renew the average.

        Args:
            params: what to take instead of the parameters that it was made of, in the same order and shapes.

        Raises:
            TypeError, ValueError: something does not fit; the averages are as they were.
        """
        parameters = self._parameters if params is None else _parameters_of(params)
        parameters.check_data()
        records = parameters.records
        if len(records) != len(self.arrays):
            raise ValueError(f"AveragedModel: got {len(records)} parameters; expected {len(self.arrays)}.")
        for record, kept in zip(records, self.arrays, strict=True):
            record.pinned.check_unchanged()
            if record.array.shape != kept.shape or record.array.dtype != kept.dtype:
                raise ValueError(
                    f"AveragedModel: {record.label} is {describe(record.array)}; its average is {describe(kept)}."
                )
        if self._is_compiled:
            self._update_compiled(records)
        else:
            self._update_by_function([record.array for record in records])

    def _update_compiled(self, records: Sequence[Record]) -> None:
        given = [(record.pinned, 0, np.zeros((), np.int64)) for record in records]
        # Of a rule that no parameter gets a gradient for.
        plan = constant_plan("AveragedModel", given, np.zeros((), np.int64), "lerp", [{"weight": 0.0}])
        self._averages.give_to(plan, records)
        plan.end_step()

    def _update_by_function(self, params: list[Array]) -> None:
        n, averages = self.n_averaged, self.arrays
        if n == 0:
            results: Sequence[Any] = params
        elif self._avg_fn is not None:
            results = [self._avg_fn(kept, param, n) for kept, param in zip(averages, params, strict=True)]
        elif self._multi_avg_fn is not None:
            results = [kept.copy(order="K") for kept in averages]
            self._multi_avg_fn(results, params, n)
        self._averages.check(self._parameters.records)
        made: list[Array] = []
        for i, (kept, result) in enumerate(zip(averages, results, strict=True)):
            array = as_array(result, f"AveragedModel: what avg_fn made of averages[{i}]")
            if array is None or array.shape != kept.shape or not np.can_cast(array, kept.dtype, "same_kind"):
                came = describe(result if array is None else array)
                raise ValueError(f"AveragedModel: avg_fn made {came} of averages[{i}]; expected {describe(kept)}.")
            made.append(array)
        for kept, array in zip(averages, made, strict=True):
            kept[...] = array
        self._averages.steps[...] = n + 1

    def state_dict(self) -> dict[str, Any]:
        """Return the averages as copies ("arrays") and how many updates they have seen ("steps")."""
        return self._averages.saved()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned.

        Raises:
            ValueError: it does not fit; the message lists why, and the averages are as they were.
        """
        checked("AveragedModel", "average", self._averages.loader(self._parameters.records), state_dict)()


def _parameters_of(params: Iterable[Any] | Optimizer) -> Parameters:
    given = [record.param for record in params._records] if isinstance(params, Optimizer) else params
    records = Parameters("AveragedModel", "").read(given, 0, lambda *_: None)
    return Parameters("AveragedModel", "", records)


class _Moving:
    """The moving average, as a function of arrays."""

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def __call__(self, averages: list[Array], params: list[Array], n: int) -> None:
        _move(averages, params, 1 - self.decay)


class _Mean:
    """The mean of all that has been, as a function of arrays."""

    def __call__(self, averages: list[Array], params: list[Array], n: int) -> None:
        _move(averages, params, 1 / (n + 1))


def _move(averages: list[Array], params: list[Array], share: float) -> None:
    for a, param in zip(averages, params, strict=True):
        a[...] = average(a, param, share)


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAverageFunction:
    """Return the `multi_avg_fn` of a moving average: a <- decay a + (1 - decay) p, in one compiled pass."""
    return _Moving(decay_rate("get_ema_multi_avg_fn: decay", decay))


def get_swa_multi_avg_fn() -> MultiAverageFunction:
    """Return the `multi_avg_fn` of the mean of all that has been, in one compiled pass."""
    return _Mean()


def get_ema_avg_fn(decay: float = 0.999) -> AverageFunction:
    """Return the `avg_fn` of a moving average: decay a + (1 - decay) p."""
    kept = decay_rate("get_ema_avg_fn: decay", decay)
    return lambda a, param, _: kept * a + (1 - kept) * param


def get_swa_avg_fn() -> AverageFunction:
    """Return the `avg_fn` of the mean of all that has been: a + (p - a) / (n + 1)."""
    return lambda a, param, n: a + (param - a) / (n + 1)


def update_bn(loader: Iterable[Any], forward: Callable[[Any], Any], layers: Iterable[_BatchNorm]) -> None:
    """Renew the running statistics of batch norm layers, which an average of weights knows nothing of.

    They become the mean over all batches, each counting the same. The layers are in training meanwhile, and as they
    were afterwards.

    Args:
        loader: the batches; of a tuple or list, the first item is the input.
        forward: called with each input; passes it through the layers, with the averages for weights.
        layers: the batch norm layers; others among them are left alone.

    Raises:
        TypeError: an argument cannot be used, or something among the layers is none.
        ValueError: there was no batch. After an error the statistics are as they were.
    """
    if not callable(forward):
        raise TypeError(f"update_bn: forward is {describe(forward)}; expected a function.")
    for name, value in (("loader", loader), ("layers", layers)):
        if not isinstance(value, Iterable):
            raise TypeError(f"update_bn: {name} is {describe(value)}; expected an iterable.")
    norms = [layer for layer in layers if _is_norm(layer)]
    if not norms:
        return
    before = [(layer, layer.training, layer.momentum, layer.state_dict()) for layer in norms]
    seen = 0
    try:
        for layer in norms:
            layer.reset_running_stats()
            layer.momentum = None
            layer.train()
        for batch in loader:
            forward(batch[0] if isinstance(batch, list | tuple) and batch else batch)
            seen += 1
        if seen == 0:
            raise ValueError("update_bn: loader gave no batch; the statistics are as they were.")
    except BaseException:
        for layer, _, _, state in before:
            layer.load_state_dict(state)
        raise
    finally:
        for layer, training, momentum, _ in before:
            layer.momentum = momentum
            layer.train(training)


def _is_norm(layer: object) -> bool:
    if not (hasattr(layer, "train") and hasattr(layer, "training")):
        raise TypeError(f"update_bn: layers holds {describe(layer)}; expected layers.")
    return isinstance(layer, _BatchNorm) and layer.running_mean is not None
