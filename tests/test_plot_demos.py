"""The commands `ravine demo schedules` and `ravine demo saddle`."""

from __future__ import annotations

import numpy as np
import pytest
from plot_helpers import overlaps
from ravine import cli
from ravine.demo import saddle, schedules
from ravine.plot import command

pytest.importorskip("PIL")


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
