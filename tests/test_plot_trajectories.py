"""Trajectories of optimizers: their paths, their pictures and animations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from plot_helpers import lines, overlaps
from ravine import _figures, optim, plot

pytest.importorskip("PIL")

MAKES = {"SGD": lambda p: optim.SGD(p, lr=0.01), "Adam": lambda p: optim.Adam(p, lr=0.1)}


def test_paths_are_those_of_the_optimizers():
    run = plot.trajectories("ravine", {"SGD": lambda p: optim.SGD(p, lr=0.1)}, 3, start=(5, 1))
    point = np.array([5.0, 1.0])
    for t in range(4):
        np.testing.assert_allclose(run.paths["SGD"][t], point, rtol=1e-15)
        point = point - 0.1 * np.array([point[0] / 25, 2 * point[1]])
    assert run.steps == 3


def test_optimizers_that_take_a_closure():
    run = plot.trajectories("ravine", {"LBFGS": lambda p: optim.LBFGS(p, max_iter=1, lr=0.1)}, 2, start=(5, 1))
    x = np.array([5.0, 1.0])
    optimizer = optim.LBFGS([x], max_iter=1, lr=0.1)
    for point in run.paths["LBFGS"][1:]:
        optimizer.step(lambda: (x[0] ** 2 / 50 + x[1] ** 2, [np.array([x[0] / 25, 2 * x[1]])]))
        np.testing.assert_allclose(point, x, rtol=1e-12)


def test_runs_that_leave_all_bounds_end():
    run = plot.trajectories("rosenbrock", {"SGD": lambda p: optim.SGD(p, lr=1.0)}, 30)
    path = run.paths["SGD"]
    assert np.isfinite(path[0]).all()
    assert np.isnan(path[-1]).all()
    run.figure()


def test_surfaces_of_ones_own():
    bowl = plot.Surface(
        "Bowl", "f = x²", lambda x, y: x * x + 0 * y, lambda x, y: (2 * x, 0.0), (-1, 1), (-1, 1), (1, 0)
    )
    run = plot.trajectories(bowl, MAKES, 5, view="2d", title="Mine")
    (axes,) = run.figure().axes
    assert axes.get_title(loc="left") == "Mine"
    assert len(lines(axes)["SGD"]) == 6


@pytest.mark.parametrize("view", ["2d", "3d", "both"])
@pytest.mark.parametrize("name", plot.SURFACES)
def test_pictures_of_trajectories(name, view):
    run = plot.trajectories(name, MAKES, 20, view=view)
    figure = run.figure()
    assert len(figure.axes) == (2 if view == "both" else 1)
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert labels[:2] == ["SGD", "Adam"]
    assert overlaps(figure) == []


def test_an_animation(tmp_path):
    from PIL import Image

    path = tmp_path / "saddle.gif"
    plot.trajectories("saddle", MAKES, 40).save(path, frames=12, fps=10, dpi=50)
    frames = []
    with Image.open(path) as image:
        assert image.n_frames == 12
        assert image.info["loop"] == 0
        for i in range(12):
            image.seek(i)
            assert image.info["duration"] == (2000 if i == 11 else 100)
            frames.append(np.asarray(image.convert("RGB")).astype(int))
    changed = [(np.abs(a - b).max(axis=2) > 30).sum() for a, b in itertools.pairwise(frames)]
    assert all(0 < pixels < 0.02 * frames[0][..., 0].size for pixels in changed), "only the paths move"
    for color in (_figures.BLUE, _figures.ORANGE):
        rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
        assert (np.abs(frames[-1] - rgb).max(axis=2) < 8).sum() > 30, color


def test_still_pictures(tmp_path):
    run = plot.trajectories("saddle", MAKES, 10) + plot.trajectories("ravine", MAKES, 10, view="2d")
    for suffix in _figures.SUFFIXES:
        run.save(tmp_path / f"picture{suffix}")
        assert (tmp_path / f"picture{suffix}").stat().st_size > 10_000
    assert len(run.figure().axes) == 3


@pytest.mark.parametrize(
    ("change", "exception", "text"),
    [
        ({"surface": "hill"}, ValueError, "surface='hill'; expected 'saddle', 'ravine'"),
        ({"steps": 0}, ValueError, "steps=0; expected a whole number, 1 or more"),
        ({"view": "4d"}, ValueError, "view='4d'; expected '2d' or '3d' or 'both'"),
        ({"optimizers": []}, TypeError, r"optimizers=\[\]; expected a dict from labels to functions"),
        (
            {"optimizers": {"a": lambda p: 3}},
            TypeError,
            r"optimizers\['a'\] made a int; expected a ravine.optim optimizer",
        ),
        ({"start": (1, math.nan)}, ValueError, r"start=\(1, nan\); expected two finite numbers"),
        ({"start": (1, 2, 3)}, ValueError, r"expected two finite numbers"),
    ],
)
def test_trajectories_that_cannot_be_drawn(change, exception, text):
    with pytest.raises(exception, match=f"plot.trajectories: .*{text}"):
        plot.trajectories(**{"surface": "saddle", "optimizers": MAKES, **change})


def test_files_that_cannot_be_written(tmp_path):
    run = plot.trajectories("saddle", MAKES, 5)
    with pytest.raises(ValueError, match=r"expected a name that ends in .gif, .png, .pdf, .svg"):
        run.save(tmp_path / "a.bmp")
    with pytest.raises(ValueError, match="there is no folder"):
        run.save(tmp_path / "missing" / "a.gif")
    with pytest.raises(ValueError, match="frames=1; expected a whole number, 2 or more"):
        run.save(tmp_path / "a.gif", frames=1)
