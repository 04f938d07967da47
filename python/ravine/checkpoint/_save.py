"""Saving."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Literal, overload

import numpy as np

from ravine._hyper import at_least, flag, whole
from ravine.checkpoint import _background
from ravine.checkpoint._background import Saving
from ravine.checkpoint._files import replace, target
from ravine.checkpoint._flatten import flatten
from ravine.checkpoint._format import FORMAT, VERSION
from ravine.checkpoint._params import saved_params
from ravine.checkpoint._parts import KINDS, check_layers, saved
from ravine.checkpoint._writing import write

_WHERE = "checkpoint.save"
# What is not copied where it comes from.
_LIVE = ("params", "extra")


@overload
def save(
    path: str | os.PathLike[str],
    *,
    optimizer: Any = None,
    scheduler: Any = None,
    params: Any = None,
    layers: Any = None,
    rng: Any = None,
    extra: Any = None,
    step: int | None = None,
    keep: int | None = None,
    background: Literal[False] = False,
) -> None: ...


@overload
def save(
    path: str | os.PathLike[str],
    *,
    optimizer: Any = None,
    scheduler: Any = None,
    params: Any = None,
    layers: Any = None,
    rng: Any = None,
    extra: Any = None,
    step: int | None = None,
    keep: int | None = None,
    background: Literal[True],
) -> Saving: ...


def save(
    path: str | os.PathLike[str],
    *,
    optimizer: Any = None,
    scheduler: Any = None,
    params: Any = None,
    layers: Any = None,
    rng: Any = None,
    extra: Any = None,
    step: int | None = None,
    keep: int | None = None,
    background: bool = False,
) -> Saving | None:
    """Save a training to one file, which at every moment is the old one or the new one, whole.

    Args:
        path: of the file.
        optimizer: one, a list of them, or a dict of them by name; a `GradScaler` and an `Accumulator` go in beside it.
        scheduler: a schedule, or several, likewise.
        params: parameters in the forms that an optimizer takes them.
        layers: of `ravine.nn`: one, a list, or a dict by name. What their `state_dict` has is saved: of batch norm
            weight, bias and statistics, of dropout seed and offset.
        rng: numpy's generators, bit generators and `RandomState`, and `random.Random`: one, a list, or a dict by name.
        extra: whatever else: None, True or False, int, float, str, arrays, and lists, tuples and dicts of these.
        step: how far the training has come, for whoever looks at the file.
        keep: how many files to keep in all: that at `path`, the newest, and those before it beside it as
            "run.000001.ckpt" and so on. Older numbered ones are removed. None keeps none, and removes none.
        background: return as soon as everything is copied, and write in a thread. The file before it, if it is still
            being written, is waited for first, so that there is one copy at a time; the error that ended it is raised
            where nobody has waited for it. At its end the interpreter waits.

    Returns:
        With `background` a handle: `wait()`, which raises what went wrong, and `done`. Otherwise None.

    Raises:
        TypeError, ValueError: an argument cannot be saved; the message names it. There is no new file.
        OSError: it cannot be written (a full disk, ...). The file that was there still is, and nothing beside it.
    """
    place = target(_WHERE, path)
    keep = None if keep is None else at_least(1)(f"{_WHERE}: keep", keep)
    background = flag(f"{_WHERE}: background", background)
    step = None if step is None else whole(f"{_WHERE}: step", step)
    _background.finish(place)
    objects = {"layers": layers, "optimizer": optimizer, "scheduler": scheduler, "rng": rng}
    names, parts = _gathered(objects, params)
    if extra is not None:
        parts["extra"] = extra
    arrays, rest = flatten(parts)
    for name, array in arrays.items():
        if background and name.split("/")[0] in _LIVE:
            arrays[name] = array.copy(order="K")
        elif not (array.flags.c_contiguous or array.flags.f_contiguous):
            arrays[name] = np.ascontiguousarray(array)
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "ravine": _version(),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "step": step,
        "classes": names,
        "parts": rest,
    }

    def put() -> None:
        replace(place, lambda file: write(file, manifest, arrays), keep)

    if background:
        return _background.begin(place, put)
    put()
    return None


def _gathered(objects: Mapping[str, Any], params: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the names of classes and the states, by part, of those parts that are given."""
    names: dict[str, Any] = {}
    states: dict[str, Any] = {}
    for part in KINDS:
        if objects[part] is not None:
            names[part], states[part] = saved(_WHERE, part, objects[part])
    if params is not None:
        states["params"] = saved_params(_WHERE, params)
    if objects["layers"] is not None:
        own = states.get("params", [])
        arrays = own.values() if isinstance(own, dict) else own
        check_layers(_WHERE, objects["layers"], states["layers"], list(arrays))
    return names, states


def _version() -> str:
    from ravine import __version__  # noqa: PLC0415  (ravine imports this package)

    return __version__
