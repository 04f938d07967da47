"""One case is a function of (seed, index)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from ravine import _core, config

from fuzz import (
    averages,
    batch_norm,
    batches,
    checkpoints,
    clipping,
    closures,
    drivers,
    dropout,
    during,
    grouping,
    layers,
    optimizers,
    schedules,
    sparse,
    splitting,
)
from fuzz.choices import Choices
from fuzz.oracle import Case, Ended

# As often as there is much behind them to go wrong.
ATTACKS = [
    *[optimizers.attack] * 8, *[batch_norm.attack] * 5, *[dropout.attack] * 3, *[layers.attack] * 3,
    *[sparse.attack] * 2, batches.attack, *[schedules.attack] * 2, *[during.attack] * 3, during.attack_layers,
    closures.attack_lbfgs, closures.attack_handoff, checkpoints.attack, splitting.attack, clipping.attack,
    *[drivers.attack] * 2, averages.attack, grouping.attack,
]  # fmt: skip
ATTACKS_ON_CHECKPOINTS = [*[checkpoints.attack] * 9, splitting.attack]
# What may be attacked alone, by name.
KINDS: dict[str, Sequence[Callable[[Case], None]]] = {
    "everything": ATTACKS,
    "checkpoints": ATTACKS_ON_CHECKPOINTS,
    "steps": [*[optimizers.attack] * 4, clipping.attack, *[drivers.attack] * 2, averages.attack, grouping.attack],
}


def run(seed: int, index: int, say: Callable[[str], None] | None = None, what: str = "everything") -> Case:
    """Run a case, and return it with what it has found."""
    return run_with(Choices.seeded(seed, index), say, what)


def run_with(choose: Choices, say: Callable[[str], None] | None = None, what: str = "everything") -> Case:
    """Run the case of some choices; `what` is a key of `KINDS`."""
    case = Case(choose, say)
    config.set_isa(choose.of(config.available_isas()))
    threads = choose.of([1, 1, 1, 1, 1, 2, 3])
    config.set_num_threads(threads)
    _core.share_from(0 if threads > 1 else 1 << 40)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            choose.of(KINDS[what])(case)
    except Ended:
        pass
    except Exception as error:
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        at = "" if place is None else f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}"
        case.fail("ATTACK", "the attack itself", "-", "-", f"{type(error).__name__}: {error}, at {at}")
    return case
