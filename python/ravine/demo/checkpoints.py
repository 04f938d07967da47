"""A demonstration's training in a checkpoint, and out of it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ravine import checkpoint, optim
from ravine.demo.networks import Network

if TYPE_CHECKING:
    import numpy as np

    from ravine.demo.training import Run

_KIND = "ravine demo digits"


class Training(NamedTuple):
    """Everything that a training goes on with.

    Attributes:
        network: what learns.
        optimizers: of its parameters.
        schedules: of these.
        order: draws the order of the samples.
        run: the record.
        seed: of all of it.
    """

    network: Network
    optimizers: list[optim.Optimizer]
    schedules: list[optim.lr_scheduler.LambdaLR]
    order: np.random.Generator
    run: Run
    seed: int

    def save(self, path: Path) -> None:
        """Save it after an epoch."""
        extra = {"kind": _KIND, "settings": self._settings(), "record": self._record()}
        checkpoint.save(path, step=self.run.epochs, extra=extra, **self._parts())

    def resume(self, path: Path) -> None:
        """Go on with what was saved.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is damaged, or of other settings; nothing has changed.
        """
        extra = checkpoint.load(path).extra
        if not isinstance(extra, Mapping) or extra.get("kind") != _KIND:
            raise ValueError(f"{str(path)!r} was not written by `{_KIND}`; give another file to --checkpoint.")
        theirs, ours = extra["settings"], self._settings()
        differing = [f"{name} {theirs.get(name)} (now {ours[name]})" for name in ours if theirs.get(name) != ours[name]]
        if differing:
            raise ValueError(
                f"{str(path)!r} is of a training with {', '.join(differing)}. Ask for the same settings to go on with "
                "it, or leave out --resume to begin anew, which replaces it."
            )
        record = checkpoint.load(path, **self._parts()).extra["record"]
        vars(self.run).update(record, resumed_after=len(record["seconds"]))

    def _parts(self) -> dict[str, Any]:
        return {
            "layers": self.network,
            "optimizer": self.optimizers,
            "scheduler": self.schedules,
            "rng": self.order,
        }

    def _settings(self) -> dict[str, Any]:
        run = self.run
        names = ("optimizer", "lr", "batch_size", "clip_norm", "ema")
        return {**run.design._asdict(), **{name: getattr(run, name) for name in names}, "seed": self.seed}

    def _record(self) -> dict[str, Any]:
        values = {each.name: getattr(self.run, each.name) for each in fields(self.run)}
        return {name: value for name, value in values.items() if isinstance(value, list)} | {"steps": self.run.steps}
