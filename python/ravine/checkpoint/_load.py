"""Loading."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from operator import setitem
from pathlib import Path
from typing import Any

from ravine._hyper import flag
from ravine.checkpoint import _background
from ravine.checkpoint._changes import Act, Change, make_all
from ravine.checkpoint._files import open_regular, real_path
from ravine.checkpoint._flatten import unflatten
from ravine.checkpoint._params import param_changes
from ravine.checkpoint._parts import KINDS, changes, objects_of
from ravine.checkpoint._reading import Contents
from ravine.optim._drivers import Driver
from ravine.optim.optimizer import Optimizer

_WHERE = "checkpoint.load"
# In this order they take over: a schedule writes learning rates into its optimizer's groups, which comes first.
_ORDER = ("params", *KINDS)


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        path: of the file.
        version: of its format.
        created: when it was written, as "2026-01-31T12:00:00+00:00".
        ravine: the version that wrote it.
        step, extra: as they were saved; None where they were not.
        params: the arrays: a dict by name or a list. None where none were saved.
        optimizer, scheduler, layers, rng: the state of the object, or a list or dict of states, as they were given;
            None where none were saved.
        classes: the names of their classes (of numpy's generators, those of the bit generators) by part.
    """

    path: Path
    version: int
    created: str
    ravine: str
    step: int | None
    extra: Any = field(repr=False)
    params: Any = field(repr=False)
    optimizer: Any = field(repr=False)
    scheduler: Any = field(repr=False)
    layers: Any = field(repr=False)
    rng: Any = field(repr=False)
    classes: Mapping[str, Any] = field(repr=False)


def load(
    path: str | os.PathLike[str],
    *,
    optimizer: Any = None,
    scheduler: Any = None,
    params: Any = None,
    layers: Any = None,
    rng: Any = None,
    mmap: bool = False,
    verify: bool = True,
) -> Checkpoint:
    """Read a file that `save` has written, and let objects take over what it holds of them. No code in it is run.

    Args:
        path: of the file; also one of those that `keep` keeps.
        optimizer: what is to go on, constructed as it was when it was saved, in the form in which it was given: one,
            a list, or a dict by name. What is not given here and below is only returned.
        scheduler: likewise.
        params: parameters, which are written in place; found by name where both have names, by position otherwise.
        layers: as optimizers. Their arrays are written in place.
        rng: likewise.
        mmap: return arrays as read-only views of the file, which the system reads when they are looked at; otherwise
            they are in memory of their own, and may be written. The file must then not be changed in place by others
            (`save` never does: it puts a new one there).
        verify: compare the checksums of all arrays, which means to read them; those of all else always are.

    Returns:
        All that is in the file.

    Raises:
        OSError: the file cannot be read; or saving it in the background has failed, and nobody has waited for that.
        ValueError: it is damaged, truncated, no checkpoint, or of a newer format; or it does not fit what was given,
            and the message lists every mismatch. In any case nothing has changed, also where Ctrl-C comes.
        TypeError: an argument is nothing that could be loaded.
        RuntimeError: an optimizer is in the middle of a step.
    """
    given = {"params": params, "layers": layers, "optimizer": optimizer, "scheduler": scheduler, "rng": rng}
    mapped, verify = flag(f"{_WHERE}: mmap", mmap), flag(f"{_WHERE}: verify", verify)
    place = real_path(_WHERE, path)
    _background.finish(place)
    with open_regular(place) as file:
        contents = Contents(place, file)
        arrays = contents.arrays(mapped=mapped, verify=verify)
    checkpoint = _as_checkpoint(contents, arrays)
    optimizers = {} if optimizer is None else objects_of(_WHERE, "optimizer", optimizer)
    each_once = list({id(one): one for one in optimizers.values()}.values())
    _alone(each_once, lambda: _take_over(checkpoint, given))
    return checkpoint


def _alone(optimizers: Sequence[Optimizer | Driver], act: Act) -> None:
    """Do something while no optimizer is in the middle of a step: `Optimizer._held` for any number of them."""
    held: list[dict[int, None]] = []
    try:
        for each in optimizers:
            while not held or held[-1] is not each._idle:
                try:
                    del each._idle[0]
                except KeyError:
                    each._wait_or_refuse("load_state_dict", "in other threads call it between steps")
                    continue
                held.append(each._idle)  # a `del` is no call, so no signal comes between
            each._finish()
        act()
    finally:
        list(map(setitem, held, repeat(0), repeat(None)))  # one call, so none of them is left


def _take_over(checkpoint: Checkpoint, given: Mapping[str, Any]) -> None:
    problems: list[str] = []
    to_make: list[Change] = []
    for part in _ORDER:
        if given[part] is None:
            continue
        states = getattr(checkpoint, part)
        if states is None:
            problems.append(f"{part}: none was saved")
        elif part == "params":
            to_make += param_changes(_WHERE, given[part], states, problems)
        else:
            to_make += changes(_WHERE, part, given[part], checkpoint.classes.get(part), states, problems)
    if problems:
        raise ValueError(
            f"{_WHERE}: {str(checkpoint.path)!r} does not fit, and nothing has been changed:\n  "
            + "\n  ".join(problems)
        )
    make_all(to_make)


def _as_checkpoint(contents: Contents, arrays: Mapping[str, Any]) -> Checkpoint:
    manifest = contents.manifest
    try:
        parts = unflatten(arrays, manifest["parts"])
        if not isinstance(parts.get("params"), list | dict | None) or not isinstance(manifest["step"], int | None):
            raise TypeError("params or step")
        return Checkpoint(
            path=contents.path,
            version=contents.version,
            created=str(manifest["created"]),
            ravine=str(manifest["ravine"]),
            step=manifest["step"],
            classes=dict(manifest["classes"]),
            extra=parts.get("extra"),
            **{part: parts.get(part) for part in _ORDER},
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise contents.damaged(f"its manifest is none of a checkpoint: {error}") from None
