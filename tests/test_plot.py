"""Pictures: what they show, that they are written, and what is refused."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from ravine import _figures, cli, optim, plot
from ravine._expressions import evaluate
from ravine.demo import saddle, schedules
from ravine.optim.lr_scheduler import (
    CyclicLR,
    ExponentialLR,
    HyperparameterScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from ravine.plot import command
from ravine.plot._schedule import look_ahead
from schedule_cases import ravine_optimizer

for extra in ("matplotlib", "PIL"):
    pytest.importorskip(extra)

MAKES = {"SGD": lambda p: optim.SGD(p, lr=0.01), "Adam": lambda p: optim.Adam(p, lr=0.1)}


def lines(axes):
    """Return the curves of a picture by label."""
    return {line.get_label(): list(line.get_ydata()) for line in axes.lines}


def one_group(lr=1.0):
    return ravine_optimizer(lrs=(lr,))


def overlaps(figure):
    """Return pairs of texts that lie on one another."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    axis_of_all = [axis for axes in figure.axes for axis in axes._axis_map.values()]
    ticks = {text for axis in axis_of_all for text in axis.findobj(Text)}
    shown = [axis for axis in axis_of_all if axis.get_visible()]
    drawn = {text for axis in shown for tick in axis._update_ticks() for text in tick.findobj(Text)}
    drawn |= {axis.label for axis in shown}
    texts = [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and (text not in ticks or text in drawn)
    ]
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in texts]
    width, height = canvas.get_width_height()
    inside = [(name, box) for name, box in boxes if box.x1 > 0 and box.y1 > 0 and box.x0 < width and box.y0 < height]
    return [
        (a, b)
        for i, (a, box) in enumerate(inside)
        for b, other in inside[i + 1 :]
        if min(box.x1, other.x1) - max(box.x0, other.x0) > 1 and min(box.y1, other.y1) - max(box.y0, other.y0) > 1
    ]


# --- schedules


def test_a_schedule():
    optimizer = one_group()
    made = ExponentialLR(optimizer, 0.5)
    figure = plot.schedule(made, 5)
    (axes,) = figure.axes
    assert list(lines(axes).values()) == [[1, 0.5, 0.25, 0.125, 0.0625]]
    assert (axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()) == (
        "ExponentialLR",
        "step",
        "learning rate",
    )
    assert axes.get_legend() is None
    assert (optimizer.param_groups[0]["lr"], made.last_epoch) == (1.0, 0)


def test_several_schedules_and_the_momentum():
    made = {name: make(one_group()) for name, make in {
        "one": lambda o: OneCycleLR(o, 1, 20),
        "steps": lambda o: StepLR(o, 5),
        "cyclic": lambda o: CyclicLR(o, 0.1, 1, 5),
    }.items()}  # fmt: skip
    figure = plot.schedule(made, 20, title="All")
    above, below = figure.axes
    assert lines(above) == {label: [schedule.lr_at(t)[0] for t in range(20)] for label, schedule in made.items()}
    assert lines(below) == {label: [made[label].momentum_at(t)[0] for t in range(20)] for label in ("one", "cyclic")}
    colors = {line.get_label(): line.get_color() for axes in figure.axes for line in axes.lines}
    assert len(set(colors.values())) == 3
    assert set(colors.values()) <= set(_figures.COLORS)
    assert all(line.get_color() == colors[line.get_label()] for line in below.lines)
    for axes in figure.axes:
        low, high = axes.get_ylim()
        assert all(low <= value <= high for column in lines(axes).values() for value in column)
    assert [text.get_text() for text in above.get_legend().get_texts()] == ["one", "steps", "cyclic"]


def test_groups_that_differ_are_drawn_apart():
    made = ExponentialLR(ravine_optimizer(lrs=(1.0, 0.5, 1.0)), 0.5)
    (axes,) = plot.schedule(made, 3).axes
    assert lines(axes) == {"groups 0, 2": [1, 0.5, 0.25], "group 1": [0.5, 0.25, 0.125]}


def test_names_of_lists():
    made = [StepLR(one_group(), 3), StepLR(one_group(), 4), ExponentialLR(one_group(), 0.5)]
    (axes,) = plot.schedule(made, 3).axes
    assert list(lines(axes)) == ["StepLR 1", "StepLR 2", "ExponentialLR"]


def test_hyperparameters():
    made = HyperparameterScheduler(one_group(), "momentum", StepLR, step_size=2, gamma=0.5)
    (axes,) = plot.schedule(made, 4).axes
    assert list(lines(axes).values()) == [[0.9, 0.9, 0.45, 0.45]]
    assert axes.get_ylabel() == "momentum"
    assert axes.get_title(loc="left") == "StepLR (momentum)"


def test_momentum_of_a_part():
    o = one_group()
    made = SequentialLR(o, [StepLR(o, 3), OneCycleLR(o, 1, 10)], [5])
    curves = look_ahead(made, 20, None)
    assert curves.momentum[0][:5] == [0.95] * 5
    assert min(curves.momentum[0]) == 0.85


def test_the_plateau_is_drawn_for_given_metrics_and_put_back():
    o = one_group()
    made = SequentialLR(o, [StepLR(o, 9), ReduceLROnPlateau(o, factor=0.5, patience=1)], [3])
    made.step(metrics=1)
    before = made.state_dict(), o.state_dict()["param_groups"]
    made_of_list = ReduceLROnPlateau(one_group(), factor=0.5, patience=1)
    (axes,) = plot.schedule(made_of_list, 6, metrics=[1, 1, 1, 1, 1]).axes
    assert list(lines(axes).values()) == [[1, 1, 1, 0.5, 0.5, 0.25]]
    plot.schedule(made, 30, metrics=lambda t: 1.0)
    assert (made.state_dict(), o.state_dict()["param_groups"]) == before
    for metrics in (None, [1, 1]):
        with pytest.raises(ValueError, match="ReduceLROnPlateau depends on the metrics; give metrics=, a function"):
            plot.schedule(made_of_list, 6, metrics=metrics)
    with pytest.raises(ZeroDivisionError):
        plot.schedule(made_of_list, 6, metrics=lambda t: 1 / (t - 3))
    assert made_of_list.last_epoch == 0


@pytest.mark.parametrize(
    ("arguments", "exception", "text"),
    [
        ((3, 5), TypeError, "schedules has a int; expected schedules of ravine.optim"),
        (([], 5), ValueError, "schedules is empty; give one schedule or more"),
        (([StepLR(one_group(), 3)], 0), ValueError, "steps=0; expected a whole number, 1 or more"),
    ],
)
def test_schedules_that_cannot_be_drawn(arguments, exception, text):
    with pytest.raises(exception, match=text):
        plot.schedule(*arguments)


# --- surfaces


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


# --- trajectories


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


def test_importing_is_cheap():
    code = """
import sys
import ravine
assert "ravine.plot" not in sys.modules
ravine.plot.SURFACES
import ravine.plot.command, ravine.demo.saddle, ravine.demo.schedules
assert not {"matplotlib", "PIL"} & set(sys.modules)
try:
    ravine.pictures
except AttributeError as error:
    assert "has no attribute 'pictures'" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# --- the commands


def test_demo_schedules(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo", "schedules"]) == 0
    assert capsys.readouterr().out == f"{len(schedules.GALLERY)} schedules\npicture: ravine-schedules.png\n"
    assert (tmp_path / "ravine-schedules.png").stat().st_size > 100_000


def test_the_gallery_shows_every_schedule():
    assert {example.name for example in schedules.GALLERY} == set(command.SCHEDULES)
    figure = schedules.draw_gallery(schedules.GALLERY)
    assert overlaps(figure) == []


def test_demo_saddle(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo", "saddle"]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("picture: ravine-saddle.gif\npicture: ravine-saddle.png\n")
    assert {path.name for path in tmp_path.iterdir()} == {"ravine-saddle.gif", "ravine-saddle.png"}
    assert cli.main(["demo", "saddle", "--output", "only.svg"]) == 0
    assert (tmp_path / "only.svg").exists()


def test_the_saddle_shows_what_it_is_said_to_show():
    away = {label: abs(path[-1][1]) for label, path in saddle.at_the_saddle().paths.items()}
    assert max(away["SGD"], away["SGD with momentum"]) < 1e-3, "held at the saddle point"
    assert min(away[name] for name in ("Adagrad", "RMSprop", "Adam")) > 1.5, "away"
    along = {label: np.diff(path[:, 0]) for label, path in saddle.in_the_ravine().paths.items()}
    momentum, plain = along["SGD with momentum"], along["SGD"]
    assert momentum[20] > 5 * momentum[0], "momentum gathers speed"
    assert plain[20] <= plain[0]


def plotted(tmp_path, capsys, *arguments):
    """Return status and message of `ravine plot`, having made sure that a picture is written or not."""
    output = tmp_path / "picture.png"
    try:
        status = cli.main(["plot", *arguments, "--output", str(output)])
    except SystemExit as end:
        status = end.code
    assert output.exists() == (status == 0)
    return status, capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["OneCycleLR", "max_lr=0.1", "total_steps=100"],
        ["OneCycleLR", "0.1", "50", "anneal_strategy=linear", "three_phase=True"],
        ["StepLR", "step_size=30", "--steps", "90", "--lr", "0.5"],
        ["LambdaLR", "lr_lambda=lambda epoch: 0.65 ** epoch", "--lr", "100", "--steps", "10"],
        ["CyclicLR", "base_lr=0.01", "max_lr=.1", "step_size_up=10", "scale_fn=lambda c: 1 / c if c < 3 else 0.2"],
        ["WarmupStableDecayLR", "5", "5", "5", "decay=1-sqrt"],
        ["SequentialLR", "schedulers=[LinearLR(0.1), CosineAnnealingLR(T_max=95)]", "milestones=[5]"],
        ["ChainedScheduler", "[LinearLR(), WarmupLR(ExponentialLR(0.9), 3, start_factor=0.5)]"],
        ["ReduceLROnPlateau", "patience=3", "--metrics", "lambda t: max(1 / (1 + t), 0.1)"],
        ["SWALR", "0.05"],
    ],
)
def test_plot(arguments, tmp_path, capsys):
    assert plotted(tmp_path, capsys, *arguments) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["StepsLR"], "argument SCHEDULE: invalid choice: 'StepsLR'"),
        (["StepLR"], "StepLR: missing a required argument: 'step_size'; it takes step_size: 'int', gamma"),
        (["StepLR", "step=3"], "StepLR: "),
        (["StepLR", "step_size=0"], "StepLR: step_size=0; expected a whole number, 1 or more."),
        (["StepLR", "step_size=many"], "StepLR: step_size='many' is a str; expected a whole number, 1 or more."),
        (["StepLR", "step_size=3", "0.5"], "'0.5' has no name; arguments without one come first."),
        (["StepLR", "step_size=3", "--steps", "0"], "steps=0; expected a whole number, 1 or more"),
        (["StepLR", "step_size=3", "--lr", "-1"], "SGD: lr=-1.0 is negative"),
        (["CyclicLR", "0", "1", "mode=cats"], "CyclicLR: mode='cats'; expected 'triangular' or"),
        (["LambdaLR", "lr_lambda=0.5"], "LambdaLR: lr_lambda is a float; expected a function of the step."),
        (["LambdaLR", "lr_lambda=lambda t: 1 / t"], "division by zero"),
        (["LambdaLR", "lr_lambda=lambda t: open"], "'open' is not understood; expected numbers, lists, arithmetic"),
        (["LambdaLR", "lr_lambda=lambda t:"], "is no expression; expected a value such as 0.1"),
        (["ReduceLROnPlateau"], "ReduceLROnPlateau depends on the metrics; give metrics="),
        (["SequentialLR", "[LinearLR()]", "[5]"], "SequentialLR: 1 schedulers and 1 milestones"),
        (
            ["SequentialLR", "[LinearLR(start=1)]", "[]"],
            "LinearLR: got an unexpected keyword argument 'start'; it takes",
        ),
    ],
)
def test_arguments_are_checked_by_the_classes(arguments, message, tmp_path, capsys):
    status, printed = plotted(tmp_path, capsys, *arguments)
    assert status == 2
    assert message in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("arguments", [["plot", "StepLR", "3"], ["demo", "schedules"], ["demo", "saddle"]])
def test_outputs_that_cannot_be_written(arguments, tmp_path, capsys):
    for output, message in (("a.bmp", "expected a name that ends in"), ("no/a.png", "there is no folder 'no'")):
        with pytest.raises(SystemExit, match="2"):
            cli.main([*arguments, "--output", output])
        assert f"argument --output: {output!r}; {message}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("-1e-3", -0.001),
        ("[30, 2 * 40]", [30, 80]),
        ("(0.9, 0.99)", (0.9, 0.99)),
        ("None", None),
        ("True", True),
        ("triangular2", "triangular2"),
        ("'cos'", "cos"),
        ("cos(0) + math.sqrt(4) ** 2 // 3 % 2", 2.0),
        ("1 if not 2 < 1 else 0", 1),
        ("max(1, 2)", 2),
    ],
)
def test_expressions(text, value):
    assert evaluate(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "().__class__",
        "[x for x in (1, 2)]",
        "open('a')",
        "lambda a, b: a",
        "f(**{})",
        "1 +",
        "math.tau",
    ],
)
def test_expressions_do_not_reach_far(text):
    with pytest.raises(ValueError, match=r"is not understood|is no expression"):
        evaluate(text)


def test_an_expression_that_is_no_schedule():
    with pytest.raises(ValueError, match="'3' makes no schedule; expected one such as"):
        command.construct("3", one_group())
