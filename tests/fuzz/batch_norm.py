"""Attacks on `functional.batch_norm_forward` and its backward pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from ravine.nn import functional
from ravine.reference import batchnorm as bn_reference

from fuzz.arguments import GARBAGE, Arguments, Batch, arranged, check, packed
from fuzz.bad_arrays import may_overlap, same_start
from fuzz.mutations import mutate
from fuzz.oracle import Case

Array = np.ndarray[Any, Any]


def must_refuse_forward(batch: Batch) -> bool:
    """Whether the arguments of a forward pass cannot be right."""
    given, views = batch.args.given, batch.args.views
    x = views["x"]
    if x is None or x.dtype not in (np.dtype(np.float32), np.dtype(np.float64)) or x.ndim < 2 or not x.flags.aligned:
        return True
    channels = x.shape[-1] if batch.channels_last else x.shape[1]
    if packed(x, batch.channels_last) is None:
        return True
    for name in ("weight", "bias", "running_mean", "running_var"):
        view = views[name]
        if given[name] is not None and (view is None or view.dtype != x.dtype or view.shape != (channels,)):
            return True
    for name in ("residual", "out"):
        view = views[name]
        if given[name] is not None and (view is None or view.dtype != x.dtype or view.shape != x.shape):
            return True
    if (given["running_mean"] is None) != (given["running_var"] is None):
        return True
    if batch.uses_batch and (x.size // channels if channels else 2) < 2:
        return True
    return overlaps(batch)


def overlaps(batch: Batch) -> bool:
    """Whether something that is written lies over something else, but exactly over what may be overwritten."""
    views = {name: view for name, view in batch.args.views.items() if view is not None}
    written = ["out", *(["running_mean", "running_var"] if batch.uses_batch else [])]
    for name in written:
        if name in views and not views[name].flags.writeable:
            return True
        for other, view in views.items():
            if name not in views or other == name or not may_overlap(views[name], view):
                continue
            if not (name == "out" and other in ("x", "residual") and same_start(views[name], view)):
                return True
    return False


def attack(case: Case) -> None:
    """`functional.batch_norm_forward` and its backward pass."""
    batch, choose = Batch(case), case.choose
    args = batch.args
    for name in dict.fromkeys(choose.of(list(args.given)) for _ in range(choose.of([0, 1, 1, 1, 2]))):
        args.spoil(name)
    good = args.bad == "-"
    options: dict[str, Any] = {
        "training": batch.training, "momentum": 0.2, "eps": 1e-3, "layout": "NHWC" if batch.channels_last else "NCHW",
        "activation": "relu" if batch.relu else None,
    }  # fmt: skip
    bad, mutation = args.bad, "-"
    must_refuse = must_refuse_forward(batch)
    if choose.one_in(12):
        key = choose.of(list(options))
        options[key] = choose.of(GARBAGE)
        mutation, good = f"{key} garbage", False
    copies = {name: None if v is None else np.array(v, order="K") for name, v in args.views.items()}
    accepted, result = case.attempt(
        "batch_norm_forward", lambda: functional.batch_norm_forward(**args.given, **options), bad=bad,
        mutation=mutation, expected="refuse" if must_refuse else "accept" if good else "either",
        owners=("batch_norm",),
    )  # fmt: skip
    if not accepted or mutation != "-":
        return
    y, context = np.asarray(result[0]), result[1]
    memory = packed(args.views["x"], batch.channels_last)
    arrays = {
        name: None if a is None else arranged(a, batch.channels_last, memory) if name in ("x", "residual") else a
        for name, a in copies.items() if name != "out"
    }  # fmt: skip
    layout = "NCHW" if memory == "first" else "NHWC"
    if not y.size or not batch.channels:
        return
    with np.errstate(all="ignore"):
        expected, saved = bn_reference.batch_norm(
            **arrays, training=batch.uses_batch, momentum=0.2, eps=1e-3, layout=layout, activation=options["activation"]
        )
    check(case, "batch_norm_forward", bad, "y", arranged(y, batch.channels_last, memory), expected)
    for name in ("running_mean", "running_var"):
        if args.views[name] is not None:
            check(case, "batch_norm_forward", bad, name, args.views[name], arrays[name])
    over = {name for name in ("x", "residual") if args.views[name] is not None and same_start(args.views[name], y)}
    for name in ("x", "weight", "bias", "residual"):
        if args.views[name] is not None and name not in over:
            check(case, "batch_norm_forward", bad, name, args.views[name], copies[name])
    attack_backward(batch, context, y, saved, arrays, layout, memory)


def attack_backward(batch: Batch, context: Any, y: Array, saved: Any, arrays: Any, layout: str, memory: str) -> None:
    case, choose = batch.case, batch.case.choose
    x = batch.args.views["x"]
    args = Arguments(case)
    args.put("dy", choose.fill(np.empty_like(np.asarray(x))))
    args.put("out", choose.of([None, None, np.empty_like(np.asarray(x)), args.given["dy"]]))
    args.put(
        "residual_out", np.empty_like(np.asarray(x)) if arrays["residual"] is not None and choose.one_in(2) else None
    )
    mutation = "-"
    if choose.one_in(2):
        args.spoil(choose.of(list(args.given)))
    elif choose.one_in(3):
        mutation = mutate(case, x)
    views = args.views
    must_refuse = same_start(x, y) or any(
        args.given[name] is not None
        and (views[name] is None or views[name].dtype != y.dtype or views[name].shape != y.shape)
        for name in views
    ) or (arrays["residual"] is None and args.given["residual_out"] is not None)  # fmt: skip
    if not must_refuse:
        must_refuse = overlaps_backward(x, y, views)
    copies = {name: None if v is None else np.array(v, order="K") for name, v in views.items()}
    given = args.given
    accepted, gradients = case.attempt(
        "batch_norm_backward",
        lambda: functional.batch_norm_backward(given.pop("dy"), context, **given),
        bad=args.bad, mutation=mutation, owners=("batch_norm", "context"),
        # What has been overwritten between a few samples of x goes unnoticed.
        expected="refuse" if must_refuse and mutation == "-" else "either",
    )  # fmt: skip
    if not accepted or mutation != "-":
        return
    with np.errstate(all="ignore"):
        theirs = bn_reference.batch_norm_backward(
            arranged(copies["dy"], batch.channels_last, memory), arrays["x"], saved, layout=layout,
            activation="relu" if batch.relu else None, residual=arrays["residual"],
        )  # fmt: skip
    for name in ("x", "residual"):
        ours = getattr(gradients, name)
        if ours is not None:
            ours = arranged(ours, batch.channels_last, memory)
            check(case, "batch_norm_backward", args.bad, name, ours, getattr(theirs, name))
    for name in ("weight", "bias"):
        # They are added to zeros before they are rounded, which leaves the sign of 0 open.
        check(case, "batch_norm_backward", args.bad, name, getattr(gradients, name) + 0, getattr(theirs, name) + 0)


def overlaps_backward(x: Array, y: Array, views: dict[str, Any]) -> bool:
    dy, out, residual_out = views["dy"], views["out"], views["residual_out"]
    pairs = [(out, dy, True), (out, x, True), (residual_out, dy, True), (residual_out, x, False),
             (residual_out, out, False)]  # fmt: skip
    for a, b, exactly in pairs:
        if a is not None and b is not None and may_overlap(a, b) and not (exactly and same_start(a, b)):
            return True
    return any(a is not None and not a.flags.writeable for a in (out, residual_out))
