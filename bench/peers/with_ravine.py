"""ravine itself."""

from __future__ import annotations

from .peer import Running, Work


def start(work: Work) -> Running:
    """`optimizer.step(grads)`: one call for all parameters, which are updated where they are."""
    return Running.step_by_step(work.case.ravine(work.params, work.grads), lambda: work.params)
