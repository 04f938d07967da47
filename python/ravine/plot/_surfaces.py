"""Loss surfaces of two parameters on which optimizers show their character."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Point = tuple[float, float]


@dataclass(frozen=True)
class Surface:
    """A function of x and y to descend on.

    Args:
        name: in words.
        formula: in words and signs, for the picture.
        value: the function, of numbers or arrays.
        gradient: its derivatives with respect to x and y, of numbers.
        x, y: the ranges to draw.
        start: where to start from, unless told otherwise.
        minima: where it is least.
        saddles: where it is flat, but no extreme.
        azimuth: from which side to look at it in space, in degrees.
    """

    name: str
    formula: str
    value: Callable[[Any, Any], Any]
    gradient: Callable[[float, float], Point]
    x: Point
    y: Point
    start: Point
    minima: tuple[Point, ...] = ()
    saddles: tuple[Point, ...] = ()
    azimuth: float = -58.0


SURFACES = {
    "saddle": Surface(
        "The saddle",
        "f = x² - y²",
        lambda x, y: x * x - y * y,
        lambda x, y: (2 * x, -2 * y),
        (-1.5, 1.5),
        (-1.5, 1.5),
        (1.2, 1e-9),
        saddles=((0.0, 0.0),),
        azimuth=25.0,
    ),
    "ravine": Surface(
        "The long ravine",
        "f = x² / 50 + y²",
        lambda x, y: x * x / 50 + y * y,
        lambda x, y: (x / 25, 2 * y),
        (-11.0, 3.0),
        (-3.0, 3.0),
        (-10.0, 2.0),
        minima=((0.0, 0.0),),
    ),
    "beale": Surface(
        "Beale",
        "f = (1.5 - x + xy)² + (2.25 - x + xy²)² + (2.625 - x + xy³)²",
        lambda x, y: (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2,
        lambda x, y: (
            2 * (1.5 - x + x * y) * (y - 1)
            + 2 * (2.25 - x + x * y**2) * (y**2 - 1)
            + 2 * (2.625 - x + x * y**3) * (y**3 - 1),
            2 * (1.5 - x + x * y) * x + 4 * (2.25 - x + x * y**2) * x * y + 6 * (2.625 - x + x * y**3) * x * y**2,
        ),
        (-1.0, 4.5),
        (-1.0, 2.0),
        (1.0, 1.5),
        minima=((3.0, 0.5),),
        saddles=((0.0, 1.0),),
    ),
    "rosenbrock": Surface(
        "Rosenbrock",
        "f = (1 - x)² + 100 (y - x²)²",
        lambda x, y: (1 - x) ** 2 + 100 * (y - x * x) ** 2,
        lambda x, y: (-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)),
        (-1.8, 1.8),
        (-0.6, 2.4),
        (-1.2, 1.0),
        minima=((1.0, 1.0),),
    ),
    "himmelblau": Surface(
        "Himmelblau",
        "f = (x² + y - 11)² + (x + y² - 7)²",
        lambda x, y: (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2,
        lambda x, y: (
            4 * x * (x * x + y - 11) + 2 * (x + y * y - 7),
            2 * (x * x + y - 11) + 4 * y * (x + y * y - 7),
        ),
        (-5.0, 5.0),
        (-5.0, 5.0),
        (-0.3, -0.9),
        minima=((3.0, 2.0), (-2.805118, 3.131312), (-3.77931, -3.283186), (3.584428, -1.848126)),
        saddles=((-3.073026, -0.081353), (0.086678, 2.884255), (3.385154, 0.073852), (-0.127961, -1.953715)),
    ),
}


def surface_of(where: str, surface: str | Surface) -> Surface:
    """Return a surface, given by name or as it is."""
    if isinstance(surface, Surface):
        return surface
    if surface not in SURFACES:
        raise ValueError(f"{where}surface={surface!r}; expected {', '.join(map(repr, SURFACES))}, or a plot.Surface.")
    return SURFACES[surface]
