"""Attacks on layers: calls, backward passes, states, and what they hold replaced by something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ravine import nn

from fuzz.arguments import GARBAGE, Arguments, Batch
from fuzz.bad_arrays import bad_array
from fuzz.mutations import mutate
from fuzz.oracle import Case, Ended
from fuzz.saved_states import damaged

Array = np.ndarray[Any, Any]
BY_NDIM = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


def attack(case: Case) -> None:
    """The layers: calls, backward passes, states, and what they hold replaced by something else."""
    choose = case.choose
    batch = Batch(case)
    x, channels = batch.args.given["x"], batch.channels
    is_norm = choose.one_in(2)
    layout = "NHWC" if batch.channels_last else "NCHW"
    if is_norm:
        if not channels:
            return
        cls: Any = BY_NDIM[x.ndim]
        layer = cls(
            channels, momentum=choose.of([0.1, None]), affine=not choose.one_in(4), dtype=batch.dtype, layout=layout,
            track_running_stats=not choose.one_in(4), activation=choose.of([None, "relu"]), bias=choose.one_in(2),
        )  # fmt: skip
    else:
        classes: list[Any] = [nn.Dropout, nn.AlphaDropout]
        if x.ndim > 2:
            classes.append({3: nn.Dropout1d, 4: nn.Dropout2d, 5: nn.Dropout3d}[x.ndim])
        cls = choose.of(classes)
        layer = cls(0.4, choose.one_in(3), seed=choose.below(1 << 30))
    name = cls.__name__
    owners = (name, "Parameter")
    case.watch(lambda: {k: v for k, v in vars(layer).items() if k not in ("_context", "weight", "bias")})
    case.watch(layer._state)
    case.watch(lambda: [p.grad for p in layer.parameters()])
    for _ in range(1 + choose.below(4)):
        ATTACKS_ON_LAYERS[choose.below(len(ATTACKS_ON_LAYERS))](case, layer, name, batch, owners)


def call_layer(case: Case, layer: Any, name: str, batch: Batch, owners: tuple[str, ...]) -> None:
    """A forward and a backward pass, one of whose arrays is bad."""
    choose, like = case.choose, batch.args.given["x"]
    args = Arguments(case)
    args.put("x", choose.fill(np.empty_like(like)))
    if "Norm" in name:
        args.put("residual", choose.fill(np.empty_like(like)) if choose.one_in(4) else None)
    args.put("out", np.empty_like(like) if choose.one_in(4) else None)
    if choose.one_in(2):
        args.spoil(choose.of(list(args.given)))
    accepted, _ = case.attempt(f"{name}()", lambda: layer(**args.given), bad=args.bad, owners=owners)
    if not accepted or getattr(args.views["x"], "dtype", None) not in (np.dtype(np.float32), np.dtype(np.float64)):
        return
    back = Arguments(case)
    x = args.views["x"]
    back.put("dy", choose.fill(np.empty_like(np.asarray(x))) if x is not None else None)
    back.put("out", np.empty_like(np.asarray(x)) if x is not None and choose.one_in(4) else None)
    mutation = "-"
    if choose.one_in(3):
        back.spoil(choose.of(list(back.given)))
    elif "Norm" in name and layer.weight is not None and choose.one_in(3):
        target = choose.of([layer.weight.data, layer.weight.grad])
        mutation = mutate(case, target)
    case.attempt(
        f"{name}.backward", lambda: layer.backward(**back.given), bad=back.bad, mutation=mutation, owners=owners
    )
    if mutation not in ("-", "overwritten"):
        raise Ended


def spoil_layer(case: Case, layer: Any, name: str, batch: Batch, owners: tuple[str, ...]) -> None:
    """An array that the layer holds is changed in place, or replaced."""
    choose = case.choose
    state = {key: value for key, value in layer._state().items() if isinstance(value, np.ndarray)}
    attribute = choose.of(
        ["running_mean", "running_var"] if "running_mean" in state else ["p", "seed", "offset", "eps"]
    )
    x = choose.fill(np.empty_like(batch.args.given["x"]))
    if attribute in state and choose.one_in(2):
        bad, mutation = "-", mutate(case, state[attribute])
    elif attribute in state:
        others = [x, *state.values()]
        made = bad_array(case, state[attribute], others)
        bad, mutation = f"{attribute}: {made.name}", "replaced"
        new = made.value
    else:
        bad, mutation = "garbage", f"{attribute} replaced"
        new = choose.of(GARBAGE)
    if mutation.endswith("replaced"):
        set_it = case.attempt(
            f"{name}: {attribute} =", lambda: setattr(layer, attribute, new), bad=bad, owners=(*owners, attribute)
        )
        if not set_it[0]:
            return
    what = choose.of(["call", "call", "state_dict", "load_state_dict", "reset", "eval"])
    calls: dict[str, Callable[[], Any]] = {
        "call": lambda: layer(x),
        "state_dict": layer.state_dict,
        "load_state_dict": lambda: layer.load_state_dict(layer.state_dict()),
        "reset": getattr(layer, "reset_running_stats", layer.zero_grad),
        "eval": lambda: layer.eval()(x),
    }
    case.watched[:] = [look for look in case.watched if look.__name__ != "<lambda>"]
    case.attempt(f"{name}: {what}", calls[what], bad=bad, mutation=mutation, owners=(*owners, attribute, "dropout"),
                 may_change=what in ("load_state_dict", "reset", "eval"))  # fmt: skip
    raise Ended


def load_layer(case: Case, layer: Any, name: str, batch: Batch, owners: tuple[str, ...]) -> None:
    saved, where, value = damaged(case, layer.state_dict())
    accepted, _ = case.attempt(
        f"{name}.load_state_dict", lambda: layer.load_state_dict(saved), bad=value, mutation=where, owners=owners
    )
    if accepted:
        x = case.choose.fill(np.empty_like(batch.args.given["x"]))
        case.attempt(f"{name}()", lambda: layer(x), bad=value, mutation=f"loaded: {where}", owners=owners)
        raise Ended


def turn_layer(case: Case, layer: Any, name: str, batch: Batch, owners: tuple[str, ...]) -> None:
    mode = case.choose.of([True, False, None, "yes", 2])
    case.attempt(f"{name}.train", lambda: layer.train(mode), bad=str(mode), owners=owners,
                 expected="accept" if isinstance(mode, bool) else "refuse")  # fmt: skip
    case.attempt(f"{name}.zero_grad", layer.zero_grad, expected="accept")


def construct_layer(case: Case, layer: Any, name: str, batch: Batch, owners: tuple[str, ...]) -> None:
    choose = case.choose
    names = ["num_features", "eps", "momentum", "affine", "dtype", "layout", "activation", "bias"]
    key = choose.of(names if "Norm" in name else ["p", "inplace", "seed"])
    options = {**({"num_features": 3} if "Norm" in name else {}), key: choose.of(GARBAGE)}
    case.attempt(f"{name}()", lambda: type(layer)(**options), bad=f"{key} garbage", owners=owners)


ATTACKS_ON_LAYERS = [call_layer, call_layer, call_layer, spoil_layer, load_layer, turn_layer, construct_layer]
