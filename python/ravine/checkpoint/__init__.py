"""Checkpoints: a whole training in one file, from which it goes on to the same bits.

    checkpoint.save("run.ckpt", optimizer=opt, scheduler=sched, params=params, layers=layers, rng=rng, step=step)
    checkpoint.load("run.ckpt", optimizer=opt, scheduler=sched, params=params, layers=layers, rng=rng)

docs/checkpoints.md describes the format and what holds.
"""

from ravine.checkpoint._background import Saving
from ravine.checkpoint._flatten import flatten, unflatten
from ravine.checkpoint._load import Checkpoint, load
from ravine.checkpoint._reading import DamagedError
from ravine.checkpoint._save import save

__all__ = ["Checkpoint", "DamagedError", "Saving", "flatten", "load", "save", "unflatten"]
