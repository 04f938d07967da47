from collections.abc import Sequence
from typing import Any

import numpy as np

compiler: str
flags: str

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
def rules() -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]: ...
def coalesce(
    rows: np.ndarray[tuple[int], np.dtype[np.int64]], values: np.ndarray[Any, Any]
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[Any, Any]] | None: ...

class Plan:
    def __init__(
        self,
        owner: str,
        parameters: Sequence[np.ndarray[Any, Any]],
        labels: Sequence[str],
        groups: Sequence[int],
        steps: np.ndarray[tuple[int], np.dtype[np.int64]],
    ) -> None: ...
    def bind(
        self,
        parameter: int,
        rule: str,
        states: Sequence[np.ndarray[Any, Any]],
        scalars: Sequence[np.ndarray[Any, Any]],
    ) -> None: ...
    def set(
        self, group: int, hyper: dict[str, float], decoupled: bool, maximize: bool, source: dict[str, Any]
    ) -> None: ...
    def step(self, gradients: Sequence[Any], param_groups: Any = None) -> bool: ...

class BatchNormContext:
    @property
    def channels(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __init__(
        self,
        owner: str,
        x: Any,
        out: Any,
        residual: Any,
        weight: Any,
        bias: Any,
        running_mean: Any,
        running_var: Any,
        training: bool,
        momentum: float,
        eps: float,
        channels_last: bool,
        relu: bool,
    ) -> None: ...
    def take_result(self) -> np.ndarray[Any, Any]: ...
    def backward(self, dy: Any, out: Any, residual_out: Any, weight_grad: Any, bias_grad: Any) -> Any: ...

class DropoutContext:
    @property
    def mask(self) -> np.ndarray[tuple[int], np.dtype[np.uint16]]: ...
    @property
    def counters(self) -> int: ...
    def __init__(
        self,
        owner: str,
        x: Any,
        out: Any,
        seed: int,
        counter: int,
        threshold: int,
        scale: float,
        shift: float,
        dropped: float,
        of_channels: bool,
        channels_last: bool,
    ) -> None: ...
    def take_result(self) -> np.ndarray[Any, Any]: ...
    def backward(self, dy: Any, out: Any) -> np.ndarray[Any, Any]: ...
