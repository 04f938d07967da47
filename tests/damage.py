"""Damaged copies of saved states, and what of an object must be as before when it has refused one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from ravine import nn, optim
from ravine.nn.layer import Layer
from ravine.optim._parameters import Record
from ravine.optim.lr_scheduler._recurrence import Recurrence
from ravine.optim.lr_scheduler._target import KeyView

Path = tuple[Any, ...]
Damage = tuple[str, Any]  # what was done, and the damaged state

# What schedules keep to save time.
CACHES = ("_last_height", "_last_t", "_rest", "_phase")

# Where there are attributes of the user's own objects, of which nobody knows what is right.
FREE = ("lr_lambdas/", "scale_fn/")


class Tensor:
    """What looks like a tensor, and is none."""

    shape, dtype, ndim = (3,), "float32", 1

    def item(self):
        raise RuntimeError("a Tensor with 3 elements cannot be converted to Scalar")


class Fails:
    """What cannot be converted to anything."""

    def __float__(self):
        raise TypeError("no number")

    __index__ = __int__ = __float__


VALUES: list[Any] = [
    *(
        None,
        True,
        -1,
        0,
        1,
        7,
        1.5,
        -0.5,
        float("nan"),
        float("inf"),
        1e300,
        2**53 + 1,
        2**63,
        2**64,
        10**400,
        -(10**400),
    ),
    *(
        10**5000,
        1j,
        "x",
        "",
        "0.5",
        b"0.5",
        [],
        {},
        (),
        [None],
        [[1.0]],
        {"a": 1},
        {0: None},
        {1, 2},
        (0.9, 2.0),
        [0.1, 0.2],
    ),
    *(["x", "y"], [-1.0, 2.0], [float("nan")] * 2, [10**400] * 2, object(), Tensor(), Fails(), int, np.float32(0.5)),
    *(
        np.array(1.0),
        np.array(7),
        np.zeros(3),
        np.ones(1),
        np.ones((2, 2), complex),
        np.array(["a", "b"]),
        np.zeros((2, 0)),
    ),
    *(
        np.array([None, 1], object),
        np.ones(8)[::2],
        np.array("2020-01-01", "M8[D]"),
        np.zeros(2, "V4"),
        memoryview(b"ab"),
    ),
]


def of_array(array: np.ndarray[Any, Any]) -> Iterator[Any]:
    """Yield damaged forms of an array, and some that only look so."""
    for dtype in ("f2", "f4", "f8", "i8", "c16", "O", "S4", "U4"):
        with np.errstate(all="ignore"):
            yield array.astype(dtype)
    yield from (array.byteswap().view(array.dtype.newbyteorder()), array.reshape(-1), array[None], array[..., None])
    yield from (
        array.ravel()[:-1],
        np.repeat(array, 2, axis=0),
        array.tolist(),
        np.asfortranarray(array),
        array.tobytes(),
    )
    yield np.repeat(array, 2, axis=-1)[..., ::2]
    with np.errstate(all="ignore"):  # of integers
        filled = np.full_like(array, np.nan)
    yield filled


def nodes(state: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield each place in a state, and what is there."""
    yield path, state
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list | tuple) else ()
    for key, value in items:
        yield from nodes(value, (*path, key))


def replaced(state: Any, path: Path, value: Any) -> Any:
    """Return a state in which something else is at a place."""
    if not path:
        return value
    key = path[0]
    inner = replaced(state[key], path[1:], value)
    if isinstance(state, dict):
        return {**state, key: inner}
    return type(state)([*state[:key], inner, *state[key + 1 :]])


def forms(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what may come in place of a value."""
    for i, other in enumerate(VALUES):
        yield f"VALUES[{i}] ({type(other).__name__})", other
    if isinstance(value, np.ndarray):
        for i, other in enumerate(of_array(value)):
            yield f"array {i}", other
    elif isinstance(value, dict):
        for key in value:
            yield f"without {key!r}", {name: there for name, there in value.items() if name != key}
        for key in ("surprise", 7, None, (1, 2)):
            yield f"with {key!r}", {**value, key: {}}
        yield "keys as strings", {str(key): there for key, there in value.items()}
        yield "as a list", list(value.values())
        yield "as pairs", list(value.items())
    elif isinstance(value, list | tuple):
        one = value[:1] or ["x"]
        for other in (
            value[:-1],
            [*value, *one],
            [*one] * len(value),
            value[::-1],
            [[]] * len(value),
            [{}] * len(value),
        ):
            yield "another list", type(value)(other)
        yield "as a dict", dict(enumerate(value))
        yield "nested", [value]
    elif isinstance(value, float | int) and not isinstance(value, bool):
        for other in (float(value), np.float64(value), np.array(value), np.array([value]), str(value), [value]):
            yield f"as {type(other).__name__}", other


def damaged(state: Any) -> Iterator[Damage]:
    """Yield a saved state with each of its places damaged in every way."""
    for path, value in nodes(state):
        for name, other in forms(value):
            yield f"{'/'.join(map(str, path))}: {name}", replaced(state, path, other)


def frozen(value: Any) -> Any:  # noqa: PLR0911
    """Return what something holds, byte for byte, in a form that can be compared."""
    if isinstance(value, np.ndarray):
        return id(value), value.dtype.str, value.shape, value.strides, value.tobytes()
    if isinstance(value, dict):
        return [(key, frozen(there)) for key, there in value.items()]
    if isinstance(value, list | tuple):
        return type(value).__name__, [frozen(there) for there in value]
    if isinstance(value, Record):
        return frozen([value.array, value.step, value.states, value.carried])
    if isinstance(value, nn.Parameter):
        return frozen(value.data)
    if isinstance(value, KeyView):
        return frozen(value.optimizer)
    if isinstance(value, optim.Handoff):
        return frozen([*value._beginning, value._hand_overs, value.optimizers])
    if isinstance(value, optim.Optimizer):
        kept = {name: there for name, there in vars(value).items() if name in value._kept and name != "_parameters"}
        return frozen([kept, list(value._records)])
    if isinstance(value, Layer | optim.lr_scheduler.LRScheduler | optim.lr_scheduler.HyperparameterScheduler):
        return frozen({name: there for name, there in vars(value).items() if name not in CACHES})
    if isinstance(value, Recurrence):
        return "a cache"
    if hasattr(value, "__dict__"):
        return type(value).__name__, frozen(vars(value))
    return type(value).__name__, repr(value)


class Findings(NamedTuple):
    loaded: int
    refused: int
    faults: list[str]


def load_damaged(make: Callable[[], Any], use: Callable[[Any], Any], state: Any, most: int | None = None) -> Findings:
    """Load damaged forms of a state, and hold the rule: it is taken over whole, or refused and nothing changes.

    Args:
        make: returns the object that loads, whose own state is another one.
        use: does with the object what follows a load.
        state: a valid one.
        most: about how many forms to try, evenly spread; without it all.
    """
    total = sum(1 for _ in damaged(state))
    stride = 1 if most is None else max(1, total // most)
    loaded, refused, faults = 0, 0, []
    subject = make()
    before = frozen(subject)
    for name, damage in islice(damaged(state), total % stride, None, stride):
        try:
            subject.load_state_dict(damage)
        except ValueError as error:
            refused += 1
            if "load_state_dict: the saved state does not fit this" not in str(error):
                faults.append(f"{name}: {error}")
            if frozen(subject) == before:
                continue
            faults.append(f"{name}: refused, and changed")
        except Exception as error:
            faults.append(f"{name}: {type(error).__name__}: {error}")
        else:
            loaded += 1
            try:
                subject.load_state_dict(copy.deepcopy(subject.state_dict()))
                if not name.startswith(FREE):
                    use(subject)
            except Exception as error:
                faults.append(f"{name}: loaded, and then {type(error).__name__}: {error}")
        subject = make()
        before = frozen(subject)
    return Findings(loaded, refused, faults)
