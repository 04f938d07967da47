"""The surfaces that trajectories are drawn on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ravine import plot


@pytest.mark.parametrize("name", plot.SURFACES)
def test_surfaces(name):
    surface = plot.SURFACES[name]
    rng = np.random.default_rng(0)
    h = 1e-6
    for x, y in zip(rng.uniform(*surface.x, 20), rng.uniform(*surface.y, 20), strict=True):
        along = (surface.value(x + h, y) - surface.value(x - h, y)) / (2 * h)
        across = (surface.value(x, y + h) - surface.value(x, y - h)) / (2 * h)
        assert surface.gradient(x, y) == pytest.approx((along, across), rel=1e-5, abs=1e-4)
    lowest = min(surface.value(x, y) for x, y in surface.minima) if surface.minima else None
    for x, y in (*surface.minima, *surface.saddles):
        assert surface.gradient(x, y) == pytest.approx((0, 0), abs=2e-4)
    if lowest is not None:
        x, y = rng.uniform(*surface.x, 1000), rng.uniform(*surface.y, 1000)
        assert lowest == pytest.approx(0, abs=1e-9)
        assert (surface.value(x, y) >= lowest).all()
    for x, y in surface.saddles:
        d = 1e-2
        around = [surface.value(x + d * math.cos(a), y + d * math.sin(a)) for a in np.linspace(0, 2 * math.pi, 64)]
        assert min(around) < surface.value(x, y) < max(around)


def test_surfaces_are_the_textbooks():
    values = {name: plot.SURFACES[name].value for name in plot.SURFACES}
    assert values["rosenbrock"](-1.0, 2.0) == 104
    assert values["beale"](0.0, 0.0) == 1.5**2 + 2.25**2 + 2.625**2
    assert values["himmelblau"](0.0, 0.0) == 170
    assert values["saddle"](2.0, 1.0) == 3
