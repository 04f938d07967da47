from collections.abc import Callable, Sequence
from typing import Any, TypedDict, type_check_only

import numpy as np

from ravine._hyper import Range

compiler: str
flags: str

@type_check_only
class RuleSchema(TypedDict):
    hyper: tuple[str, ...]
    states: dict[str, str]
    carried: tuple[str, ...]
    decays: tuple[str, ...]
    is_sparse: bool
    sums_over_group: bool

def available_isas() -> list[str]: ...
def isa() -> str: ...
def use_isa(name: str) -> None: ...
def available_threadings() -> list[str]: ...
def threading() -> str: ...
def use_threading(name: str) -> None: ...
def num_threads() -> int: ...
def set_num_threads(threads: int) -> None: ...
def threads_for(bytes: int) -> int: ...
def cpus_by_quota(membership: str, root: str) -> int: ...
def share_from(bytes: int) -> int: ...
def prefetch() -> int: ...
def set_prefetch(bytes: int) -> None: ...
def rules() -> dict[str, RuleSchema]: ...
def coalesce(
    rows: np.ndarray[tuple[int], np.dtype[np.int64]], values: np.ndarray[Any, Any]
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[Any, Any]] | None: ...
def find_overlap(arrays: Sequence[np.ndarray[Any, Any]]) -> tuple[int, int] | None: ...
def norm_of_gradients(
    owner: str, label: Callable[[int], str], gradients: tuple[np.ndarray[Any, Any] | None, ...], norm_type: float
) -> tuple[float, list[int]]: ...
def clip_norm_of_gradients(
    owner: str,
    label: Callable[[int], str],
    gradients: tuple[np.ndarray[Any, Any] | None, ...],
    summed: tuple[np.ndarray[Any, Any] | None, ...] | None,
    max_norm: float,
    norm_type: float,
    only_finite: bool,
) -> tuple[float, list[int]]: ...
def scale_gradients(
    owner: str,
    label: Callable[[int], str],
    gradients: tuple[np.ndarray[Any, Any] | None, ...],
    max_norm: float,
    total_norm: float,
) -> None: ...
def limit_gradients(
    owner: str, label: Callable[[int], str], gradients: tuple[np.ndarray[Any, Any] | None, ...], max_value: float
) -> None: ...

class Pinned:
    def __init__(self, array: np.ndarray[Any, Any], owner: str, label: str) -> None: ...
    def check_unchanged(self) -> None: ...

class Binding:
    def __init__(
        self,
        owner: str,
        rule: str,
        decay: str,
        sources: dict[str, str | tuple[str, int] | float],
        keys: dict[str, Range | tuple[Range, ...] | None],
        switches: Sequence[str],
        modifiers: dict[str, Range] = ...,
    ) -> None: ...

class Plan:
    def __init__(
        self,
        owner: str,
        parameters: Sequence[tuple[Pinned, int, np.ndarray[Any, Any]]],
        made: np.ndarray[Any, Any],
        skipped: np.ndarray[Any, Any],
    ) -> None: ...
    def set_group(self, group: int, binding: Binding, checked: dict[str, Any]) -> None: ...
    def bind(
        self,
        parameter: int,
        rule: str,
        states: dict[str, np.ndarray[Any, Any]],
        carried: dict[str, np.ndarray[Any, Any]],
    ) -> None: ...
    def set_transform(self, transform: Callable[[list[int]], object]) -> None: ...
    def set_reduce(self, reduce: Callable[[np.ndarray[Any, Any]], object] | None) -> None: ...
    def step(self, gradients: Sequence[Any], param_groups: Any) -> bool: ...
    def set_averages(
        self,
        averages: Sequence[Pinned],
        decay: float | None,
        warms_up: bool,
        every: int,
        steps: np.ndarray[Any, Any] | None,
    ) -> None: ...
    def set_frozen(self, positions: Sequence[int]) -> None: ...
    def step_with(self, gradients: Sequence[Any], param_groups: Any, options: tuple[Any, ...]) -> bool: ...
    def step_as_set(self, gradients: Sequence[Any], options: tuple[Any, ...] = ...) -> None: ...
    def step_one(self, parameter: int, gradient: Any, param_groups: Any, options: tuple[Any, ...]) -> bool: ...
    def step_one_as_set(self, parameter: int, gradient: Any, options: tuple[Any, ...]) -> None: ...
    def end_step(self) -> None: ...
    @property
    def updated(self) -> list[int]: ...
    @property
    def outcome(self) -> tuple[float | None, float, bool, list[int]] | None: ...

@type_check_only
class BatchNormArguments(TypedDict):
    owner: str
    x: Any
    out: Any
    residual: Any
    weight: Any
    bias: Any
    running_mean: Any
    running_var: Any
    tracked: Any
    training: bool
    momentum: float
    eps: float
    channels_last: bool
    relu: bool

class BatchNormContext:
    @property
    def channels(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __init__(self, arguments: BatchNormArguments) -> None: ...
    def take_result(self) -> np.ndarray[Any, Any]: ...
    def backward(self, dy: Any, out: Any, residual_out: Any, weight_grad: Any, bias_grad: Any) -> Any: ...

@type_check_only
class DropoutArguments(TypedDict):
    owner: str
    x: Any
    out: Any
    seed: int
    counter: int
    threshold: int
    scale: float
    shift: float
    dropped: float
    of_channels: bool
    channels_last: bool

class DropoutContext:
    @property
    def mask(self) -> np.ndarray[tuple[int], np.dtype[np.uint16]]: ...
    @property
    def counters(self) -> int: ...
    def __init__(self, arguments: DropoutArguments) -> None: ...
    def take_result(self) -> np.ndarray[Any, Any]: ...
    def backward(self, dy: Any, out: Any) -> np.ndarray[Any, Any]: ...
