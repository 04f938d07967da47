"""Pictures of schedules."""

from __future__ import annotations

import pytest
from plot_helpers import lines
from ravine import _figures, plot
from ravine.optim.lr_scheduler import (
    CyclicLR,
    ExponentialLR,
    HyperparameterScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from ravine.plot._schedule import look_ahead
from schedule_cases import ravine_optimizer
from schedule_helpers import one_group


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
